"""The cost of an operation does not grow with what is stored (S37)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from dfs.kv.interfaces import Batch
from dfs.kv.memory import MemoryStore
from dfs.metaserver import commands, queries
from dfs.metaserver.records import UploadRecord, upload_codec
from dfs.metaserver.tables import upload_key
from dfs.metaserver.test.bench import CHUNK, Bench

LARGE = 262_144  # chunks of a file of 1 TiB


class Counting(MemoryStore):
    """Counts what a store is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.gets = self.scans = self.changed = self.bytes = 0

    def get(self, key: bytes) -> bytes | None:
        self.gets += 1
        return super().get(key)

    def scan(
        self, start: bytes, end: bytes | None = None, limit: int = 1000, reverse: bool = False
    ) -> list[tuple[bytes, bytes]]:
        self.scans += 1
        return super().scan(start, end, limit, reverse)

    def apply(self, batch: Batch) -> None:
        self.changed += len(batch.changes)
        self.bytes += sum(len(value or b"") for value in batch.changes.values())
        super().apply(batch)

    def taken(self) -> tuple[int, int, int, int]:
        """(gets, scans, changed keys, bytes written) since the last call."""
        counts = self.gets, self.scans, self.changed, self.bytes
        self.gets = self.scans = self.changed = self.bytes = 0
        return counts


class ScaleTests(SynchronousTestCase):
    """Counted in store operations, not in seconds."""

    def setUp(self) -> None:
        self.bench = Bench(Counting)
        self.bench.nodes(3)
        store = self.bench.machine.store
        assert isinstance(store, Counting)
        self.store = store

    def commit_next(self, file_id: int, index: int) -> tuple[int, int, int, int]:
        (placement,) = self.bench.allocate(file_id, 1, index, 1)
        written = self.bench.written(file_id, index, placement.generation)
        entry = self.bench.entry(commands.CommitChunks((written,)))
        self.store.taken()
        self.bench.machine.apply([entry])
        return self.store.taken()

    def test_commit_of_the_last_chunk_of_a_tebibyte(self) -> None:
        """Committing a chunk of a file with 262,144 chunks costs the store exactly what the second chunk costs."""
        granted = self.bench.create("a", 0)
        self.commit_next(granted.file_id, 0)
        second = self.commit_next(granted.file_id, 1)
        batch = Batch()  # the upload as it is when all but the last are committed; its chunks are not looked at
        record = queries.upload(self.store, granted.file_id)
        assert record is not None
        grown = UploadRecord("a", None, CHUNK, 3, 2, 1, LARGE - 1, (LARGE - 1) * CHUNK, LARGE - 1, 0, 0)
        batch.put(upload_key(granted.file_id), upload_codec.encode(grown))
        self.store.apply(batch)
        last = self.commit_next(granted.file_id, LARGE - 1)
        self.assertEqual(last, second)
        gets, scans, changed, length = last
        self.assertLessEqual((gets, scans, changed), (12, 0, 9))
        self.assertLess(length, 1_000)

    def test_real_file_of_many_chunks(self) -> None:
        """A commit costs the same over 4,096 chunks that are really there; CommitFile looks at the last one."""
        granted = self.bench.create("a", 0)
        costs = set()
        for first in range(0, 4096, 64):
            placements = self.bench.allocate(granted.file_id, 1, first, 64)
            written = [self.bench.written(granted.file_id, p.index, p.generation) for p in placements]
            entry = self.bench.entry(commands.CommitChunks(tuple(written)))
            self.store.taken()
            self.bench.machine.apply([entry])
            costs.add(self.store.taken())
        self.assertEqual(len(costs), 1)
        self.bench.finish(granted.file_id, 1, 4096)
        gets, scans, changed, _ = self.store.taken()
        self.assertLessEqual((gets, scans), (8, 0))
        self.assertLessEqual(changed, 10)

    def test_delete_moves_one_record(self) -> None:
        """Deleting a file of 640 chunks writes what deleting a file of one chunk writes."""
        self.bench.store_file("small")
        granted = self.bench.create("large", 0)
        for first in range(0, 640, 64):
            for placement in self.bench.allocate(granted.file_id, 1, first, 64):
                self.bench.write(granted, placement)
        self.bench.finish(granted.file_id, 1, 640)
        costs = []
        for name in ("small", "large"):
            self.store.taken()
            self.bench.do(commands.DeleteFile(self.bench.operation(), name, None))
            costs.append(self.store.taken()[:3])
        self.assertEqual(costs[0], costs[1])
        self.assertEqual(costs[0][1], 0)

    def test_list_page(self) -> None:
        """A page costs one scan and one get a file, wherever it lies."""
        for number in range(3000):
            granted = self.bench.create(f"d/{number:05}", 0)
            self.bench.finish(granted.file_id, 1, 0)
        costs = []
        for token in (b"", b"d/00500", b"d/02500"):
            self.store.taken()
            queries.list_files(self.store, "d/", token, 100)
            costs.append(self.store.taken())
        self.assertEqual(costs, [(100, 1, 0, 0)] * 3)
