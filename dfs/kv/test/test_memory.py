"""Tests of the store in RAM."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from dfs.kv.interfaces import Batch
from dfs.kv.memory import MemoryStore
from dfs.kv.test.batchfile_contract import BatchFileContract
from dfs.kv.test.contract import StoreContract


class MemoryStoreTests(BatchFileContract, StoreContract, SynchronousTestCase):
    """The memory store with a file keeps the contract."""

    def make(self, folder: str) -> MemoryStore:
        return MemoryStore(self.disk, folder)


class PlainMemoryStoreTests(SynchronousTestCase):
    """The memory store without a disk."""

    def test_keeps_nothing(self) -> None:
        """Without a disk everything works and nothing is kept."""
        store = MemoryStore()
        store.apply(Batch({b"a": b"1"}))
        store.sync()
        self.assertEqual(store.scan(b""), [(b"a", b"1")])
        store.close()
        self.assertIsNone(MemoryStore().get(b"a"))
