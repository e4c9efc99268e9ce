"""semidbm as the store that needs no compiler: its file, its index and its checked reads, our batches.

What semidbm 0.5.1 does not do, and how it is done here: no batch is atomic (each batch is one
record of :mod:`dfs.kv.batchfile`); its loader verifies no checksum and stops silently or misreads
after a torn tail (:class:`_BatchLoader` replaces it: everything is verified and the tail is cut
before semidbm opens the file); a short write is not noticed (writes go through
:meth:`IDiskFile.pwrite <dfs.disk.interfaces.IDiskFile.pwrite>`, which writes all or raises);
``compact()`` reuses a left-over folder and syncs no directory (ours writes beside, syncs, renames,
syncs the folder).  What it does: keep the index from key to place, and read values with their
checksum verified each time (R31).

The index is in RAM at about 300 bytes a key: good to about a million keys, a warning above.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from itertools import islice

from semidbm.db import _Renamer, _SemiDBM
from semidbm.exceptions import DBMError
from semidbm.loaders import DBMLoader
from twisted.logger import Logger
from zope.interface import implementer

from dfs.disk.errors import DiskError
from dfs.disk.interfaces import IDisk, IDiskLock
from dfs.kv.batchfile import DELETED, BatchFile, Place, change_cost
from dfs.kv.errors import StoreCorrupt
from dfs.kv.guard import Guard, check_batch
from dfs.kv.interfaces import Batch, IKeyValueStore
from dfs.kv.snapshot import Pair, SnapshotSlot, StoreSnapshot
from dfs.kv.sortedkeys import SortedKeys

KEY_LIMIT = 1_000_000

_log = Logger()


class _BatchLoader(DBMLoader):  # type: ignore[misc]  # semidbm has no types
    """Gives semidbm the places of the single values inside of our batch records."""

    def __init__(self, file: BatchFile) -> None:
        self._file = file

    def iter_keys(self, filename: str) -> Iterator[Place]:
        return self._file.load()


class _BatchDBM(_SemiDBM):  # type: ignore[misc]
    """A semidbm database whose index follows what the batch file writes."""

    _index: dict[bytes, tuple[int, int]]

    def __init__(self, folder: str, file: BatchFile) -> None:
        super().__init__(folder, _Renamer(), _BatchLoader(file), verify_checksums=True)

    def length_of(self, key: bytes) -> int | None:
        """The value's length, or None."""
        place = self._index.get(key)
        return None if place is None else place[1]

    def place(self, place: Place) -> None:
        """Follow one change."""
        key, offset, length = place
        if length == DELETED:
            del self._index[key]
        else:
            self._index[key] = (offset, length)

    def reopen(self, places: list[Place]) -> None:
        """Follow a rewrite: another file lies under the same name now."""
        self.release()
        self._index = {key: (offset, length) for key, offset, length in places}
        self._data_fd = os.open(self._data_filename, os.O_RDONLY | os.O_CLOEXEC)

    def release(self) -> None:
        """Close the descriptor without semidbm's own sync: the batch file did that, or failed."""
        os.close(self._data_fd)


@implementer(IKeyValueStore)
class SemidbmStore:
    """See the module.

    :param disk: a door to real files: semidbm opens the same path itself.
    :param lock: proof that nobody else has the folder; released by :meth:`close`.
    """

    engine = "semidbm"

    def __init__(self, disk: IDisk, folder: str, lock: IDiskLock | None = None) -> None:
        self._guard = Guard(f"semidbm store {folder}", disk, folder)
        self._slot = SnapshotSlot()
        self._lock = lock
        self._folder = folder
        try:
            self._file = BatchFile(disk, folder)
            self._db = _BatchDBM(folder, self._file)
        except (DBMError, KeyError) as error:
            raise self._guard.fail(StoreCorrupt(f"{folder}/data: {error!r}")) from error
        except (DiskError, StoreCorrupt, OSError) as error:
            raise self._guard.fail(error) from error
        self._keys = SortedKeys(self._db)
        self._file.live = sum(change_cost(len(key), length) for key, (_, length) in self._db._index.items())
        self._warned = False
        self._warn()

    def _warn(self) -> None:
        if len(self._keys) > KEY_LIMIT and not self._warned:
            self._warned = True
            _log.warn(
                "{folder}: more than {limit} keys: the semidbm store holds its index in memory; convert it: "
                "dfs store convert --data DIR --to berkeleydb",
                folder=self._folder,
                limit=KEY_LIMIT,
            )

    def get(self, key: bytes) -> bytes | None:
        self._guard.check()
        return self._get(key)

    def _get(self, key: bytes) -> bytes | None:
        return None if self._db.length_of(key) is None else self._read(key)

    def _read(self, key: bytes) -> bytes:
        try:
            value: bytes = self._db[key]
            return value
        except OSError as error:
            raise self._guard.fail(error) from error
        except Exception as error:  # semidbm lets struct.error out where the file is cut
            damage = StoreCorrupt(f"{self._file.path}: offset {self._db._index[key][0]}: a value fails its check")
            raise self._guard.fail(damage) from error

    def scan(self, start: bytes, end: bytes | None = None, limit: int = 1000, reverse: bool = False) -> list[Pair]:
        self._guard.check()
        return [(key, self._read(key)) for key in islice(self._keys.walk(start, end, reverse), max(limit, 0))]

    def apply(self, batch: Batch) -> None:
        self._guard.check()
        check_batch(batch)
        self._slot.before_change(batch.changes)
        lengths = {key: self._db.length_of(key) for key in batch.changes}
        # semidbm's loader trips over the deletion of a key that is not there
        changes = [(k, v) for k, v in batch.changes.items() if v is not None or lengths[k] is not None]
        try:
            places = self._file.append(changes)
            for place in places:
                self._db.place(place)
                self._count(place, lengths[place[0]])
            if self._file.wants_compaction:
                self._compact()
        except (DiskError, OSError) as error:
            raise self._guard.fail(error) from error
        self._warn()

    def _count(self, place: Place, before: int | None) -> None:
        key, _offset, length = place
        if before is not None:
            self._file.live -= change_cost(len(key), before)
        if length == DELETED:
            self._keys.remove(key)
            return
        self._file.live += change_cost(len(key), length)
        if before is None:
            self._keys.add(key)

    def _compact(self) -> None:
        places = list(self._file.rewrite(self._walk(b"")))
        self._db.reopen(places)

    def sync(self) -> None:
        self._guard.check()
        try:
            self._file.sync()
        except DiskError as error:
            raise self._guard.fail(error) from error

    def snapshot(self) -> StoreSnapshot:
        self._guard.check()
        return self._slot.open(self._walk, self._get, self._guard.check)

    def _walk(self, start: bytes) -> Generator[Pair, None, None]:
        for key in self._keys.walk(start):
            yield key, self._read(key)

    def count(self) -> int:
        self._guard.check()
        return len(self._keys)

    def close(self) -> None:
        if self._guard.is_closed:
            return
        self._slot.close()
        try:
            if self._guard.failure is None:
                self._file.close()
            else:
                self._file.release()
            self._db.release()
        except (DiskError, OSError) as error:
            raise self._guard.fail(error) from error
        finally:
            self._guard.is_closed = True
            if self._lock is not None:
                self._lock.release()
