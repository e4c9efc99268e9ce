"""A real cluster for a test: the `dfs` command and twistd processes, nothing simulated.

The tests drive it as a user would, by the command and by signals; they wait by
asking again, never by sleeping (a command takes a good part of a second).  To
start a cluster takes seconds, so each test does on one cluster all that can be
done there one after the other.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

QUICK = {"DFS_DEAD_AFTER": "4", "DFS_SUSPECT_AFTER": "2", "DFS_HEARTBEAT_INTERVAL": "0.3"}
COMPARE = """
import json, sys
from dfs.client import blocking
with blocking.connect(sys.argv[1]) as fs:
    for name, path in json.loads(sys.argv[2]).items():
        with open(path, "rb") as file:
            if fs.read(name) != file.read():
                print(name, "differs from", path)
"""
PATIENCE = 60.0
TIMEOUT = 90.0


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill a process of ours that may still run, and take its last words."""
    if process.poll() is None:
        process.kill()
    process.communicate()


class RealClusterCase(SynchronousTestCase):
    """Each test has a folder, and stops what it started whatever happens."""

    timeout = 240

    def setUp(self) -> None:
        self.folder = tempfile.mkdtemp(prefix="dfs-functional-")
        self.dir = os.path.join(self.folder, "cluster")
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("DFS_")},
            **QUICK,
            "DFS_STATE": os.path.join(self.folder, "state"),
        }
        self.addCleanup(self._clean)

    def _clean(self) -> None:
        left = self.stop_all()
        shutil.rmtree(self.folder, ignore_errors=True)
        self.assertEqual(left, [], "these processes outlived the test")

    def stop_all(self) -> list[str]:
        """Wake and stop every node; the names of those that stay."""
        running = [pid for pid in self.pids().values() if pid is not None]
        for pid in running:
            os.kill(pid, signal.SIGCONT)
        if running:
            self.run_dfs("cluster", "down", "--dir", self.dir)
        return [name for name, pid in self.pids().items() if pid is not None]

    # ---- the command -----------------------------------------------------------------------

    def command(self, *words: str) -> list[str]:
        """The command line of `dfs`."""
        return [sys.executable, "-m", "dfs.cli.main", *words]

    def begin(self, *words: str, **options: Any) -> subprocess.Popen[bytes]:
        """Start a command on the cluster and go on."""
        process = subprocess.Popen(
            self.command(*words, "--dir", self.dir),
            env=self.environment,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **options,
        )
        self.addCleanup(end, process)
        return process

    def run_dfs(self, *words: str, data: bytes | None = None, **changes: str) -> subprocess.CompletedProcess[bytes]:
        """Run a command to its end."""
        return subprocess.run(
            self.command(*words),
            env={**self.environment, **changes},
            cwd=self.folder,
            input=data,
            capture_output=True,
            check=False,
            timeout=TIMEOUT,
        )

    def dfs(self, *words: str, code: int = 0, data: bytes | None = None, **changes: str) -> str:
        """Run a command on the cluster; what it printed.  Fails unless it ends with ``code``."""
        done = self.run_dfs(*words, "--dir", self.dir, data=data, **changes)
        self.assertEqual(
            done.returncode, code, f"dfs {' '.join(words)}: {done.stdout[-500:]!r} {done.stderr.decode()[-2000:]}"
        )
        if code:
            self.assertNotIn("Traceback", done.stderr.decode())
            return done.stderr.decode()
        return done.stdout.decode()

    def ends(self, process: subprocess.Popen[bytes], code: int = 0) -> str:
        """Wait for a command that was begun; what it printed."""
        out, error = process.communicate(timeout=TIMEOUT)
        self.assertEqual(process.returncode, code, f"{process.args!r}: {error.decode()[-2000:]}")
        self.assertNotIn("Traceback", error.decode())
        return out.decode("utf-8", "surrogateescape")

    def together(self, *commands: tuple[str, ...], code: int = 0) -> list[str]:
        """Run commands at the same time; what they printed.  Fails unless each ends with ``code``."""
        return [self.ends(process, code) for process in [self.begin(*words) for words in commands]]

    def python(self, script: str, *arguments: str) -> str:
        """Run a script that uses the package, as users do; what it printed."""
        command = [sys.executable, "-c", script, *arguments]
        done = subprocess.run(
            command, env=self.environment, cwd=self.folder, capture_output=True, text=True, check=False, timeout=TIMEOUT
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def document(self, *words: str, **options: Any) -> Any:
        """The one JSON document of a command."""
        return json.loads(self.dfs(*words, "--json", **options))

    # ---- the cluster -----------------------------------------------------------------------

    def up(self, meta: int = 3, chunks: int = 4, **settings: str) -> None:
        """Start it."""
        self.environment.update(settings)
        self.dfs("cluster", "up", "-m", str(meta), "-s", str(chunks))

    def nodes(self) -> dict[str, dict[str, Any]]:
        """By name: name, kind, address, pid."""
        return {node["name"]: node for node in self.document("cluster", "status")["nodes"]}

    def pids(self) -> dict[str, int | None]:
        """By node name, from the pid files; empty before the cluster is there."""
        from dfs.cli.cluster.layout import read
        from dfs.cli.cluster.processes import running_pid

        layout = read(self.dir)
        return {node.name: running_pid(node) for node in layout.nodes} if layout is not None else {}

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a node's process a signal."""
        pid = self.pids()[name]
        assert pid is not None, name
        os.kill(pid, number)

    def kill(self, *names: str) -> None:
        """SIGKILL, all at once."""
        pids = self.pids()
        for name in names:
            pid = pids[name]
            assert pid is not None, name
            os.kill(pid, signal.SIGKILL)

    def heal(self) -> None:
        """Start whatever does not run, and wait until all serve."""
        self.dfs("cluster", "up")

    def leader(self) -> str:
        """Wait until there is one."""
        return str(self.until(lambda: self.document("status")["leader"], "a leader"))

    def until(self, condition: Callable[[], Any], what: str, patience: float = PATIENCE) -> Any:
        """Ask until the answer is true; that answer."""
        end = time.monotonic() + patience
        while True:
            answer = condition()
            if answer:
                return answer
            if time.monotonic() > end:
                self.fail(f"{what} did not come within {patience:.0f} s\n{self.situation()}")

    def situation(self) -> str:
        """What the cluster says of itself, for the reader of a failure."""
        words = (("status",), ("fsck",), ("events", "--limit", "60"))
        return "\n".join(self.run_dfs(*each, "--dir", self.dir).stdout.decode() for each in words)

    # ---- files -----------------------------------------------------------------------------

    def local(self, name: str, size: int) -> str:
        """A new local file of random bytes."""
        path = os.path.join(self.folder, name)
        with open(path, "wb") as file:
            file.write(os.urandom(size))
        return path

    def upload(self, path: str, name: str, *options: str) -> dict[str, Any]:
        found: dict[str, Any] = self.document("upload", "--file", path, "--name", name, *options)
        return found

    def assert_same(self, name: str, path: str) -> None:
        """Download and compare."""
        out = os.path.join(self.folder, "compared")
        self.dfs("download", "--name", name, "--out", out, "--force")
        with open(out, "rb") as fetched, open(path, "rb") as original:
            self.assertTrue(fetched.read() == original.read(), f"{name} differs from {path}")

    def assert_all_same(self, paths: dict[str, str]) -> None:
        """Read files through the Python API and compare each with a local one; ``paths`` by name."""
        meta = ",".join(node["address"] for node in self.nodes().values() if node["kind"] == "meta")
        self.assertEqual(self.python(COMPARE, meta, json.dumps(paths)), "")

    def states(self) -> dict[str, str]:
        """Of the chunk servers, by name, as metadata sees them."""
        return {each["name"]: each["state"] for each in self.document("status")["chunk_servers"]}

    def live_copies(self, name: str) -> list[int]:
        """Of each chunk."""
        chunks = self.document("stat", "--name", name)["chunks"]
        return [sum(replica["state"] == "alive" for replica in chunk["replicas"]) for chunk in chunks]

    def chunk_files(self, node: str) -> list[str]:
        """Paths of the replicas on a node's disk."""
        found = []
        for root, _, names in os.walk(os.path.join(self.dir, node, "data")):
            found += [os.path.join(root, name) for name in names if name.endswith(".chunk")]
        return sorted(found)
