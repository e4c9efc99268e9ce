"""Tests of the Berkeley DB store.  Skipped, with one reason, where the extra is not installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from dfs.disk.errors import SyncFailed
from dfs.disk.real import RealFile
from dfs.kv.engines import BERKELEYDB, is_installed, open_engine
from dfs.kv.errors import StoreCorrupt, StoreError, StoreFailed
from dfs.kv.interfaces import Batch, IKeyValueStore, scan_all
from dfs.kv.test.batchfile_contract import flip
from dfs.kv.test.contract import StoreContract, after, numbered

SKIP = None if is_installed(BERKELEYDB) else "berkeleydb is not installed"
SMALL_CACHE = 256 << 10

FAILING = """
import os, resource, sys
from dfs.disk.real import RealDisk
from dfs.kv.berkeley import BerkeleyStore
from dfs.kv.errors import StoreError
from dfs.kv.interfaces import Batch
store = BerkeleyStore(RealDisk(), sys.argv[1])
for number in range(20):
    store.apply(Batch({b"%03d" % number: b"x" * 1000}))
store.sync()
resource.setrlimit(resource.RLIMIT_FSIZE, (64 << 10, -1))  # bytes beyond that offset are refused
try:
    for number in range(20, 1000):
        store.apply(Batch({b"%03d" % number: b"x" * 1000}))
    store.sync()
except StoreError:
    print("failed")
store.close()
del store
sys.stdout.flush()
os._exit(0)  # as a daemon ends that cannot go on
"""


def used(path: str) -> int:
    """The length of a file without the zeros at its end."""
    with open(path, "rb") as file:
        return len(file.read().rstrip(b"\x00"))


class BerkeleyStoreTests(StoreContract, SynchronousTestCase):
    """The Berkeley DB store keeps the contract."""

    skip = SKIP

    def setUp(self) -> None:
        super().setUp()
        from dfs.kv import berkeley

        self.patch(berkeley, "LOG_FILE", 1 << 20)  # the engine writes each log file in its full length
        self.patch(berkeley, "LOG_BUFFER", 64 << 10)

    def make(self, folder: str) -> IKeyValueStore:
        return open_engine(BERKELEYDB, self.disk, folder, cache=1 << 20)

    def crashed(self, total: int) -> str:
        """The folder after the process died right after a sync of ``total`` batches: all in the log, no checkpoint."""
        store = self.opened()
        for index in range(1, total + 1):
            store.apply(numbered(index))
        store.sync()
        return self.copied()

    def recovered(self, folder: str) -> int | None:
        """How many batches recovery gives, a prefix always; None if it says that it cannot."""
        try:
            store = self.make(folder)
        except StoreError:
            return None
        try:
            count = int(store.get(b"counter") or b"0")
            self.assertEqual(self.pairs(store), after(count))
            self.assertEqual(store.count(), len(after(count)))
        except StoreError:
            return None
        finally:
            store.close()
        return count

    def test_damaged_log_gives_a_prefix(self) -> None:
        """A bit flipped anywhere in the engine's log costs a suffix of the batches or is an error: never a mixture."""
        folder = self.crashed(40)
        log = "log.0000000001"
        size = used(f"{folder}/{log}")
        results = []
        for offset in range(0, size, max(1, size // 60)):
            damaged = self.copied(folder)
            flip(f"{damaged}/{log}", offset, offset % 8)
            results.append(self.recovered(damaged))
            shutil.rmtree(damaged)
        self.assertTrue({result for result in results if result not in (None, 40)}, results)

    def test_cut_log_gives_a_prefix(self) -> None:
        """The engine's log cut at any place, as by a power cut, leaves a prefix."""
        folder = self.crashed(30)
        log = "log.0000000001"
        size = used(f"{folder}/{log}")
        results = []
        for cut in range(size // 2, size, max(1, size // 40)):
            torn = self.copied(folder)
            os.truncate(f"{torn}/{log}", cut)
            results.append(self.recovered(torn))
            shutil.rmtree(torn)
        counts = [result for result in results if result is not None]
        self.assertEqual(counts, sorted(counts))
        self.assertTrue(len(set(counts)) > 5, results)

    def test_damaged_page(self) -> None:
        """A bit flipped in a page is an error when it is read (R31), never an answer."""
        store = self.opened()
        store.apply(Batch({b"key%04d" % i: b"precious" * 8 for i in range(400)}))
        store.close()
        size = os.path.getsize(f"{self.base}/tables.db")
        seen = 0
        for offset in range(100, size, 4096):
            damaged = self.copied()
            flip(f"{damaged}/tables.db", offset, 5)
            try:
                with_damage = self.opened(damaged)
                pairs = self.pairs(with_damage)
            except StoreError:
                seen += 1
            else:
                self.assertEqual(len(pairs), 400)
        self.assertTrue(seen >= 5, seen)

    def test_value_of_another_key(self) -> None:
        """A record whose bytes are whole but belong to another key is seen by our own checksum (R31)."""
        from dfs.kv.berkeley import seal, unseal

        self.assertEqual(unseal(b"key", seal(b"key", b"value")), b"value")
        self.assertRaises(StoreCorrupt, unseal, b"other", seal(b"key", b"value"))
        self.assertRaises(StoreCorrupt, unseal, b"key", b"abc")

    def test_first_error_is_final(self) -> None:
        """After the engine's first error every call is refused."""
        from berkeleydb import db as bdb

        store = self.opened()
        store.apply(Batch({b"a": b"1"}))

        def failing() -> None:
            raise bdb.DBRunRecoveryError(-30973, "made to fail")

        environment, store._environment = store._environment, _Failing(failing)
        self.assertRaises(StoreFailed, store.sync)
        store._environment = environment
        for call in (lambda: store.get(b"a"), lambda: store.scan(b""), lambda: store.apply(Batch()), store.sync):
            self.assertRaises(StoreFailed, call)

    def test_failed_write_of_the_log(self) -> None:
        """A log that could not be written (a full disk) costs nothing that was synced: closing the failed environment
        writes no page whose log records are missing, so the next start recovers (S21, S31)."""
        done = subprocess.run([sys.executable, "-c", FAILING, self.base], capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stdout), (0, "failed\n"), done.stderr)
        store = self.opened()
        self.assertGreaterEqual(store.count(), 20)
        self.assertEqual(store.get(b"019"), b"x" * 1000)

    def test_swallowed_sync_failure(self) -> None:
        """A failed write-back that the engine's retry hides is reported by our own descriptors (S31)."""
        store = self.opened()
        store.apply(Batch({b"a": b"1"}))

        def failing(file: RealFile) -> None:
            raise SyncFailed(file.path, "write-back failed")

        self.patch(RealFile, "sync", failing)
        self.assertRaises(StoreFailed, store.sync)
        self.assertRaises(StoreFailed, store.get, b"a")

    def test_names_are_durable(self) -> None:
        """R26: the engine never syncs its folder, so we do: before a sync returns, and before log files go."""
        from dfs.kv import berkeley

        self.patch(berkeley, "CHECKPOINT_EVERY", 300_000)
        named: set[str] = set()
        sync_folder = self.disk.sync_folder

        def synced(path: str) -> None:
            if path == self.base:
                named.update(os.listdir(path))
            sync_folder(path)

        self.patch(self.disk, "sync_folder", synced)
        store = self.opened()
        for number in range(60):
            store.apply(Batch({b"%03d" % (number % 7): os.urandom(100_000)}))
            if number % 5 == 0:
                store.sync()
                files = {name for name in os.listdir(self.base) if name.startswith("log.")}
                self.assertLessEqual({*files, "tables.db"}, named)
        self.assertNotIn("log.0000000001", files)
        self.assertIn("log.0000000001", named)

    def test_killed_log_is_synced_before_recovery(self) -> None:
        """R26: recovery writes pages from a log that a killed process may have left unsynced; it is synced first."""
        from dfs.kv import berkeley

        events: list[str] = []
        sync, open_environment = RealFile.sync, berkeley._open_environment

        def synced(file: RealFile) -> None:
            events.append(os.path.basename(file.path))
            sync(file)

        def opened(folder: str, cache: int) -> Any:
            events.append("recovery")
            return open_environment(folder, cache)

        def named(path: str) -> None:
            if path == folder:
                events.append("names")

        folder = self.crashed(3)
        self.patch(RealFile, "sync", synced)
        self.patch(self.disk, "sync_folder", named)
        self.patch(berkeley, "_open_environment", opened)
        self.opened(folder)
        files = ["log.0000000001", "tables.db", "names"]
        self.assertEqual(events[:7], [*files, "recovery", *files])  # it may remove files and make new ones

    def test_logs_are_removed(self) -> None:
        """Checkpoints let old log files go: the folder does not grow with what was overwritten."""
        from dfs.kv import berkeley

        self.patch(berkeley, "CHECKPOINT_EVERY", 1 << 20)
        store = self.opened()
        for index in range(200):
            store.apply(Batch({b"%d" % (index % 7): b"x" * 50_000}))
        total = sum(os.path.getsize(os.path.join(self.base, name)) for name in os.listdir(self.base))
        self.assertTrue(total < 6 << 20, total)
        self.assertEqual(store.count(), 7)

    def test_crash_with_pages_written_early(self) -> None:
        """Pages that a small cache wrote before any sync are kept or undone with their log: a prefix, always."""
        store = open_engine(BERKELEYDB, self.disk, self.base, cache=SMALL_CACHE)
        self.stores.append(store)
        for index in range(1, 120):
            store.apply(Batch({b"%03d-%02d" % (index % 30, i): b"%05d" % index * 8 for i in range(60)}))
            if index % 17 == 0:
                found = self.opened(self.copied())
                newest = max((int(value[:5]) for _, value in scan_all(found, b"")), default=0)
                expected = {index % 30: index for index in range(max(newest - 29, 1), newest + 1)}
                groups = {(int(key[:3]), int(value[:5])) for key, value in scan_all(found, b"")}
                self.assertEqual(groups, set(expected.items()))
                self.assertEqual(found.count(), 60 * len(expected))


class _Failing:
    """Stands where the environment was."""

    def __init__(self, call: Any) -> None:
        self.log_flush = call
