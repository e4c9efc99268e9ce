"""Where replicas go: a pure, versioned function.

A node is drawn by weight, free space over load, so that chunks spread, empty nodes fill first and nobody is swamped;
a draw, because leaders that all take the emptiest node fill it in a burst (Mitzenmacher 2001 on stale load).  Then,
strictly: never two replicas on one node, never a full node, a suspect one only when the alive ones do not suffice, and
as far from the other replicas as can be (S20).

Racks are paths, ``dc1/r7``: replicas keep apart at the first level first, then at the next, and so on.  Version 1 knew
racks as plain names and only whether one was used; version 2 counts how often, at each level.  Version 3 has the same
rules, and draws the rack first and then the node in it (dfs.metaserver.ground): with a ground that is kept up to date a
draw among a thousand nodes costs what the racks cost, and not what the nodes do.

Weights are integers and the only arithmetic on a draw is one multiplication: the same draws place alike on every
machine. A version's answers are frozen by test vectors; better rules get a new version.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import accumulate
from operator import attrgetter

from attrs import field, frozen

from dfs.metaserver.ground import Ground
from dfs.metaserver.racks import closeness, closeness_by, counts
from dfs.protocol.values import MAX_CHUNK_SIZE, NodeState

VERSION = 3
VERSIONS = (1, 2, 3)
RESERVE = 64 << 20  # free bytes that a node keeps for its own needs
_MOST_KNOWN = 10_000
_PLACEABLE = (NodeState.ALIVE, NodeState.SUSPECT)


@frozen
class NodeView:
    """A node as the leader sees it now.  ``streams``: transfers that run there or were promised lately.  ``weight``:
    free space in thousandths, halved by a stream, thirded by two, and so on; at least 1.  ``settled``: it did not come
    back from the dead only a moment ago.  ``clients``: transfers of clients there, ``client_rate`` their bytes/s."""

    number: int
    rack: str
    state: NodeState
    total: int
    free: int
    streams: int
    weight: int = field(init=False, eq=False)
    settled: bool = True
    clients: int = 0
    client_rate: int = 0

    @weight.default
    def _weigh(self) -> int:
        return weigh(self, self.streams)


def weigh(view: NodeView, streams: int) -> int:
    """What the node would weigh with so many transfers."""
    return max(1, view.free * 1000 // max(view.total, 1) * 16 // (1 + streams))


def has_room(view: NodeView, need: int) -> bool:
    """Whether ``need`` bytes could be placed there."""
    return view.free >= need + RESERVE and view.state in _PLACEABLE


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
    if version not in VERSIONS:
        raise ValueError(f"placement version {version} is not known")
    excluded = frozenset(exclude)
    room = [
        node for node in sorted(nodes, key=attrgetter("number")) if has_room(node, need) and node.number not in excluded
    ]
    if version >= 3:
        return Site(room).draw(count, (), draw, racks)
    best = _best if version == 1 else _farthest
    used = list(racks)
    chosen: list[int] = []
    while room and len(chosen) < count:
        node = _draw(best(room, used), draw)
        room.remove(node)
        used.append(node.rack)
        chosen.append(node.number)
    return tuple(chosen)


def _best(room: list[NodeView], used: list[str]) -> list[NodeView]:
    """Version 1: alive before suspect, then fresh racks."""
    alive = [node for node in room if node.state is NodeState.ALIVE] or room
    return [node for node in alive if node.rack not in used] or alive


def _farthest(room: list[NodeView], used: list[str]) -> list[NodeView]:
    """Version 2: alive before suspect, then the least close to the others."""
    alive = [node for node in room if node.state is NodeState.ALIVE] or room
    if not used:
        return alive
    counted = counts(used)
    racks = {rack: closeness_by(rack, counted) for rack in dict.fromkeys(node.rack for node in alive)}
    least = min(racks.values())
    return [node for node in alive if racks[node.rack] == least]


class Site:
    """Version 3's rules over nodes that have room, for choice after choice: what changed is put again."""

    def __init__(self, nodes: Iterable[NodeView] = ()) -> None:
        self._alive, self._suspect = Ground(), Ground()
        self._racks: dict[int, str] = {}
        for node in nodes:
            self.put(node)

    def put(self, view: NodeView) -> None:
        """The node as it is now, which is alive or suspect and has room."""
        is_alive = view.state is NodeState.ALIVE
        (self._alive if is_alive else self._suspect).put(view.number, view.rack, view.weight)
        self._racks[view.number] = view.rack

    def drop(self, number: int) -> None:
        """It has room no more."""
        self._alive.drop(number)
        self._suspect.drop(number)

    def draw(
        self, count: int, exclude: Collection[int], draw: Callable[[], float], racks: Collection[str] = ()
    ) -> tuple[int, ...]:
        """See :func:`place`."""
        used, chosen = list(racks), list[int]()
        while len(chosen) < count:
            taken = (*exclude, *chosen)
            found = self._alive.draw(used, taken, draw) or self._suspect.draw(used, taken, draw)
            if found is None:
                break
            chosen.append(found[0])
            used.append(self._racks[found[0]])
        return tuple(chosen)


class Racks:
    """The racks where a replica could go now, to tell whether a chunk could lie better."""

    def __init__(self, nodes: Iterable[NodeView]) -> None:
        least = MAX_CHUNK_SIZE + RESERVE
        self._racks = sorted({node.rack for node in nodes if node.state is NodeState.ALIVE and node.free >= least})
        self._known: dict[tuple[str, ...], bool] = {}

    def has(self, rack: str) -> bool:
        """Whether the rack has room."""
        return rack in self._racks

    def could_be_better(self, racks: Sequence[str]) -> bool:
        """Whether one of the replicas in ``racks`` would be less close to the others in a rack that has room (S20)."""
        key = tuple(sorted(racks))
        if key not in self._known:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[key] = any(self._better(place, key) for place in range(len(key)))
        return self._known[key]

    def _better(self, place: int, racks: tuple[str, ...]) -> bool:
        others = racks[:place] + racks[place + 1 :]
        now = closeness(racks[place], others)
        return any(now) and any(closeness(rack, others) < now for rack in self._racks)


def _draw(nodes: list[NodeView], draw: Callable[[], float]) -> NodeView:
    sums = list(accumulate(node.weight for node in nodes))
    return nodes[min(bisect_right(sums, int(draw() * sums[-1])), len(nodes) - 1)]
