"""How far each drain is: pure, leader-local.

A node is drained when one walk over all its replicas found every chunk whole without it, and nothing was recorded or
lost since the walk began; the second half is judged when the command is applied (S18).  Walks follow one another while
something is left, not more often than is worth it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from attrs import define

from dfs.metaserver.mover import staying
from dfs.metaserver.placement import NodeView
from dfs.metaserver.scanning import Reply

WALK_AGAIN = 60.0  # seconds after a walk that found something left, while copies of it still wait


@define
class _Drain:
    since: int = 0  # the tables' index when the present walk began; 0: none runs
    chunks: int = 0  # found left by the present walk
    bytes: int = 0
    left: tuple[int, int] = (0, 0)  # (chunks, bytes) by the last whole walk
    ended: float = 0.0
    is_clean: int = 0  # since of a walk that found nothing left; 0: none
    began: float | None = None
    copied: int = 0  # bytes


@define
class Left:
    """What a drain still has to place elsewhere, as last counted."""

    chunks: int
    bytes: int


def left_behind(reply: Reply, nodes: Mapping[int, NodeView]) -> list[int]:
    """The lengths of the chunks of a page of a walk that are not whole without the nodes that leave."""
    return [
        copies.length
        for key, copies in reply.found
        if key in reply.listed and copies is not None and len(staying(copies.nodes, nodes)) < copies.wanted
    ]


class Drains:
    """By node number."""

    def __init__(self) -> None:
        self._drains: dict[int, _Drain] = {}

    def __contains__(self, node: int) -> bool:
        return node in self._drains

    def numbers(self) -> tuple[int, ...]:
        """The nodes that are being drained."""
        return tuple(self._drains)

    def begin(self, node: int) -> None:
        """The node is being drained; a walk is due."""
        self._drains.setdefault(node, _Drain())

    def end(self, node: int) -> None:
        """It is not, any more; idempotent."""
        self._drains.pop(node, None)

    def walked(self, node: int, index: int, is_first: bool, left: Collection[int], is_last: bool, now: float) -> None:
        """A page of the walk was read when the tables were at ``index``; ``left`` are the lengths of those chunks of it
        that are not whole without the node."""
        drain = self._drains.get(node)
        if drain is None:
            return
        if drain.began is None:
            drain.began = now
        if is_first:
            drain.since, drain.chunks, drain.bytes = index, 0, 0
        drain.chunks += len(left)
        drain.bytes += sum(left)
        if is_last:
            drain.left = (drain.chunks, drain.bytes)
            drain.ended = now
            drain.is_clean = drain.since if drain.since and not drain.chunks else 0
            drain.since = 0

    def copied(self, node: int, length: int) -> None:
        """One chunk of it was copied elsewhere."""
        drain = self._drains.get(node)
        if drain is not None:
            chunks, left = drain.left
            drain.left = (max(0, chunks - 1), max(0, left - length))
            drain.copied += length

    def clean(self) -> list[tuple[int, int]]:
        """(node, since) of drains that seem to be finished; each is named once a walk."""
        found = [(node, drain.is_clean) for node, drain in sorted(self._drains.items()) if drain.is_clean]
        for node, _ in found:
            self._drains[node].is_clean = 0
        return found

    def due(self, now: float, is_idle: bool) -> list[int]:
        """Nodes to walk over again.

        :param is_idle: the planner has no copy to make.
        """
        return [
            node
            for node, drain in sorted(self._drains.items())
            if not drain.since and now >= drain.ended + (1.0 if is_idle else WALK_AGAIN)
        ]

    def left(self, node: int) -> Left:
        drain = self._drains.get(node)
        return Left(*drain.left) if drain is not None else Left(0, 0)

    def rate(self, node: int, now: float) -> int:
        """Bytes/s at which it went, in this leadership."""
        drain = self._drains.get(node)
        if drain is None or drain.began is None:
            return 0
        return int(drain.copied / max(1.0, now - drain.began))
