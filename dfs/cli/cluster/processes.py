"""One node's twistd process: start it, find it, signal it.

A pid file may outlive its process, and its number may by then be somebody
else's: a process counts as the node's only if its command line names the node's
data folder.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time

from dfs.cli.cluster.layout import Layout, Node, is_free
from dfs.cli.errors import CommandFailed

LOG_TAIL = 64 << 10
TWISTD = "from twisted.scripts.twistd import run; run()"


def running_pid(node: Node) -> int | None:
    """The pid of the node's live process, or None."""
    try:
        with open(node.pid_file, encoding="ascii") as file:
            pid = int(file.read().strip())
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            command = file.read().split(b"\x00")
        with open(f"/proc/{pid}/stat", "rb") as file:
            state = file.read().rpartition(b")")[2].split()[0]
    except (OSError, ValueError):
        return None
    return pid if os.fsencode(node.data) in command and state != b"Z" else None


def command_line(layout: Layout, node: Node) -> list[str]:
    """What starts it, daemonized."""
    listen = f"tcp:{node.port}:interface=127.0.0.1"
    twistd = [sys.executable, "-c", TWISTD, "--pidfile", node.pid_file, "--logfile", node.log]
    shared = ["--data", node.data, "--listen", listen, "--advertise", node.address, "--node-id", node.name]
    shared += ["--key-file", layout.key_file]
    if node.kind == "meta":
        join = ["--join"] if node.joined else []
        return [*twistd, "dfs-meta", *shared, "--peers", layout.peers_of(node), *join]
    meta = ",".join(peer.address for peer in layout.of_kind("meta"))
    rack = ["--rack", node.rack] if node.rack else []
    return [*twistd, "dfs-chunk", *shared, "--meta", meta, *rack]


def start(layout: Layout, node: Node) -> subprocess.Popen[bytes]:
    """Begin to start it; :func:`started` waits for the outcome.  Raises CommandFailed."""
    if not is_free(node.port):
        raise CommandFailed(
            f"the port of {node.name}, {node.port}, is in use by another program",
            "stop that program, or start a new cluster in another --dir",
        )
    try:
        os.makedirs(node.folder, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(node.pid_file)
    except OSError as error:
        raise CommandFailed(f"cannot use {node.folder}: {error.strerror}", "check the permissions of --dir") from error
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DFS_")}
    environment.update(layout.environment)
    return subprocess.Popen(
        command_line(layout, node),
        env=environment,
        cwd=node.folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def started(node: Node, process: subprocess.Popen[bytes], timeout: float) -> None:
    """Wait until twistd has gone to the background.  Raises CommandFailed with what it printed."""
    try:
        printed, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise CommandFailed(f"{node.name} did not start within {timeout:.0f} s", f"see {node.log}") from None
    if process.returncode != 0:
        lines = printed.decode(errors="replace").strip().splitlines()
        raise CommandFailed(
            f"{node.name} did not start: {lines[-1] if lines else 'no reason given'}", f"see {node.log}"
        )


def last_words(node: Node) -> str:
    """The critical sentence that its latest process left in the log, "" if there is none."""
    try:
        with open(node.log, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - LOG_TAIL))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    for line in reversed(lines):
        if "starting up." in line:
            return ""
        if "#critical] " in line:
            return line.partition("#critical] ")[2]
        if '"level": "critical"' in line:
            with contextlib.suppress(ValueError, KeyError, TypeError):
                return str(json.loads(line)["message"])
    return ""


def died(node: Node) -> CommandFailed:
    """What to say of a node whose process ended while it started."""
    words = last_words(node)
    return CommandFailed(f"{node.name} stopped while it started{': ' if words else ''}{words}", f"see {node.log}")


def stop(nodes: list[Node], timeout: float) -> list[str]:
    """SIGTERM to all that run, SIGKILL to those that stay; the names of those that had to be killed."""
    left = signal_and_wait(nodes, signal.SIGTERM, timeout)
    signal_and_wait(left, signal.SIGKILL, timeout)
    return [node.name for node in left]


def kill(node: Node) -> int:
    """SIGKILL; its pid.  Raises CommandFailed if it does not run."""
    pid = running_pid(node)
    if pid is None:
        raise CommandFailed(f"{node.name} does not run", f"start it with `dfs cluster restart {node.name}`")
    signal_and_wait([node], signal.SIGKILL, 10.0)
    return pid


def signal_and_wait(nodes: list[Node], number: signal.Signals, timeout: float) -> list[Node]:
    """Signal the processes of those that run and wait for their end; the nodes whose processes outlast ``timeout``.

    A pid file descriptor names one process for good, so neither the signal nor the wait can hit another.
    """
    end = time.monotonic() + timeout
    waiting: dict[int, Node] = {}
    try:
        for node in nodes:
            pid = running_pid(node)
            with contextlib.suppress(ProcessLookupError):
                if pid is not None:
                    descriptor = os.pidfd_open(pid)
                    if running_pid(node) != pid:  # it ended before we had hold of it: the number may be another's now
                        os.close(descriptor)
                        continue
                    waiting[descriptor] = node
                    signal.pidfd_send_signal(descriptor, number)
        poll = select.poll()
        for descriptor in waiting:
            poll.register(descriptor, select.POLLIN)
        left = dict(waiting)
        while left and (remaining := end - time.monotonic()) > 0:
            for descriptor, _ in poll.poll(remaining * 1000):
                poll.unregister(descriptor)
                del left[descriptor]
        return list(left.values())
    finally:
        for descriptor in waiting:
            os.close(descriptor)
