"""A local cluster for a benchmark: started by the command, measured from outside."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from typing import Any

from attrs import frozen

TICKS = os.sysconf("SC_CLK_TCK")
DFS = [sys.executable, "-m", "dfs.cli.main"]


def warm(gib: int = 2) -> None:
    """Touch and free memory: a virtual machine gives idle pages back to its host, and the first touch is slow."""
    block = bytearray(gib << 30)
    for at in range(0, len(block), 4096):
        block[at] = 1


@frozen
class Used:
    """CPU seconds, and most bytes resident, of a command."""

    cpu: float
    peak: int


class Command:
    """A command at work in a process of its own, with what it uses."""

    LOOK_EVERY = 0.02  # seconds between looks at its memory

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self._command = command
        self._process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self._ended = threading.Event()
        self._peak = 0
        self._watch = threading.Thread(target=self._look, daemon=True)
        self._watch.start()

    def _look(self) -> None:
        """What wait4 tells counts what the parent had before exec; that of the new image ends with the process."""
        while peak := peak_bytes(self._process.pid):
            self._peak = peak
            self._ended.wait(self.LOOK_EVERY)

    def end(self) -> tuple[dict[str, Any], Used]:
        """Its document, and what it used.  Raises RuntimeError."""
        before = children_cpu()
        out, error = self._process.communicate()
        cpu = children_cpu() - before
        self._ended.set()
        self._watch.join()
        if self._process.returncode:
            raise RuntimeError(f"{' '.join(self._command)} ended with {self._process.returncode}: {error}")
        return json.loads(out.splitlines()[-1]), Used(cpu, self._peak)


class LocalCluster:
    """3 + 3 nodes in a temporary folder; use with ``with``."""

    def __init__(self, meta: int = 3, chunks: int = 3, environment: dict[str, str] | None = None) -> None:
        self._meta = meta
        self._chunks = chunks
        self.folder = tempfile.mkdtemp(prefix="dfs-bench-")
        self.dir = os.path.join(self.folder, "cluster")
        self._environment = {**os.environ, **(environment or {}), "DFS_STATE": os.path.join(self.folder, "state")}
        self._environment.pop("PYTHONDONTWRITEBYTECODE", None)  # a user's commands are not compiled anew each time

    def __enter__(self) -> LocalCluster:
        try:
            self.dfs("cluster", "up", "-m", str(self._meta), "-s", str(self._chunks))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run([*DFS, "cluster", "down", "--dir", self.dir], check=False, stdout=subprocess.DEVNULL)
        shutil.rmtree(self.folder, ignore_errors=True)

    def dfs(self, *words: str) -> dict[str, Any]:
        """Run the command with --json; its document."""
        return self.start(*words).end()[0]

    def start(self, *words: str) -> Command:
        """Begin a command with --json and go on."""
        return Command([*DFS, *words, "--dir", self.dir, "--json"], self._environment)

    def nodes(self) -> list[dict[str, Any]]:
        """Name, kind, address and pid of each node."""
        found: list[dict[str, Any]] = self.dfs("cluster", "status")["nodes"]
        return found

    def meta(self) -> str:
        """The metadata nodes' addresses, for the API."""
        return ",".join(node["address"] for node in self.nodes() if node["kind"] == "meta")

    def cpu_seconds(self) -> float:
        """CPU time that all its processes have used so far."""
        return self.cpu_meter()()

    def cpu_by_kind(self) -> dict[str, float]:
        """The same for metadata nodes and for chunk servers."""
        return self.kinds_meter()()

    def kinds_meter(self) -> Callable[[], dict[str, float]]:
        """The same of the processes that run now, asked of the kernel alone each time."""
        pids: dict[str, list[int]] = {"meta": [], "chunk": []}
        for node in self.nodes():
            if node["pid"]:
                pids[node["kind"]].append(node["pid"])
        return lambda: {kind: sum(map(process_cpu, each)) for kind, each in pids.items()}

    def cpu_meter(self) -> Callable[[], float]:
        """The same for all kinds together."""
        meter = self.kinds_meter()
        return lambda: sum(meter().values())

    def resident(self) -> dict[str, int]:
        """Bytes resident of each node."""
        return {node["name"]: resident_bytes(node["pid"]) for node in self.nodes() if node["pid"]}


def children_cpu() -> float:
    """CPU seconds of this process's ended children."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def peak_bytes(pid: int) -> int:
    """Most that was resident of a process since it began its program; 0 once it has ended."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
            return next((int(line.split()[1]) << 10 for line in file if line.startswith("VmHWM:")), 0)
    except (FileNotFoundError, ProcessLookupError):
        return 0


def process_cpu(pid: int) -> float:
    """User and system seconds of a process."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident_bytes(pid: int) -> int:
    """Resident set of a process."""
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
