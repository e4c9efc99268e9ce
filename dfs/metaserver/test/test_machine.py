"""The state machine as a whole: transactions, time, order, hash."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from dfs.kv.errors import StoreCorrupt
from dfs.kv.interfaces import Batch, scan_all
from dfs.kv.memory import MemoryStore
from dfs.metaserver import commands, tables
from dfs.metaserver.answers import decode_answer
from dfs.metaserver.machine import MAX_STEP_MS, MetadataMachine, new_head
from dfs.metaserver.records import head_codec
from dfs.metaserver.snapshotting import MemoryFolder
from dfs.metaserver.statehash import EMPTY, updated
from dfs.metaserver.test.bench import CHUNK, CLUSTER, Bench
from dfs.metaserver.transaction import FileEnded, NodeChanged, ShortChunk, UploadBegan
from dfs.protocol.errors import BadRequest
from dfs.raft.errors import WrongCluster
from dfs.raft.interfaces import Command, IStateMachine, SnapshotMark


class MachineTests(SynchronousTestCase):
    """Apply, applied, time and the hash."""

    def setUp(self) -> None:
        self.bench = Bench()
        self.bench.nodes(3)

    def test_interfaces(self) -> None:
        """It provides what consensus asks of a state machine."""
        self.assertTrue(verifyObject(IStateMachine, self.bench.machine))

    def test_whole_life(self) -> None:
        """A file is created, written, committed, described and deleted."""
        info = self.bench.store_file("a", 2)
        self.assertEqual((info.name, info.size, info.count), ("a", 2 * CHUNK, 2))
        head = self.bench.machine.head
        self.assertEqual((head.files, head.file_bytes, head.uploads, head.chunks), (1, 2 * CHUNK, 0, 2))
        deleted = self.bench.do(commands.DeleteFile(self.bench.operation(), "a", None))
        self.assertEqual(deleted.file_id, info.file_id)
        head = self.bench.machine.head
        self.assertEqual((head.files, head.file_bytes, head.garbage), (0, 0, 1))

    def test_applied_is_in_the_same_batch(self) -> None:
        """The applied index changes in the one batch that changes the tables (R33)."""
        batches: list[Batch] = []

        class Recording(MemoryStore):
            def apply(self, batch: Batch) -> None:
                batches.append(batch)
                super().apply(batch)

        bench = Bench(Recording)
        bench.machine.apply([bench.entry(commands.AdvanceTime()), bench.entry(None), bench.entry(None)])
        self.assertEqual(len(batches), 1)
        raw = batches[0].changes[tables.HEAD]
        assert raw is not None
        self.assertEqual(head_codec.decode(raw).index, 3)
        self.assertEqual(bench.machine.applied(), SnapshotMark(3, 1))

    def test_empty_entry(self) -> None:
        """A leader's no-op changes the applied index only."""
        before = self.bench.machine.head
        self.assertEqual(self.bench.raw(None), b"")
        after = self.bench.machine.head
        self.assertEqual((after.index, after.hash), (before.index + 1, before.hash))

    def test_older_entry(self) -> None:
        """Applied never goes back (R39)."""
        with self.assertRaises(StoreCorrupt):
            self.bench.machine.apply([Command(1, 1, b"")])

    def test_reopened(self) -> None:
        """A machine over the same tables goes on where the former ended, with the same hash."""
        self.bench.store_file("a")
        again = MetadataMachine(self.bench.folder, CLUSTER)
        self.assertEqual(again.applied(), self.bench.machine.applied())
        self.assertEqual(again.state_hash(), self.bench.machine.state_hash())
        self.assertEqual(again.durable_index(), again.applied().index)

    def test_another_cluster(self) -> None:
        """Tables of another cluster are refused (R35)."""
        with self.assertRaises(WrongCluster):
            MetadataMachine(self.bench.folder, b"x" * 16)

    def test_time_never_goes_back_nor_jumps(self) -> None:
        """A proposer with a wild clock moves cluster time by at most one step, and never back (S34)."""
        before = self.bench.machine.head.time_ms
        self.bench.time_ms = 10**15
        self.bench.do(commands.AdvanceTime())
        self.assertEqual(self.bench.machine.head.time_ms, before + MAX_STEP_MS)
        self.bench.time_ms = 1
        self.bench.do(commands.AdvanceTime())
        self.assertEqual(self.bench.machine.head.time_ms, before + MAX_STEP_MS)

    def test_hash_is_that_of_the_tables(self) -> None:
        """The running hash equals one computed from nothing over every record (S38)."""
        self.bench.store_file("a", 3)
        self.bench.do(commands.DeleteFile(self.bench.operation(), "a", None))
        self.bench.store_file("b", 1)
        records: dict[bytes, bytes | None] = {
            key: value for key, value in scan_all(self.bench.machine.store, b"") if key != tables.HEAD
        }
        self.assertEqual(updated(EMPTY, dict.fromkeys(records), records), self.bench.machine.head.hash)

    def test_hash_sees_one_bit(self) -> None:
        """One flipped bit in one record, or in the head, is another hash (S38)."""
        self.bench.store_file("a")
        key, value = self.bench.machine.store.scan(b"C", b"D")[0]
        flipped = bytes([value[0], value[1] ^ 1]) + value[2:]
        self.assertNotEqual(updated(EMPTY, {key: None}, {key: value}), updated(EMPTY, {key: None}, {key: flipped}))
        other = MetadataMachine(MemoryFolder(MemoryStore), CLUSTER)
        fresh = other.state_hash()
        other.apply([Command(2, 1, b"")])
        self.assertNotEqual(other.state_hash(), fresh)

    def test_refused_command_leaves_nothing(self) -> None:
        """A command that fails half way is undone to the last record."""
        granted = self.bench.create("a", 1)
        before = dict(scan_all(self.bench.machine.store, b""))
        with self.assertRaises(BadRequest):
            self.bench.do(commands.AllocateChunks(granted.file_id, 1, 2**32 - 2, ((1, 2, 3),)))
        answer = self.bench.raw(commands.AllocateChunks(granted.file_id, 1, 1, ((1, 2, 3), (9,))))
        self.assertEqual(answer[0], 0)
        after = dict(scan_all(self.bench.machine.store, b""))
        del before[tables.HEAD], after[tables.HEAD]
        self.assertEqual(after, before)
        self.assertEqual(self.bench.machine.head.generation, 1)

    def test_malformed_entry(self) -> None:
        """A malformed entry is answered, alike on every replica, and the next one is applied."""
        payload = commands.encode_command(1, commands.NodeDied(1))[:-1]
        with self.assertRaises(BadRequest):
            decode_answer(self.bench.machine.apply([Command(9, 1, payload)])[0])
        self.assertEqual(self.bench.machine.applied().index, 9)

    def test_newer_entry_stops_the_node(self) -> None:
        """What a newer version wrote is not skipped, for that would be to diverge (S39)."""
        payload = bytearray(commands.encode_command(1, commands.NodeDied(1)))
        payload[9] = 2
        for newer in (bytes(payload), b"\xfe" + bytes(20)):
            with self.assertRaises(commands.NotUnderstood):
                self.bench.machine.apply([Command(9, 1, newer)])
        self.assertEqual(self.bench.machine.applied().index, 3)

    def test_events(self) -> None:
        """The leader's planner hears of nodes, uploads, short chunks and ended files, once."""
        self.assertEqual(self.bench.machine.take_events(), ((NodeChanged(1), NodeChanged(2), NodeChanged(3)), False))
        granted = self.bench.create("a", 1)
        self.bench.write(granted, granted.placements[0], (1, 2))
        self.bench.do(commands.DeleteFile(self.bench.operation(), None, granted.file_id))
        events = (UploadBegan(granted.file_id, 1), ShortChunk(granted.file_id, 0), FileEnded(granted.file_id))
        self.assertEqual(self.bench.machine.take_events(), (events, False))
        self.assertEqual(self.bench.machine.take_events(), ((), False))

    def test_first_file_id(self) -> None:
        """No file id is 0; the incarnation is in its upper 16 bits."""
        self.assertEqual(self.bench.create("a").file_id, 1 << 48 | 1)
        self.assertEqual(new_head(CLUSTER).incarnation, 1)

    def test_ids_never_return_after_a_restore(self) -> None:
        """A raised incarnation issues ids that the former history never issued; it is never lowered."""
        self.bench.create("a")
        self.bench.do(commands.RaiseIncarnation(7))
        self.assertEqual(self.bench.create("b").file_id, 7 << 48 | 1)
        self.assertEqual(self.bench.do(commands.RaiseIncarnation(3)).count, 0)
        self.assertEqual(self.bench.create("c").file_id, 7 << 48 | 2)
