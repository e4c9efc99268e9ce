"""Where a node lives: in a network namespace of its own where that is permitted, else on this machine's loopback.

Each namespace has one end of a veth pair; the other ends are on a bridge, and so is this machine, from which the
clients call.  A node is cut off by taking its end off the air; one node does not reach another where its namespace
has a blackhole route to it: packets are lost in that direction only.
"""

from __future__ import annotations

import os
import socket
import subprocess
from typing import Protocol

SUBNET = "10.213.{third}"
GATEWAY = 254
PORT = 7001


class NotPermitted(Exception):
    """Namespaces cannot be made here; the sentence says why."""


class Places(Protocol):
    """Addresses for nodes, and what can be done to the links between them.

    :ivar cuts: whether links can be cut at all.
    """

    cuts: bool

    def address(self, node: str) -> tuple[str, int]:
        """Host and port for a node to listen on; asked once a node."""

    def enter(self, node: str) -> list[str]:
        """What goes before the command line of the node."""

    def isolate(self, node: str, cut: bool) -> None:
        """Take it off the air, or put it back."""

    def deafen(self, source: str, target: str, cut: bool) -> None:
        """Nothing that ``source`` sends reaches ``target``, or all does again."""

    def close(self) -> None:
        """Remove everything; idempotent."""


def ip(*words: str, check: bool = True) -> None:
    """Run ip(8).  Raises NotPermitted."""
    try:
        done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise NotPermitted("ip(8) is not installed") from error
    if check and done.returncode:
        raise NotPermitted(f"ip {' '.join(words)}: {done.stderr.strip()}")


class Loopback:
    """Everything on 127.0.0.1, where no link can be cut."""

    cuts = False

    def address(self, node: str) -> tuple[str, int]:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return "127.0.0.1", int(probe.getsockname()[1])

    def enter(self, node: str) -> list[str]:
        return []

    def isolate(self, node: str, cut: bool) -> None:
        raise NotPermitted("links on the loopback cannot be cut")

    def deafen(self, source: str, target: str, cut: bool) -> None:
        raise NotPermitted("links on the loopback cannot be cut")

    def close(self) -> None:
        return None


class Namespaces:
    """One namespace a node; names carry our process id, so that two runs do not meet."""

    cuts = True

    def __init__(self) -> None:
        self._stem = f"dc{os.getpid() % 1_000_000}"
        self._bridge = f"{self._stem}br"
        self._subnet = SUBNET.format(third=os.getpid() % 250)
        self._nodes: dict[str, int] = {}
        try:
            ip("link", "add", self._bridge, "type", "bridge")
            ip("address", "add", f"{self._subnet}.{GATEWAY}/24", "dev", self._bridge)
            ip("link", "set", self._bridge, "up")
            self.address("probe")
        except NotPermitted:
            self.close()
            raise

    def _space(self, node: str) -> str:
        return f"{self._stem}n{self._nodes[node]}"

    def _outside(self, node: str) -> str:
        return f"{self._stem}v{self._nodes[node]}"

    def _host(self, node: str) -> str:
        return f"{self._subnet}.{self._nodes[node]}"

    def address(self, node: str) -> tuple[str, int]:
        self._nodes[node] = len(self._nodes) + 1
        space, outside = self._space(node), self._outside(node)
        ip("netns", "add", space)
        ip("link", "add", outside, "type", "veth", "peer", "name", "eth0", "netns", space)
        ip("link", "set", outside, "master", self._bridge, "up")
        ip("-n", space, "address", "add", f"{self._host(node)}/24", "dev", "eth0")
        ip("-n", space, "link", "set", "eth0", "up")
        ip("-n", space, "link", "set", "lo", "up")
        return self._host(node), PORT

    def enter(self, node: str) -> list[str]:
        return ["ip", "netns", "exec", self._space(node)]

    def isolate(self, node: str, cut: bool) -> None:
        ip("link", "set", self._outside(node), "down" if cut else "up")

    def deafen(self, source: str, target: str, cut: bool) -> None:
        route = ["route", "add" if cut else "del", "blackhole", f"{self._host(target)}/32"]
        ip("-n", self._space(source), *route, check=False)

    def close(self) -> None:
        for node in self._nodes:
            ip("link", "del", self._outside(node), check=False)
            ip("netns", "del", self._space(node), check=False)
        self._nodes.clear()
        ip("link", "del", self._bridge, check=False)


def best() -> tuple[Places, str]:
    """Namespaces where they are permitted, else the loopback, and a word on why."""
    try:
        return Namespaces(), "each node in a network namespace of its own"
    except NotPermitted as error:
        return Loopback(), f"all nodes on the loopback, partitions skipped: {error}"
