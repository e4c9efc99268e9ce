"""What every disk promises, as tests that each provider's test case mixes in."""

from __future__ import annotations

from typing import Any

from zope.interface.verify import verifyObject

from dfs.disk.errors import DiskError, Exists, Locked, NotFound
from dfs.disk.interfaces import IDisk, IDiskFile, IDiskLock


class DiskContract:
    """Mix into a TestCase whose setUp sets ``disk`` and ``root`` (an existing empty folder)."""

    disk: Any
    root: str
    # What the mixin takes from TestCase.
    assertEqual: Any
    assertRaises: Any
    assertTrue: Any
    assertFalse: Any
    assertLessEqual: Any
    assertGreater: Any

    def path(self, *names: str) -> str:
        return "/".join((self.root, *names))

    def write(self, name: str, content: bytes) -> None:
        file = self.disk.open(self.path(name), create=True)
        file.pwrite([content], 0)
        file.close()

    def read(self, name: str) -> bytes:
        file = self.disk.open(self.path(name), writable=False)
        try:
            content = file.pread(file.size() + 1, 0)
        finally:
            file.close()
        assert isinstance(content, bytes)
        return content

    def test_provides_interfaces(self) -> None:
        """Disk, file and lock provide their interfaces."""
        verifyObject(IDisk, self.disk)
        file = self.disk.open(self.path("f"), create=True)
        verifyObject(IDiskFile, file)
        self.assertEqual(file.path, self.path("f"))
        file.close()
        lock = self.disk.lock(self.path("lock"))
        verifyObject(IDiskLock, lock)
        lock.release()

    def test_write_and_read(self) -> None:
        """Pieces of any bytes-like kind land one after the other from the offset."""
        file = self.disk.open(self.path("f"), create=True)
        self.assertEqual(file.pwrite([b"ab", bytearray(b"cd"), memoryview(b"efgh")[:2]], 3), 6)
        self.assertEqual(file.size(), 9)
        self.assertEqual(file.pread(100, 0), b"\0\0\0abcdef")
        self.assertEqual(file.pread(2, 4), b"bc")
        self.assertEqual(file.pread(5, 9), b"")
        self.assertEqual(file.pread(5, 900), b"")
        file.close()

    def test_written_pieces_may_be_reused(self) -> None:
        """The disk keeps no reference to a caller's buffer."""
        buffer = bytearray(b"before")
        file = self.disk.open(self.path("f"), create=True)
        file.pwrite([buffer], 0)
        buffer[:] = b"after!"
        file.sync()
        file.close()
        self.assertEqual(self.read("f"), b"before")

    def test_many_pieces(self) -> None:
        """More pieces than one system call takes are all written, in order."""
        pieces = [bytes([number % 251]) * (number % 3) for number in range(3000)]
        file = self.disk.open(self.path("f"), create=True)
        self.assertEqual(file.pwrite(pieces, 1), sum(map(len, pieces)))
        self.assertEqual(file.pread(10_000, 1), b"".join(pieces))
        self.assertEqual(file.pwrite([], 0), 0)
        file.close()

    def test_overwrite(self) -> None:
        """A write in the middle changes its bytes only, and the length stays."""
        self.write("f", b"0123456789")
        file = self.disk.open(self.path("f"))
        file.pwrite([b"xy"], 4)
        file.close()
        self.assertEqual(self.read("f"), b"0123xy6789")

    def test_open(self) -> None:
        """A missing file is NotFound without create; exclusive creation refuses what exists."""
        self.assertRaises(NotFound, self.disk.open, self.path("f"))
        self.assertRaises(NotFound, self.disk.open, self.path("no", "f"), create=True)
        self.write("f", b"kept")
        self.disk.open(self.path("f"), create=True).close()
        self.assertEqual(self.read("f"), b"kept")
        self.assertRaises(Exists, self.disk.open, self.path("f"), create=True, exclusive=True)
        self.disk.open(self.path("g"), create=True, exclusive=True).close()
        self.assertRaises(DiskError, self.disk.open, self.root)

    def test_closed_and_read_only_files_refuse(self) -> None:
        """A closed file does nothing more and close is idempotent; a file opened to read is not written."""
        self.write("f", b"kept")
        file = self.disk.open(self.path("f"), writable=False)
        self.assertRaises(DiskError, file.pwrite, [b"x"], 0)
        file.close()
        file.close()
        self.assertRaises(DiskError, file.pread, 1, 0)
        self.assertEqual(self.read("f"), b"kept")

    def test_truncate_and_allocate(self) -> None:
        """Truncating cuts or extends with zeros; allocating leaves the size alone."""
        file = self.disk.open(self.path("f"), create=True)
        file.allocate(100_000)
        self.assertEqual(file.size(), 0)
        file.pwrite([b"abcdef"], 0)
        file.truncate(3)
        self.assertEqual(file.size(), 3)
        file.truncate(5)
        self.assertEqual(file.pread(9, 0), b"abc\0\0")
        file.sync()
        file.close()

    def test_stat_and_exists(self) -> None:
        """stat tells length and kind; what is missing is NotFound."""
        self.write("f", b"12345")
        self.assertEqual(self.disk.stat(self.path("f")).length, 5)
        self.assertFalse(self.disk.stat(self.path("f")).is_folder)
        self.assertTrue(self.disk.stat(self.root).is_folder)
        self.assertTrue(self.disk.exists(self.root))
        self.assertTrue(self.disk.exists(self.path("f")))
        self.assertFalse(self.disk.exists(self.path("g")))
        self.assertFalse(self.disk.exists(self.path("f", "below a file")))
        self.assertRaises(NotFound, self.disk.stat, self.path("g"))

    def test_folders(self) -> None:
        """Folders are made with their parents, list in sorted order and are fine to make twice."""
        self.disk.make_folders(self.path("a", "b", "c"))
        self.disk.make_folders(self.path("a", "b", "c"))
        for name in ("z", "B", "m"):
            self.write(f"a/{name}", b"")
        self.assertEqual(self.disk.list_folder(self.path("a")), ["B", "b", "m", "z"])
        self.assertRaises(NotFound, self.disk.list_folder, self.path("nothing"))
        self.assertRaises(DiskError, self.disk.make_folders, self.path("a", "z"))
        self.disk.sync_folder(self.path("a"))
        self.assertRaises(DiskError, self.disk.sync_folder, self.path("nothing"))

    def test_rename_replaces(self) -> None:
        """A rename takes the place of its target at once; an open file stays usable."""
        self.write("old", b"old")
        self.write("new", b"new")
        file = self.disk.open(self.path("new"))
        self.disk.rename(self.path("new"), self.path("old"))
        self.assertEqual(self.disk.list_folder(self.root), ["old"])
        file.pwrite([b"N"], 0)
        file.close()
        self.assertEqual(self.read("old"), b"New")
        self.assertRaises(NotFound, self.disk.rename, self.path("new"), self.path("x"))

    def test_rename_folder(self) -> None:
        """A folder moves with all that is in it."""
        self.disk.make_folders(self.path("a", "b"))
        self.write("a/b/f", b"inside")
        self.disk.rename(self.path("a"), self.path("c"))
        self.assertEqual(self.read("c/b/f"), b"inside")
        self.assertFalse(self.disk.exists(self.path("a")))

    def test_unlink(self) -> None:
        """An unlinked name is gone while an open file reads on; a missing name is NotFound."""
        self.write("f", b"still")
        file = self.disk.open(self.path("f"))
        self.disk.unlink(self.path("f"))
        self.assertFalse(self.disk.exists(self.path("f")))
        self.assertEqual(file.pread(9, 0), b"still")
        file.close()
        self.assertRaises(NotFound, self.disk.unlink, self.path("f"))

    def test_remove_tree(self) -> None:
        """A folder goes with everything in it; a missing one is fine."""
        self.disk.make_folders(self.path("a", "b"))
        self.write("a/b/f", b"x")
        self.disk.remove_tree(self.path("a"))
        self.disk.remove_tree(self.path("a"))
        self.assertEqual(self.disk.list_folder(self.root), [])

    def test_space(self) -> None:
        """Free space is told in bytes and is no more than the total."""
        space = self.disk.space(self.root)
        self.assertGreater(space.free, 0)
        self.assertLessEqual(space.free, space.total)

    def test_lock_excludes(self) -> None:
        """One taker at a time holds a lock; released, it can be taken again."""
        lock = self.disk.lock(self.path("lock"))
        self.assertRaises(Locked, self.disk.lock, self.path("lock"))
        lock.release()
        lock.release()
        self.disk.lock(self.path("lock")).release()
