"""Berkeley DB (libdb 5.3 through ``berkeleydb``) as the store for production.

A private transactional environment in the store's folder: one process, one thread at a
time, hence no lock region.  Our own lock is taken before it is opened, always with
recovery.  A batch is one transaction committed without a sync; :meth:`BerkeleyStore.sync`
flushes the engine's log; checkpoints now and then, each followed by the removal of log files,
bound both the disk (220,000 puts left 114 MiB of logs without) and the next recovery.
Log files are removed by us, once the files and names that replace them are durable; the
engine's automatic removal comes before that.

Guards against silence: pages carry the engine's checksums, each value carries our
CRC-32C over key and value (R31), and :mod:`dfs.kv.witness` sees a failed fsync that the
engine retried and syncs the names of its files, which the engine does not.  What remains:
with damage in its log, recovery ends there, returns success and prints nothing.  The batches
that are left are a prefix; the applied index is stored in the same transactions, so the Raft
log is replayed from there.

==========  =====  ======================================================================
record      bytes  layout
==========  =====  ======================================================================
any key     4      CRC-32C of key and value
\\           n      value
empty key   4      CRC-32C of what follows
\\           1      version of the layout, 1
\\           8      how many keys there are, kept in each transaction
==========  =====  ======================================================================

Pages are 4 KiB, the block of the usual file systems: a larger page could be torn by a
power cut, and this log cannot mend a torn page.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from errno import EIO
from itertools import islice
from struct import Struct
from typing import Any

from berkeleydb import db as bdb
from crc32c import crc32c
from zope.interface import implementer

from dfs.disk.errors import DiskError, SyncFailed
from dfs.disk.interfaces import IDisk, IDiskLock
from dfs.kv.engines import CACHE
from dfs.kv.errors import StoreCorrupt
from dfs.kv.guard import Guard, check_batch
from dfs.kv.interfaces import Batch, IKeyValueStore
from dfs.kv.snapshot import Pair, SnapshotSlot, StoreSnapshot
from dfs.kv.witness import SyncWitness

TABLES = "tables.db"
PAGE = 4096
LOG_FILE = 16 << 20
LOG_BUFFER = 1 << 20
CHECKPOINT_EVERY = 32 << 20  # bytes of keys and values
LAYOUT = 1
RUINED = "a page or the log fails its checks, and the engine cannot recover what it held"

_CRC = Struct("!I")
_META = Struct("!BQ")
_META_KEY = b""
_FIRST_KEY = b"\x00"
_ENVIRONMENT = bdb.DB_CREATE | bdb.DB_INIT_MPOOL | bdb.DB_INIT_TXN | bdb.DB_INIT_LOG | bdb.DB_PRIVATE | bdb.DB_RECOVER

_OPEN: set[BerkeleyStore] = set()
"""Stores that were not closed in order, kept until the process ends, which is soon after a failure.

To close the engine after a failure, or to let Python close it with its last reference, writes its pages, also those
whose log records never reached the disk: no recovery would get over them.  So it is left as a crash leaves it."""


def seal(key: bytes, value: bytes) -> bytes:
    """What is stored for a value."""
    return _CRC.pack(crc32c(value, crc32c(key))) + value


def unseal(key: bytes, stored: bytes) -> bytes:
    """The value; StoreCorrupt where the checksum differs."""
    value = stored[_CRC.size :]
    if len(stored) < _CRC.size or _CRC.pack(crc32c(value, crc32c(key))) != stored[: _CRC.size]:
        raise StoreCorrupt(f"{TABLES}: the record of key {key[:64].hex()} fails its check")
    return value


@implementer(IKeyValueStore)
class BerkeleyStore:
    """See the module.

    :param lock: proof that nobody else has the folder: recovery under a running process would
        destroy it.  Released by :meth:`close`.
    :param cache: bytes of the engine's page cache.
    """

    engine = "berkeleydb"

    def __init__(self, disk: IDisk, folder: str, lock: IDiskLock | None = None, cache: int = CACHE) -> None:
        self._guard = Guard(f"berkeleydb store {folder}", disk, folder)
        self._folder = folder
        self._slot = SnapshotSlot()
        self._lock = lock
        self._logged = 0
        self._log_named = 0
        self._witness = SyncWitness(disk, folder)
        with self._failing():
            disk.make_folders(folder)
            self._settle()
            with _recovering(folder):
                self._environment = _open_environment(folder, cache)
            _OPEN.add(self)
            try:
                with _recovering(folder):
                    self._db = _open_tables(self._environment)
                self._count = self._load_count()
                self._settle()  # what recovery shows is what the caller builds on
            except BaseException:
                self._witness.close()
                raise

    def _settle(self) -> None:
        """Make durable what a killed process left in the page cache (R26).  Recovery takes the log that it reads for
        durable: it writes and syncs pages that count on records which a power cut would take away."""
        self._witness.close()  # recovery may remove a file and make another of its name: nothing is known of it then
        self._witness.watch()
        self._witness.confirm()

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """Turn the first error of the engine or the disk into the store's end."""
        try:
            yield
        except (bdb.DBError, DiskError, StoreCorrupt) as error:
            raise self._guard.fail(error) from error

    def _load_count(self) -> int:
        stored = self._db.get(_META_KEY)
        if stored is not None:
            layout, count = _META.unpack(unseal(_META_KEY, stored))
            if layout != LAYOUT:
                raise StoreCorrupt(f"{TABLES}: layout {layout} is not known to this version")
            return int(count)
        with closing(self._db.cursor()) as cursor:
            if cursor.first() is not None:
                raise StoreCorrupt(f"{TABLES}: the record that counts the keys is gone")
        return 0

    def get(self, key: bytes) -> bytes | None:
        self._guard.check()
        return self._get(key) if key else None

    def _get(self, key: bytes) -> bytes | None:
        try:
            stored = self._db.get(key)
            return None if stored is None else unseal(key, stored)
        except (bdb.DBError, StoreCorrupt) as error:
            raise self._guard.fail(error) from error

    def scan(self, start: bytes, end: bytes | None = None, limit: int = 1000, reverse: bool = False) -> list[Pair]:
        self._guard.check()
        with closing(self._walk_down(start, end) if reverse else self._walk(start, end)) as pairs:
            return list(islice(pairs, max(limit, 0)))

    def _walk(self, start: bytes, end: bytes | None = None) -> Generator[Pair, None, None]:
        with self._failing(), closing(self._db.cursor()) as cursor:
            pair = cursor.set_range(max(start, _FIRST_KEY))
            while pair is not None and (end is None or pair[0] < end):
                yield pair[0], unseal(*pair)
                pair = cursor.next()

    def _walk_down(self, start: bytes, end: bytes | None) -> Generator[Pair, None, None]:
        first = max(start, _FIRST_KEY)
        with self._failing(), closing(self._db.cursor()) as cursor:
            above = None if end is None else cursor.set_range(max(end, _FIRST_KEY))
            pair = cursor.last() if above is None else cursor.prev()
            while pair is not None and pair[0] >= first:
                yield pair[0], unseal(*pair)
                pair = cursor.prev()

    def apply(self, batch: Batch) -> None:
        self._guard.check()
        length = check_batch(batch)
        self._slot.before_change(batch.changes)
        if not batch.changes:
            return
        try:
            self._count = self._commit(batch)
            self._logged += length
            self._name_log()
            if self._logged >= CHECKPOINT_EVERY:
                self._checkpoint()
        except (bdb.DBError, DiskError, StoreCorrupt) as error:
            raise self._guard.fail(error) from error

    def _commit(self, batch: Batch) -> int:
        """One transaction with the count in it; the new count."""
        database, count = self._db, self._count
        transaction = self._environment.txn_begin()
        try:
            for key, value in batch.changes.items():
                existed = batch.stored.get(key)
                if existed is None:
                    existed = database.exists(key, transaction)
                count += (value is not None) - existed
                if value is not None:
                    database.put(key, seal(key, value), transaction)
                elif existed:
                    database.delete(key, transaction)
            if count != self._count or self._count == 0:
                database.put(_META_KEY, seal(_META_KEY, _META.pack(LAYOUT, count)), transaction)
        except BaseException:
            transaction.abort()
            raise
        transaction.commit(bdb.DB_TXN_NOSYNC)
        return count

    def _name_log(self) -> None:
        """Once the engine has begun another log file: make its name durable before pages count on what is in it."""
        number = self._environment.log_stat()["cur_file"]
        if number != self._log_named and f"log.{number:010d}" in self._witness.confirm_names():
            self._log_named = number

    def _checkpoint(self) -> None:
        self._witness.watch()
        with _syncing(self._folder):
            self._environment.log_flush()
        self._witness.confirm_names()  # pages may become durable only after the log that they count on
        with _syncing(self._folder):
            self._environment.txn_checkpoint(0, 0, bdb.DB_FORCE)
        self._witness.confirm()
        self._environment.log_archive(bdb.DB_ARCH_REMOVE)
        self._logged = 0

    def sync(self) -> None:
        self._guard.check()
        with self._failing():
            self._witness.watch()
            with _syncing(self._folder):
                self._environment.log_flush()
            self._witness.confirm()

    def snapshot(self) -> StoreSnapshot:
        self._guard.check()
        return self._slot.open(self._walk, self._get, self._guard.check)

    def count(self) -> int:
        self._guard.check()
        return self._count

    def close(self) -> None:
        if self._guard.is_closed:
            return
        self._slot.close()
        try:
            if self._guard.failure is None:
                with self._failing():
                    self._checkpoint()
                    self._db.close()
                    self._environment.close()
                _OPEN.discard(self)
        finally:
            self._guard.is_closed = True
            self._witness.close()
            if self._lock is not None:
                self._lock.release()


@contextmanager
def _syncing(folder: str) -> Iterator[None]:
    """Tell a sync that failed by its own error; the engine's number for a full disk is another."""
    try:
        yield
    except bdb.DBError as error:
        if error.args and error.args[0] == EIO:
            raise SyncFailed(folder, str(error), EIO) from error
        raise


@contextmanager
def _recovering(folder: str) -> Iterator[None]:
    """Say what it means when the engine gives its recovery up."""
    try:
        yield
    except bdb.DBRunRecoveryError as error:
        raise StoreCorrupt(f"{folder}: {RUINED} ({error})") from error


def _open_environment(folder: str, cache: int) -> Any:
    environment = bdb.DBEnv()
    environment.set_cachesize(cache >> 30, cache & ((1 << 30) - 1), 1)
    environment.set_lg_max(LOG_FILE)
    environment.set_lg_bsize(LOG_BUFFER)
    environment.open(folder, _ENVIRONMENT)
    return environment


def _open_tables(environment: Any) -> Any:
    database = bdb.DB(environment)
    database.set_flags(bdb.DB_CHKSUM)
    database.set_pagesize(PAGE)
    transaction = environment.txn_begin()
    try:
        database.open(TABLES, dbtype=bdb.DB_BTREE, flags=bdb.DB_CREATE, txn=transaction)
    except BaseException:
        transaction.abort()
        raise
    transaction.commit()
    return database
