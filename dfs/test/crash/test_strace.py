"""strace's lines become the calls that they tell of."""

from __future__ import annotations

import os
import sys

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from dfs.test.crash import strace
from dfs.test.crash.calls import Call, Cut, MakeFile, MakeFolder, Mark, Remove, Rename, Sync, SyncFolder, Write
from dfs.test.crash.hunt import compare
from dfs.test.crash.recording import Recorder

WORK = """
import os, sys
root = sys.argv[1]
os.mkdir(root + "/d")
fd = os.open(root + "/d/new", os.O_RDWR | os.O_CREAT, 0o600)
os.write(fd, b"one")
os.write(fd, b"two")
os.lseek(fd, 1, os.SEEK_SET)
os.write(fd, b"!")
os.pwrite(fd, b"at nine", 9)
os.pwritev(fd, [b"in ", b"pieces"], 20)
os.fdatasync(fd)
os.ftruncate(fd, 25)
os.rename(root + "/d/new", root + "/d/named")
folder = os.open(root + "/d", os.O_RDONLY)
os.fsync(folder)
marks = os.open(root + ".marks", os.O_WRONLY | os.O_CREAT)
os.write(marks, b"a\\tb\\n")
os.unlink("named", dir_fd=folder)
os.pwrite(fd, b"nameless", 0)
"""


class StraceTests(SynchronousTestCase):
    """One process that does all that the parser knows."""

    def setUp(self) -> None:
        if not strace.works():
            raise SkipTest(strace.NOT_HERE)
        self.root = os.path.abspath(self.mktemp())
        os.mkdir(self.root)
        self.recorder = Recorder(self.root)

    def traced(self, work: str, *options: str) -> list[Call]:
        strace.trace(self.recorder, [sys.executable, "-c", work, self.root], *options)
        compare(self.recorder.recording, self.root)
        return self.recorder.calls

    def test_calls(self) -> None:
        """Each call is recorded with its file, its place and its bytes, and each mark where it came."""
        folder, made, *rest = self.traced(WORK)
        self.assertEqual(folder, MakeFolder("d"))
        assert isinstance(made, MakeFile)
        self.assertEqual(made.path, "d/new")
        inode = made.inode
        expected = [
            Write(inode, 0, b"one"),
            Write(inode, 3, b"two"),
            Write(inode, 1, b"!"),
            Write(inode, 9, b"at nine"),
            Write(inode, 20, b"in pieces"),
            Sync(inode),
            Cut(inode, 25),
            Rename("d/new", "d/named"),
            SyncFolder("d"),
            Mark(("a", "b")),
            Remove("d/named"),
            Write(inode, 0, b"nameless"),
        ]
        self.assertEqual(rest, expected)

    def test_killed(self) -> None:
        """The call in which the process was killed was not carried out, and is not recorded."""
        calls = self.traced(WORK, "-e", "inject=ftruncate:signal=SIGKILL:when=1")
        self.assertIsInstance(calls[-1], Sync)

    def test_shared_map(self) -> None:
        """A file that is written through memory is refused: its writes leave no calls."""
        work = "import mmap, os, sys; f = open(sys.argv[1] + '/m', 'w+b'); f.truncate(9); mmap.mmap(f.fileno(), 9)"
        self.assertRaises(strace.NotUnderstood, self.traced, work)
