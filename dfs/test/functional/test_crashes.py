"""Real processes are killed, stopped and restarted under real uploads."""

from __future__ import annotations

import os
import signal

from dfs.test.functional.cluster import RealClusterCase

MIB = 1 << 20


class CrashTests(RealClusterCase):
    """What was acknowledged is there, whatever was killed."""

    def test_leader_killed_during_uploads(self) -> None:
        """kill -9 of the leader amid uploads: each upload ends well, and each acknowledged file is intact (S24)."""
        self.up()
        paths = [self.local(f"f{number}", 3 * MIB + number) for number in range(8)]
        leader = self.leader()
        running = [
            self.begin("upload", "--file", path, "--name", f"u/{number}", "--chunk-size", "256KiB")
            for number, path in enumerate(paths)
        ]
        self.kill(leader)
        for number, (path, process) in enumerate(zip(paths, running, strict=True)):
            _, error = process.communicate(timeout=90)
            self.assertEqual(process.returncode, 0, error.decode())
            self.assert_same(f"u/{number}", path)
        self.restart(leader)

    def test_chunk_server_killed(self) -> None:
        """A chunk server is killed during an upload; the upload ends, and three live copies come back (S12)."""
        self.up()
        path = self.local("file", 24 * MIB)
        process = self.begin("upload", "--file", path, "--name", "file", "--chunk-size", "1MiB")
        self.kill("chunk-2")
        _, error = process.communicate(timeout=90)
        self.assertEqual(process.returncode, 0, error.decode())
        self.assert_same("file", path)
        self.until(lambda: set(self.live_copies("file")) == {3}, "full replication")
        self.restart("chunk-2")
        self.assert_same("file", path)

    def test_everything_killed(self) -> None:
        """All nodes are killed at once; after the restart every acknowledged file is there (S01, S27)."""
        self.up(chunks=3)
        path = self.local("file", 5 * MIB)
        for number in range(3):
            self.upload(path, f"kept/{number}", "--no-resume")
        self.dfs("delete", "--name", "kept/1")
        self.kill(*self.pids())
        self.dfs("cluster", "up")
        names = self.dfs("list", "--prefix", "kept/").split()
        self.assertEqual(names, ["kept/0", "kept/2"])
        self.assert_same("kept/0", path)
        self.assert_same("kept/2", path)

    def test_leader_stopped(self) -> None:
        """A leader that is suspended and wakes up serves nothing stale and acknowledges nothing alone (S25)."""
        self.up()
        path = self.local("file", MIB)
        leader = self.leader()
        self.signal(leader, signal.SIGSTOP)
        self.upload(path, "while/stopped")
        self.dfs("delete", "--name", "while/stopped")
        self.upload(path, "while/stopped-2")
        self.signal(leader, signal.SIGCONT)
        stale = self.nodes()[leader]["address"]
        self.assertEqual(self.dfs("list", "--prefix", "while/", "--meta", stale).split(), ["while/stopped-2"])
        self.assert_same("while/stopped-2", path)

    def test_chunk_server_stopped(self) -> None:
        """A chunk server that hangs is written round, and counts again once it answers (S03, S23)."""
        self.up()
        path = self.local("file", 4 * MIB)
        self.signal("chunk-1", signal.SIGSTOP)
        self.upload(path, "round", "--chunk-size", "1MiB")
        self.assert_same("round", path)
        self.signal("chunk-1", signal.SIGCONT)

        def alive() -> bool:
            servers = self.document("status")["chunk_servers"]
            return [each["state"] for each in servers if each["name"] == "chunk-1"] == ["alive"]

        self.until(alive, "chunk-1 alive again")

    def test_corrupt_replica(self) -> None:
        """Bit rot on one disk: readers get good bytes; the replica is set aside and replaced (S11)."""
        self.up()
        path = self.local("file", MIB)
        self.upload(path, "rotten")
        holder = self.document("stat", "--name", "rotten")["chunks"][0]["replicas"][0]["node"]
        (victim,) = self.chunk_files(holder)
        with open(victim, "r+b") as file:
            file.seek(300_000)
            byte = file.read(1)
            file.seek(300_000)
            file.write(bytes([byte[0] ^ 0x10]))

        def found() -> bool:
            self.assert_same("rotten", path)
            servers = {each["name"]: each for each in self.document("status")["chunk_servers"]}
            return bool(servers[holder]["quarantined"] == 1)

        self.until(found, "the corrupt replica set aside")
        self.until(lambda: self.live_copies("rotten") == [3], "the replica replaced")
        self.assert_same("rotten", path)

    def test_power_of_a_majority(self) -> None:
        """Without a majority of metadata nodes commands end with 5 and a sentence; with it they go on."""
        self.up(chunks=3)
        path = self.local("file", 1000)
        self.upload(path, "before")
        leader = self.leader()
        others = [name for name in ("meta-1", "meta-2", "meta-3") if name != leader]
        self.kill(leader, others[0])
        said = self.dfs("upload", "--file", path, "--name", "after", code=5, DFS_PATIENCE="3")
        self.assertIn("dfs status", said)
        self.assertEqual(self.document("status")["leader"], None)
        self.restart(leader)
        self.upload(path, "after")
        self.assert_same("before", path)

    def test_too_few_chunk_servers(self) -> None:
        """Two of three copies are accepted as degraded, one is not; nothing half-made is visible (S05)."""
        self.up(meta=1, chunks=3)
        path = self.local("file", 100_000)
        self.kill("chunk-1")
        self.assertTrue(self.upload(path, "degraded")["degraded"])
        self.kill("chunk-2")
        self.dfs("upload", "--file", path, "--name", "refused", code=5, DFS_PATIENCE="6")
        self.assertEqual(self.dfs("list").split(), ["degraded"])
        self.assert_same("degraded", path)
        self.restart("chunk-1", "chunk-2")
        self.until(lambda: self.live_copies("degraded") == [3], "full replication")

    def test_debt_is_shown_and_paid(self) -> None:
        """`dfs status` shows what is short of copies, and zero once repair is done."""
        self.up()
        path = self.local("file", 2 * MIB)
        self.upload(path, "file", "--chunk-size", "256KiB")
        self.kill("chunk-3")
        self.until(lambda: self.document("status")["debt"]["chunks"] > 0, "debt")
        self.until(lambda: self.document("status")["debt"] == {"chunks": 0, "bytes": 0, "single_copy": 0}, "no debt")
        self.assertEqual(set(self.live_copies("file")), {3})

    def test_garbage_is_collected(self) -> None:
        """A deleted file's replicas leave the disks, and nothing else does (S15)."""
        self.up(chunks=3)
        path = self.local("file", MIB)
        self.upload(path, "kept")
        self.upload(path, "dropped", "--no-resume")
        before = sum(len(self.chunk_files(f"chunk-{n}")) for n in (1, 2, 3))
        self.assertEqual(before, 6)
        self.dfs("delete", "--name", "dropped")
        self.until(lambda: sum(len(self.chunk_files(f"chunk-{n}")) for n in (1, 2, 3)) == 3, "garbage gone")
        self.assert_same("kept", path)
        self.assertTrue(os.path.exists(path))
