"""Real processes are killed, stopped and restarted under real uploads."""

from __future__ import annotations

import signal
import subprocess
from random import Random

from dfs.test.functional.cluster import RealClusterCase

MIB = 1 << 20
NO_DEBT = {"chunks": 0, "bytes": 0, "single_copy": 0, "no_copy": 0}


class CrashTests(RealClusterCase):
    """What was acknowledged is there, whatever was killed."""

    def uploading(self, paths: dict[str, str], *options: str) -> list[subprocess.Popen[bytes]]:
        """Begin to upload them all at once."""
        return [self.begin("upload", "--file", path, "--name", name, *options) for name, path in paths.items()]

    def files(self, prefix: str, count: int, size: int) -> dict[str, str]:
        """New local files, by the names that they will have."""
        return {f"{prefix}/{number}": self.local(f"{prefix}{number}", size + number) for number in range(count)}

    def copies_restored(self, *names: str) -> None:
        """Wait until every chunk of these has three live copies; a fourth may stay while a node that was taken for dead
        settles."""
        self.until(lambda: all(min(self.live_copies(name)) >= 3 for name in names), "full replication")

    def test_leaders(self) -> None:
        """A leader that is suspended and wakes up serves nothing stale and acknowledges nothing alone (S25); kill -9
        of the leader amid uploads: each ends well, and each acknowledged file is intact (S24); so it is after
        everything was killed at once (S01, S27), and after everything was stopped by SIGTERM and started again."""
        self.up()
        self.leader_suspended()
        paths = self.files("u", 6, 3 * MIB)
        running = self.uploading(paths, "--chunk-size", "256KiB")
        self.kill(self.leader())
        for process in running:
            self.ends(process)
        self.heal()
        self.assert_all_same(paths)
        self.dfs("delete", "--name", "u/1")
        self.kill(*self.pids())
        self.heal()
        del paths["u/1"]
        self.assertEqual(self.dfs("list", "--prefix", "u/").split(), sorted(paths))
        self.assert_all_same(paths)
        self.dfs("cluster", "down")
        self.heal()
        self.assert_all_same(paths)

    def leader_suspended(self) -> None:
        """SIGSTOP, changes elsewhere, SIGCONT, a read at the former leader."""
        path = self.local("file", MIB)
        leader = self.leader()
        stale = self.nodes()[leader]["address"]
        self.signal(leader, signal.SIGSTOP)
        self.upload(path, "while/stopped")
        self.dfs("delete", "--name", "while/stopped")
        self.upload(path, "while/stopped-2")
        self.signal(leader, signal.SIGCONT)
        self.assertEqual(self.dfs("list", "--prefix", "while/", "--meta", stale).split(), ["while/stopped-2"])
        self.assert_same("while/stopped-2", path)

    def test_chunk_servers(self) -> None:
        """A chunk server that hangs is written round, and counts again once it answers (S03, S23); one that is killed
        during an upload costs nothing, and three live copies come back (S12); bit rot on one disk: readers get good
        bytes, the replica is set aside and replaced (S11)."""
        self.up()
        paths = self.files("round", 1, 4 * MIB)
        self.signal("chunk-1", signal.SIGSTOP)
        (process,) = self.uploading(paths, "--chunk-size", "1MiB")
        self.ends(process)
        self.assert_all_same(paths)
        self.signal("chunk-1", signal.SIGCONT)
        self.until(lambda: self.states()["chunk-1"] == "alive", "chunk-1 alive again")
        paths |= self.files("killed", 1, 24 * MIB)
        (process,) = self.uploading({"killed/0": paths["killed/0"]}, "--chunk-size", "1MiB")
        self.kill("chunk-2")
        self.ends(process)
        self.assert_all_same(paths)
        self.copies_restored("killed/0")
        self.heal()
        self.assert_all_same(paths)
        self.rot()

    def rot(self) -> None:
        """Flip a bit of a replica, and read until it is found."""
        path = self.local("rotten", MIB)
        self.upload(path, "rotten")
        info = self.document("stat", "--name", "rotten")["chunks"][0]
        holder = info["replicas"][0]["node"]
        (victim,) = [found for found in self.chunk_files(holder) if info["id"] in found]
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
        self.copies_restored("rotten")
        self.assert_same("rotten", path)

    def test_minorities(self) -> None:
        """Without a majority of metadata nodes commands end with 5 and a sentence, and go on with it.  Two of three
        copies are accepted as degraded, one is not, and nothing half-made is visible (S05); `dfs status` shows what is
        short of copies, and nothing once it is repaired; a deleted file's replicas leave the disks, and nothing else
        does (S15)."""
        self.up(chunks=3)
        path = self.local("file", MIB)
        self.upload(path, "before", "--chunk-size", "256KiB")
        self.majority_lost(path)
        self.kill("chunk-1")
        short = {"chunks": 4, "bytes": MIB, "single_copy": 0, "no_copy": 0}
        self.until(lambda: self.document("status")["debt"] == short, "the debt")
        self.assertTrue(self.upload(path, "degraded")["degraded"])
        self.kill("chunk-2")
        self.dfs("upload", "--file", path, "--name", "refused", code=5, DFS_PATIENCE="4")
        self.assertEqual(self.dfs("list").split(), ["before", "degraded"])
        self.assert_same("degraded", path)
        self.heal()
        self.until(lambda: self.document("status")["debt"] == NO_DEBT, "the end of the debt")
        self.copies_restored("before", "degraded")
        self.dfs("delete", "--name", "before")
        self.until(lambda: [len(self.chunk_files(f"chunk-{n}")) for n in (1, 2, 3)] == [1, 1, 1], "garbage gone")
        self.assert_same("degraded", path)

    def majority_lost(self, path: str) -> None:
        """Kill two of three, ask, restart one."""
        leader = self.leader()
        other = next(name for name in ("meta-1", "meta-2", "meta-3") if name != leader)
        self.kill(leader, other)
        said = self.dfs("upload", "--file", path, "--name", "after", code=5, DFS_PATIENCE="3")
        self.assertIn("dfs status", said)
        self.assertIn(self.nodes()[leader]["address"], said)
        self.assertEqual(self.document("status")["leader"], None)
        self.dfs("cluster", "restart", leader)
        self.assert_same("before", path)
        self.heal()

    def test_storm(self) -> None:
        """Kill -9 of one metadata node and one chunk server again and again under uploads: each acknowledged file is
        intact, and gets its copies back (S24, S12)."""
        self.up()
        paths = self.files("s", 4, 4 * MIB)
        random = Random(7)
        running = self.uploading(paths, "--chunk-size", "128KiB", "--parallel", "2")
        for _ in range(4):
            self.kill(random.choice(["meta-1", "meta-2", "meta-3"]), f"chunk-{random.randrange(1, 5)}")
            self.heal()
        for process in running:
            self.ends(process)
        self.assert_all_same(paths)
        self.copies_restored(*paths)
