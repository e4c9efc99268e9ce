"""The daemons of a cluster: one twistd process a node, in its place, with a folder of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from typing import Any

from attrs import define

from bench.chaos.disks import SmallDisk
from bench.chaos.places import Places
from dfs.disk.real import RealDisk
from dfs.protocol.trust import new_cluster_key, write_key_file

TWISTD = "from twisted.scripts.twistd import run; run()"
QUICK = {"DFS_DEAD_AFTER": "6", "DFS_SUSPECT_AFTER": "3", "DFS_HEARTBEAT_INTERVAL": "0.5"}
STOP_TIMEOUT = 30.0


@define(eq=False)
class Node:
    """One node.  ``process`` is its last one; ``paused`` while it is stopped by a signal."""

    name: str
    kind: str
    address: str
    folder: str
    disk: SmallDisk | None = None
    process: subprocess.Popen[bytes] | None = None
    paused: bool = False

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def log(self) -> str:
        """Beside the folder, which may be a full file system."""
        return f"{self.folder}.log"

    def signal(self, number: signal.Signals) -> None:
        if self.running and self.process is not None:
            self.process.send_signal(number)
            self.paused = number is signal.SIGSTOP


class Cluster:
    """``small``: nodes that get a small file system of their own, where that is permitted."""

    def __init__(self, places: Places, meta: int, chunks: int, small: tuple[str, ...] = ()) -> None:
        self.places = places
        self.folder = tempfile.mkdtemp(prefix="dfs-chaos-")
        self.nodes: dict[str, Node] = {}
        self._key = os.path.join(self.folder, "cluster.key")
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("DFS_")},
            **QUICK,
            "DFS_STATE": os.path.join(self.folder, "state"),
        }
        names = [("meta", f"meta-{n}") for n in range(1, meta + 1)]
        names += [("chunk", f"chunk-{n}") for n in range(1, chunks + 1)]
        try:
            write_key_file(RealDisk(), self._key, new_cluster_key(os.urandom))
            for kind, name in names:
                self._lay_out(kind, name, name in small)
        except BaseException:
            self.close()
            raise

    def _lay_out(self, kind: str, name: str, small: bool) -> None:
        host, port = self.places.address(name)
        node = Node(name, kind, f"{host}:{port}", os.path.join(self.folder, name))
        os.makedirs(node.folder)
        if small:
            disk = SmallDisk(node.folder)
            if disk.mount():
                node.disk = disk
        self.nodes[name] = node

    @property
    def meta(self) -> str:
        """The metadata nodes' addresses, for clients."""
        return ",".join(node.address for node in self.of_kind("meta"))

    def of_kind(self, kind: str) -> list[Node]:
        return [node for node in self.nodes.values() if node.kind == kind]

    # ---- processes ------------------------------------------------------------------------------

    def start(self, node: Node) -> None:
        """Start its daemon, unless it runs."""
        if node.running:
            return
        host, _, port = node.address.rpartition(":")
        twistd = [sys.executable, "-c", TWISTD, "--nodaemon", "--pidfile", "", "--logfile", node.log]
        words = [f"dfs-{node.kind}", "--data", os.path.join(node.folder, "data")]
        words += ["--listen", f"tcp:{port}:interface={host}", "--advertise", node.address]
        words += ["--node-id", node.name, "--key-file", self._key]
        if node.kind == "meta":
            words += ["--peers", ",".join(f"{each.name}={each.address}" for each in self.of_kind("meta"))]
        else:
            words += ["--meta", self.meta]
        node.process = subprocess.Popen(
            [*self.places.enter(node.name), *twistd, *words],
            env=self._environment,
            cwd=node.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        node.paused = False

    def start_all(self) -> None:
        for node in self.nodes.values():
            self.start(node)

    def kill(self, node: Node) -> None:
        """SIGKILL."""
        if node.process is not None:
            node.process.kill()
            node.process.wait()
            node.paused = False

    def stop(self, node: Node) -> None:
        """SIGTERM, and SIGKILL where it stays."""
        if not node.running or node.process is None:
            return
        node.signal(signal.SIGCONT)
        node.process.terminate()
        try:
            node.process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.kill(node)

    # ---- questions ------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """What `dfs status` says; {} where nobody answers."""
        command = [sys.executable, "-m", "dfs.cli.main", "status", "--meta", self.meta, "--json"]
        try:
            done = subprocess.run(command, env=self._environment, capture_output=True, check=False, timeout=20)
            found: dict[str, Any] = json.loads(done.stdout)
        except (subprocess.TimeoutExpired, ValueError):
            return {}
        return found

    def settled(self, patience: float) -> str:
        """Wait until every node serves and every chunk has its copies; "" then, else what is amiss."""
        end = time.monotonic() + patience
        while True:
            amiss = self._amiss()
            if not amiss or time.monotonic() > end:
                return amiss

    def _amiss(self) -> str:
        dead = [node.name for node in self.nodes.values() if not node.running]
        if dead:
            return f"{', '.join(dead)} ended by itself: see its log"
        status = self.status()
        if not status.get("leader"):
            return "there is no leader"
        away = [each["name"] for each in status["chunk_servers"] if each["state"] != "alive"]
        debt = status["debt"]["chunks"]
        if away or len(status["chunk_servers"]) != len(self.of_kind("chunk")) or debt:
            return f"away: {away or 'nobody'}; {debt} chunks short of copies"
        return ""

    def tracebacks(self) -> list[str]:
        """Nodes whose log holds an unhandled error."""
        found = []
        for node in self.nodes.values():
            if os.path.exists(node.log):
                with open(node.log, encoding="utf-8", errors="replace") as log:
                    if any(line.startswith("Traceback (most recent call last)") for line in log):
                        found.append(node.name)
        return found

    def close(self, keep: bool = False) -> None:
        """End every process, mount and namespace; the folder with the logs goes too unless it is to be looked at."""
        for node in self.nodes.values():
            self.kill(node)
        for node in self.nodes.values():
            if node.disk is not None:
                node.disk.unmount()
        self.places.close()
        if not keep:
            shutil.rmtree(self.folder, ignore_errors=True)
