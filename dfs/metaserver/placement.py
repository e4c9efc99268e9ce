"""Where replicas go: a pure, versioned function.

A node is drawn by weight, free space over load, so that chunks spread, empty nodes fill first and nobody is swamped;
a draw, because leaders that all take the emptiest node fill it in a burst (Mitzenmacher 2001 on stale load).  Then,
strictly: never two replicas on one node, never a full node, a suspect one only when the alive ones do not suffice, a
rack that has a replica already only when no other rack has room (S20).

Weights are integers and the only arithmetic on a draw is one multiplication: the same draws place alike on every
machine. A version's answers are frozen by test vectors; better rules get a new version.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Collection, Sequence
from itertools import accumulate
from operator import attrgetter

from attrs import field, frozen

from dfs.protocol.values import MAX_CHUNK_SIZE, NodeState

VERSION = 1
RESERVE = 64 << 20  # free bytes that a node keeps for its own needs
_PLACEABLE = (NodeState.ALIVE, NodeState.SUSPECT)


@frozen
class NodeView:
    """A node as the leader sees it now.  ``streams``: transfers that run there or were promised lately.  ``weight``:
    free space in thousandths, halved by a stream, thirded by two, and so on; at least 1."""

    number: int
    rack: str
    state: NodeState
    total: int
    free: int
    streams: int
    weight: int = field(init=False, eq=False)

    @weight.default
    def _weigh(self) -> int:
        return max(1, self.free * 1000 // max(self.total, 1) * 16 // (1 + self.streams))


def place(
    version: int,
    nodes: Sequence[NodeView],
    count: int,
    exclude: Collection[int],
    draw: Callable[[], float],
    racks: Collection[str] = (),
    need: int = MAX_CHUNK_SIZE,
) -> tuple[int, ...]:
    """Up to ``count`` node numbers, the primary first; fewer where there is no room.

    :param exclude: nodes that hold a replica already, or just failed.
    :param draw: gives numbers in [0, 1).
    :param racks: racks of replicas that exist already.
    :param need: bytes that must fit.
    """
    if version != VERSION:
        raise ValueError(f"placement version {version} is not known")
    excluded, least = frozenset(exclude), need + RESERVE
    room = [
        node
        for node in sorted(nodes, key=attrgetter("number"))
        if node.free >= least and node.state in _PLACEABLE and node.number not in excluded
    ]
    used = set(racks)
    chosen: list[int] = []
    while room and len(chosen) < count:
        node = _draw(_best(room, used), draw)
        room.remove(node)
        used.add(node.rack)
        chosen.append(node.number)
    return tuple(chosen)


def _best(room: list[NodeView], used: set[str]) -> list[NodeView]:
    """The strict preferences: alive before suspect, then fresh racks."""
    alive = [node for node in room if node.state is NodeState.ALIVE] or room
    return [node for node in alive if node.rack not in used] or alive


def _draw(nodes: list[NodeView], draw: Callable[[], float]) -> NodeView:
    sums = list(accumulate(node.weight for node in nodes))
    return nodes[min(bisect_right(sums, int(draw() * sums[-1])), len(nodes) - 1)]
