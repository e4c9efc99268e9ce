"""Where bytes may rot, so that everything that rots can be had again.

- Of each chunk, the copies on *one* chunk server rot, whichever and however many: a chunk that was acknowledged has a
  sound copy on another disk, for it takes two to acknowledge it.  Which server that is, the seed and the chunk decide.
- Of the metadata servers a minority rots at any time.  In the log, the last batch never does: rot there cannot be told
  from a write that a crash tore, and no member can know that it has forgotten what it acknowledged.

Rot of a server's own files is taken back after a while, as somebody does who puts back the disk's other half.
"""

from __future__ import annotations

import hashlib

from attrs import define

from dfs.protocol.values import chunk_id
from dfs.raft.log_format import BadRecord, batches_behind, decode_segment_header
from dfs.simulation.cluster import DATA, SimulatedCluster
from dfs.simulation.disk import SimulatedDisk
from dfs.simulation.nodes import SimulatedNode
from dfs.simulation.packed import heads
from dfs.simulation.platter import length_of, overwrite, paths, peek

CHUNKS = f"{DATA}/chunks"
QUARANTINE = f"{DATA}/quarantine"
SEGMENTS = f"{DATA}/segments"
LOG = f"{DATA}/raft/log-"


@define(eq=False)
class Spot:
    """A place that rotted: what was there, what is there now."""

    node: SimulatedNode
    path: str
    offset: int
    before: bytes
    after: bytes

    def take_back(self) -> None:
        """Put the bytes back, unless others were written since."""
        disk = self.node.host.disk
        found = peek(disk, self.path)
        if found is not None and found[self.offset : self.offset + len(self.after)] == self.after:
            overwrite(disk, self.path, self.offset, self.before)


class Atlas:
    """:ivar spots: of servers' own files, as long as they are spoilt, by the server's name."""

    def __init__(self, cluster: SimulatedCluster) -> None:
        self.spots: dict[str, Spot] = {}
        self._cluster = cluster
        self._names = sorted(cluster.chunks)  # the first ones: who is another's victim never changes

    def victim(self, chunk: str) -> str:
        """The one chunk server whose copies of a chunk (its id in hex) may rot."""
        digest = hashlib.sha256(f"{self._cluster.world.seed}:{chunk}".encode()).digest()
        return self._names[int.from_bytes(digest[:4], "big") % len(self._names)]

    def replicas(self, node: str) -> list[str]:
        """Paths of the copies on a chunk server that may rot."""
        found = paths(self._cluster.chunks[node].host.disk, CHUNKS)
        return [path for path in found if path.endswith(".chunk") and self.victim(chunk_of(path)) == node]

    def areas(self, node: str) -> list[tuple[str, int, int]]:
        """The same with those that are packed: path, offset and length of each."""
        disk, cluster = self._cluster.chunks[node].host.disk, self._cluster.cluster_id
        return [(path, 0, length_of(disk, path)) for path in self.replicas(node)] + [
            (path, head.place.offset, head.end - head.place.offset)
            for path, head in heads(disk, SEGMENTS)
            if self.victim(chunk_id(cluster, head.held.file_id, head.held.index).hex()) == node
        ]

    def spoil(self, node: SimulatedNode, path: str, offset: int, content: bytes) -> Spot:
        """Other bytes are there from now on, on the platter too, and no operation tells."""
        before = overwrite(node.host.disk, path, offset, content)
        return Spot(node, path, offset, before, content)

    def may_spoil(self, node: SimulatedNode) -> bool:
        """Whether a server's own files may rot now."""
        if node.name in self.spots:
            return False
        if node.name in self._cluster.chunks:
            return True
        spoilt = sum(name in self._cluster.meta for name in self.spots)
        return spoilt < (len(self._cluster.meta) - 1) // 2

    def own_files(self, node: SimulatedNode) -> list[tuple[str, int]]:
        """Paths of a server's own files, each with how many of its bytes may rot."""
        disk = node.host.disk
        own = [path for path in paths(disk, DATA) if not path.startswith((CHUNKS, QUARANTINE, SEGMENTS))]
        return [(path, reach) for path in own if (reach := self._reach(disk, path))]

    def _reach(self, disk: SimulatedDisk, path: str) -> int:
        content = peek(disk, path) or b""
        if not path.startswith(LOG):
            return len(content)
        try:
            header = decode_segment_header(content)
        except BadRecord:
            return 0
        return max((offset for offset, _ in batches_behind(memoryview(content), 1, header.checksum)), default=0)


def chunk_of(path: str) -> str:
    """The chunk's id in hex, of a replica's path."""
    return path.rpartition("/")[2].partition(".")[0]
