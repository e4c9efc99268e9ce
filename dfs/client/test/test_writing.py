"""Small files written into folders of this machine."""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from dfs.client.download import partial_path
from dfs.client.errors import LocalFileError, OutputExists
from dfs.client.writing import Write, write_files
from dfs.disk.real import RealDisk
from dfs.simulation.disk import SimulatedDisk


def of(path: str, content: bytes = b"new", force: bool = False, skip_same: bool = False) -> Write:
    return Write(path, content, 7, force, skip_same)


class RealFolderTests(SynchronousTestCase):
    """On a file system of the kernel's."""

    def setUp(self) -> None:
        self.folder = os.path.abspath(self.mktemp())
        os.makedirs(self.folder)
        self.disk = RealDisk()

    def path(self, name: str) -> str:
        return os.path.join(self.folder, name)

    def read(self, name: str) -> bytes:
        with open(self.path(name), "rb") as file:
            return file.read()

    def test_longest_name(self) -> None:
        """A file whose name is as long as the file system allows is written like any other (S44)."""
        name = "ü" * 127 + "x"
        self.assertEqual(write_files(self.disk, [of(self.path(name))]), [False])
        self.assertEqual((os.listdir(self.folder), self.read(name)), ([name], b"new"))

    def test_two_downloads_of_one_tree(self) -> None:
        """While one download writes a file another does not touch it under its temporary name, and says so (S08)."""
        path = self.path("a")
        lock = self.disk.lock(partial_path(path, 7))
        with open(partial_path(path, 7), "wb") as file:
            file.write(b"the other's")
        (outcome,) = write_files(self.disk, [of(path)])
        assert isinstance(outcome, LocalFileError)
        self.assertIn("another download", outcome.message)
        self.assertEqual(self.read(os.path.basename(partial_path(path, 7))), b"the other's")
        lock.release()
        self.assertEqual(write_files(self.disk, [of(path)]), [False])
        self.assertEqual((os.listdir(self.folder), self.read("a")), (["a"], b"new"))

    def test_a_folder_is_in_the_way(self) -> None:
        """A folder is never replaced by a file, and the sentence does not advise --force to whom has said it."""
        os.makedirs(self.path("a"))
        (outcome,) = write_files(self.disk, [of(self.path("a"), force=True)])
        assert isinstance(outcome, OutputExists)
        self.assertNotIn("--force", outcome.hint)


class FullDiskTests(SynchronousTestCase):
    def test_nothing_half_is_left(self) -> None:
        """On a full disk a file that does not fit fails alone, says what to do, and leaves nothing under any name
        (S21, S41)."""
        disk = SimulatedDisk(capacity=1 << 20)
        disk.make_folders("/out")
        outcomes = write_files(disk, [of("/out/a"), of("/out/b", bytes(2 << 20)), of("/out/c")])
        self.assertEqual([outcomes[0], outcomes[2]], [False, False])
        assert isinstance(outcomes[1], LocalFileError)
        self.assertIn("free some space", outcomes[1].hint)
        self.assertEqual(sorted(disk.list_folder("/out")), ["a", "c"])
