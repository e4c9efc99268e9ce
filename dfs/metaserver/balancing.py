"""Which replicas are to move so that nodes are filled alike.  Pure, leader-local.

A node is *fat* where it is filled by more than the threshold above the mean of all, *lean* where below.  Chunks of fat
nodes get a copy on a lean one; the trim then takes the fullest node's replica.  The views change as beats come, so a
node stops being fat, or lean, by itself, and what flies is never called back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from attrs import frozen

from dfs.metaserver.placement import NodeView
from dfs.metaserver.queries import ChunkCopies


@frozen
class Load:
    """A node that is alive, and the bytes that are recorded there: what waits in quarantine counts no more."""

    number: int
    total: int
    bytes: int


@frozen
class Fill:
    """A node's filling in per mille, and the bytes by which it is above (``surplus``) or below (``lack``) the mean."""

    number: int
    permille: int
    surplus: int
    lack: int


def fills(loads: Iterable[Load]) -> list[Fill]:
    """Of the nodes that have told their space."""
    known = [load for load in loads if load.total > 0]
    total, held = sum(load.total for load in known), sum(load.bytes for load in known)
    found = []
    for load in known:
        fair = load.total * held // max(total, 1)
        permille = min(1000, load.bytes * 1000 // load.total)
        found.append(Fill(load.number, permille, max(0, load.bytes - fair), max(0, fair - load.bytes)))
    return found


class Balance:
    """:param threshold: per mille of a node's space."""

    def __init__(self, loads: Iterable[Load], threshold: int) -> None:
        loads = [load for load in loads if load.total > 0]
        self.threshold = threshold
        self.fills = fills(loads)
        totals = {load.number: load.total for load in loads}
        apart = {fill.number: (fill.surplus - fill.lack) * 1000 // totals[fill.number] for fill in self.fills}
        self.fat = {number: distance for number, distance in apart.items() if distance > threshold}
        self.lean = frozenset(number for number, distance in apart.items() if distance < 0)
        self.left_bytes = sum(fill.surplus for fill in self.fills if fill.number in self.fat)

    def source(self, chunk: ChunkCopies) -> int | None:
        """The fattest of its nodes, None where none is fat."""
        return max((node for node in chunk.nodes if node in self.fat), key=lambda n: (self.fat[n], n), default=None)

    def wants(self, key: tuple[int, int], chunk: ChunkCopies, views: Mapping[int, NodeView]) -> bool:
        """Whether the chunk is one to move."""
        source = self.source(chunk)
        if source is None or len(chunk.nodes) > chunk.wanted:
            return False
        return any(node not in chunk.nodes and node in views for node in self.lean)
