"""What must not start does not, and says why in one sentence."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess

from dfs.cli.cluster.layout import Layout, must_read
from dfs.cli.cluster.processes import command_line
from dfs.test.functional.cluster import RealClusterCase, end

SECTOR = 512


def free_listen() -> tuple[str, str]:
    """An endpoint at a free port, and its address."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    return f"tcp:{port}:interface=127.0.0.1", f"127.0.0.1:{port}"


class RefusalTests(RealClusterCase):
    """Starting a node against the facts."""

    def layout(self) -> Layout:
        return must_read(self.dir)

    def command_of(self, name: str, foreground: bool = True, **changed: str) -> list[str]:
        """The command line of a node, logging to stdout with a pid file of its own; flags given in ``changed`` replace
        its own."""
        layout = self.layout()
        command = command_line(layout, layout.named(name))
        for flag, value in changed.items():
            command[command.index("--" + flag.replace("_", "-")) + 1] = value
        command[command.index("--pidfile") + 1] = os.path.join(self.folder, "second.pid")
        if foreground:
            command[command.index("--logfile") + 1] = "-"
            command.insert(command.index("--pidfile"), "-n")
        return command

    def start(self, name: str, foreground: bool = True, **changed: str) -> subprocess.CompletedProcess[bytes]:
        """Try to start a node."""
        command = self.command_of(name, foreground, **changed)
        return subprocess.run(command, env=self.environment, capture_output=True, check=False, timeout=60)

    def assert_refused(self, done: subprocess.CompletedProcess[bytes], word: str) -> None:
        """Exit code 1, the word in what was said, no traceback."""
        said = (done.stdout + done.stderr).decode()
        self.assertEqual(done.returncode, 1, said)
        self.assertIn(word, said)
        self.assertNotIn("Traceback", said)

    def assert_both_refused(self, name: str, word: str, **changed: str) -> None:
        """With ``-n`` and without it."""
        self.assert_refused(self.start(name, True, **changed), word)
        done = self.start(name, False, **changed)
        self.assert_refused(done, word)
        self.assertEqual(len(done.stderr.strip().splitlines()), 1, done.stderr)

    def test_refused_starts(self) -> None:
        """A second process on a folder (S19), a folder cloned beside the original (S19), a port in use, another node's
        folder, another key (S28), a folder that cannot be made: each is refused in one sentence with exit code 1, and
        the nodes that run go on."""
        self.up(meta=1, chunks=3)
        listen, address = free_listen()
        self.assert_both_refused("chunk-1", "in use by another process", listen=listen)
        self.assert_both_refused("meta-1", "in use by another process", listen=listen)
        clone = os.path.join(self.folder, "clone")
        shutil.copytree(self.layout().named("chunk-1").data, clone)
        self.assert_refused(self.start("chunk-1", data=clone, listen=listen, advertise=address), "stop one of the two")
        self.dfs("cluster", "kill", "chunk-1")
        self.dfs("cluster", "kill", "chunk-2")
        taken = self.layout().named("chunk-3").port
        self.assert_both_refused("chunk-1", str(taken), listen=f"tcp:{taken}:interface=127.0.0.1")
        self.assert_both_refused("chunk-1", "chunk-2", data=self.layout().named("chunk-2").data)
        other_key = self.other_key()
        self.assert_refused(self.start("chunk-1", key_file=other_key), "cluster")
        self.assert_refused(self.start("chunk-1", key_file=other_key, data=clone + "-new"), "--key-file")
        self.assert_refused(self.start("chunk-1", key_file="/does/not/exist"), "/does/not/exist")
        self.assert_refused(self.start("chunk-1", data="/proc/no/such"), "/proc")
        self.heal()
        self.dfs("upload", "--file", self.local("file", 1000), "--name", "file")

    def other_key(self) -> str:
        """A key file of another cluster."""
        path = os.path.join(self.folder, "other.key")
        with open(path, "w", encoding="ascii") as file:
            file.write(os.urandom(32).hex() + "\n")
        os.chmod(path, 0o600)
        return path

    def test_foreground(self) -> None:
        """Both daemons serve when run with -n, and SIGTERM ends them in order: twistd ends itself by that signal when
        everything is closed and its pid file is gone."""
        self.up(meta=1, chunks=1, DFS_REPLICATION="1")
        path = self.local("file", 1000)
        self.upload(path, "file")
        for name in ("meta-1", "chunk-1"):
            self.dfs("cluster", "kill", name)
            process = subprocess.Popen(self.command_of(name), env=self.environment, stdout=subprocess.PIPE)
            self.addCleanup(end, process)
            self.assert_same("file", path)  # the command's patience waits until it serves
            process.send_signal(signal.SIGTERM)
            said, _ = process.communicate(timeout=30)
            self.assertEqual(process.returncode, -signal.SIGTERM, said.decode())
            self.assertIn("Server Shut Down", said.decode())
            self.assertFalse(os.path.exists(os.path.join(self.folder, "second.pid")))
            self.heal()

    def test_damaged_log(self) -> None:
        """A metadata node whose log is damaged in the middle refuses to start, by `dfs cluster` too, and the others
        serve (S30); one restarted with other peers on its command line founds no second cluster (S28)."""
        self.up(chunks=3)
        path = self.local("file", 1000)
        for number in range(3):
            self.upload(path, f"file/{number}", "--no-resume")
        leader = self.leader()
        victim, other = (name for name in ("meta-1", "meta-2", "meta-3") if name != leader)
        self.dfs("cluster", "kill", other)
        self.assert_both_refused(other, "meta-1, meta-2, meta-3", peers=f"{other}={self.layout().named(other).address}")
        self.heal()
        self.signal(victim, signal.SIGTERM)
        self.until(lambda: self.pids()[victim] is None, "the node's end")
        self.damage(os.path.join(self.layout().named(victim).data, "raft"))
        self.assert_both_refused(victim, "log-0000000000000001")
        self.assertIn("log-0000000000000001", self.dfs("cluster", "restart", victim, code=1))
        self.upload(path, "still/served", "--no-resume")

    def damage(self, folder: str) -> None:
        """Overwrite bytes of a batch in the first half of the log."""
        name = min(name for name in os.listdir(folder) if name.startswith("log-"))
        with open(os.path.join(folder, name), "r+b") as file:
            used = len(file.read().rstrip(b"\0"))
            self.assertGreater(used, 8 * SECTOR)
            file.seek(used // 2 // SECTOR * SECTOR + 10)
            file.write(b"\xa5" * 8)

    def test_no_cluster(self) -> None:
        """A cluster that is not there is exit code 5, none named is 2; both say what to do."""
        done = self.run_dfs("list", "--meta", "127.0.0.1:9", DFS_PATIENCE="1")
        self.assertEqual(done.returncode, 5, done.stderr.decode())
        self.assertIn("127.0.0.1:9", done.stderr.decode())
        done = self.run_dfs("list")
        self.assertEqual(done.returncode, 2, done.stderr.decode())
        self.assertIn("dfs cluster up", done.stderr.decode())
