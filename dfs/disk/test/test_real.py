"""The kernel's file system keeps the contract, and its errors come out as ours."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from dfs.disk import real
from dfs.disk.errors import DiskError, DiskFull, Locked, NotFound, ReadOnly, SyncFailed
from dfs.disk.real import ERRORS, RealDisk
from dfs.disk.test.contract import DiskContract

HOLDER = """
import sys
from dfs.disk.real import RealDisk
lock = RealDisk().lock(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


class RealDiskContractTests(DiskContract, SynchronousTestCase):
    """The shared contract on a temporary folder."""

    def setUp(self) -> None:
        self.disk = RealDisk()
        self.root = os.path.abspath(self.mktemp())
        os.makedirs(self.root)


class RealDiskTests(SynchronousTestCase):
    """What only the kernel can show."""

    def setUp(self) -> None:
        self.disk = RealDisk()
        self.root = os.path.abspath(self.mktemp())
        os.makedirs(self.root)

    def test_errors_table(self) -> None:
        """Each of the system's numbers in the table becomes its error, the others a plain DiskError."""
        for number, expected in {**ERRORS, errno.EIO: DiskError}.items():
            with self.assertRaises(expected) as caught, real.translated("/p"):
                raise OSError(number, "why")
            self.assertIs(type(caught.exception), expected)
            self.assertEqual((caught.exception.path, caught.exception.errno), ("/p", number))

    def test_full_disk_is_told(self) -> None:
        """Writing to a full device is DiskFull (S21)."""
        file = self.disk.open("/dev/full")
        self.addCleanup(file.close)
        self.assertRaises(DiskFull, file.pwrite, [b"x"], 0)

    def test_allocate_too_much_takes_nothing(self) -> None:
        """A reservation that cannot fit is DiskFull before the kernel takes one block for it (S21)."""
        taken: list[int] = []
        self.patch(real, "reserve", lambda descriptor, length: taken.append(length))
        self.patch(real, "free_bytes", lambda descriptor: 1_000_000)
        file = self.disk.open(os.path.join(self.root, "f"), create=True)
        self.addCleanup(file.close)
        self.assertRaises(DiskFull, file.allocate, 1_000_001)
        self.assertEqual(taken, [])
        file.allocate(1_000_000)
        self.assertEqual(taken, [1_000_000])

    def test_failed_allocate_gives_back(self) -> None:
        """When the kernel refuses half-way, the blocks that it took are given back (S21)."""
        whole = real.reserve

        def half(descriptor: int, length: int) -> None:
            whole(descriptor, length // 2)
            raise OSError(errno.ENOSPC, "No space left on device")

        self.patch(real, "reserve", half)
        path = os.path.join(self.root, "f")
        file = self.disk.open(path, create=True)
        self.addCleanup(file.close)
        file.pwrite([b"x" * 100], 0)
        self.assertRaises(DiskFull, file.allocate, 8_000_000)
        self.assertEqual(file.size(), 100)
        self.assertLess(os.stat(path).st_blocks * 512, 1_000_000)

    def test_allocate_where_nothing_can_be_reserved(self) -> None:
        """A file system without reservations is no error while there is room."""

        def refuse(descriptor: int, length: int) -> None:
            raise OSError(errno.EOPNOTSUPP, "Operation not supported")

        self.patch(real, "reserve", refuse)
        file = self.disk.open(os.path.join(self.root, "f"), create=True)
        self.addCleanup(file.close)
        file.allocate(1000)
        self.assertEqual(file.size(), 0)

    def test_short_writes_are_finished(self) -> None:
        """When the kernel takes only a part, the rest follows at the right offset."""
        whole = os.pwritev

        def short(descriptor: int, pieces: list[bytes], offset: int) -> int:
            return whole(descriptor, [b"".join(pieces)[:5]], offset)

        self.patch(os, "pwritev", short)
        file = self.disk.open(os.path.join(self.root, "f"), create=True)
        self.addCleanup(file.close)
        self.assertEqual(file.pwrite([b"abc", b"", b"defgh", b"ijklmn"], 2), 14)
        self.assertEqual(file.pread(100, 0), b"\0\0abcdefghijklmn")

    def test_short_reads_are_finished(self) -> None:
        """When the kernel gives only a part, the rest is read too."""
        whole = os.pread
        file = self.disk.open(os.path.join(self.root, "f"), create=True)
        self.addCleanup(file.close)
        file.pwrite([b"abcdefghij"], 0)
        self.patch(os, "pread", lambda descriptor, length, offset: whole(descriptor, min(length, 3), offset))
        self.assertEqual(file.pread(8, 1), b"bcdefghi")
        self.assertEqual(file.pread(80, 1), b"bcdefghij")

    def test_failed_sync_is_final(self) -> None:
        """After one failed fdatasync the file refuses every further sync, though the kernel would say yes (S31)."""
        answers = [OSError(errno.EIO, "Input/output error")]
        asked: list[int] = []

        def kernel(descriptor: int) -> None:
            asked.append(descriptor)
            if answers:
                raise answers.pop()

        self.patch(real, "sync_descriptor", kernel)
        file = self.disk.open(os.path.join(self.root, "f"), create=True)
        self.addCleanup(file.close)
        self.assertRaises(SyncFailed, file.sync)
        self.assertRaises(SyncFailed, file.sync)
        self.assertEqual(len(asked), 1)

    def test_no_write_through_links(self) -> None:
        """A symbolic link in the place of a file is not written through, and its target stays."""
        target, link = os.path.join(self.root, "target"), os.path.join(self.root, "link")
        self.disk.open(target, create=True).close()
        os.symlink(target, link)
        self.assertRaises(DiskError, self.disk.open, link, create=True)
        self.disk.open(link, writable=False).close()

    def test_remove_tree_leaves_link_targets(self) -> None:
        """Removing a tree removes links in it, never what they point to."""
        for name in ("kept", "gone"):
            self.disk.make_folders(os.path.join(self.root, name))
        self.disk.open(os.path.join(self.root, "kept", "f"), create=True).close()
        os.symlink(os.path.join(self.root, "kept"), os.path.join(self.root, "gone", "link"))
        self.disk.remove_tree(os.path.join(self.root, "gone"))
        self.assertEqual(self.disk.list_folder(self.root), ["kept"])
        self.assertEqual(self.disk.list_folder(os.path.join(self.root, "kept")), ["f"])

    def test_read_only_folder(self) -> None:
        """A file system that takes no writes is ReadOnly."""
        with self.assertRaises((ReadOnly, NotFound)) as caught:
            self.disk.open("/proc/dfs-cannot-be-made", create=True)
        self.assertIn("/proc/dfs-cannot-be-made", str(caught.exception))

    def test_made_folders_are_synced(self) -> None:
        """Each parent that got a new folder is fsynced."""
        synced: list[str] = []
        self.patch(self.disk, "sync_folder", synced.append)
        self.disk.make_folders(os.path.join(self.root, "a", "b"))
        self.assertEqual(synced[1:], [self.root, os.path.join(self.root, "a")])

    def test_a_folder_that_is_there_is_synced(self) -> None:
        """A folder whose maker was killed before its sync is durable before anybody counts on it (S09, R26)."""
        synced: list[str] = []
        os.mkdir(os.path.join(self.root, "a"))
        self.patch(self.disk, "sync_folder", synced.append)
        self.disk.make_folders(os.path.join(self.root, "a"))
        self.disk.make_folders(os.path.join(self.root, "a", "b"))
        self.assertEqual(synced, [self.root, self.root, os.path.join(self.root, "a")])

    def test_nothing_is_inherited(self) -> None:
        """Files and locks are not passed on to child processes."""
        file = self.disk.open(os.path.join(self.root, "f"), create=True)
        lock = self.disk.lock(os.path.join(self.root, "lock"))
        self.addCleanup(file.close)
        self.addCleanup(lock.release)
        for descriptor in (file._descriptor, lock._descriptor):
            self.assertFalse(os.get_inheritable(descriptor))

    def test_lock_ends_with_its_process(self) -> None:
        """A lock excludes other processes and ends when its holder is killed."""
        path = os.path.join(self.root, "lock")
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLDER, path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert holder.stdout is not None and holder.stdin is not None
        finish: Callable[[], int] = holder.wait
        self.addCleanup(finish)
        self.addCleanup(holder.stdout.close)
        self.addCleanup(holder.stdin.close)
        self.addCleanup(holder.kill)
        self.assertEqual(holder.stdout.readline(), b"held\n")
        self.assertRaises(Locked, self.disk.lock, path)
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        self.disk.lock(path).release()
