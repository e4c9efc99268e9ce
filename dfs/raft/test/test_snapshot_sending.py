"""The leader's side of a snapshot transfer: its window, its end, its rest."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from dfs.raft.core.types import SnapshotMark
from dfs.raft.messages import SnapshotPiece, SnapshotProgress, SnapshotReply
from dfs.raft.snapshot_sending import RESEND_TICKS, SnapshotSender
from dfs.raft.test.shells import ListMachine, Store


class NowApplier:
    """Runs at once."""

    def __init__(self, machine: ListMachine) -> None:
        self.machine = machine

    def run(self, function: Any, *arguments: Any) -> Deferred[Any]:
        return succeed(function(*arguments))


class LaterApplier:
    """Keeps calls until a test runs them."""

    def __init__(self, machine: ListMachine) -> None:
        self.machine = machine
        self.calls: list[tuple[Any, tuple[Any, ...], Deferred[Any]]] = []

    def run(self, function: Any, *arguments: Any) -> Deferred[Any]:
        self.calls.append((function, arguments, Deferred()))
        return self.calls[-1][2]


class SenderTests(SynchronousTestCase):
    """A transfer's window (R40)."""

    term = 4

    def setUp(self) -> None:
        self.events: list[Any] = []
        self.pieces: list[SnapshotPiece] = []
        store = Store(now=(SnapshotMark(9, 3), (b"x" * 1000,)))
        self.sender = SnapshotSender(
            self,
            NowApplier(ListMachine(store)),  # type: ignore[arg-type]
            lambda member, piece: self.pieces.append(piece),
            piece_length=100,
            window_pieces=3,
            election_ticks=10,
        )

    def configuration_at(self, index: int) -> bytes:
        return b"configuration" if index == 9 else b"another"

    def snapshot_started(self, member: str, mark: SnapshotMark) -> None:
        self.events.append(("started", member, mark.index))

    def snapshot_sent(self, member: str, mark: SnapshotMark) -> None:
        self.events.append(("sent", member, mark.index))

    def snapshot_failed(self, member: str) -> None:
        self.events.append(("failed", member))

    def answer(self, offset: int, progress: SnapshotProgress = SnapshotProgress.WANTED) -> None:
        self.sender.answered("b", SnapshotReply(4, 9, offset, progress))

    def test_transfer(self) -> None:
        """R40: at most a window is under way; the configuration rides in the first piece; the last is marked."""
        self.sender.wanted("b", 5)
        self.assertEqual([piece.offset for piece in self.pieces], [0, 100, 200])
        self.assertEqual([piece.configuration for piece in self.pieces], [b"configuration", b"", b""])
        wanted = 0
        while not self.pieces[-1].last:
            wanted += 100
            self.answer(wanted)
            self.assertLessEqual(self.sender.buffered, 300)
        self.answer(0, SnapshotProgress.INSTALLED)
        self.assertEqual(self.events, [("started", "b", 9), ("sent", "b", 9)])
        self.assertEqual(b"".join(piece.data for piece in self.pieces)[-1000:], b"x" * 1000)

    def test_nothing_is_read_on_the_loop(self) -> None:
        """R43: making a snapshot takes nothing of the loop: it is opened and read on the state machine's lane alone, a
        piece at a time, so no call of the lane lasts longer than one piece."""
        applier = LaterApplier(ListMachine(Store(now=(SnapshotMark(9, 3), (b"x" * 1000,)))))
        self.sender._applier = applier  # type: ignore[assignment]
        self.sender.wanted("b", 5)
        asked = []
        while not self.pieces or not self.pieces[-1].last:
            self.assertEqual(len(applier.calls), 1, "one call at a time")
            function, arguments, done = applier.calls.pop()
            asked.append((function.__name__, *arguments))
            done.callback(function(*arguments))
            if self.pieces:
                self.answer(self.pieces[-1].offset + len(self.pieces[-1].data))
        self.assertEqual(asked[0], ("open_snapshot",))
        self.assertEqual(set(asked[1:]), {("read", 100)})

    def test_resend_and_give_up(self) -> None:
        """R40: a silent follower gets the window again, and in the end the transfer fails once."""
        self.sender.wanted("b", 5)
        self.sender.tick(RESEND_TICKS)
        self.assertEqual([piece.offset for piece in self.pieces[3:]], [0, 100, 200])
        for _ in range(30):
            self.sender.tick(RESEND_TICKS)
        self.assertEqual(self.events, [("started", "b", 9), ("failed", "b")])
        for _ in range(100):
            self.sender.tick(RESEND_TICKS)
        self.assertEqual(self.sender.buffered, 0)

    def torn(self) -> None:
        """A transfer of which 200 bytes arrived, then silence."""
        self.sender.wanted("b", 5)
        self.answer(200)
        while not self.events or self.events[-1] != ("failed", "b"):
            self.sender.tick(RESEND_TICKS)
        del self.pieces[:], self.events[:]

    def test_a_torn_transfer_is_resumed(self) -> None:
        """R40: a transfer that was given up goes on where it was torn, from the same snapshot, while its mark is of
        use; within the same window of memory."""
        self.torn()
        self.assertLessEqual(self.sender.buffered, 300)
        self.sender.wanted("b", 9)
        self.assertEqual(self.events, [("started", "b", 9)])
        self.assertEqual([piece.offset for piece in self.pieces], [200, 300, 400])

    def test_a_torn_transfer_of_no_more_use_begins_anew(self) -> None:
        """R40: not so if the log went on without that mark, or another follower needs a snapshot."""
        for member, index in (("b", 10), ("c", 5)):
            self.setUp()
            self.torn()
            self.sender.wanted(member, index)
            self.assertEqual([piece.offset for piece in self.pieces], [0, 100, 200])

    def test_one_at_a_time(self) -> None:
        """R40: a second follower waits its turn."""
        self.sender.wanted("b", 5)
        self.sender.wanted("c", 5)
        self.sender.wanted("b", 5)
        self.assertEqual(self.events, [("started", "b", 9), ("failed", "c")])

    def test_new_term(self) -> None:
        """A transfer of a former term of this leader ends without a word to the core."""
        self.sender.wanted("b", 5)
        self.term = 6
        self.sender.tick(1)
        self.answer(0, SnapshotProgress.INSTALLED)
        self.assertEqual(self.events, [("started", "b", 9)])
