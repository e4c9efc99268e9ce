"""The leader's side of a snapshot transfer: go-back-N over messages that may be lost (R40, R42).

A source is read on the state machine's lane, ``piece_length`` bytes at a time, and
at most ``window_pieces`` pieces that the follower has not acknowledged are kept:
that is all the memory a transfer costs.  The follower answers each piece with the
offset that it wants next; without an answer for ``RESEND_TICKS`` the window is
sent again; without any answer for ``GIVE_UP_TIMEOUTS`` election time-outs the
transfer ends and the core asks for another one if it is still needed.

A transfer that was given up for want of an answer is parked: its source stays open and its window is kept for
``PARK_TIMEOUTS`` election time-outs.  If the same follower needs a snapshot again before the log has gone on without
that mark, the transfer goes on where it was torn, instead of from the start.

A state machine opens one snapshot at a time, so transfers to several followers
take turns: one that has to wait is given up and wanted again at a heartbeat.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from attrs import define, field
from twisted.logger import Logger
from twisted.python.failure import Failure

from dfs.raft.applying import Applier
from dfs.raft.completion import when
from dfs.raft.core.types import SnapshotMark
from dfs.raft.interfaces import ISnapshotSource
from dfs.raft.messages import SnapshotPiece, SnapshotProgress, SnapshotReply

_log = Logger()

RESEND_TICKS = 6
GIVE_UP_TIMEOUTS = 10
PARK_TIMEOUTS = 60


class SenderCore(Protocol):
    """What a transfer asks of the core."""

    @property
    def term(self) -> int: ...

    def configuration_at(self, index: int) -> bytes: ...

    def snapshot_started(self, member: str, mark: SnapshotMark) -> None: ...

    def snapshot_sent(self, member: str, mark: SnapshotMark) -> None: ...

    def snapshot_failed(self, member: str) -> None: ...


@define(eq=False)
class _Transfer:
    member: str
    term: int
    source: ISnapshotSource | None = None
    mark: SnapshotMark = field(factory=lambda: SnapshotMark(0, 0))
    window: deque[tuple[int, bytes, bool]] = field(factory=deque)
    next_offset: int = 0
    at_end: bool = False
    reading: bool = False
    quiet_ticks: int = 0
    stuck_ticks: int = 0
    configuration: bytes = b""


class SnapshotSender:
    """See the module.  Used on the reactor thread; ``send`` takes a member and a piece."""

    def __init__(
        self,
        core: SenderCore,
        applier: Applier,
        send: Callable[[str, SnapshotPiece], None],
        piece_length: int,
        window_pieces: int,
        election_ticks: int,
    ) -> None:
        self._core = core
        self._applier = applier
        self._send = send
        self._piece_length = piece_length
        self._window_pieces = window_pieces
        self._give_up_ticks = GIVE_UP_TIMEOUTS * election_ticks
        self._park_ticks = PARK_TIMEOUTS * election_ticks
        self._transfer: _Transfer | None = None
        self._parked: _Transfer | None = None

    @property
    def buffered(self) -> int:
        """Bytes of pieces held in memory."""
        held = [transfer for transfer in (self._transfer, self._parked) if transfer is not None]
        return sum(len(data) for transfer in held for _, data, _ in transfer.window)

    def wanted(self, member: str, index: int) -> None:
        """The core wants ``member`` to have a snapshot of at least ``index``."""
        self._end_former_term()
        if self._transfer is not None:
            if self._transfer.member != member:
                self._core.snapshot_failed(member)
            return
        if self._resumed(member, index):
            return
        self._drop_parked()
        transfer = self._transfer = _Transfer(member, self._core.term)
        when(
            self._applier.run(self._applier.machine.open_snapshot),
            lambda source: self._opened(source, transfer),
            lambda failure: self._failed(failure, transfer),
        )

    def answered(self, member: str, reply: SnapshotReply) -> None:
        """The follower's answer to a piece."""
        transfer = self._transfer
        if transfer is None or (transfer.member, transfer.mark.index) != (member, reply.index):
            return
        if reply.progress is SnapshotProgress.INSTALLED:
            self._end(transfer)
            self._core.snapshot_sent(member, transfer.mark)
        elif reply.progress is SnapshotProgress.REFUSED:
            self._give_up(transfer, "the follower refused it")
        else:
            transfer.quiet_ticks = transfer.stuck_ticks = 0
            window = transfer.window
            while window and window[0][0] < reply.offset:
                window.popleft()
            if window and reply.offset < window[0][0]:
                self._give_up(transfer, f"the follower wants it from offset {reply.offset}, which was let go")
            else:
                self._fill(transfer)

    def tick(self, ticks: int) -> None:
        """Time went by: send again what was not answered, give up what does not progress."""
        self._end_former_term()
        if self._parked is not None:
            self._parked.stuck_ticks += ticks
            if self._parked.stuck_ticks > self._park_ticks:
                self._drop_parked()
        transfer = self._transfer
        if transfer is None:
            return
        transfer.quiet_ticks += ticks
        transfer.stuck_ticks += ticks
        if transfer.stuck_ticks > self._give_up_ticks:
            self._park(transfer)
        elif transfer.quiet_ticks >= RESEND_TICKS:
            transfer.quiet_ticks = 0
            for piece in transfer.window:
                self._send_piece(transfer, *piece)

    def stop(self) -> None:
        """This member leads no more: end the transfer without a word to the core."""
        self._drop_parked()
        if self._transfer is not None:
            self._end(self._transfer)

    def _end_former_term(self) -> None:
        """A transfer belongs to the term that it began in."""
        if self._transfer is not None and self._transfer.term != self._core.term:
            self._end(self._transfer)
        if self._parked is not None and self._parked.term != self._core.term:
            self._drop_parked()

    def _park(self, transfer: _Transfer) -> None:
        """Nobody answers: keep what there is for a while."""
        _log.warn("the snapshot for {member} rests: no answer", member=transfer.member)
        self._drop_parked()
        self._transfer = None
        if transfer.source is not None:
            self._parked = transfer
            transfer.stuck_ticks = 0
        self._core.snapshot_failed(transfer.member)

    def _resumed(self, member: str, index: int) -> bool:
        """Go on with the parked transfer if it is for this member and still brings enough."""
        transfer = self._parked
        if transfer is None or transfer.member != member or transfer.mark.index < index:
            return False
        self._parked, self._transfer = None, transfer
        transfer.quiet_ticks = transfer.stuck_ticks = 0
        self._core.snapshot_started(member, transfer.mark)
        _log.info("goes on sending {member} a snapshot at {index}", member=member, index=transfer.mark.index)
        for piece in transfer.window:
            self._send_piece(transfer, *piece)
        self._fill(transfer)
        return True

    def _drop_parked(self) -> None:
        transfer, self._parked = self._parked, None
        if transfer is not None:
            transfer.window.clear()
            self._close(transfer)

    def _opened(self, source: ISnapshotSource, transfer: _Transfer) -> None:
        transfer.source = source
        if transfer is not self._transfer:
            self._close(transfer)
            return
        transfer.mark = source.mark
        transfer.configuration = self._core.configuration_at(source.mark.index)
        transfer.quiet_ticks = transfer.stuck_ticks = 0
        self._core.snapshot_started(transfer.member, source.mark)
        _log.info("sending {member} a snapshot at {index}", member=transfer.member, index=source.mark.index)
        self._fill(transfer)

    def _fill(self, transfer: _Transfer) -> None:
        """Read the next piece if there is room in the window."""
        if transfer.reading or transfer.at_end or transfer.source is None:
            return
        if len(transfer.window) >= self._window_pieces:
            return
        transfer.reading = True
        when(
            self._applier.run(transfer.source.read, self._piece_length),
            lambda data: self._read(data, transfer),
            lambda failure: self._failed(failure, transfer),
        )

    def _read(self, data: bytes, transfer: _Transfer) -> None:
        transfer.reading = False
        if transfer not in (self._transfer, self._parked):
            return
        transfer.at_end = not data
        piece = (transfer.next_offset, data, transfer.at_end)
        transfer.next_offset += len(data)
        transfer.window.append(piece)
        if transfer is self._transfer:
            self._send_piece(transfer, *piece)
            self._fill(transfer)

    def _send_piece(self, transfer: _Transfer, offset: int, data: bytes, last: bool) -> None:
        mark = transfer.mark
        configuration = transfer.configuration if offset == 0 else b""
        self._send(
            transfer.member, SnapshotPiece(transfer.term, mark.index, mark.term, offset, last, configuration, data)
        )

    def _failed(self, failure: Failure, transfer: _Transfer) -> None:
        transfer.reading = False
        if transfer is self._parked:
            self._drop_parked()
        if transfer is self._transfer:
            self._give_up(transfer, failure.getErrorMessage())

    def _give_up(self, transfer: _Transfer, reason: str) -> None:
        _log.warn("the snapshot for {member} ended: {reason}", member=transfer.member, reason=reason)
        self._end(transfer)
        self._core.snapshot_failed(transfer.member)

    def _end(self, transfer: _Transfer) -> None:
        self._transfer = None
        transfer.window.clear()
        self._close(transfer)

    def _close(self, transfer: _Transfer) -> None:
        """On the lane, after a read that may be under way.  If it is still opening, ``_opened`` closes it."""
        if transfer.source is not None:
            when(
                self._applier.run(transfer.source.close),
                lambda _: None,
                lambda failure: _log.warn("a snapshot did not close: {why}", why=failure.getErrorMessage()),
            )
