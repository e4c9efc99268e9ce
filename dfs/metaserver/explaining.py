"""Answers why: where a chunk lies, what it lacks, what each node is refused for, and when the mover acts next.

Everything is read from what placement and the planner themselves go by, at the moment of the question; nothing here
decides anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from dfs.metaserver import placement, queries
from dfs.metaserver.leading import LeaderTerm
from dfs.metaserver.mover import LEAVING, Need, counting, need, staying
from dfs.metaserver.placement import NodeView
from dfs.metaserver.queries import ChunkCopies
from dfs.metaserver.racks import closeness
from dfs.metaserver.seams import Seams
from dfs.protocol.errors import FileNotFound
from dfs.protocol.limits import MAX_VERDICTS
from dfs.protocol.messages import Explain, Explanation, Verdict
from dfs.protocol.values import FileId, NodeState, chunk_id
from dfs.runtime.units import format_size

HOLDS = {
    NodeState.ALIVE: "holds it",
    NodeState.SUSPECT: "holds it, and has not been heard of late: read last",
    NodeState.DEAD: "held it when it was last heard; it counts again if the node comes back",
    NodeState.MAINTENANCE: "holds it; it is away for maintenance, and nothing is copied for that",
    NodeState.DRAINING: "holds it until copies elsewhere are enough: it is being drained",
    NodeState.DRAINED: "holds it, drained: its replica does not stay",
}
REFUSED = {
    NodeState.DEAD: "dead: it gets nothing",
    NodeState.MAINTENANCE: "in maintenance: it gets nothing until that ends",
    NodeState.DRAINING: "being drained: it gets nothing",
    NodeState.DRAINED: "drained: it gets nothing",
}


class Explaining:
    """:param leading: the present leadership; raises DFSError where there is none."""

    def __init__(self, seams: Seams, leading: Callable[[], LeaderTerm]) -> None:
        self._seams, self._leading = seams, leading

    async def explain(self, request: Explain) -> Explanation:
        """See Explain.  Raises FileNotFound."""
        term, reader = self._leading(), self._seams.reader
        info = await reader.read(queries.get_file, None, request.file_id)
        chunk = await reader.read(queries.copies, request.file_id, request.index)
        term.check()
        if chunk is None:
            raise FileNotFound(f"{info.name!r} has no chunk {request.index}", hint="`dfs stat` lists its chunks")
        views = {number: term.view(number) for number in self._seams.roster.numbers()}
        planner, now = term.repair.planner, self._seams.seconds()
        whereabouts = planner.whereabouts((chunk.file_id, chunk.index), now)
        verdicts = judge(chunk, views, self._named)
        return Explanation(
            name=info.name,
            file_id=FileId(chunk.file_id),
            index=chunk.index,
            chunk_id=chunk_id(self._seams.config.cluster_id, FileId(chunk.file_id), chunk.index),
            generation=chunk.generation,
            length=chunk.length,
            wanted=chunk.wanted,
            counting=len(counting(chunk.nodes, views)),
            need=lack(chunk, views),
            healing=whereabouts.healing,
            sentence=self._with_names(whereabouts.words),
            next_ms=max(0, int(whereabouts.seconds * 1000)),
            verdicts=tuple(verdicts[:MAX_VERDICTS]),
            others=max(0, len(verdicts) - MAX_VERDICTS),
        )

    def _named(self, number: int) -> str:
        entry = self._seams.roster.entry(number)
        return entry.record.name if entry is not None else f"node {number}"

    def _with_names(self, parts: tuple[str | int, ...]) -> str:
        """A planner's sentence, whose numbers are nodes."""
        return "".join(part if isinstance(part, str) else self._named(part) for part in parts)


def lack(chunk: ChunkCopies, views: Mapping[int, NodeView]) -> str:
    """What the chunk lacks, by the mover's own rule."""
    urgency = need(chunk.nodes, chunk.wanted, views, placement.Racks(views.values()))
    if urgency < Need.LEAVING:
        missing = chunk.wanted - urgency
        return f"{missing} of {chunk.wanted} replicas are missing" if urgency else "no replica can be read now"
    return {
        Need.LEAVING: "it has its replicas, but some are on nodes that are being drained",
        Need.RACK: "it has its replicas, but they lie closer together than they must",
    }.get(Need(urgency), "nothing")


def judge(chunk: ChunkCopies, views: Mapping[int, NodeView], name: Callable[[int], str]) -> list[Verdict]:
    """A verdict on each node: first the holders, then those that could take a replica, then the others."""
    near = [views[node].rack for node in staying(chunk.nodes, views)]
    free = [view for number, view in views.items() if number not in chunk.nodes and _obstacle(view, chunk) is None]
    alive = [view for view in free if view.state is NodeState.ALIVE] or free  # as placement has it
    best = min((closeness(view.rack, near) for view in alive), default=())
    ranked: list[tuple[int, str, Verdict]] = []
    for number, view in views.items():
        if number in chunk.nodes:
            rank, sentence = 0, HOLDS[view.state]
        else:
            rank, sentence = _candidate(view, chunk, near, best)
        held = number in chunk.nodes
        ranked.append((rank, name(number), Verdict(name(number), view.state, view.rack, held, sentence)))
    return [verdict for _, _, verdict in sorted(ranked, key=lambda each: each[:2])]


def _obstacle(view: NodeView, chunk: ChunkCopies) -> str | None:
    """Why a node cannot be a target at all."""
    if view.state in REFUSED or view.state in LEAVING:
        return REFUSED[view.state]
    if view.number in chunk.retired:
        return "was told to give its replica up, and may still have it: asked to serve it again before any copy"
    least = chunk.length + placement.RESERVE
    if view.free < least:
        return f"no room: {format_size(view.free)} free, {format_size(least)} are needed with its reserve"
    return None


def _candidate(
    view: NodeView, chunk: ChunkCopies, near: Sequence[str], best: tuple[int, ...]
) -> tuple[int, str]:
    obstacle = _obstacle(view, chunk)
    if obstacle is not None:
        return 3, obstacle
    if closeness(view.rack, near) > best:
        return 2, "shares more of its rack with the replicas than another node that has room"
    if view.state is NodeState.SUSPECT:
        return 2, "not heard of late: taken only where the others do not suffice"
    busy = f", {view.streams} transfers run there" if view.streams else ""
    return 1, f"could take a replica: {format_size(view.free)} free{busy}"
