"""Where replicas lie on simulated disks, in files of their own or in segments: no operation is counted, takes time or
fails."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from attrs import frozen

from dfs.chunkserver.layout import Layout
from dfs.chunkserver.records import BODY
from dfs.chunkserver.segments import name_of
from dfs.protocol.messages import HeldReplica
from dfs.protocol.values import ChunkRef, chunk_id
from dfs.simulation.cluster import DATA, SimulatedCluster
from dfs.simulation.disk import SimulatedDisk
from dfs.simulation.packed import heads
from dfs.simulation.platter import length_of, paths, peek_part

CHUNKS = f"{DATA}/chunks"
SEGMENTS = f"{DATA}/segments"
EVERY = 1 << 30


@frozen
class Stored:
    """One replica on a disk.

    :ivar name: of the generation: chunk id in hex, a dot, generation; the same in either layout.
    :ivar path: the file that it lies in.
    :ivar start: where its bytes begin there, ``length`` how many they are, footer included.
    :ivar sha256: what a record says of the chunk; None of a file of its own.
    :ivar size: of the chunk, by its record.
    """

    name: str
    path: str
    start: int
    length: int
    sha256: bytes | None = None
    size: int = 0

    @property
    def area(self) -> tuple[int, int]:
        """Where its bytes are in the file, from and up to."""
        return self.start, self.start + self.length

    def rot(self, disk: SimulatedDisk, at: int) -> None:
        """The byte at ``at`` of the chunk changes."""
        disk.flip_bits(self.path, self.start + at)


def stored(disk: SimulatedDisk, cluster_id: bytes) -> list[Stored]:
    """Every replica on a chunk server's disk, by name; what was removed and what has a temporary name is none."""
    found = [
        Stored(path.rpartition("/")[2].removesuffix(".chunk"), path, 0, length_of(disk, path))
        for path in paths(disk, CHUNKS)
        if path.endswith(".chunk")
    ]
    for path, head in heads(disk, SEGMENTS):
        held = head.held
        name = f"{chunk_id(cluster_id, held.file_id, held.index).hex()}.{held.generation}"
        found.append(Stored(name, path, head.place.offset + BODY, head.body, held.sha256, held.length))
    return sorted(found, key=lambda each: (each.name, each.path, each.start))


class Shelves:
    """The replicas of a cluster's chunk servers."""

    def __init__(self, cluster: SimulatedCluster) -> None:
        self._cluster = cluster
        self._layout = Layout(DATA, cluster.cluster_id)

    def is_open(self, node: str) -> bool:
        """Whether the server has gone through its folder."""
        return getattr(dict(self._cluster.chunk_servers()).get(node), "store", None) is not None

    def stored(self, node: str) -> list[Stored]:
        """On a chunk server's disk."""
        return stored(self._cluster.chunks[node].host.disk, self._cluster.cluster_id)

    def names(self, node: str) -> list[str]:
        """Of the generations on a chunk server's disk, each once."""
        return sorted({each.name for each in self.stored(node)})

    def all_names(self) -> dict[str, list[str]]:
        """Of every chunk server."""
        return {node: self.names(node) for node in self._cluster.chunks}

    def unfinished(self, node: str) -> list[str]:
        """What puts that nobody acknowledged have left: temporary files, and whole records that the running server does
        not list."""
        disk = self._cluster.chunks[node].host.disk
        left = [path for path in paths(disk, CHUNKS) if not path.endswith(".chunk")]
        listed = {(path, start) for _, path, start in self._listed(node)}
        for each in self.stored(node):
            if each.sha256 is not None and (each.path, each.start) not in listed:
                content = peek_part(disk, each.path, each.start, each.size)
                left += [f"{each.path} {each.start}"] if hashlib.sha256(content).digest() == each.sha256 else []
        return left

    def half(self, node: str) -> list[str]:
        """What the running server lists and its disk does not have whole."""
        disk = self._cluster.chunks[node].host.disk
        return [
            f"file {held.file_id:x} chunk {held.index} at {path} {start}"
            for held, path, start in self._listed(node)
            if hashlib.sha256(peek_part(disk, path, start, held.length)).digest() != held.sha256
        ]

    def _listed(self, node: str) -> Iterator[tuple[HeldReplica, str, int]]:
        """What the running server lists, with the file and where the chunk begins in it."""
        store = dict(self._cluster.chunk_servers())[node].store
        assert store is not None, f"{node} is not ready"
        for held in store.index.page(b"", EVERY)[0]:
            ref = ChunkRef(held.file_id, held.index, held.generation)
            place = store.index.place(ref)
            if place is None:
                yield held, self._layout.path(ref), 0
            else:
                yield held, self._layout.segment(name_of(place.segment)), place.offset + BODY
