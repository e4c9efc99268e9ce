"""What both stores that live in a batch file promise about that file."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from typing import Any

from dfs.disk.errors import DiskError, DiskFull, SyncFailed
from dfs.disk.real import RealFile
from dfs.kv import batchfile
from dfs.kv.errors import StoreCorrupt, StoreFailed
from dfs.kv.interfaces import Batch
from dfs.kv.test.contract import after, numbered


def flip(path: str, offset: int, bit: int) -> None:
    """Flip one bit of a file."""
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes((byte ^ (1 << bit),)))


class BatchFileContract:
    """Mix in before StoreContract."""

    def written(self: Any, synced: int, total: int) -> tuple[str, list[int]]:
        """A folder as a crash leaves it after ``total`` batches of which ``synced`` were synced; where each ends."""
        store = self.opened()
        ends = [os.path.getsize(f"{self.base}/data")]
        for index in range(1, total + 1):
            store.apply(numbered(index))
            ends.append(os.path.getsize(f"{self.base}/data"))
            if index == synced:
                store.sync()
        return self.copied(), ends

    def found(self: Any, folder: str) -> int:
        """How many batches a store opened on the folder has; they must be a prefix."""
        store = self.opened(folder)
        count = int(store.get(b"counter") or b"0")
        self.assertEqual(self.pairs(store), after(count))
        store.close()
        return count

    def test_torn_tail(self: Any) -> None:
        """The last record cut at any byte is dropped whole, and the store goes on after it."""
        folder, ends = self.written(3, 5)
        for cut in range(ends[4], ends[5]):
            torn = self.copied(folder)
            os.truncate(f"{torn}/data", cut)
            self.assertEqual(self.found(torn), 4)
            shutil.rmtree(torn)
        torn = self.copied(folder)
        os.truncate(f"{torn}/data", ends[5] - 1)
        store = self.opened(torn)
        store.apply(numbered(5))
        store.close()
        self.assertEqual(self.found(torn), 5)

    def test_hole_in_the_unsynced_part(self: Any) -> None:
        """A power cut may lose an unsynced record and keep later ones: the prefix before it is what is left."""
        folder, ends = self.written(2, 6)
        for lost in (3, 4, 5, 6):
            holed = self.copied(folder)
            with open(f"{holed}/data", "r+b") as file:
                file.seek(ends[lost - 1])
                file.write(bytes(ends[lost] - ends[lost - 1]))
            self.assertEqual(self.found(holed), lost - 1)

    def test_damage_is_no_torn_tail(self: Any) -> None:
        """Any bit flipped in a synced record that others follow is told as damage, with file and offset (R29)."""
        folder, ends = self.written(2, 3)
        for offset in range(ends[1], ends[2]):
            damaged = self.copied(folder)
            flip(f"{damaged}/data", offset, offset % 8)
            with self.assertRaises(StoreCorrupt) as caught:
                self.opened(damaged)
            self.assertIn(f"{damaged}/data: offset {ends[1]}", str(caught.exception))
            shutil.rmtree(damaged)

    def test_damage_after_a_clean_close(self: Any) -> None:
        """After a clean close damage to the very last batch is seen too."""
        store = self.opened()
        store.apply(numbered(1))
        store.close()
        flip(f"{self.base}/data", 60, 3)
        self.assertRaises(StoreCorrupt, self.opened)

    def test_damaged_header(self: Any) -> None:
        """Another file, an empty one or a damaged header is refused; it is never taken for a new store."""
        self.opened().close()
        for content in (b"", b"SEMI", b"SEMI\x00\x02\x00\x01", b"another file"):
            with open(f"{self.base}/data", "wb") as file:
                file.write(content)
            self.assertRaises(StoreCorrupt, self.opened)

    def test_the_cut_is_durable_before_new_records(self: Any) -> None:
        """The file is synced after its tail was cut and before anything is appended."""
        folder, ends = self.written(2, 4)
        os.truncate(f"{folder}/data", ends[4] - 1)
        events: list[str] = []
        truncate, sync, pwrite = RealFile.truncate, RealFile.sync, RealFile.pwrite

        def truncated(file: RealFile, length: int) -> None:
            events.append("truncate")
            truncate(file, length)

        def synced(file: RealFile) -> None:
            events.append("sync")
            sync(file)

        def written(file: RealFile, pieces: Sequence[bytes | memoryview | bytearray], offset: int) -> int:
            events.append("write")
            return pwrite(file, pieces, offset)

        self.patch(RealFile, "truncate", truncated)
        self.patch(RealFile, "sync", synced)
        self.patch(RealFile, "pwrite", written)
        self.opened(folder).apply(numbered(4))
        self.assertEqual(events, ["truncate", "sync", "write"])

    def test_compaction(self: Any) -> None:
        """A file that is mostly dead is rewritten: it stays small, a crash around it loses nothing, order holds."""
        self.patch(batchfile, "COMPACT_AT", 2000)
        self.patch(batchfile, "REWRITE_PIECE", 300)
        store = self.opened()
        for index in range(1, 300):
            store.apply(numbered(index % 10 + 1))
        self.assertTrue(os.path.getsize(f"{self.base}/data") < 12_000)
        state = self.pairs(store)
        crashed = self.opened(self.copied())
        self.assertEqual(self.pairs(crashed), state)
        store.close()
        store = self.opened()
        self.assertEqual(self.pairs(store), state)
        self.assertEqual(store.scan(b"", reverse=True), state[::-1])

    def test_crash_in_a_compaction(self: Any) -> None:
        """A replacement that was not finished is thrown away at the next opening."""
        folder, _ends = self.written(2, 4)
        with open(f"{folder}/data.new", "wb") as file:
            file.write(b"SEMI half a repl")
        self.assertEqual(self.found(folder), 4)
        self.assertFalse(os.path.exists(f"{folder}/data.new"))

    def test_snapshot_over_a_compaction(self: Any) -> None:
        """A snapshot that is open while the file is rewritten still gives its moment."""
        self.patch(batchfile, "COMPACT_AT", 500)
        store = self.opened()
        for index in range(1, 10):
            store.apply(numbered(index))
        snapshot = store.snapshot()
        seen = snapshot.read(100)
        for index in range(1, 60):
            store.apply(Batch({b"counter": b"x%d" % index, b"k0005-1": b"y" * 50}))
        while pairs := snapshot.read(100):
            seen += pairs
        self.assertEqual(seen, after(9))

    def test_first_failure_is_final(self: Any) -> None:
        """After a write or sync that failed the store refuses everything, though the disk would work again (S31)."""
        for method, error in (("pwrite", DiskFull("data", "no space")), ("sync", SyncFailed("data", "no sync"))):
            self.refuses_all_after(method, error)

    def refuses_all_after(self: Any, method: str, error: DiskError) -> None:
        store = self.opened(self.copied_base())
        store.apply(Batch({b"a": b"1"}))
        original = getattr(RealFile, method)

        def failing(*arguments: Any) -> None:
            raise error

        self.patch(RealFile, method, failing)
        self.assertRaises(StoreFailed, lambda: (store.apply(Batch({b"a": b"2"})), store.sync()))
        self.patch(RealFile, method, original)
        for call in (lambda: store.get(b"a"), lambda: store.scan(b""), lambda: store.apply(Batch()), store.sync):
            self.assertRaises(StoreFailed, call)
        store.close()
