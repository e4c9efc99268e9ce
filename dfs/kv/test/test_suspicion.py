"""What a failed sync leaves in a folder of tables, and when the folder may be opened again."""

from __future__ import annotations

import errno
import os
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from dfs.disk.errors import DiskError, DiskFull, SyncFailed
from dfs.disk.real import RealDisk, RealFile
from dfs.kv.engines import BERKELEYDB, MEMORY, SEMIDBM, is_installed
from dfs.kv.errors import StoreFailed
from dfs.kv.interfaces import Batch, IKeyValueStore
from dfs.kv.open import open_store

ENGINES = (MEMORY, SEMIDBM, *((BERKELEYDB,) if is_installed(BERKELEYDB) else ()))


class SuspicionTests(SynchronousTestCase):
    """Tables on a disk that fails."""

    def folder(self, engine: str) -> str:
        """A store of one pair, closed in order."""
        folder: str = os.path.abspath(self.mktemp())
        store = open_store(engine, folder)
        store.apply(Batch({b"a": b"1"}))
        store.close()
        return folder

    def failing(self, folder: str, method: str, error: DiskError) -> None:
        """A change during which the disk says no."""
        store = open_store("auto", folder)

        def fail(*_: Any) -> None:
            raise error

        patched = self.patch(RealFile, method, fail)
        self.assertRaises(StoreFailed, self.change, store)
        patched.restore()
        store.close()

    def change(self, store: IKeyValueStore) -> None:
        """Durable when it returns."""
        store.apply(Batch({b"a": b"2"}))
        store.sync()

    def read(self, folder: str) -> bytes | None:
        """The pair, after another start."""
        store = open_store("auto", folder)
        try:
            return store.get(b"a")
        finally:
            store.close()

    def test_no_start_before_a_reboot(self) -> None:
        """After a failed sync of the tables no process of the same start of the machine opens them, with any engine: it
        would build on what a power cut takes away (S31, R27); after a reboot what is on the disk counts again."""
        for engine in ENGINES:
            folder = self.folder(engine)
            self.failing(folder, "sync", SyncFailed("data", "no sync"))
            for _ in range(2):
                self.assertIn("reboot", str(self.assertRaises(StoreFailed, open_store, "auto", folder)))
            patched = self.patch(RealDisk, "boot_id", lambda _: "the next start of the machine")
            self.assertIn(self.read(folder), (b"1", b"2"))
            patched.restore()
            self.assertIn(self.read(folder), (b"1", b"2"))

    def test_full_disk(self) -> None:
        """A full disk leaves no such mark: once there is room the node starts again without a reboot (S21)."""
        for engine in (MEMORY, SEMIDBM):
            folder = self.folder(engine)
            self.failing(folder, "pwrite", DiskFull("data", "no space"))
            self.assertEqual(self.read(folder), b"1")

    def test_names(self) -> None:
        """A failed sync of the folder's own names counts as one of the tables does (S31, R27)."""
        folder = self.folder(SEMIDBM)

        def fail(_: RealDisk, path: str) -> None:
            raise SyncFailed(path, "no sync")

        patched = self.patch(RealDisk, "sync_folder", fail)
        self.assertRaises(SyncFailed, open_store, "auto", folder)
        patched.restore()
        self.assertIn("reboot", str(self.assertRaises(StoreFailed, open_store, "auto", folder)))

    def test_engine_tells_them_apart(self) -> None:
        """Berkeley DB's own error of a sync is such a failure, its number for a full disk is not (S21, S31, R27)."""
        if not is_installed(BERKELEYDB):
            raise SkipTest("berkeleydb is not installed")
        from berkeleydb import db as bdb

        for error, marked in (
            (bdb.DBError(errno.EIO, "fsync: Input/output error"), True),
            (bdb.DBNoSpaceError(errno.ENOSPC, "write: No space left on device"), False),
        ):
            folder = self.folder(BERKELEYDB)
            store: Any = open_store(BERKELEYDB, folder)
            environment, store._environment = store._environment, _Failing(error)
            self.assertRaises(StoreFailed, store.sync)
            store._environment = environment
            store.close()
            names = os.listdir(f"{folder}/tables-000001")
            self.assertEqual(any(name.startswith("sync-failed.") for name in names), marked)


class _Failing:
    """An environment that cannot write."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def log_flush(self) -> None:
        raise self._error
