"""Drains, maintenance and removals: what each command may change."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from dfs.metaserver import commands, eventlog, queries
from dfs.metaserver import commands_moving as moving
from dfs.metaserver.machine import MAX_STEP_MS
from dfs.metaserver.records import Standing
from dfs.metaserver.test.bench import Bench
from dfs.protocol.errors import BadRequest, Forbidden
from dfs.protocol.messages import ChunkCommit, DurableReplica, EventKind
from dfs.protocol.values import FileId, Generation, NodeNumber


class StandingCase(SynchronousTestCase):
    """Five nodes."""

    def setUp(self) -> None:
        self.bench = Bench()
        self.bench.nodes(5)

    def standing(self, node: int) -> Standing:
        record = queries.node(self.bench.machine.store, node)
        assert record is not None
        return Standing(record.standing)

    def copy(self, file_id: int, index: int, node: int) -> None:
        """A copy becomes durable there."""
        chunk = queries.copies(self.bench.machine.store, file_id, index)
        assert chunk is not None
        self.bench.numbers[node] = self.bench.numbers.get(node, 0) + 1
        durable = (DurableReplica(NodeNumber(node), self.bench.numbers[node]),)
        item = ChunkCommit(FileId(file_id), index, Generation(chunk.generation), chunk.length, chunk.sha256, durable)
        self.bench.do(commands.AddReplicas((item,)))

    def kinds(self) -> list[EventKind]:
        page = eventlog.page(self.bench.machine.store, 0, 1000)
        return [event.kind for event in page.events]


class DrainTests(StandingCase):
    def test_drained(self) -> None:
        """A drain that a walk found finished is finished, and is an event (S18)."""
        self.bench.store_file("a", 1, (2, 3, 4))
        self.bench.do(moving.DrainNode(1))
        self.assertEqual(self.standing(1), Standing.DRAINING)
        self.assertEqual(self.bench.do(moving.NodeDrained(1, self.bench.index)).count, 1)
        self.assertEqual(self.standing(1), Standing.DRAINED)
        self.assertEqual(self.kinds()[-2:], [EventKind.DRAINING, EventKind.DRAINED])

    def test_recorded_meanwhile(self) -> None:
        """A replica that was recorded there since the walk began is not passed over: the walk is made again (S18)."""
        self.bench.do(moving.DrainNode(1))
        since = self.bench.index
        self.bench.store_file("a", 1, (1, 2, 3))
        self.assertEqual(self.bench.do(moving.NodeDrained(1, since)).count, 0)
        self.assertEqual(self.standing(1), Standing.DRAINING)

    def test_lost_elsewhere_meanwhile(self) -> None:
        """Another replica of one of its chunks was struck off, or another node died or is drained too: again (S18)."""
        info = self.bench.store_file("a", 1, (1, 2, 3))
        lost = commands.RemoveReplicas(2, 9, (commands.Lost(info.file_id, 0, 1),))
        for command in (lost, commands.NodeDied(4), moving.DrainNode(5)):
            self.bench.do(moving.DrainNode(1))
            since = self.bench.index
            self.bench.do(command)
            self.assertEqual(self.bench.do(moving.NodeDrained(1, since)).count, 0, command)

    def test_written_after_the_end(self) -> None:
        """A writer that had the node before it was drained commits there: it is draining again (S18)."""
        granted = self.bench.create("a", 1, (1, 2, 3))
        self.bench.do(moving.DrainNode(1))
        self.bench.do(moving.NodeDrained(1, self.bench.index))
        self.assertEqual(self.standing(1), Standing.DRAINED)
        self.bench.write(granted, granted.placements[0], (1, 2, 3))
        self.assertEqual(self.standing(1), Standing.DRAINING)

    def test_wish_outlives_death(self) -> None:
        """A node that dies while it is drained comes back draining; undrained, it is alive."""
        self.bench.do(moving.DrainNode(1))
        self.bench.do(commands.NodeDied(1))
        self.assertEqual(self.standing(1), Standing.DEAD)
        self.bench.do(commands.NodeReturned(1))
        self.assertEqual(self.standing(1), Standing.DRAINING)
        self.bench.do(moving.UndrainNode(1))
        self.assertEqual(self.standing(1), Standing.ALIVE)
        self.assertEqual(self.bench.do(moving.UndrainNode(1)).count, 0)


class MaintenanceTests(StandingCase):
    def pass_time(self, milliseconds: int) -> None:
        for _ in range(0, milliseconds, MAX_STEP_MS):
            self.bench.time_ms += MAX_STEP_MS
            self.bench.do(commands.AdvanceTime())

    def test_is_not_dead(self) -> None:
        """Who announced its silence is not dead before the time is over, by cluster time (S04, S34)."""
        until = self.bench.time_ms + 60_000
        self.bench.do(moving.BeginMaintenance(1, until))
        self.assertEqual(self.bench.do(commands.NodeDied(1)).count, 0)
        self.assertEqual(self.bench.do(moving.EndMaintenance(1, True)).count, 0)
        self.assertEqual(self.standing(1), Standing.MAINTENANCE)
        self.pass_time(65_000)
        self.assertEqual(self.bench.do(moving.EndMaintenance(1, True)).count, 1)
        self.assertEqual(self.bench.do(commands.NodeDied(1)).count, 1)
        self.assertEqual(self.standing(1), Standing.DEAD)

    def test_bounds(self) -> None:
        """It may last a week; only what is alive can be away."""
        for until in (self.bench.time_ms, self.bench.time_ms + 8 * 24 * 3_600_000):
            with self.assertRaises(BadRequest):
                self.bench.do(moving.BeginMaintenance(1, until))
        self.bench.do(commands.NodeDied(1))
        with self.assertRaises(BadRequest):
            self.bench.do(moving.BeginMaintenance(1, self.bench.time_ms + 1000))

    def test_ended(self) -> None:
        """It can be ended before its time."""
        self.bench.do(moving.BeginMaintenance(1, self.bench.time_ms + 60_000))
        self.bench.do(moving.EndMaintenance(1, False))
        self.assertEqual(self.standing(1), Standing.ALIVE)

    def test_registration_does_not_end_it(self) -> None:
        """The node may restart as often as it likes: it stays announced."""
        self.bench.do(moving.BeginMaintenance(1, self.bench.time_ms + 60_000))
        self.bench.node("chunk-1")
        self.assertEqual(self.standing(1), Standing.MAINTENANCE)


class RemovalTests(StandingCase):
    def test_only_what_is_out(self) -> None:
        """A node that is alive or still draining is not removed."""
        with self.assertRaises(BadRequest):
            self.bench.do(moving.RemoveNode(1))
        self.bench.do(moving.DrainNode(1))
        with self.assertRaises(BadRequest):
            self.bench.do(moving.RemoveNode(1))
        with self.assertRaises(BadRequest):
            self.bench.do(moving.ForgetNode(1))

    def test_what_is_needed_stays(self) -> None:
        """Of a dead node only what is whole elsewhere is forgotten, and the node only when nothing is left (S16)."""
        info = self.bench.store_file("a", 2, (1, 2, 3))
        self.copy(info.file_id, 0, 4)
        self.bench.do(commands.NodeDied(1))
        places = tuple(moving.Place(info.file_id, index) for index in (0, 1))
        with self.assertRaises(BadRequest):
            self.bench.do(moving.ForgetReplicas(1, places))
        self.bench.do(moving.RemoveNode(1))
        self.assertEqual(self.bench.do(moving.ForgetReplicas(1, places)).count, 1)
        with self.assertRaises(BadRequest):
            self.bench.do(moving.ForgetNode(1))
        self.copy(info.file_id, 1, 5)
        self.assertEqual(self.bench.do(moving.ForgetReplicas(1, places)).count, 2)
        self.assertEqual(self.bench.do(moving.ForgetNode(1)).count, 1)
        self.assertIsNone(queries.node(self.bench.machine.store, 1))
        self.assertEqual(self.kinds()[-1], EventKind.REMOVED)

    def test_folder_never_returns(self) -> None:
        """The folder of a node that was removed is refused, so that its process ends; its name is free for another
        folder, under a number of its own."""
        self.bench.do(commands.NodeDied(1))
        self.bench.do(moving.RemoveNode(1))
        self.bench.do(moving.ForgetNode(1))
        with self.assertRaises(Forbidden):
            self.bench.node("chunk-1")
        answer = self.bench.do(commands.RegisterNode("chunk-1", b"another folder..", "h:1", ""))
        self.assertEqual((answer.node, answer.joined), (6, True))

    def test_return_of_a_node_that_is_removed(self) -> None:
        """It comes back in the middle: it is draining, and nothing more of it is forgotten until it is drained."""
        self.bench.store_file("a", 1, (1, 2, 3))
        self.bench.do(commands.NodeDied(1))
        self.bench.do(moving.RemoveNode(1))
        self.bench.do(commands.NodeReturned(1))
        self.assertEqual(self.standing(1), Standing.DRAINING)
        with self.assertRaises(BadRequest):
            self.bench.do(moving.ForgetReplicas(1, ()))

    def test_garbage_of_a_removed_node(self) -> None:
        """What a removed node held of ended files is forgotten as well (S15)."""
        info = self.bench.store_file("a", 1, (1, 2, 3))
        self.bench.do(commands.NodeDied(1))
        self.bench.do(commands.DeleteFile(self.bench.operation(), "a", None))
        self.bench.do(moving.RemoveNode(1))
        self.assertEqual(self.bench.do(moving.ForgetReplicas(1, (moving.Place(info.file_id, 0),))).count, 1)
        self.assertEqual(self.bench.do(moving.ForgetNode(1)).count, 1)


class EventTests(StandingCase):
    def test_every_change_of_state(self) -> None:
        """Each change of a node's state is one event, with its node, time and log entry."""
        self.bench.do(commands.NodeDied(2))
        self.bench.do(commands.NodeReturned(2))
        (event,) = eventlog.page(self.bench.machine.store, 0, 1).events
        self.assertEqual((event.kind, event.node, event.index), (EventKind.RETURNED, "chunk-2", self.bench.index))
        self.assertEqual(event.at_ms, self.bench.machine.head.time_ms)
        self.assertEqual(self.kinds()[-2:], [EventKind.DEAD, EventKind.RETURNED])

    def test_bounded(self) -> None:
        """The log keeps the newest; pages follow one another without a gap."""
        self.patch(eventlog, "MAX_KEPT", 10)
        for number in range(25):
            self.bench.do(moving.NoteEvent(int(EventKind.COPIED), 1, number, 2, "why"))
        page = eventlog.page(self.bench.machine.store, 0, 3)
        self.assertEqual([event.count for event in page.events], [22, 23, 24])
        seen, after = [], page.oldest
        while found := eventlog.page(self.bench.machine.store, after, 4).events:
            seen += [event.sequence for event in found]
            after = found[-1].sequence
        self.assertEqual(seen, list(range(page.oldest + 1, page.oldest + 10)))

    def test_balancing(self) -> None:
        """What is wished of the balance is replicated, and an event where it changes."""
        self.assertEqual(self.bench.do(moving.SetBalancing(1, 50)).count, 1)
        self.assertEqual(self.bench.do(moving.SetBalancing(1, 50)).count, 0)
        care = eventlog.care(self.bench.machine.store)
        self.assertEqual((care.balancing, care.threshold), (1, 50))
        self.assertEqual(self.kinds()[-1], EventKind.REBALANCE)
