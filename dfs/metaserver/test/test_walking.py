"""What finds no room in memory is found again, in the order of need, and nothing is read more often than that."""

from __future__ import annotations

import random

from twisted.trial.unittest import SynchronousTestCase

from dfs.metaserver import scanning
from dfs.metaserver.backlog import Backlog, Waits
from dfs.metaserver.moves import Copy
from dfs.metaserver.pacing import Pace
from dfs.metaserver.placement import NodeView
from dfs.metaserver.planner import Planner
from dfs.metaserver.queries import ChunkCopies
from dfs.metaserver.scanning import SHORT_SCAN, Key, Reply, Request
from dfs.metaserver.tables import place
from dfs.metaserver.test.test_planner import GIB, view
from dfs.metaserver.walking import Walks, just_before
from dfs.protocol.values import NodeState

DEAD = (1, 2)
WINDOW = 16


def chunk(index: int, *nodes: int, wanted: int = 3) -> ChunkCopies:
    return ChunkCopies(1, index, 1, 1 << 20, b"s" * 32, nodes, wanted, ())


class WalksTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.walks = Walks(WINDOW)
        states = {number: NodeState.DEAD if number in DEAD else NodeState.ALIVE for number in range(6)}
        self.nodes = {number: view(number, state) for number, state in states.items()}

    def miss(self, urgency: int, *chunks: ChunkCopies) -> None:
        for each in chunks:
            self.walks.missed(Waits(each, urgency, urgency), self.nodes)

    def next(self, room: int = WINDOW) -> Request | None:
        return self.walks.next((), lambda urgency: room)

    def test_just_before(self) -> None:
        """A walk that goes on after it meets that very chunk next."""
        for key in ((1, 5), (1, 0), (1 << 48, 0), (0, 1)):
            self.assertLess(just_before(key), place(*key))
            self.assertEqual(int.from_bytes(just_before(key), "big") + 1, int.from_bytes(place(*key), "big"))
        self.assertEqual(just_before((0, 0)), b"")

    def test_the_first_that_was_missed(self) -> None:
        """Each walk that would meet them goes on before the first of those that found no room, the most urgent first
        (S13); what is short by the record alone is found by the walk over those."""
        self.miss(2, chunk(7, 1, 3, 4), chunk(5, 1, 3, 4), chunk(9, 3, 4))
        self.miss(1, chunk(8, 1, 2, 3))
        found = []
        while (request := self.next()) is not None:
            assert request.scan is not None
            found.append((request.again, request.scan, request.after))
            self.assertTrue(self.walks.turned(request, None))
        first = [(1, walk, just_before((1, 8))) for walk in (1, 2)]
        self.assertEqual(found, [*first, (2, 1, just_before((1, 5))), (2, SHORT_SCAN, just_before((1, 9)))])
        self.assertTrue(self.walks.is_over())
        self.assertEqual(self.walks.beyond(), [])

    def test_missed_again(self) -> None:
        """What finds no room while its walk is gone over again takes that walk back to it (S12)."""
        self.miss(2, chunk(7, 1, 3, 4))
        request = self.next()
        assert request is not None
        self.miss(2, chunk(3, 1, 3, 4))
        self.assertFalse(self.walks.turned(request, place(1, 200)))
        request = self.next()
        assert request is not None
        self.assertEqual(request.after, just_before((1, 3)))

    def test_waits_for_room(self) -> None:
        """Walks are gone over again when half of the window is free, as long as a page finds room."""
        self.miss(2, chunk(7, 1, 3, 4))
        self.assertIsNone(self.next(WINDOW // 2 - 1))
        self.assertIsNotNone(self.next(WINDOW // 2))
        self.assertIsNone(self.next(0))
        self.assertIsNone(self.walks.next((), None))

    def test_a_node_that_returned(self) -> None:
        """Over a node that is alive again nothing is walked (S03)."""
        self.miss(2, chunk(7, 1, 3, 4))
        self.walks.first[1] = b""
        self.walks.ended(1)
        self.assertTrue(self.walks.is_over())


class Table:
    """Chunks on nodes, as the lane reads them, with a count of what was read."""

    def __init__(self) -> None:
        self.chunks: dict[Key, ChunkCopies] = {}
        self.read = 0

    def answer(self, request: Request) -> Reply:
        keys, after = list(request.chunks), None
        listed: list[Key] = []
        if request.scan is not None:
            all_ = [key for key, each in sorted(self.chunks.items()) if request.scan in each.nodes]
            listed = [key for key in all_ if place(*key) > request.after][: scanning.PAGE]
            after = place(*listed[-1]) if len(listed) == scanning.PAGE else None
        keys += listed
        self.read += len(keys)
        return Reply(request, after, tuple((key, self.chunks.get(key)) for key in keys), frozenset(listed))

    def copied(self, copy: Copy) -> None:
        key = (copy.chunk.file_id, copy.chunk.index)
        former = self.chunks[key]
        self.chunks[key] = chunk(key[1], *former.nodes, copy.target, wanted=former.wanted)


class WindowTests(SynchronousTestCase):
    """The planner with far more to do than it may hold in memory."""

    def setUp(self) -> None:
        self.patch(scanning, "PAGE", 4)
        self.table = Table()
        chance = random.Random(1)
        for index in range(600):
            wanted = 2 if index % 5 == 0 else 3
            nodes = (1 + index % 2, *chance.sample(range(3, 11), wanted - 1))
            self.table.chunks[1, index] = chunk(index, *nodes, wanted=wanted)
        self.planner = Planner(random.Random(1).random, 1 << 32, max_backlog=WINDOW, max_looks=WINDOW, pace=Pace())
        for number in range(1, 11):
            self.planner.node(view(number))
        for number in DEAD:
            self.planner.node(view(number, NodeState.DEAD))

    def turn(self, now: float) -> list[Copy]:
        """One turn of the wheel: one page."""
        request = self.planner.request()
        if request is not None:
            self.planner.receive(self.table.answer(request), now)
        self.assertLessEqual(len(self.planner._backlog), WINDOW)
        return self.planner.plan(now)

    def heal(self, is_recorded: bool = True) -> list[int]:
        """Until nothing is left; the urgencies of the copies in their order."""
        found: list[int] = []
        for step in range(3_000):
            for copy in self.turn(float(step)):
                found.append(copy.urgency)
                self.table.copied(copy)
                self.planner.result(copy.job, True, float(step), is_recorded)
        return found

    def walked(self) -> None:
        """To the end of the first walks, while every stream is taken."""
        for number in range(3, 11):
            self.planner._streams.busy[number] = 2
            self.planner._streams.changed.add(number)
        while self.planner._scans:
            self.turn(0.0)
        for number in range(3, 11):
            self.planner._streams.busy[number] = 0
            self.planner._streams.changed.add(number)

    def test_all_are_healed(self) -> None:
        """S12, S13: of six hundred short chunks sixteen are held in memory, all are healed, each once, and those with
        one copy left before any other once they are known."""
        self.walked()
        debt = self.planner.debt()
        self.assertEqual((debt.chunks, debt.single, debt.scanning), (600, 120, False))
        order = self.heal()
        self.assertEqual((len(order), order.count(1)), (600, 120))
        self.assertEqual(order[:120], [1] * 120)
        self.assertEqual(self.planner.debt().chunks, 0)
        for each in self.table.chunks.values():
            self.assertGreaterEqual(sum(node not in DEAD for node in each.nodes), each.wanted)

    def test_work_follows_what_is_short(self) -> None:
        """What is read is in proportion to what is short, however small the window is, and a copy that is on the record
        for sure is not looked at again (S37)."""
        self.walked()
        self.heal()
        self.assertLess(self.table.read, 600 * 5)

    def test_doubtful_copies_are_looked_at(self) -> None:
        """A copy of which something was heard meanwhile, or that may not be on the record, is looked at (S12, S15)."""
        self.planner = Planner(random.Random(1).random, 1 << 32)
        for number in range(1, 11):
            self.planner.node(view(number, NodeState.DEAD if number == 1 else NodeState.ALIVE))
        while (request := self.planner.request()) is not None:
            self.planner.receive(Reply(request, None, ()), 0.0)
        for is_recorded, is_heard, looks in ((True, False, False), (False, False, True), (True, True, True)):
            request = Request(None, b"", ((1, 0),))
            self.planner.receive(Reply(request, None, (((1, 0), chunk(0, 1, 3, 4)),)), 0.0)
            (copy,) = self.planner.plan(0.0)
            if is_heard:
                self.planner.short(1, 0)
            self.planner.result(copy.job, True, 0.0, is_recorded)
            self.assertEqual(self.planner.request() is not None, looks)
            self.planner.receive(Reply(Request(None, b"", ()), None, ()), 0.0)

    def test_nothing_is_walked_for_what_has_no_place(self) -> None:
        """S13: where no node has room the walks stand still instead of going round for ever; room brings all back
        (S14)."""
        for number in range(3, 11):
            self.planner.node(view(number, free=0))
        for step in range(500):
            self.turn(step / 100)
        read = self.table.read
        for step in range(500):
            self.turn(5.0 + step / 100)
        self.assertEqual(self.table.read, read)
        for number in range(3, 11):
            self.planner.node(view(number, free=10 * GIB))
        self.assertEqual(len(self.heal()), 600)

    def test_surplus_does_not_wait_for_what_has_no_place(self) -> None:
        """S13, S20: while nothing that is short can be placed anywhere, surplus may be taken away: it may be what takes
        the room; it waits again once there is some."""
        for number in range(3, 11):
            self.planner.node(view(number, free=0))
        self.planner.receive(self.table.answer(self.asked()), 0.0)
        self.assertTrue(self.planner.is_short())
        for step in range(500):
            self.turn(step / 100)
        self.assertFalse(self.planner.is_short())
        self.planner.node(view(3, free=10 * GIB))
        self.planner.receive(self.table.answer(self.asked()), 6.0)
        self.assertTrue(self.planner.is_short())

    def asked(self) -> Request:
        """What is to be read next."""
        request = self.planner.request()
        assert request is not None
        return request


class SliceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.planner = Planner(random.Random(1).random, 1 << 32, streams=8)
        for number in range(1, 101):
            self.planner.node(NodeView(number, f"r{number % 10}", NodeState.ALIVE, 20 * GIB, 10 * GIB, 0))
        found = tuple(((1, at), chunk(at, 1 + at % 100, 1 + (at + 1) % 100)) for at in range(400))
        self.planner.receive(Reply(Request(None, b"", ()), None, found), 0.0)

    def test_a_plan_ends_with_its_time(self) -> None:
        """R61: a call of plan ends when its time is over and says so, and the next ones go on where it ended."""
        calls = iter(range(10_000))
        copies = self.planner.plan(0.0, lambda: next(calls) >= 20)
        self.assertEqual((len(copies), self.planner.has_more), (20, True))
        begun = len(copies)
        for _ in range(100):
            begun += len(self.planner.plan(0.0, lambda: next(calls) % 20 == 19))
        self.assertGreater(begun, 300)
        self.planner.plan(0.0)
        self.assertFalse(self.planner.has_more)


class BacklogTests(SynchronousTestCase):
    def test_who_cannot_go_holds_up_nobody(self) -> None:
        """S13: a chunk that has to wait lets others of its source go first the next time."""
        backlog = Backlog(10)
        for index in range(3):
            backlog.put((1, index), chunk(index, 3), 1, 1)
        order = []
        for _ in range(3):
            key, _, _ = next(backlog.candidates({3}, lambda: 0.0, 1))
            order.append(key[1])
            backlog.postpone(key)
        self.assertEqual(order, [0, 1, 2])

    def test_who_makes_way(self) -> None:
        """What is turned away, or made way for, is told: it is to be found again (S12)."""
        backlog = Backlog(2)
        self.assertIsNone(backlog.put((1, 0), chunk(0, 3, 4), 2, 2))
        self.assertIsNone(backlog.put((1, 1), chunk(1, 3, 4), 2, 2))
        self.assertEqual((backlog.room(1), backlog.room(2)), (2, 0))
        turned_away = backlog.put((1, 2), chunk(2, 3, 4), 2, 2)
        made_way = backlog.put((1, 3), chunk(3, 3), 1, 1)
        assert turned_away is not None and made_way is not None
        self.assertEqual((turned_away.chunk.index, made_way.chunk.index), (2, 1))
        self.assertEqual((len(backlog), (1, 1) in backlog), (2, False))
