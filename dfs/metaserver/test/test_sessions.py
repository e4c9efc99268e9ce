"""Operations take effect exactly once, within a bound."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from dfs.kv.interfaces import scan_all
from dfs.metaserver import commands
from dfs.metaserver.answers import decode_answer
from dfs.metaserver.records import MAX_ANSWERS
from dfs.metaserver.sessions import ACTIVITY_STEP_MS, AGE_MS, FUTURE_MS
from dfs.metaserver.test.bench import CHUNK, Bench
from dfs.protocol.errors import BadRequest, Busy, FileNotFound, SessionExpired, Unavailable
from dfs.protocol.messages import Operation
from dfs.raft.interfaces import Command


def create(operation: Operation, name: str = "a", nodes: tuple[int, ...] = (1, 2, 3)) -> commands.CreateUpload:
    return commands.CreateUpload(operation, name, None, CHUNK, 3, 2, 0, (nodes,))


class SessionTests(SynchronousTestCase):
    """R44 and S26."""

    def setUp(self) -> None:
        self.bench = Bench(max_sessions=3)
        self.bench.nodes(3)

    def session(self, birth: int, name: bytes = b"x" * 8) -> bytes:
        return birth.to_bytes(8, "big") + name

    def test_said_again(self) -> None:
        """An operation whose answer was lost has the same answer, to the byte, and one effect (S26, R44)."""
        request = create(self.bench.operation())
        first = self.bench.raw(request)
        self.assertEqual(self.bench.raw(request), first)
        self.assertEqual(self.bench.machine.head.uploads, 1)
        info = self.bench.store_file("b")
        delete = commands.DeleteFile(self.bench.operation(), "b", None)
        self.assertEqual(self.bench.raw(delete), self.bench.raw(delete))
        self.assertEqual(self.bench.machine.head.files, 0)
        self.assertEqual(info.name, "b")

    def test_said_again_in_one_batch(self) -> None:
        """Both tries may ride in one batch: the second sees what the first left."""
        request = create(self.bench.operation())
        first, second = self.bench.machine.apply([self.bench.entry(request), self.bench.entry(request)])
        self.assertEqual(first, second)
        self.assertEqual(self.bench.machine.head.uploads, 1)

    def test_refusals_are_remembered(self) -> None:
        """A final refusal is an answer too: a later change of the world does not change it."""
        delete = commands.DeleteFile(self.bench.operation(), "a", None)
        with self.assertRaises(FileNotFound):
            self.bench.do(delete)
        self.bench.session = self.session(1_000, b"another.")
        self.bench.store_file("a")
        with self.assertRaises(FileNotFound):
            self.bench.do(delete)
        self.assertEqual(self.bench.machine.head.files, 1)

    def test_transient_errors_are_not(self) -> None:
        """An error that says "try again" executed nothing: the same operation is executed when it is tried again."""
        operation = self.bench.operation()
        with self.assertRaises(Unavailable):
            self.bench.do(create(operation, nodes=(1,)))
        self.assertEqual(self.bench.do(create(operation)).epoch, 1)

    def test_below_the_floor(self) -> None:
        """Answers below the floor are forgotten, and such an operation is never executed again (R44)."""
        operation = self.bench.operation()
        self.bench.do(create(operation))
        self.bench.do(create(self.bench.operation(), "b"))
        with self.assertRaises(SessionExpired):
            self.bench.do(create(operation, "c"))
        self.assertEqual(len(list(scan_all(self.bench.machine.store, b"A"))), 1)
        self.assertEqual(self.bench.machine.head.uploads, 2)

    def test_answers_of_a_session_are_bounded(self) -> None:
        """A client that never raises its floor is told Busy, and goes on when it does."""
        operation = Operation(self.bench.session, 1, 1)
        for number in range(MAX_ANSWERS):
            self.bench.do(create(evolve(operation, sequence=number + 1), f"a{number}"))
        with self.assertRaises(Busy):
            self.bench.do(create(evolve(operation, sequence=100), "late"))
        self.bench.do(create(evolve(operation, sequence=100, floor=60), "late"))
        self.assertEqual(len(list(scan_all(self.bench.machine.store, b"A"))), 6)

    def test_sessions_are_bounded(self) -> None:
        """The session that was active longest ago is forgotten first, with its answers; what it asks later is
        refused, as is every unknown session that may be as old (R44, R45)."""
        sessions = [self.session(1_000 + number) for number in range(4)]
        for number, session in enumerate(sessions[:3]):
            self.bench.do(create(Operation(session, 1, 1), f"a{number}"))
            self.bench.time_ms += 3_000
            self.bench.do(commands.AdvanceTime())
        self.bench.time_ms += ACTIVITY_STEP_MS
        for _ in range(3):
            self.bench.do(commands.AdvanceTime())
        self.bench.do(create(Operation(sessions[0], 2, 2), "again"))
        self.bench.do(create(Operation(sessions[3], 1, 1), "new"))
        self.assertEqual(self.bench.machine.head.sessions, 3)
        for forgotten in (sessions[1], self.session(1_001, b"unknown.")):
            with self.assertRaises(SessionExpired):
                self.bench.do(create(Operation(forgotten, 1, 1), "a1"))
        self.bench.do(create(Operation(sessions[0], 3, 3), "kept"))
        self.bench.do(create(Operation(sessions[2], 2, 2), "kept too"))
        self.assertEqual(len(list(scan_all(self.bench.machine.store, b"T"))), 3)

    def test_silent_sessions_are_forgotten(self) -> None:
        """A session that was silent for a day makes room, two for each new one: the limit is not the rule (S37)."""
        bench = self.bench = Bench()
        bench.nodes(3)
        for number in range(5):
            bench.do(create(Operation(self.session(1_000 + number), 1, 1), f"a{number}"))
        while bench.machine.head.time_ms < 1_000 + AGE_MS:
            bench.time_ms += 5_000
            bench.machine.apply([bench.entry(commands.AdvanceTime())])
        for expected in (4, 3, 2, 2):
            bench.session = self.session(bench.time_ms, expected.to_bytes(8, "big"))
            bench.sequence = 0
            bench.time_ms += 1
            bench.do(create(bench.operation(), f"b{bench.time_ms}"))
        with self.assertRaises(SessionExpired):
            bench.do(create(Operation(self.session(1_000), 1, 1), "a0"))

    def test_many_new_sessions_at_the_limit(self) -> None:
        """At the limit a batch of new sessions reads each key of activity about once, however large it is (S37)."""
        reads = []
        for count in (100, 400):
            bench = Bench(max_sessions=500)
            first = [self._delete(bench, 1_000, number) for number in range(500)]
            bench.machine.apply(first)
            store = bench.machine.store
            scanned: list[int] = []
            scan = store.scan

            def counted(*arguments: Any, scan: Any = scan, scanned: list[int] = scanned) -> Any:
                found = scan(*arguments)
                scanned.append(len(found))
                return found

            self.patch(store, "scan", counted)
            bench.machine.apply([self._delete(bench, 5_000, number) for number in range(count)])
            self.assertEqual(bench.machine.head.sessions, 500)
            reads.append(sum(scanned))
        self.assertLess(reads[0], 300)
        self.assertLess(reads[1], 800)  # a batch ends at each checkpoint of the hash, and a page is read anew there

    def _delete(self, bench: Bench, birth: int, number: int) -> Command:
        operation = Operation(self.session(birth, number.to_bytes(8, "big")), 1, 0)
        return bench.entry(commands.DeleteFile(operation, "nope", None))

    def test_session_of_the_future(self) -> None:
        """A session born far ahead of cluster time cannot push the session floor there."""
        for birth in (self.bench.time_ms + FUTURE_MS + 1, 2**64 - 1):
            with self.assertRaises(SessionExpired):
                self.bench.do(create(Operation(self.session(birth), 1, 1)))
        self.bench.do(create(Operation(self.session(self.bench.time_ms + FUTURE_MS), 1, 1)))

    def test_odd_operations(self) -> None:
        """An operation below its own floor is refused."""
        with self.assertRaises(BadRequest):
            self.bench.do(create(Operation(self.bench.session, 1, 2)))

    def test_answers_survive_in_the_tables(self) -> None:
        """A machine that is opened again over the same tables has the answers (R33)."""
        request = create(self.bench.operation())
        first = self.bench.raw(request)
        again = Bench()
        again.machine = type(self.bench.machine)(self.bench.folder, b"c" * 16)
        again.index = self.bench.index
        self.assertEqual(decode_answer(again.raw(request)), decode_answer(first))
