"""The simulated disk keeps the shared contract, and forgets exactly what was not synced."""

from __future__ import annotations

import errno
from collections.abc import Callable
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from dfs.disk.errors import DiskError, DiskFull, Locked, NotFound, SyncFailed
from dfs.disk.test.contract import DiskContract
from dfs.simulation.disk import Costs, SimulatedCrash, SimulatedDisk

SEEDS = 200


class SimulatedDiskContractTests(DiskContract, SynchronousTestCase):
    """The shared contract on a simulated disk."""

    def setUp(self) -> None:
        self.disk = SimulatedDisk()
        self.root = "/data"
        self.disk.make_folders(self.root)


def after_crash(prepare: Callable[[SimulatedDisk], None], path: str = "/d/f") -> set[bytes | None]:
    """What a file may hold after a crash that follows ``prepare(disk)``, over many seeds; None is no file."""
    found: set[bytes | None] = set()
    for seed in range(SEEDS):
        disk = SimulatedDisk()
        disk.make_folders("/d")
        prepare(disk)
        disk.crash(Random(seed))
        found.add(content(disk, path))
    return found


def content(disk: SimulatedDisk, path: str) -> bytes | None:
    if not disk.exists(path):
        return None
    file = disk.open(path)
    return file.pread(file.size(), 0)


def put(disk: SimulatedDisk, path: str, *pieces: bytes, sync: bool = True) -> None:
    """Write pieces one after the other; with ``sync`` bytes and name are durable."""
    file = disk.open(path, create=True)
    offset = 0
    for piece in pieces:
        offset += file.pwrite([piece], offset)
    if sync:
        file.sync()
        disk.sync_folder(path.rpartition("/")[0])
    file.close()


class CrashTests(SynchronousTestCase):
    """What survives a power cut."""

    def test_synced_survives(self) -> None:
        """Bytes and names that were synced are there after any crash."""
        self.assertEqual(after_crash(lambda disk: put(disk, "/d/f", b"abc", b"def")), {b"abcdef"})

    def test_unsynced_bytes_may_be_lost(self) -> None:
        """Of writes not synced any subset survives, in whole or torn; what was synced before stays under them."""

        def prepare(disk: SimulatedDisk) -> None:
            put(disk, "/d/f", b"1111")
            file = disk.open("/d/f")
            file.pwrite([b"22"], 0)
            file.pwrite([b"33"], 2)

        self.assertEqual(after_crash(prepare), {b"1111", b"2211", b"1133", b"2233"})

    def test_unsynced_bytes_are_torn_at_sectors(self) -> None:
        """An unsynced write may survive in part, in sectors of 512 bytes, and the length without the bytes."""
        whole = b"a" * 512 + b"b" * 512 + b"c" * 100

        def prepare(disk: SimulatedDisk) -> None:
            put(disk, "/d/f", b"")
            put(disk, "/d/f", whole, sync=False)

        def sectors(kept: bytes | None) -> str:
            """A letter a sector that came, a dot for one of zeros."""
            assert kept is not None
            self.assertEqual(set(kept) - set(whole), {0} & set(kept))
            pieces = [kept[start : start + 512] for start in range(0, len(kept), 512)]
            for piece, original in zip(pieces, (b"a" * 512, b"b" * 512, b"c" * 100), strict=False):
                self.assertIn(piece, (original, bytes(len(piece))))
            return "".join(chr(piece[0] or ord(".")) for piece in pieces)

        found = {sectors(kept) for kept in after_crash(prepare)}
        self.assertLessEqual({"", "abc", "ab.", "a.c", "...", ".b"}, found)

    def test_unsynced_truncation_may_be_undone(self) -> None:
        """A cut that was not synced may not have happened."""

        def prepare(disk: SimulatedDisk) -> None:
            put(disk, "/d/f", b"abcdef")
            disk.open("/d/f").truncate(2)

        self.assertEqual(after_crash(prepare), {b"abcdef", b"ab"})

    def test_unsynced_name_may_be_lost(self) -> None:
        """A new file whose folder was not synced may be gone, though its bytes were synced (S09)."""

        def prepare(disk: SimulatedDisk) -> None:
            file = disk.open("/d/f", create=True)
            file.pwrite([b"abc"], 0)
            file.sync()

        self.assertEqual(after_crash(prepare), {None, b"abc"})

    def test_unsynced_rename_is_atomic(self) -> None:
        """A rename not synced happened or did not: never both names, never neither."""
        for seed in range(SEEDS):
            disk = SimulatedDisk()
            disk.make_folders("/d")
            put(disk, "/d/old", b"old")
            put(disk, "/d/f", b"new")
            disk.rename("/d/f", "/d/old")
            disk.crash(Random(seed))
            self.assertIn(
                (content(disk, "/d/old"), content(disk, "/d/f")),
                ((b"old", b"new"), (b"new", None)),
            )

    def test_synced_rename_stays(self) -> None:
        """Syncing the target's folder makes a rename durable with the creation that it builds on."""

        def prepare(disk: SimulatedDisk) -> None:
            disk.make_folders("/d/tmp")
            file = disk.open("/d/tmp/f", create=True)
            file.pwrite([b"abc"], 0)
            file.sync()
            disk.rename("/d/tmp/f", "/d/f")
            disk.sync_folder("/d")

        self.assertEqual(after_crash(prepare), {b"abc"})

    def test_unsynced_unlink_may_be_undone(self) -> None:
        """A removed name may be back until its folder is synced."""

        def prepare(disk: SimulatedDisk) -> None:
            put(disk, "/d/f", b"abc")
            disk.unlink("/d/f")

        self.assertEqual(after_crash(prepare), {None, b"abc"})

        def synced(disk: SimulatedDisk) -> None:
            prepare(disk)
            disk.sync_folder("/d")

        self.assertEqual(after_crash(synced), {None})

    def test_made_folders_survive(self) -> None:
        """make_folders syncs what it makes."""

        def prepare(disk: SimulatedDisk) -> None:
            disk.make_folders("/d/a/b")
            put(disk, "/d/a/b/f", b"x")

        self.assertEqual(after_crash(prepare, "/d/a/b/f"), {b"x"})

    def test_same_seed_same_crash(self) -> None:
        """The same seed leaves the same bytes, whatever else is still in memory."""

        def run(keep: bool) -> bytes | None:
            disk = SimulatedDisk()
            disk.make_folders("/d")
            gone = disk.open("/d/gone", create=True)
            gone.pwrite([b"x" * 4000], 0)
            disk.unlink("/d/gone")
            handles = [gone] if keep else []
            del gone
            put(disk, "/d/f", b"")
            put(disk, "/d/f", bytes(range(250)) * 40, sync=False)
            disk.crash(Random(5))
            self.assertEqual(len(handles), int(keep))
            return content(disk, "/d/f")

        self.assertEqual(run(True), run(False))

    def test_crash_at_every_step(self) -> None:
        """A write that syncs, renames and syncs the folder leaves the old or the new bytes at each crash (S09)."""
        seen: set[bytes | None] = set()
        steps = 0
        for step in range(1, 20):
            for seed in range(8):
                disk = SimulatedDisk()
                disk.make_folders("/d")
                put(disk, "/d/f", b"old" * 1000)
                disk.crash_at(step)
                try:
                    put(disk, "/d/f.tmp", b"new" * 1000)
                    disk.rename("/d/f.tmp", "/d/f")
                    disk.sync_folder("/d")
                except SimulatedCrash:
                    steps = max(steps, step)
                    disk.crash(Random(seed))
                    seen.add(content(disk, "/d/f"))
                else:
                    disk.crash(Random(seed))
                    self.assertEqual(content(disk, "/d/f"), b"new" * 1000)
        self.assertEqual(seen, {b"old" * 1000, b"new" * 1000})
        self.assertEqual(steps, 6)

    def test_nothing_happens_after_the_crash_point(self) -> None:
        """From the planned operation on every operation crashes, until the disk is started again."""
        disk = SimulatedDisk()
        disk.make_folders("/d")
        file = disk.open("/d/f", create=True)
        disk.crash_at(1)
        self.assertRaises(SimulatedCrash, file.pwrite, [b"x"], 0)
        self.assertRaises(SimulatedCrash, disk.unlink, "/d/f")
        disk.crash(Random(1))
        self.assertRaises(SimulatedCrash, file.pwrite, [b"x"], 0)
        put(disk, "/d/g", b"fine")

    def test_locks_end_with_the_process(self) -> None:
        """A crash and a killed process free the locks; only the crash loses bytes."""
        disk = SimulatedDisk()
        disk.make_folders("/d")
        old = disk.lock("/d/lock")
        put(disk, "/d/f", b"written", sync=False)
        disk.end_process()
        new = disk.lock("/d/lock")
        old.release()
        self.assertRaises(Locked, disk.lock, "/d/lock")
        self.assertEqual(content(disk, "/d/f"), b"written")
        disk.crash(Random(0))
        self.assertTrue(disk.lock("/d/lock") is not new)


class FaultTests(SynchronousTestCase):
    """What can be told to fail."""

    def setUp(self) -> None:
        self.disk = SimulatedDisk()
        self.disk.make_folders("/d")

    def test_failed_sync_is_final(self) -> None:
        """After a failed sync the file refuses, and what it should have kept is gone after a crash (S31)."""
        put(self.disk, "/d/f", b"....")
        file = self.disk.open("/d/f")
        file.pwrite([b"lost"], 0)
        self.disk.inject("sync", "/d/f")
        self.assertRaises(SyncFailed, file.sync)
        self.assertRaises(SyncFailed, file.sync)
        again = self.disk.open("/d/f")
        again.pwrite([b"kept"], 4)
        again.sync()
        self.assertEqual(content(self.disk, "/d/f"), b"lostkept")
        self.disk.crash(Random(3))
        self.assertEqual(content(self.disk, "/d/f"), b"....kept")

    def test_failed_folder_sync(self) -> None:
        """A failed sync of a folder is SyncFailed and leaves its names in danger."""
        self.disk.open("/d/f", create=True).close()
        self.disk.inject("sync_folder", "/d")
        self.assertRaises(SyncFailed, self.disk.sync_folder, "/d")
        self.disk.sync_folder("/d")

    def test_injected_errors(self) -> None:
        """A fault hits its operation on its paths so many times, with its error."""
        put(self.disk, "/d/f", b"abc")
        put(self.disk, "/d/g", b"abc")
        fault = self.disk.inject("pread", "/d/f", count=None)
        file = self.disk.open("/d/f")
        for _ in range(3):
            self.assertEqual(self.assertRaises(DiskError, file.pread, 1, 0).errno, errno.EIO)
        self.assertEqual(content(self.disk, "/d/g"), b"abc")
        self.disk.recover(fault)
        self.assertEqual(file.pread(1, 0), b"a")
        self.disk.inject("open", error=NotFound, number=errno.ENOENT)
        self.assertRaises(NotFound, self.disk.open, "/d/f")
        self.disk.open("/d/f").close()

    def test_rot_survives_everything(self) -> None:
        """A flipped bit is read without an error and stays over a crash."""
        put(self.disk, "/d/f", b"abc")
        self.disk.flip_bits("/d/f", 1, 0x80)
        self.disk.crash(Random(1))
        self.assertEqual(content(self.disk, "/d/f"), b"a\xe2c")

    def test_full(self) -> None:
        """Beyond the capacity writing and reserving is DiskFull; removing gives the bytes back (S21)."""
        self.disk.capacity = 1000
        file = self.disk.open("/d/f", create=True)
        file.pwrite([b"x" * 600], 0)
        self.assertRaises(DiskFull, file.allocate, 1001)
        self.assertRaises(DiskFull, file.pwrite, [b"y" * 500], 600)
        self.assertEqual(self.disk.space("/d").free, 0)
        file.truncate(500)
        self.assertEqual(self.disk.space("/d").free, 500)
        other = self.disk.open("/d/g", create=True)
        other.allocate(400)
        self.assertEqual(self.disk.used, 900)
        other.pwrite([b"z" * 400], 0)
        self.assertEqual(self.disk.used, 900)
        self.disk.rename("/d/g", "/d/f")
        self.assertEqual(self.disk.used, 400)
        file.pwrite([b"x" * 600], 0)
        self.assertEqual(self.disk.used, 400)
        self.disk.remove_tree("/d")
        self.assertEqual(self.disk.used, 0)

    def test_used_is_counted_anew_after_a_crash(self) -> None:
        """What a crash gives back or takes away is counted."""
        put(self.disk, "/d/f", b"x" * 1000)
        self.disk.unlink("/d/f")
        for seed in range(10):
            self.disk.crash(Random(seed))
            self.assertEqual(self.disk.used, len(content(self.disk, "/d/f") or b""))

    def test_costs(self) -> None:
        """Operations cost virtual time by kind and length, and a slow disk costs more (S23)."""
        disk = SimulatedDisk(costs=Costs(operation=1.0, sync=10.0, bandwidth=100.0))
        disk.make_folders("/d")
        disk.take_cost()
        file = disk.open("/d/f", create=True)
        self.assertEqual(disk.take_cost(), 1.0)
        file.pwrite([b"x" * 200], 0)
        self.assertEqual(disk.take_cost(), 3.0)
        disk.slowness = 2.0
        file.sync()
        self.assertEqual(disk.take_cost(), 22.0)
        self.assertEqual(disk.take_cost(), 0.0)
