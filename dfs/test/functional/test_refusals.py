"""What must not start does not, and says why in one sentence."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time

from dfs.cli.cluster.layout import Layout, must_read
from dfs.cli.cluster.processes import command_line
from dfs.test.functional.cluster import RealClusterCase, end

MIB = 1 << 20


class RefusalTests(RealClusterCase):
    """Starting a node against the facts."""

    def layout(self) -> Layout:
        return must_read(self.dir)

    def foreground(self, name: str, **changed: str) -> subprocess.CompletedProcess[bytes]:
        """Try to start a node with -n; flags given in ``changed`` replace its own."""
        layout = self.layout()
        command = command_line(layout, layout.named(name))
        for flag, value in changed.items():
            command[command.index("--" + flag.replace("_", "-")) + 1] = value
        command.insert(command.index("--pidfile"), "-n")
        command[command.index("--pidfile") + 1] = os.path.join(self.folder, "second.pid")
        command[command.index("--logfile") + 1] = "-"
        return subprocess.run(command, env=self.environment, capture_output=True, check=False, timeout=60)

    def assert_refused(self, done: subprocess.CompletedProcess[bytes], word: str) -> None:
        """Exit code 1, the word in what was said, no traceback."""
        said = (done.stdout + done.stderr).decode()
        self.assertEqual(done.returncode, 1, said)
        self.assertIn(word, said)
        self.assertNotIn("Traceback", said)

    def test_second_process_on_one_folder(self) -> None:
        """A second process on a folder is refused, and the first goes on (S19)."""
        self.up(meta=1, chunks=3)
        free = socket.create_server(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        listen = f"tcp:{port}:interface=127.0.0.1"
        self.assert_refused(self.foreground("chunk-1", listen=listen), "another process")
        self.assert_refused(self.foreground("meta-1", listen=listen), "another process")
        path = self.local("file", 1000)
        self.upload(path, "file")
        self.assert_same("file", path)

    def test_port_in_use(self) -> None:
        """A port that is taken is named."""
        self.up(meta=1, chunks=3)
        self.dfs("cluster", "kill", "chunk-1")
        layout = self.layout()
        taken = layout.named("chunk-2").port
        self.assert_refused(self.foreground("chunk-1", listen=f"tcp:{taken}:interface=127.0.0.1"), str(taken))

    def test_wrong_identity(self) -> None:
        """Another node's folder, another key, a damaged identity: each is refused (S28)."""
        self.up(meta=1, chunks=3)
        self.dfs("cluster", "kill", "chunk-1")
        self.dfs("cluster", "kill", "chunk-2")
        layout = self.layout()
        self.assert_refused(self.foreground("chunk-1", data=layout.named("chunk-2").data), "chunk-2")
        other_key = os.path.join(self.folder, "other.key")
        with open(other_key, "w", encoding="ascii") as file:
            file.write(os.urandom(32).hex() + "\n")
        os.chmod(other_key, 0o600)
        self.assert_refused(self.foreground("chunk-1", key_file=other_key), "cluster")
        self.assert_refused(self.foreground("chunk-1", key_file="/does/not/exist"), "/does/not/exist")

    def test_read_only_and_missing_folders(self) -> None:
        """A data folder that cannot be made is named."""
        self.up(meta=1, chunks=3)
        self.dfs("cluster", "kill", "chunk-1")
        self.assert_refused(self.foreground("chunk-1", data="/proc/no/such"), "/proc")

    def test_corrupt_log_stops_the_node(self) -> None:
        """A metadata node whose log is damaged in the middle refuses to start; the others serve (S30)."""
        self.up()
        path = self.local("file", 1000)
        for number in range(5):
            self.upload(path, f"file/{number}", "--no-resume")
        leader = self.leader()
        victim = next(name for name in ("meta-1", "meta-2", "meta-3") if name != leader)
        self.signal(victim, signal.SIGTERM)
        self.until(lambda: self.pids()[victim] is None, "the node's end")
        folder = os.path.join(self.dir, victim, "data")
        segments = [
            os.path.join(root, name)
            for root, _, names in os.walk(folder)
            for name in names
            if "raft" in root and name.endswith(".log")
        ]
        self.assertTrue(segments, os.listdir(folder))
        with open(min(segments), "r+b") as file:
            file.seek(700)
            file.write(b"\xa5" * 8)
        self.assert_refused(self.foreground(victim), "log")
        self.upload(path, "still/served", "--no-resume")

    def test_founding_flags_do_not_found_twice(self) -> None:
        """A node restarted with other peers on its command line stays in its own cluster (S28)."""
        self.up(chunks=3)
        self.dfs("cluster", "kill", "meta-1")
        done = self.foreground("meta-1", peers=f"meta-1={self.layout().named('meta-1').address}")
        self.assert_refused(done, "meta-2")

    def test_foreground_and_sigterm(self) -> None:
        """A node run with -n serves, and SIGTERM ends it with exit code 0."""
        self.up(meta=1, chunks=3)
        self.dfs("cluster", "kill", "chunk-1")
        layout = self.layout()
        command = command_line(layout, layout.named("chunk-1"))
        command.insert(command.index("--pidfile"), "-n")
        command[command.index("--logfile") + 1] = os.path.join(self.folder, "foreground.log")
        process = subprocess.Popen(command, env=self.environment)
        self.addCleanup(end, process)

        def alive() -> bool:
            servers = self.document("status")["chunk_servers"]
            return [each["state"] for each in servers if each["name"] == "chunk-1"] == ["alive"]

        self.until(alive, "chunk-1 in the foreground")
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(30), 0)

    def test_cloned_folder(self) -> None:
        """A folder cloned to another place is seen while the original runs: it never serves beside it (S19)."""
        self.up(meta=1, chunks=3)
        layout = self.layout()
        clone = os.path.join(self.folder, "clone")
        shutil.copytree(layout.named("chunk-1").data, clone)
        listen = socket.create_server(("127.0.0.1", 0))
        port = listen.getsockname()[1]
        listen.close()
        done = self.foreground(
            "chunk-1", data=clone, listen=f"tcp:{port}:interface=127.0.0.1", advertise=f"127.0.0.1:{port}"
        )
        self.assert_refused(done, "chunk-1")

    def test_full_disk(self) -> None:
        """A chunk server whose disk is full is written round; deletes still work on it (S21)."""
        mounted = os.path.join(self.dir, "chunk-1")
        os.makedirs(mounted)
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=24m", "dfs-test", mounted], capture_output=True, check=False
        )
        if done.returncode:
            self.skipTest("mounting a small file system is not permitted here")
        self.addCleanup(lambda: subprocess.run(["umount", "-l", mounted], check=True))
        self.up()
        path = self.local("file", 40 * MIB)
        self.upload(path, "large")
        self.assert_same("large", path)
        self.dfs("delete", "--name", "large")
        self.until(lambda: not self.chunk_files("chunk-1"), "garbage gone from the full disk")

    def test_interrupt(self) -> None:
        """Ctrl-C ends a command within a second with 130 and leaves no name behind (S48)."""
        self.up(meta=1, chunks=3)
        self.kill("chunk-1", "chunk-2")
        path = self.local("file", 8 * MIB)
        process = self.begin("upload", "--file", path, "--name", "never", start_new_session=True)
        self.until(lambda: os.path.isdir(self.environment["DFS_STATE"]), "the upload's manifest")
        process.send_signal(signal.SIGINT)
        began = time.monotonic()
        _, error = process.communicate(timeout=10)
        self.assertEqual(process.returncode, 130, error.decode())
        self.assertLess(time.monotonic() - began, 2.0)
        self.assertNotIn("Traceback", error.decode())
        self.assertEqual(self.dfs("list").split(), [])

    def test_no_cluster(self) -> None:
        """A cluster that is not there is exit code 5, none named is 2; both say what to do."""
        done = self.run_dfs("list", "--meta", "127.0.0.1:9", DFS_PATIENCE="2")
        self.assertEqual(done.returncode, 5, done.stderr.decode())
        self.assertIn("127.0.0.1:9", done.stderr.decode())
        done = self.run_dfs("list")
        self.assertEqual(done.returncode, 2, done.stderr.decode())
        self.assertIn("dfs cluster up", done.stderr.decode())


class ResumeTests(RealClusterCase):
    """Killed commands go on where they stopped."""

    def test_upload_killed(self) -> None:
        """An upload killed by SIGKILL resumes: what is durable is not sent again (S40)."""
        self.up(meta=1, chunks=3)
        path = self.local("file", 48 * MIB)
        process = self.begin("upload", "--file", path, "--name", "file", "--chunk-size", "256KiB", "--parallel", "1")
        self.until(lambda: len(self.chunk_files("chunk-1")) > 3, "some chunks")
        process.kill()
        process.communicate()
        self.assertEqual(self.dfs("list").split(), [])
        result = self.upload(path, "file", "--chunk-size", "256KiB")
        self.assertGreater(result["resumed"], 0)
        self.assertEqual(result["sent"] + result["resumed"], 48 * MIB)
        self.assert_same("file", path)

    def test_download_killed(self) -> None:
        """A download killed by SIGKILL leaves nothing under the final name, and goes on (S41)."""
        self.up(meta=1, chunks=3)
        path = self.local("file", 64 * MIB)
        self.upload(path, "file")
        out = os.path.join(self.folder, "out")
        process = self.begin("download", "--name", "file", "--out", out, "--parallel", "1")
        self.until(lambda: [n for n in os.listdir(self.folder) if n.endswith(".dfs-part")], "the partial file")
        process.kill()
        process.communicate()
        self.assertFalse(os.path.exists(out))
        self.dfs("download", "--name", "file", "--out", out)
        self.assertEqual([n for n in os.listdir(self.folder) if n.endswith(".dfs-part")], [])
        self.assert_same("file", path)
