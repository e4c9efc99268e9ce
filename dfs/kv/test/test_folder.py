"""Tests of the store's folder: marker, choice of engine, switch, conversion."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from dfs.disk.errors import Locked
from dfs.disk.real import RealDisk
from dfs.kv import convert as conversion
from dfs.kv import folder as folders
from dfs.kv.convert import convert
from dfs.kv.engines import BERKELEYDB, MEMORY, SEMIDBM, is_installed
from dfs.kv.errors import StoreCorrupt, StoreError, WrongStore
from dfs.kv.folder import Marker, StoreFolder, decode_marker
from dfs.kv.interfaces import Batch, scan_all
from dfs.kv.open import chosen_sentence, open_store
from dfs.kv.stream import StreamSummary
from dfs.kv.test.batchfile_contract import flip

OTHER = BERKELEYDB if is_installed(BERKELEYDB) else MEMORY


class StoreFolderTests(SynchronousTestCase):
    """One folder, one engine at a time."""

    def setUp(self) -> None:
        self.path = os.path.abspath(self.mktemp())
        self.disk = RealDisk()

    def fill(self, engine: str = SEMIDBM) -> list[tuple[bytes, bytes]]:
        store = open_store(engine, self.path)
        store.apply(Batch({b"%03d" % i: b"%d" % i * 9 for i in range(200)}))
        pairs = list(scan_all(store, b""))
        store.close()
        return pairs

    def content(self, engine: str = "auto") -> list[tuple[bytes, bytes]]:
        store = open_store(engine, self.path)
        try:
            return list(scan_all(store, b""))
        finally:
            store.close()

    def test_marker(self) -> None:
        """The marker's bytes are fixed; cut anywhere or with any bit flipped it is refused."""
        content = Marker("semidbm", 12).encode()
        self.assertEqual(content, b"dfs-store 1 semidbm 12 9a48395f\n")
        self.assertEqual(decode_marker(content, "STORE"), Marker("semidbm", 12))
        bad = [content[:cut] for cut in range(len(content))]
        for index in range(len(content) * 8):
            damaged = bytearray(content)
            damaged[index // 8] ^= 1 << (index % 8)
            bad.append(bytes(damaged))
        for each in bad:
            self.assertRaises(StoreCorrupt, decode_marker, each, "STORE")

    def test_auto(self) -> None:
        """auto takes what the folder has, else berkeleydb where it is installed, else semidbm, and says so."""
        self.assertIn(BERKELEYDB if is_installed(BERKELEYDB) else SEMIDBM, chosen_sentence("auto", self.path))
        self.patch(folders, "is_installed", lambda engine: False)
        self.assertIn("semidbm, for berkeleydb is not installed", chosen_sentence("auto", self.path))
        store = open_store("auto", self.path)
        self.assertEqual(store.engine, SEMIDBM)
        store.close()
        self.patch(folders, "is_installed", lambda engine: True)
        self.assertEqual(chosen_sentence("auto", self.path), f"Store: semidbm, as {self.path} was made.")
        self.assertEqual(self.content("auto"), [])

    def test_another_engine(self) -> None:
        """A folder of another engine is refused with the command that converts it, and is left alone."""
        pairs = self.fill(SEMIDBM)
        with self.assertRaises(WrongStore) as caught:
            open_store(BERKELEYDB, self.path)
        self.assertIn("dfs store convert --data DIR --to berkeleydb", str(caught.exception))
        self.assertEqual(self.content(), pairs)
        self.assertRaises(WrongStore, open_store, "sqlite", self.path + "-new")

    def test_locked(self) -> None:
        """A folder in use is refused until its store is closed."""
        store = open_store(SEMIDBM, self.path)
        self.assertRaises(Locked, open_store, SEMIDBM, self.path)
        self.assertRaises(Locked, convert, self.path, OTHER)
        store.close()
        self.assertEqual(self.content(), [])

    def test_damaged_marker(self) -> None:
        """A damaged marker is an error, not a new store, and the folder can be tried again."""
        self.fill()
        flip(f"{self.path}/STORE", 20, 1)
        self.assertRaises(StoreCorrupt, open_store, "auto", self.path)
        flip(f"{self.path}/STORE", 20, 1)
        self.assertEqual(len(self.content()), 200)

    def test_switch(self) -> None:
        """A replacement comes into force with the switch; until then, and if it is abandoned, the former stays."""
        pairs = self.fill()
        place = StoreFolder(self.disk, self.path)
        place.open()
        place.begin().apply(Batch({b"lost": b""}))
        place.begin().apply(Batch({b"new": b"1"}))
        shutil.copytree(self.path, self.path + "-crashed")
        self.assertEqual(place.switch().scan(b""), [(b"new", b"1")])
        place.begin().apply(Batch({b"abandoned": b""}))
        place.close()
        self.assertEqual(self.content(), [(b"new", b"1")])
        self.assertEqual(sorted(os.listdir(self.path)), ["LOCK", "STORE", "tables-000002"])
        self.path += "-crashed"
        self.assertEqual(self.content(), pairs)
        self.assertEqual(sorted(os.listdir(self.path)), ["LOCK", "STORE", "tables-000001"])

    def test_order_of_misuse(self) -> None:
        """A switch without a replacement and a replacement without a store are refused."""
        place = StoreFolder(self.disk, self.path)
        self.assertRaises(StoreError, place.begin)
        self.assertRaises(StoreError, place.switch)
        place.close()
        place.close()

    def test_convert(self) -> None:
        """A conversion keeps every pair, there and back."""
        pairs = self.fill(SEMIDBM)
        there = convert(self.path, OTHER)
        self.assertEqual((self.content(OTHER), there.count), (pairs, 200))
        self.assertEqual(convert(self.path, SEMIDBM), there)
        self.assertEqual(self.content(SEMIDBM), pairs)

    def test_nothing_to_convert(self) -> None:
        """An empty folder and a store of that engine are refused in a sentence."""
        self.assertRaises(StoreError, convert, self.path, SEMIDBM)
        self.fill(SEMIDBM)
        self.assertRaises(StoreError, convert, self.path, SEMIDBM)

    def test_copy_that_differs(self) -> None:
        """A copy that reads back differently is never switched to."""
        pairs = self.fill(SEMIDBM)
        self.patch(conversion, "_read_through", lambda store: StreamSummary(200, bytes(32)))
        self.assertRaises(StoreCorrupt, convert, self.path, OTHER)
        self.assertEqual(self.content(SEMIDBM), pairs)

    def test_conversion_that_dies(self) -> None:
        """A conversion that dies at any change of a name on disk leaves the old store or the new one, whole."""
        pairs = self.fill(SEMIDBM)
        original = self.path
        for step in range(1, 40):
            self.path = f"{original}-{step}"
            shutil.copytree(original, self.path)
            disk = DyingDisk(step)
            try:
                convert(self.path, MEMORY, disk)
            except Died:
                self.assertEqual(self.content(), pairs)
            else:
                self.assertEqual(self.content(MEMORY), pairs)
                self.assertTrue(step > 6, step)
                return
        self.fail("the conversion never ended")


class Died(BaseException):
    """The process is gone: nothing handles it."""


class DyingDisk(RealDisk):
    """Dies at the n-th call that changes names, and at every call after."""

    def __init__(self, calls: int) -> None:
        self.calls = calls

    def _count(self, call: Callable[[str], None], path: str) -> None:
        self.calls -= 1
        if self.calls <= 0:
            raise Died
        call(path)

    def rename(self, source: str, target: str) -> None:
        self._count(lambda path: RealDisk.rename(self, path, target), source)

    def sync_folder(self, path: str) -> None:
        self._count(lambda name: RealDisk.sync_folder(self, name), path)

    def remove_tree(self, path: str) -> None:
        self._count(lambda name: RealDisk.remove_tree(self, name), path)

    def make_folders(self, path: str) -> None:
        self._count(lambda name: RealDisk.make_folders(self, name), path)
