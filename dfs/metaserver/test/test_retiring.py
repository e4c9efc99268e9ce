"""A surplus replica is struck off only while what stays is what was read, and never returns under its number."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase

from dfs.metaserver import commands, queries
from dfs.metaserver import commands_moving as moving
from dfs.metaserver.answers import Retired
from dfs.metaserver.machine import MAX_STEP_MS
from dfs.metaserver.retiring import KEEP_MS
from dfs.metaserver.test.bench import Bench
from dfs.protocol.messages import ChunkCommit, DurableReplica
from dfs.protocol.values import FileId, Generation, NodeNumber


class RetiringCase(SynchronousTestCase):
    """One chunk with four replicas on nodes 1 to 4, three of them wanted."""

    def setUp(self) -> None:
        self.bench = Bench()
        self.bench.nodes(5)
        info = self.bench.store_file("a", 1, (1, 2, 3))
        self.file_id: int = info.file_id
        self.add(4)

    @property
    def chunk(self) -> queries.ChunkCopies:
        found = queries.copies(self.bench.machine.store, self.file_id, 0)
        assert found is not None
        return found

    def add(self, node: int, number: int = 0) -> None:
        """The node has a copy, under this or the next number."""
        chunk = self.chunk
        self.bench.numbers[node] = number or self.bench.numbers.get(node, 0) + 1
        durable = (DurableReplica(NodeNumber(node), self.bench.numbers[node]),)
        generation = Generation(chunk.generation)
        item = ChunkCommit(FileId(self.file_id), 0, generation, chunk.length, chunk.sha256, durable)
        self.bench.do(commands.AddReplicas((item,)))

    def number(self, node: int) -> int:
        record = queries.replica(self.bench.machine.store, node, self.file_id, 0)
        return 0 if record is None else record.number

    def retirement(self, node: int, survivors: Sequence[int], number: int = 0) -> moving.Retirement:
        durable = tuple(DurableReplica(NodeNumber(each), self.number(each)) for each in survivors)
        return moving.Retirement(
            self.file_id, 0, self.chunk.generation, node, number or self.number(node), durable
        )

    def retire(self, *retirements: moving.Retirement) -> tuple[int, ...]:
        answer = self.bench.do(moving.RetireReplicas(retirements))
        assert isinstance(answer, Retired)
        return answer.taken


class RetiringTests(RetiringCase):
    """What may be struck off."""

    def test_surplus(self) -> None:
        """With three others read and recorded, the fourth is struck off; the entry is its evidence (S16)."""
        self.assertEqual(self.retire(self.retirement(4, (1, 2, 3))), (0,))
        self.assertEqual((self.chunk.nodes, self.chunk.retired), ((1, 2, 3), (4,)))
        record = queries.retired(self.bench.machine.store, 4, self.file_id, 0)
        assert record is not None
        self.assertEqual((record.evidence, record.number), (self.bench.index, 1))

    def test_two_movers(self) -> None:
        """Two movers that each picked another replica: the second is refused, for its survivor is gone (S16)."""
        one, two = self.retirement(4, (1, 2, 3)), self.retirement(3, (1, 2, 4))
        self.assertEqual(self.retire(one, two), (0,))
        self.assertEqual(self.retire(two), ())
        self.assertEqual(self.chunk.nodes, (1, 2, 3))

    def test_survivors_are_counted(self) -> None:
        """Fewer survivors than wanted, one named twice, or the replica itself among them: refused (S16)."""
        good, own = self.retirement(4, (1, 2, 3)).survivors, self.retirement(4, (4,)).survivors
        for survivors in ((), good[:2], (good[0], good[0], good[1]), good[:2] + own):
            item = moving.Retirement(self.file_id, 0, self.chunk.generation, 4, self.number(4), survivors)
            self.assertEqual(self.retire(item), ())

    def test_survivor_was_made_anew(self) -> None:
        """A survivor that is recorded under another number than was read has not been read (S16)."""
        item = self.retirement(4, (1, 2, 3))
        self.add(2, 9)
        self.assertEqual(self.retire(item), ())

    def test_survivor_is_dead_or_leaves(self) -> None:
        """A survivor whose node died or is drained does not count (S16, S18)."""
        for command in (commands.NodeDied(2), moving.DrainNode(3)):
            self.bench.do(command)
            self.assertEqual(self.retire(self.retirement(4, (1, 2, 3))), ())

    def test_made_anew(self) -> None:
        """A replica that was made again since is not the one that was meant (S17)."""
        item = self.retirement(4, (1, 2, 3))
        self.add(4)
        self.assertEqual(self.retire(item), ())

    def test_never_returns_under_its_number(self) -> None:
        """Until the order is carried out inventories still name the retired replica: it is not recorded again; under a
        new number it is (S17)."""
        number = self.number(4)
        self.retire(self.retirement(4, (1, 2, 3)))
        self.add(4, number)
        self.assertEqual(self.chunk.nodes, (1, 2, 3))
        self.add(4, number + 1)
        self.assertEqual((self.chunk.nodes, self.chunk.retired), ((1, 2, 3, 4), ()))

    def test_carried_out(self) -> None:
        """When the node has carried the order out nothing is left to tell it; an older report changes nothing."""
        number = self.number(4)
        self.retire(self.retirement(4, (1, 2, 3)))
        self.assertEqual(self.bench.do(moving.TrimmedReplicas((moving.Trimmed(4, self.file_id, 0, 77),))).count, 0)
        trimmed = moving.TrimmedReplicas((moving.Trimmed(4, self.file_id, 0, number),))
        self.assertEqual([self.bench.do(trimmed).count for _ in range(2)], [1, 0])
        self.assertEqual(self.chunk.retired, ())
        record = queries.chunk(self.bench.machine.store, self.file_id, 0)
        assert record is not None
        self.assertEqual(record.tried, ())

    def test_old_inventory_after_the_report(self) -> None:
        """A page of an inventory that was taken before the order was carried out arrives after the report: it does not
        bring the replica back, for as long as such a page may be on its way (S06, S17)."""
        number = self.number(4)
        trimmed = moving.TrimmedReplicas((moving.Trimmed(4, self.file_id, 0, number),))
        self.retire(self.retirement(4, (1, 2, 3)))
        self.bench.do(trimmed)
        self.add(4, number)
        self.assertEqual(self.chunk.nodes, (1, 2, 3))
        for _ in range(KEEP_MS // MAX_STEP_MS + 1):
            self.bench.time_ms += MAX_STEP_MS
            self.bench.do(commands.AdvanceTime())
        self.assertEqual([self.bench.do(trimmed).count for _ in range(2)], [1, 0])
        self.assertEqual(queries.retired_page(self.bench.machine.store), [])

    def test_ended_file(self) -> None:
        """Of a file that has ended nothing is struck off; what was, is told with the rest of its garbage (S15)."""
        self.retire(self.retirement(4, (1, 2, 3)))
        chunk = self.chunk
        self.bench.do(commands.DeleteFile(self.bench.operation(), "a", None))
        item = moving.Retirement(self.file_id, 0, chunk.generation, 3, self.number(3), ())
        self.assertEqual(self.retire(item), ())
        record = queries.chunk(self.bench.machine.store, self.file_id, 0)
        assert record is not None
        self.assertEqual(set(record.nodes + record.tried), {1, 2, 3, 4})
        freed = tuple(commands.Freed(0, node) for node in (1, 2, 3, 4))
        self.bench.do(commands.CollectGarbage(self.file_id, freed))
        self.assertEqual(queries.retired_page(self.bench.machine.store), [])
        self.assertEqual(self.bench.machine.head.garbage, 0)
