"""Re-replication is planned strictly by need, never stuck, never for the dead letter."""

from __future__ import annotations

import random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from dfs.metaserver import commands, placement, scanning
from dfs.metaserver.flights import JOB_SECONDS
from dfs.metaserver.moves import ASIDE_SECONDS, Copy
from dfs.metaserver.placement import NodeView
from dfs.metaserver.planner import MAX_COMPARED, Planner
from dfs.metaserver.queries import ChunkCopies
from dfs.metaserver.test.bench import Bench, sha
from dfs.protocol.messages import ChunkCommit, DurableReplica, Healing
from dfs.protocol.values import FileId, Generation, NodeNumber, NodeState

GIB = 1 << 30


def view(number: int, state: NodeState = NodeState.ALIVE, free: int = 10 * GIB, rack: str = "") -> NodeView:
    return NodeView(number, rack, state, 20 * GIB, free, 0)


class PlannerTests(SynchronousTestCase):
    """The planner over a real machine's tables; nodes are views."""

    def setUp(self) -> None:
        self.bench = Bench()
        self.bench.nodes(5)
        self.planner = Planner(random.Random(1).random, 1 << 32)
        self.requests: list[scanning.Request] = []

    def begin(self, *views: NodeView) -> None:
        for each in views:
            self.planner.node(each)
        self.planner.start(views)

    def turn(self, now: float = 0.0) -> list[Copy]:
        """Read until nothing is due, then plan."""
        while (request := self.planner.request()) is not None:
            self.requests.append(request)
            self.planner.receive(scanning.answer(self.bench.machine.store, request), now)
        return self.planner.plan(now)

    def done(self, copy: Copy, now: float = 0.0, number: int = 1000) -> None:
        """The copy became durable and was recorded."""
        chunk = copy.chunk
        durable = (DurableReplica(NodeNumber(copy.target), number),)
        replica = ChunkCommit(
            FileId(chunk.file_id), chunk.index, Generation(chunk.generation), chunk.length, chunk.sha256, durable
        )
        self.bench.do(commands.AddReplicas((replica,)))
        self.planner.result(copy.job, True, now)

    def heal(self, now: float = 0.0) -> int:
        """Carry out what is planned until nothing is; how many copies that took."""
        count = 0
        while copies := self.turn(now):
            for copy in copies:
                self.done(copy, now)
            count += len(copies)
        return count

    def test_death_is_healed(self) -> None:
        """A dead node's chunks are copied from live holders to nodes that lack them, each once."""
        info = self.bench.store_file("a", 5)
        self.begin(*map(view, range(1, 6)))
        self.assertEqual(self.turn(), [])
        self.planner.node(view(1, NodeState.DEAD))
        copies = self.turn()
        self.assertTrue(copies)
        for copy in copies:
            self.assertIn(copy.source, (2, 3))
            self.assertIn(copy.target, (4, 5))
            self.assertEqual(copy.chunk.sha256, sha(copy.chunk.index))
            self.done(copy)
        self.assertEqual(len(copies) + self.heal(), 5)
        self.assertEqual(self.planner.debt().chunks, 0)
        self.assertEqual(self.bench.machine.head.files, 1)
        self.assertEqual(info.count, 5)

    def test_nothing_is_read_where_nothing_changed(self) -> None:
        """Work is proportional to what changed: after the first look at what is short nothing is read again."""
        self.bench.store_file("a", 5)
        self.begin(*map(view, range(1, 6)))
        self.turn()
        self.requests.clear()
        for now in range(1, 100):
            for number in range(1, 6):
                self.planner.node(view(number))
            self.turn(float(now))
        self.assertEqual(self.requests, [])

    def test_degraded_commit_is_healed(self) -> None:
        """A chunk that was committed with fewer replicas is completed: by the event, and by a new leader's scan."""
        granted = self.bench.create("a", 1)
        self.bench.write(granted, granted.placements[0], (1, 2))
        self.begin(*map(view, range(1, 6)))
        (copy,) = self.turn()
        self.planner = Planner(random.Random(1).random, 2 << 32)
        for number in range(1, 6):
            self.planner.node(view(number))
        self.planner.short(granted.file_id, 0)
        (again,) = self.turn()
        self.assertEqual(copy.chunk, again.chunk)

    def test_fewest_copies_first(self) -> None:
        """Chunks with one live copy go before those with two, however long those waited (S13)."""
        self.bench.store_file("two", 30, (1, 2, 3))
        granted = self.bench.create("one", 2, (1, 4), replication=2)
        for placed in granted.placements:
            self.bench.write(granted, placed, (1, 4))
        self.begin(*map(view, range(1, 6)))
        self.planner.node(view(1, NodeState.DEAD))
        order = []
        while copies := self.turn():
            for copy in copies:
                order.append(sum(node != 1 for node in copy.chunk.nodes))
                self.done(copy)
        self.assertEqual(order[:2], [1, 1])
        self.assertEqual(sorted(order), order)

    def test_unplaceable_do_not_starve_others(self) -> None:
        """What no node can take stands in nobody's way, and is retried when a node joins (S13, S14)."""
        for number in (6, 7):
            self.bench.node(f"chunk-{number}")
        self.bench.store_file("stuck", 3, (1, 2, 3))
        self.bench.store_file("movable", 3, (1, 4, 5))
        views = [view(1, NodeState.DEAD)]
        views += [view(n) for n in (2, 3)]
        views += [view(n, free=0) for n in (4, 5)]
        self.begin(*views)
        healed = self.heal()
        self.assertEqual(healed, 3)
        debt = self.planner.debt()
        self.assertEqual((debt.chunks, debt.aside), (3, 3))
        found = self.planner.whereabouts((1 << 48 | 1, 0), 1.0)
        self.assertEqual((found.healing, found.seconds), (Healing.ASIDE, ASIDE_SECONDS - 1.0))
        self.assertIn("room", str(found.words))
        self.planner.node(view(6))
        self.assertEqual(self.heal(), 3)
        self.assertEqual(self.planner.debt().chunks, 0)

    def test_deficit_of_two_one_candidate(self) -> None:
        """One copy is made now, the other without a nudge when a node joins (S14)."""
        self.bench.store_file("a", 1, (1, 2, 3))
        self.begin(view(1), view(2, NodeState.DEAD), view(3, NodeState.DEAD), view(4))
        self.assertEqual(self.heal(), 1)
        self.assertEqual(self.planner.debt().chunks, 1)
        self.planner.node(view(5))
        self.assertEqual(self.heal(), 1)
        self.assertEqual(self.planner.debt().chunks, 0)

    def test_job_that_never_reports(self) -> None:
        """A job whose result never comes is planned anew after its deadline and a back-off; nothing leaks (S12)."""
        self.bench.store_file("a", 1, (1, 2, 3))
        self.begin(view(1, NodeState.DEAD), *map(view, range(2, 6)))
        (first,) = self.turn()
        self.assertEqual(self.turn(JOB_SECONDS / 2), [])
        late = JOB_SECONDS + 5
        self.turn(late)
        self.planner.plan(late + 120)
        (second,) = self.turn(late + 120)
        self.assertNotEqual(second.job, first.job)
        self.planner.result(first.job, True, late + 121)
        self.done(second, late + 122)
        self.assertEqual(self.planner.debt().chunks, 0)
        self.assertEqual(set(self.planner._streams.busy.values()), {0})

    def test_failures_back_off(self) -> None:
        """Each failure of a chunk doubles its wait, up to a minute; others are not held up (S12)."""
        self.bench.store_file("a", 1, (1, 2, 3))
        self.begin(view(1, NodeState.DEAD), *map(view, range(2, 6)))
        now, waits = 0.0, []
        copies = self.turn(now)
        for _ in range(9):
            failed = now
            self.planner.result(copies[0].job, False, now)
            copies = []
            while not copies:
                now += 0.5
                self.planner.plan(now)
                copies = self.turn(now)
            waits.append(now - failed)
        self.assertEqual(waits, [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0])

    def test_source_dies_in_the_middle(self) -> None:
        """A job whose source or target dies is planned anew at once from another holder (S12)."""
        self.bench.store_file("a", 1, (1, 2, 3))
        self.begin(view(1, NodeState.DEAD), *map(view, range(2, 6)))
        (first,) = self.turn()
        self.planner.node(view(first.source, NodeState.DEAD))
        (second,) = self.turn()
        self.assertEqual({first.source, second.source}, {2, 3})
        self.planner.node(view(second.target, NodeState.DEAD))
        (third,) = self.turn()
        self.assertEqual({second.target, third.target}, {4, 5})

    def test_returned_node_counts_again(self) -> None:
        """Copies that are not begun are not begun when the node came back (S03)."""
        self.bench.store_file("a", 30, (1, 2, 3))
        self.begin(*map(view, range(1, 6)))
        self.planner.node(view(1, NodeState.DEAD))
        begun = self.turn()
        self.planner.node(view(1))
        for copy in begun:
            self.done(copy)
        self.assertEqual(self.heal(), 0)
        self.assertEqual(self.planner.debt().chunks, 0)

    def test_no_live_copy(self) -> None:
        """A chunk whose every holder is dead is counted as lost, and healed when one returns (S01)."""
        self.bench.store_file("a", 1, (1, 2, 3))
        self.begin(*(view(n, NodeState.DEAD) for n in (1, 2, 3)), view(4), view(5))
        self.assertEqual(self.turn(), [])
        self.assertEqual(self.planner.debt().lost, 1)
        self.assertEqual(self.planner.whereabouts((1 << 48 | 1, 0), 0.0).words, ("no live replica",))
        self.planner.node(view(2))
        self.assertEqual(self.heal(), 2)

    def test_whereabouts(self) -> None:
        """At each moment it can be told what is done about a chunk, from whom to whom, and when the next step is."""
        self.bench.store_file("a", 1, (1, 2, 3))
        key = (1 << 48 | 1, 0)
        self.begin(view(1, NodeState.DEAD), *(view(n) for n in (2, 3, 4)))
        self.assertEqual(self.planner.whereabouts(key, 0.0).words, ("scans are running: it may be found yet",))
        (copy,) = self.turn()
        found = self.planner.whereabouts(key, 1.0)
        self.assertEqual(found.healing, Healing.COPYING)
        self.assertEqual(found.words, ("a copy from ", copy.source, " to ", 4, " is on its way"))
        self.assertGreater(found.seconds, JOB_SECONDS - 1.0)
        self.planner.result(copy.job, False, 5.0)
        found = self.planner.whereabouts(key, 5.5)
        self.assertEqual((found.healing, found.seconds), (Healing.BACKING_OFF, 0.5))
        self.planner.plan(6.0)
        self.assertEqual(self.planner.whereabouts(key, 6.0).healing, Healing.LOOKING)
        self.assertEqual(self.heal(7.0), 1)
        self.assertEqual(self.planner.whereabouts(key, 7.0).healing, Healing.NOTHING)

    def test_nothing_for_garbage(self) -> None:
        """No copy is planned for a file that was deleted meanwhile; one in flight ends cleanly (S15)."""
        self.bench.store_file("a", 30, (1, 2, 3))
        self.begin(*map(view, range(1, 6)))
        self.planner.node(view(1, NodeState.DEAD))
        flying = self.turn()
        self.bench.do(commands.DeleteFile(self.bench.operation(), "a", None))
        for copy in flying:
            self.done(copy)
        self.planner.node(view(2, NodeState.DEAD))
        self.turn()
        self.planner = Planner(random.Random(2).random, 1)
        self.begin(view(1, NodeState.DEAD), view(2, NodeState.DEAD), view(3), view(4), view(5))
        self.assertEqual(self.turn(), [])

    def test_streams_are_bounded(self) -> None:
        """No node sends and receives more than its limit at once."""
        self.bench.store_file("a", 40, (1, 2, 3))
        self.begin(*map(view, range(1, 6)))
        self.planner.node(view(1, NodeState.DEAD))
        busy: dict[int, int] = {}
        for copy in self.turn():
            for node in (copy.source, copy.target):
                busy[node] = busy.get(node, 0) + 1
        self.assertEqual(max(busy.values()), 2)

    def test_backlog_is_bounded(self) -> None:
        """With a backlog of three the most urgent chunks are kept, and in the end all are healed."""
        self.planner = Planner(random.Random(1).random, 1, max_backlog=4, max_looks=3)
        self.bench.store_file("two", 20, (1, 2, 3))
        self.bench.store_file("one", 2, (1, 4))
        self.begin(*map(view, range(1, 6)))
        self.planner.node(view(1, NodeState.DEAD))
        first = self.turn()
        self.assertEqual({len(copy.chunk.nodes) for copy in first[:2]}, {2})
        self.assertLessEqual(len(self.planner._backlog), 4)
        for copy in first:
            self.done(copy)
        for step in range(40):
            self.heal(float(step))
        self.assertEqual(self.planner.debt().chunks, 0)
        pages = scanning.answer(self.bench.machine.store, scanning.Request(1, b"", ()))
        for _, copies in pages.found:
            assert copies is not None
            self.assertGreaterEqual(sum(node != 1 for node in copies.nodes), copies.wanted)

    def test_aside_is_retried_by_the_clock(self) -> None:
        """What was set aside is tried again after a while even without any event."""
        self.bench.store_file("a", 1, (1, 2, 3))
        self.begin(view(1, NodeState.DEAD), view(2), view(3))
        self.assertEqual(self.turn(), [])
        self.planner._nodes[4] = view(4)  # nobody told
        self.planner._idle.changed(4, view(4))
        self.assertEqual(self.turn(1.0), [])
        self.planner.plan(ASIDE_SECONDS + 1)
        self.assertEqual(len(self.turn(ASIDE_SECONDS + 1)), 1)

    def test_request_is_repeated(self) -> None:
        """A request whose reply was lost is asked again: nothing is forgotten (S12)."""
        self.bench.store_file("a", 1, (1, 2, 3))
        self.planner.node(view(1))
        self.planner.short(1 << 48 | 1, 0)
        self.assertIs(self.planner.request(), self.planner.request())

    def test_racks(self) -> None:
        """A copy goes to a rack without a replica while one has room (S20)."""
        self.bench.store_file("a", 10, (1, 2, 3))
        racks = {1: "r1", 2: "r1", 3: "r2", 4: "r2", 5: "r3"}
        self.begin(*(view(n, rack=rack) for n, rack in racks.items()))
        self.planner.node(view(1, NodeState.DEAD, rack="r1"))
        self.assertEqual([copy.target for copy in self.turn()], [5, 5])


class PaceTests(SynchronousTestCase):
    """Chunks are told to the planner as looked at; no tables are needed."""

    def setUp(self) -> None:
        self.planner = Planner(random.Random(1).random, 1 << 32)
        for number in range(1, 9):
            self.planner.node(view(number))

    def found(self, file_id: int, count: int, nodes: tuple[int, ...]) -> None:
        """``count`` chunks of the file have live copies on ``nodes``."""
        for index in range(count):
            chunk = ChunkCopies(file_id, index, 1, 1 << 20, b"s" * 32, nodes, 3)
            request = scanning.Request(None, b"", ((file_id, index),))
            self.planner.receive(scanning.Reply(request, None, (((file_id, index), chunk),)), 0.0)

    def test_busy_source_holds_up_nobody(self) -> None:
        """However many urgent chunks wait for one busy source, idle sources are given work at once (S13, S23)."""
        self.found(1, 2_000, (1,))
        self.found(2, 50, (2, 3))
        copies = self.planner.plan(0.0)
        self.assertEqual([copy.source for copy in copies[:2]], [1, 1])
        self.assertEqual({copy.chunk.file_id for copy in copies[2:]}, {2})
        self.assertGreaterEqual(len(copies), 5)

    def test_nothing_idle_costs_nothing(self) -> None:
        """While every source is busy no node is compared, and while targets are busy only a bounded number is (R61)."""
        compared: list[int] = []
        place = placement.place

        def counted(version: int, nodes: list[NodeView], *rest: Any) -> tuple[int, ...]:
            compared.append(len(nodes))
            return place(version, nodes, *rest)

        self.patch(placement, "place", counted)
        self.found(1, 600, (1,))
        self.planner.plan(0.0)
        compared.clear()
        self.assertEqual(self.planner.plan(0.1), [])
        self.assertEqual(compared, [])
        for number in range(9, 201):
            self.planner.node(view(number, free=0))
        self.found(2, 600, (2,))
        self.planner.plan(0.2)
        self.assertLess(sum(compared), 2 * MAX_COMPARED + 64 * 200)

    def test_debt_is_summed_as_it_goes(self) -> None:
        """What is short is the same sum whether it waits, flies, is set aside or was healed."""
        self.found(1, 10, (1,))
        self.found(2, 5, (2, 3))
        self.found(3, 2, ())
        before = self.planner.debt()
        self.assertEqual((before.chunks, before.single, before.lost, before.aside), (17, 10, 2, 2))
        self.assertEqual(before.bytes, (10 * 2 + 5 + 2 * 3) << 20)
        self.assertTrue(self.planner.plan(0.0))
        self.assertEqual(self.planner.debt(), before)
        for file_id, count in ((1, 10), (2, 5), (3, 2)):
            self.found(file_id, count, (4, 5, 6))
        flying = len(self.planner._flights)
        self.assertEqual(self.planner.debt().chunks, flying)
