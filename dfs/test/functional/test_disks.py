"""Disks that are full or cannot be written, under real processes."""

from __future__ import annotations

import os
import signal
import subprocess

from dfs.test.functional.cluster import RealClusterCase

MIB = 1 << 20


class DiskTests(RealClusterCase):
    """Small file systems in memory in place of nodes' folders."""

    def mount(self, node: str, mebibytes: int) -> None:
        """Give a node a file system of its own; skip where that is not permitted."""
        folder = os.path.join(self.dir, node)
        os.makedirs(folder)
        command = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "dfs-test", folder]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            self.skipTest("mounting a small file system is not permitted here")
        self.addCleanup(self.unmount, folder)

    def unmount(self, folder: str) -> None:
        """Once everything is stopped: the pid files lie there."""
        self.stop_all()
        subprocess.run(["umount", folder], check=True)

    def remount(self, node: str, option: str) -> None:
        folder = os.path.join(self.dir, node)
        subprocess.run(["mount", "-o", f"remount,{option}", folder], check=True)

    def test_full_and_read_only(self) -> None:
        """A chunk server whose disk is full is written round, and deletes still work on it (S21); a metadata node
        whose disk is full stops nobody, and catches up when there is room; a folder that cannot be written refuses the
        start with a sentence."""
        self.mount("chunk-1", 160)
        self.mount("meta-1", 100)
        self.up()
        self.full_chunk_server()
        self.full_metadata_node()
        self.read_only()

    def full_chunk_server(self) -> None:
        """Fill its disk behind its back, upload, delete what it holds."""
        path = self.local("file", 8 * MIB)
        self.upload(path, "everywhere", "--chunk-size", "1MiB", "--replication", "4")
        self.assertEqual(len(self.chunk_files("chunk-1")), 8)
        filling = self.fill("chunk-1")
        self.until(lambda: self.told_free("chunk-1") < MIB, "the news of the full disk")
        self.assertFalse(self.upload(path, "round", "--chunk-size", "1MiB", "--no-resume")["degraded"])
        self.assert_all_same({"everywhere": path, "round": path})
        self.dfs("delete", "--name", "everywhere")
        self.until(lambda: not self.chunk_files("chunk-1"), "garbage gone from the full disk")
        os.unlink(filling)

    def told_free(self, node: str) -> int:
        """What metadata was told: until then a placement may still name the node, and the upload says degraded."""
        servers = self.document("status")["chunk_servers"]
        return next(int(each["free"]) for each in servers if each["name"] == node)

    def fill(self, node: str) -> str:
        """Take all the space of a node's file system; the file that holds it."""
        filling = os.path.join(self.dir, node, "filling")
        with open(filling, "wb") as file:
            free = os.statvfs(file.fileno())
            os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_bsize)
        return filling

    def full_metadata_node(self) -> None:
        """Fill its disk, go on, stop it while its tables cannot be written, give the space back."""
        filling = self.fill("meta-1")
        path = self.local("small", 1000)
        self.together(*[("upload", "--no-resume", "--file", path, "--name", f"small/{number}") for number in range(4)])
        pid = self.pids()["meta-1"]
        if pid is not None:
            os.kill(pid, signal.SIGTERM)
            self.until(lambda: self.pids()["meta-1"] is None, "the node's end")
        os.unlink(filling)
        self.heal()

        def caught_up() -> bool:
            applied = {each["applied"] for each in self.document("status")["meta"]}
            return len(applied) == 1 and None not in applied

        self.until(caught_up, "the same state everywhere")
        self.assert_same("small/3", path)

    def read_only(self) -> None:
        """Start nodes there."""
        for node in ("chunk-1", "meta-1"):
            self.dfs("cluster", "kill", node)
            folder = os.path.join(self.dir, node)
            self.remount(node, "ro")
            said = self.dfs("cluster", "restart", node, code=1)
            self.assertIn(folder, said)
            self.remount(node, "rw")
        self.heal()
