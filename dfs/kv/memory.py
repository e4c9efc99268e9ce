"""The store in RAM, on its own for tests and with a file for the simulation.

With a disk every batch is appended to a batch file (:mod:`dfs.kv.batchfile`) and the map
is rebuilt from it on opening, so that a simulated crash of a node's metadata leaves what a
crash of a real engine leaves: a prefix of the batches that holds all synced ones.  A put
costs a few microseconds at 100,000 keys.
"""

from __future__ import annotations

from collections.abc import Generator
from itertools import islice

from zope.interface import implementer

from dfs.disk.errors import DiskError
from dfs.disk.interfaces import IDisk, IDiskLock
from dfs.kv.batchfile import DELETED, BatchFile, change_cost
from dfs.kv.errors import StoreCorrupt
from dfs.kv.guard import Guard, check_batch
from dfs.kv.interfaces import Batch, IKeyValueStore
from dfs.kv.snapshot import Pair, SnapshotSlot, StoreSnapshot
from dfs.kv.sortedkeys import SortedKeys


@implementer(IKeyValueStore)
class MemoryStore:
    """An ordered map in RAM.

    :param disk: where batches are kept; None keeps nothing.
    :param folder: the store's own folder on that disk.
    :param lock: proof that nobody else has the folder; released by :meth:`close`.
    """

    engine = "memory"

    def __init__(self, disk: IDisk | None = None, folder: str = "", lock: IDiskLock | None = None) -> None:
        self._guard = Guard(f"memory store {folder}", disk, folder)
        self._slot = SnapshotSlot()
        self._lock = lock
        self._values: dict[bytes, bytes] = {}
        self._file: BatchFile | None = None
        if disk is not None:
            try:
                self._file = BatchFile(disk, folder)
                self._load(self._file)
            except (DiskError, StoreCorrupt) as error:
                raise self._guard.fail(error) from error
        self._keys = SortedKeys(self._values)

    def _load(self, file: BatchFile) -> None:
        places: dict[bytes, tuple[int, int]] = {}
        for key, offset, length in file.load():
            if length == DELETED:
                places.pop(key, None)
            else:
                places[key] = (offset, length)
        for key, (offset, length) in places.items():
            self._values[key] = file.read(offset, length)
            file.live += change_cost(len(key), length)

    def get(self, key: bytes) -> bytes | None:
        self._guard.check()
        return self._values.get(key)

    def scan(self, start: bytes, end: bytes | None = None, limit: int = 1000, reverse: bool = False) -> list[Pair]:
        self._guard.check()
        values = self._values
        return [(key, values[key]) for key in islice(self._keys.walk(start, end, reverse), max(limit, 0))]

    def apply(self, batch: Batch) -> None:
        self._guard.check()
        check_batch(batch)
        self._slot.before_change(batch.changes)
        if self._file is not None:
            try:
                self._file.append(batch.changes.items())
            except DiskError as error:
                raise self._guard.fail(error) from error
        live = 0
        for key, value in batch.changes.items():
            before = self._values.get(key)
            if before is not None:
                live -= change_cost(len(key), len(before))
            if value is not None:
                live += change_cost(len(key), len(value))
                if before is None:
                    self._keys.add(key)
                self._values[key] = value
            elif before is not None:
                self._keys.remove(key)
                del self._values[key]
        if self._file is not None:
            self._file.live += live
            self._compact(self._file)

    def _compact(self, file: BatchFile) -> None:
        if not file.wants_compaction:
            return
        try:
            for _place in file.rewrite((key, self._values[key]) for key in self._keys.walk(b"")):
                pass
        except DiskError as error:
            raise self._guard.fail(error) from error

    def sync(self) -> None:
        self._guard.check()
        if self._file is not None:
            try:
                self._file.sync()
            except DiskError as error:
                raise self._guard.fail(error) from error

    def snapshot(self) -> StoreSnapshot:
        self._guard.check()
        return self._slot.open(self._walk, self._values.get, self._guard.check)

    def _walk(self, start: bytes) -> Generator[Pair, None, None]:
        for key in self._keys.walk(start):
            yield key, self._values[key]

    def count(self) -> int:
        self._guard.check()
        return len(self._values)

    def close(self) -> None:
        if self._guard.is_closed:
            return
        self._slot.close()
        try:
            if self._file is not None:
                if self._guard.failure is None:
                    self._file.close()
                else:
                    self._file.release()
        except DiskError as error:
            raise self._guard.fail(error) from error
        finally:
            self._guard.is_closed = True
            if self._lock is not None:
                self._lock.release()
