"""cluster.toml: which nodes there are, where they listen, what environment they were given.

::

    cluster_id = "32 hex digits"
    founders = "meta-1=127.0.0.1:41234,..."     once the membership was changed
    retired = ["meta-2"]                        names of members that were removed
    [environment]
    DFS_DEAD_AFTER = "5"
    [[node]]
    name = "meta-1"
    kind = "meta"
    address = "127.0.0.1:41234"
    dir = "/absolute/path/dfs-cluster/meta-1"
    joined = true                               a metadata node that was added later

The cluster key lies beside it in ``cluster.key``, readable by its owner only.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from random import Random

from attrs import frozen

from dfs.cli.errors import CommandFailed
from dfs.cli.finding import CLUSTER_FILE, read_cluster_file

KEY_FILE = "cluster.key"
KEPT_ENVIRONMENT = "DFS_"
FIRST_PORT = 20_000
LAST_PORT = 32_000
MAX_PROBES = 10_000
NOT_KEPT = ("DFS_META", "DFS_STATE", "DFS_DEBUG", "DFS_PATIENCE")  # the client's own


@frozen
class Node:
    """One node of a local cluster.  ``kind`` is meta or chunk; ``folder`` holds data, log and pid file; ``joined``: a
    metadata node that was added to the cluster later; ``rack``: a chunk server's label."""

    name: str
    kind: str
    address: str
    folder: str
    joined: bool = False
    rack: str = ""

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    @property
    def data(self) -> str:
        return os.path.join(self.folder, "data")

    @property
    def log(self) -> str:
        return os.path.join(self.folder, "node.log")

    @property
    def pid_file(self) -> str:
        return os.path.join(self.folder, "node.pid")


@frozen
class Layout:
    """A local cluster as cluster.toml has it."""

    folder: str
    cluster_id: str
    environment: dict[str, str]
    nodes: tuple[Node, ...]
    founders: str = ""
    retired: tuple[str, ...] = ()

    def founding(self) -> str:
        """The --peers with which the cluster was founded: founders that start must be given just these."""
        return self.founders or ",".join(f"{node.name}={node.address}" for node in self.of_kind("meta"))

    def peers_of(self, node: Node) -> str:
        """The --peers of a metadata node."""
        if not node.joined:
            return self.founding()
        others = [peer for peer in self.of_kind("meta") if peer.name != node.name]
        return ",".join(f"{peer.name}={peer.address}" for peer in others)

    def new_name(self, kind: str) -> str:
        """One that was never used here."""
        used = {node.name for node in self.nodes} | set(self.retired)
        used |= {founder.partition("=")[0] for founder in self.founders.split(",")}
        numbers = [name.removeprefix(f"{kind}-") for name in used if name.startswith(f"{kind}-")]
        return f"{kind}-{1 + max((int(number) for number in numbers if number.isdecimal()), default=0)}"

    @property
    def key_file(self) -> str:
        return os.path.join(self.folder, KEY_FILE)

    def of_kind(self, kind: str) -> list[Node]:
        return [node for node in self.nodes if node.kind == kind]

    def named(self, name: str) -> Node:
        """Raises CommandFailed."""
        for node in self.nodes:
            if node.name == name:
                return node
        known = ", ".join(node.name for node in self.nodes)
        raise CommandFailed(f"there is no node {name!r} in {self.folder}", f"its nodes are {known}", 3)


def is_free(port: int) -> bool:
    """Whether nobody listens on a port of 127.0.0.1 now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def free_ports(count: int, random: Random) -> list[int]:
    """So many ports of 127.0.0.1 that nobody listens on now.  They lie below those that the kernel gives to outgoing
    connections (from 32768 on), so that a stopped node's port is not taken before it starts again."""
    found: list[int] = []
    for _ in range(MAX_PROBES):
        if len(found) == count:
            return found
        port = FIRST_PORT + int(random.random() * (LAST_PORT - FIRST_PORT))
        if port not in found and is_free(port):
            found.append(port)
    raise CommandFailed(f"no {count} free ports from {FIRST_PORT} to {LAST_PORT} on 127.0.0.1", "stop other programs")


def kept_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The settings that ``up`` was given: restarted nodes get them again."""
    return {
        name: value
        for name, value in sorted(environment.items())
        if name.startswith(KEPT_ENVIRONMENT) and name not in NOT_KEPT
    }


def plan(
    folder: str, meta: int, chunks: int, cluster_id: str, environment: Mapping[str, str], random: Random, racks: int = 0
) -> Layout:
    """A new cluster; the chunk servers lie in ``racks`` in turn.  Raises CommandFailed."""
    names = [("meta", f"meta-{n}", "") for n in range(1, meta + 1)] + [
        ("chunk", f"chunk-{n}", f"rack-{(n - 1) % racks + 1}" if racks else "") for n in range(1, chunks + 1)
    ]
    nodes = [
        Node(name, kind, f"127.0.0.1:{port}", os.path.join(folder, name), rack=rack)
        for (kind, name, rack), port in zip(names, free_ports(len(names), random), strict=True)
    ]
    return Layout(folder, cluster_id, kept_environment(environment), tuple(nodes))


def quoted(text: str) -> str:
    """A TOML basic string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in escaped) + '"'


def write(layout: Layout) -> None:
    """Write cluster.toml, whole or not at all.  Raises CommandFailed."""
    lines = ["# A local cluster of dfs.  Made by `dfs cluster up`.", f"cluster_id = {quoted(layout.cluster_id)}"]
    if layout.founders:
        lines.append(f"founders = {quoted(layout.founders)}")
    if layout.retired:
        lines.append(f"retired = [{', '.join(quoted(name) for name in layout.retired)}]")
    lines.append("")
    lines.append("[environment]")
    lines += [f"{name} = {quoted(value)}" for name, value in layout.environment.items()]
    for node in layout.nodes:
        lines += ["", "[[node]]", f"name = {quoted(node.name)}", f"kind = {quoted(node.kind)}"]
        lines += [f"address = {quoted(node.address)}", f"dir = {quoted(node.folder)}"]
        if node.joined:
            lines.append("joined = true")
        if node.rack:
            lines.append(f"rack = {quoted(node.rack)}")
    path = os.path.join(layout.folder, CLUSTER_FILE)
    try:
        with open(path + ".new", "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.rename(path + ".new", path)
    except OSError as error:
        raise CommandFailed(f"cannot write {path}: {error.strerror}", "choose another folder with --dir") from error


def read(folder: str) -> Layout | None:
    """The cluster of a folder, or None.  Raises CommandFailed where cluster.toml cannot be understood."""
    document = read_cluster_file(folder)
    if document is None:
        return None
    try:
        nodes = tuple(
            Node(n["name"], n["kind"], n["address"], n["dir"], bool(n.get("joined")), str(n.get("rack", "")))
            for n in document["node"]
        )
        return Layout(
            folder,
            document["cluster_id"],
            dict(document.get("environment", {})),
            nodes,
            str(document.get("founders", "")),
            tuple(document.get("retired", ())),
        )
    except (KeyError, TypeError) as error:
        path = os.path.join(folder, CLUSTER_FILE)
        raise CommandFailed(f"{path} is damaged: {error}", "restore it, or start anew in another --dir") from error


def must_read(folder: str) -> Layout:
    """Raises CommandFailed where there is none."""
    layout = read(folder)
    if layout is None:
        raise CommandFailed(f"there is no cluster in {folder}", "start one with `dfs cluster up`, or name its --dir", 3)
    return layout
