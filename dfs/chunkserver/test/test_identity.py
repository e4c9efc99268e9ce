"""Whose folder it is."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from dfs.chunkserver.errors import RefusedStart
from dfs.chunkserver.identity import FolderIdentity, claim, decode, encode, open_folder
from dfs.chunkserver.test.fakes import CLUSTER, REF, faulty, formatted
from dfs.disk.errors import ReadOnly
from dfs.disk.real import RealDisk


class IdentityTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.disk = RealDisk()
        self.root = self.mktemp()

    def test_golden(self) -> None:
        """Version 1 has exactly these bytes."""
        content = encode(FolderIdentity("chunk-1", CLUSTER, b"i" * 16))
        self.assertEqual(
            content[:-4].hex(),
            "01444649000102030405060708090a0b0c0d0e0f6969696969696969696969696969696907" + b"chunk-1".hex(),
        )
        self.assertEqual(decode(content, "f").node, "chunk-1")

    def test_cut_and_flipped(self) -> None:
        """An identity cut anywhere or with a bit flipped is refused with a sentence."""
        content = encode(FolderIdentity("chunk-1", CLUSTER, b"i" * 16))
        for kept in range(len(content)):
            self.assertRaises(RefusedStart, decode, content[:kept], "f")
        for bit in range(8 * len(content)):
            flipped = bytearray(content)
            flipped[bit // 8] ^= 1 << bit % 8
            self.assertRaises(RefusedStart, decode, bytes(flipped), "f")

    def test_second_process_is_refused(self) -> None:
        """A second server on one folder is refused; the first is not disturbed (S19)."""
        first = open_folder(self.disk, self.root, "chunk-1", CLUSTER)
        error = self.assertRaises(RefusedStart, open_folder, self.disk, self.root, "chunk-1", CLUSTER)
        self.assertIn("in use", str(error))
        first.lock.release()
        open_folder(self.disk, self.root, "chunk-1", CLUSTER).lock.release()

    def test_other_node(self) -> None:
        """The folder of another node is refused, and its lock is given back (S19, S28)."""
        formatted(self.disk, self.root)
        error = self.assertRaises(RefusedStart, open_folder, self.disk, self.root, "chunk-2", CLUSTER)
        self.assertIn("belongs to node chunk-1", str(error))
        open_folder(self.disk, self.root, "chunk-1", CLUSTER).lock.release()

    def test_other_cluster(self) -> None:
        """The folder of another cluster is refused."""
        formatted(self.disk, self.root)
        error = self.assertRaises(RefusedStart, open_folder, self.disk, self.root, "chunk-1", b"another-cluster!")
        self.assertIn("belongs to cluster", str(error))

    def test_folder_with_other_things(self) -> None:
        """A folder that holds something else is not formatted."""
        self.disk.make_folders(f"{self.root}/photos")
        error = self.assertRaises(RefusedStart, open_folder, self.disk, self.root, "chunk-1", CLUSTER)
        self.assertIn("photos", str(error))

    def test_identity_lost_beside_replicas(self) -> None:
        """A folder with replicas, or files set aside, and no identity is refused and left as it is (S28)."""
        layout = formatted(self.disk, self.root)
        self.disk.unlink(f"{self.root}/identity")
        for path in (layout.path(REF), layout.set_aside("a", "corrupt", b"12345678")):
            self.disk.open(path, create=True).close()
            error = self.assertRaises(RefusedStart, open_folder, self.disk, self.root, "chunk-1", CLUSTER)
            self.assertIn("identity is missing", str(error))
            self.disk.unlink(path)
        open_folder(self.disk, self.root, "chunk-1", CLUSTER).lock.release()

    def test_format_cut_short(self) -> None:
        """A format that was killed before its end is begun again (S09)."""
        failing = faulty(self.disk)
        folder = open_folder(failing, self.root, "chunk-1", CLUSTER)
        failing.fail("rename", ReadOnly(self.root, "read-only file system", 30))
        error = self.assertRaises(RefusedStart, claim, failing, folder, "chunk-1", CLUSTER, b"i" * 16)
        self.assertIn("read-only", str(error))
        folder.lock.release()
        formatted(self.disk, self.root)
