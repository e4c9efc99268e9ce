"""What ended files left behind goes, and nothing else does."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from dfs.kv.interfaces import scan_all
from dfs.metaserver import collector, commands, queries
from dfs.metaserver.collector import ORDER_SECONDS, ORDERS_PER_NODE, SWEEP_SECONDS, Collector, Delete
from dfs.metaserver.test.bench import Bench
from dfs.protocol.errors import BadRequest
from dfs.protocol.messages import CommitOutcome

ALL = (1, 2, 3, 4, 5)


class CollectorTests(SynchronousTestCase):
    """S15."""

    def setUp(self) -> None:
        self.bench = Bench()
        self.bench.nodes(5)
        self.collector = Collector(1)
        self.requests = 0

    def turn(self, now: float = 0.0, reachable: tuple[int, ...] = ALL) -> list[Delete]:
        """Read until nothing is due, plan, and propose what is due."""
        while (request := self.collector.request(now)) is not None:
            self.requests += 1
            self.collector.receive(collector.answer(self.bench.machine.store, request), now)
        orders = self.collector.plan(now, reachable)
        self.propose()
        return orders

    def propose(self) -> None:
        for command in self.collector.commands():
            self.collector.collected(command.file_id, self.bench.do(command).finished)

    def carry_out(self, now: float = 0.0, reachable: tuple[int, ...] = ALL, turns: int = 30) -> list[Delete]:
        done = []
        for _ in range(turns):
            for order in self.turn(now, reachable):
                done.append(order)
                self.collector.result(order.job, True)
            self.propose()
        return done

    def delete(self, name: str) -> None:
        self.bench.do(commands.DeleteFile(self.bench.operation(), name, None))

    def left(self) -> list[bytes]:
        """Keys of chunks, replicas and garbage."""
        return [key for key, _ in scan_all(self.bench.machine.store, b"") if key[:1] in (b"C", b"R", b"G", b"H")]

    def test_deleted_file_goes(self) -> None:
        """Each holder of each chunk is ordered once, with the evidence; then no record is left."""
        self.bench.store_file("a", 64)
        self.delete("a")
        evidence = self.bench.index
        orders = self.carry_out()
        self.assertEqual(sorted((o.index, o.node) for o in orders), [(i, n) for i in range(64) for n in (1, 2, 3)])
        self.assertEqual({order.evidence for order in orders}, {evidence})
        self.assertEqual(self.left(), [])
        head = self.bench.machine.head
        self.assertEqual((head.garbage, head.chunks), (0, 0))
        node = queries.node(self.bench.machine.store, 1)
        assert node is not None
        self.assertEqual((node.chunks, node.bytes), (0, 0))

    def test_uncommitted_targets_are_ordered_too(self) -> None:
        """An abandoned upload's targets, of every generation that was tried, are told to delete."""
        granted = self.bench.create("a", 2)
        (first, _) = granted.placements
        self.bench.do(commands.ReplaceChunk(granted.file_id, 1, 0, first.generation, (4, 5, 1)))
        self.bench.do(commands.AbortUpload(self.bench.operation(), granted.file_id, 1))
        orders = self.carry_out()
        self.assertEqual({o.node for o in orders if o.index == 0}, {1, 2, 3, 4, 5})
        self.assertEqual(self.left(), [])

    def test_a_write_that_ends_after_its_file(self) -> None:
        """S15: nodes that made a chunk durable after its upload had ended, and after they had reported to hold nothing,
        are ordered to delete again while the record is there."""
        granted = self.bench.create("a", 1)
        (first,) = granted.placements
        self.bench.do(commands.AbortUpload(self.bench.operation(), granted.file_id, 1))
        freed = commands.CollectGarbage(granted.file_id, (commands.Freed(0, 1),))
        self.assertFalse(self.bench.do(freed).finished)
        late = self.bench.written(granted.file_id, 0, first.generation, (1, 2))
        outcomes = self.bench.do(commands.CommitChunks((late,))).outcomes
        self.assertEqual(outcomes, (CommitOutcome.GONE,))
        self.assertEqual({order.node for order in self.carry_out()}, {1, 2, 3})
        self.assertEqual(self.left(), [])

    def test_empty_file(self) -> None:
        """Garbage without any chunk is forgotten by one command."""
        granted = self.bench.create("a", 0)
        self.bench.finish(granted.file_id, 1, 0)
        self.delete("a")
        self.carry_out(turns=3)
        self.assertEqual(self.left(), [])

    def test_living_files_are_left_alone(self) -> None:
        """No order touches a living file, even if its collection is proposed by mistake."""
        info = self.bench.store_file("a", 2)
        before = self.left()
        self.collector.ended(info.file_id)
        self.assertEqual(self.carry_out(), [])
        with self.assertRaises(BadRequest):
            self.bench.do(commands.CollectGarbage(info.file_id, (commands.Freed(0, 1),)))
        self.assertEqual(self.left(), before)
        self.assertEqual(self.collector.busy(), 0)

    def test_dead_node(self) -> None:
        """A dead node's part is kept on the record, and deleted after it came back, by the sweep."""
        self.bench.store_file("a", 3)
        self.delete("a")
        self.carry_out(reachable=(1, 2))
        chunk = queries.chunk(self.bench.machine.store, 1 << 48 | 1, 0)
        assert chunk is not None
        self.assertEqual(chunk.nodes, (3,))
        self.assertEqual(self.carry_out(1.0), [])
        orders = self.carry_out(SWEEP_SECONDS + 1)
        self.assertEqual({order.node for order in orders}, {3})
        self.assertEqual(self.left(), [])

    def test_lost_results(self) -> None:
        """An order without a result is given up after its deadline and repeated by a sweep (S12)."""
        self.bench.store_file("a", 1)
        self.delete("a")
        self.assertEqual(len(self.turn()), 3)
        self.turn(ORDER_SECONDS)
        self.assertEqual(self.collector.busy(), 0)
        orders = self.carry_out(ORDER_SECONDS + SWEEP_SECONDS + 1)
        self.assertEqual(len(orders), 3)
        self.assertEqual(self.left(), [])

    def test_orders_are_bounded(self) -> None:
        """No node has more orders outstanding than its limit; the rest follows."""
        for name in "abc":
            self.bench.store_file(name, 60)
            self.delete(name)
        orders = self.turn()
        busiest = max(sum(order.node == node for order in orders) for node in ALL)
        self.assertEqual(busiest, ORDERS_PER_NODE)
        for order in orders:
            self.collector.result(order.job, True)
        self.assertEqual(len(orders) + len(self.carry_out()), 540)
        self.assertEqual(self.left(), [])

    def test_failed_order(self) -> None:
        """A refused order leaves its node on the record until a later pass."""
        self.bench.store_file("a", 1)
        self.delete("a")
        for order in self.turn():
            self.collector.result(order.job, order.node != 2)
        self.propose()
        chunk = queries.chunk(self.bench.machine.store, 1 << 48 | 1, 0)
        assert chunk is not None
        self.assertEqual(chunk.nodes, (2,))
        self.assertEqual(len(self.carry_out(SWEEP_SECONDS + 1)), 1)

    def test_unknown_result(self) -> None:
        """A result of a former leadership's order is nobody's."""
        self.collector.result(12345, True)
        self.assertEqual(self.collector.commands(), [])

    def test_quiet(self) -> None:
        """Without garbage it reads one short page a sweep."""
        for now in range(int(3 * SWEEP_SECONDS)):
            self.turn(float(now))
        self.assertEqual(self.requests, 3)

    def test_event_is_enough(self) -> None:
        """A file that ended is taken up at once, without waiting for the sweep."""
        self.turn()
        self.bench.store_file("a", 1)
        self.delete("a")
        self.collector.ended(1 << 48 | 1)
        self.assertEqual(len(self.turn(1.0)), 3)
