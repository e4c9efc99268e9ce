"""What lacks copies, how fast that is mended, what holds it up and how long it takes.  Pure.

The time to go is told only where it can be known: not while chunks are still being counted, nor where nothing moves,
nor for chunks that have no place.
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen

from dfs.metaserver.moves import Debt, Work
from dfs.metaserver.pacing import Pace
from dfs.metaserver.placement import NodeView
from dfs.protocol.messages import Redundancy
from dfs.protocol.values import NodeState

NEARLY = 0.7
"""The share of the allowed rate from which on it is the limit that limits."""


@frozen
class Allowed:
    """Bytes/s of all moves together that the limits leave, 0 for no limit; ``setting`` is the one that binds;
    ``yields``: some node leaves a share to clients."""

    rate: int
    setting: str
    yields: bool


def allowed(pace: Pace, views: Iterable[NodeView]) -> Allowed:
    """What the nodes that are alive may move: each move takes of its source and of its target."""
    alive = [view for view in views if view.state is NodeState.ALIVE]
    yields = any(view.clients for view in alive)
    nodes = sum(pace.rate_of(view.client_rate) for view in alive) // 2
    if pace.cluster_rate and (not pace.node_rate or pace.cluster_rate <= nodes):
        return Allowed(pace.cluster_rate, "DFS_MOVE_RATE", yields)
    return Allowed(nodes, "DFS_NODE_MOVE_RATE" if pace.node_rate else "", yields)


def limit_of(debt: Debt, work: Work, rate: int, limits: Allowed) -> str:
    """What holds it up, a sentence; "" where nothing lacks copies."""
    if not debt.chunks:
        return "it is still being counted" if debt.scanning else ""
    if work.backlog or work.flights:
        if limits.rate and rate >= NEARLY * limits.rate:
            return limits.setting + (", less what clients take" if limits.yields else "")
        return "the nodes" + (", which serve clients too" if limits.yields else " and DFS_REPAIR_STREAMS")
    if work.waiting:
        return f"copies of {work.waiting} chunks failed and are tried again"
    return work.aside_reason


def seconds_left(debt: Debt, work: Work, rate: int) -> float | None:
    """Until everything that has a place has its copies; None where that cannot be told."""
    left = debt.bytes - work.aside_bytes
    if debt.scanning or left <= 0 or rate <= 0:
        return None
    return left / rate


def redundancy(debt: Debt, work: Work, rate: int, usual: int, limits: Allowed, paused: tuple[str, ...]) -> Redundancy:
    """All of it, for the wire."""
    left = seconds_left(debt, work, rate)
    return Redundancy(
        chunks=debt.chunks,
        bytes=debt.bytes,
        single=debt.single,
        lost=debt.lost,
        aside=debt.aside,
        counting=debt.scanning,
        moving=work.flights,
        rate=rate,
        usual=usual,
        allowed=limits.rate,
        limit=limit_of(debt, work, rate, limits),
        left_ms=None if left is None else int(1000 * left),
        paused=paused,
    )
