"""The processes of one peer: started in a folder of their own, waited for, stopped by their process ids."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from bench.local import process_cpu, resident_bytes

STARTING = 60.0
STOPPING = 10.0


def pause(seconds: float) -> None:
    """Between two looks at a program that tells nobody when it is ready."""
    threading.Event().wait(seconds)


def free_ports(count: int) -> list[int]:
    """Ports of the loopback interface that nobody uses now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    return ports


def listens(port: int) -> bool:
    """Whether something answers there."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
    except OSError:
        return False
    return True


def wait(ready: Callable[[], bool], what: str) -> None:
    """Until it is so.  Raises TimeoutError."""
    end = time.monotonic() + STARTING
    while not ready():
        if time.monotonic() > end:
            raise TimeoutError(f"{what} did not come up within {STARTING:.0f} s")
        pause(0.05)


class Processes:
    """Use with ``with``; the folder goes with it."""

    def __init__(self, label: str) -> None:
        self.folder = tempfile.mkdtemp(prefix=f"dfs-peer-{label}-")
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Processes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in reversed(list(self._running)):
            self.stop(name)
        shutil.rmtree(self.folder, ignore_errors=True)

    def path(self, *parts: str) -> str:
        """A folder of theirs, made."""
        path = os.path.join(self.folder, *parts)
        os.makedirs(path, exist_ok=True)
        return path

    def start(self, name: str, command: list[str], environment: dict[str, str] | None = None) -> None:
        """Its output goes to a file of its name."""
        with open(os.path.join(self.folder, f"{name}.out"), "ab") as out:
            self._running[name] = subprocess.Popen(
                command, cwd=self.folder, stdout=out, stderr=out, stdin=subprocess.DEVNULL, env=environment
            )

    def kill(self, name: str) -> None:
        """SIGKILL."""
        process = self._running.pop(name)
        process.kill()
        process.wait()

    def stop(self, name: str) -> None:
        """SIGTERM, and SIGKILL if that is not enough."""
        process = self._running.pop(name)
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOPPING)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def log(self, name: str) -> str:
        """What it has said, for an error message."""
        with open(os.path.join(self.folder, f"{name}.out"), encoding="utf-8", errors="replace") as file:
            return file.read()[-2000:]

    def cpu_seconds(self) -> float:
        """Of all that run."""
        return sum(process_cpu(process.pid) for process in self._running.values())

    def resident(self) -> dict[str, int]:
        """Bytes of each."""
        return {name: resident_bytes(process.pid) for name, process in self._running.items()}


class Peer:
    """A system under test, to be used with ``with``: what was started is stopped and its folder removed, also when the
    start itself fails.

    :ivar name: as shown in tables.
    """

    name = ""

    def __init__(self) -> None:
        self.processes = Processes(self.name.lower())

    def __enter__(self) -> Self:
        try:
            self.begin()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def begin(self) -> None:
        """Start it, and wait until it serves."""
        raise NotImplementedError

    def end(self) -> None:
        """Stop what runs of it."""
        self.processes.__exit__(None, None, None)
