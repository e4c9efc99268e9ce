"""Tests of the semidbm store."""

from __future__ import annotations

import semidbm
from twisted.trial.unittest import SynchronousTestCase

from dfs.kv import semidbm_store
from dfs.kv.errors import StoreCorrupt, StoreFailed
from dfs.kv.interfaces import Batch
from dfs.kv.semidbm_store import SemidbmStore
from dfs.kv.test.batchfile_contract import BatchFileContract, flip
from dfs.kv.test.contract import StoreContract


class SemidbmStoreTests(BatchFileContract, StoreContract, SynchronousTestCase):
    """The semidbm store keeps the contract."""

    def make(self, folder: str) -> SemidbmStore:
        return SemidbmStore(self.disk, folder)

    def test_readable_by_semidbm(self) -> None:
        """The file is one of semidbm's own: it opens it and finds one record a batch."""
        store = self.opened()
        store.apply(Batch({b"a": b"1"}))
        store.apply(Batch({b"b": b"2"}))
        store.sync()
        database = semidbm.open(self.base, "r", verify_checksums=True)
        self.assertEqual([key[:8] for key in database], [b"dfsbatc\x01"] * 2)
        self.assertIn(b"a1", database[min(database)])
        database.close()

    def test_damage_under_an_open_store(self) -> None:
        """A value that changed on disk since is an error when it is read, never an answer (R31)."""
        store = self.opened()
        store.apply(Batch({b"key": b"precious"}))
        with open(f"{self.base}/data", "rb") as file:
            offset = file.read().index(b"precious")
        flip(f"{self.base}/data", offset, 0)
        self.assertRaises(StoreCorrupt, store.get, b"key")
        self.assertRaises(StoreFailed, store.get, b"other")

    def test_cut_under_an_open_store(self) -> None:
        """A file that became shorter is an error when it is read."""
        store = self.opened()
        store.apply(Batch({b"key": b"precious"}))
        with open(f"{self.base}/data", "r+b") as file:
            file.truncate(50)
        self.assertRaises(StoreCorrupt, store.scan, b"")

    def test_warning_above_the_stated_limit(self) -> None:
        """One warning is logged when the keys pass the stated limit."""
        self.patch(semidbm_store, "KEY_LIMIT", 2)
        lines: list[str] = []
        self.patch(semidbm_store._log, "warn", lambda format, **fields: lines.append(format.format(**fields)))
        store = self.opened()
        for key in (b"a", b"b", b"b", b"c", b"d"):
            store.apply(Batch({key: b""}))
        self.assertEqual(len(lines), 1)
        self.assertIn("more than 2 keys", lines[0])
