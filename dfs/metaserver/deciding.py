"""For one chunk that needs a copy: where to, and where from.  Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from dfs.metaserver import placement
from dfs.metaserver.balancing import Balance
from dfs.metaserver.mover import Need, counting, staying
from dfs.metaserver.placement import NodeView
from dfs.metaserver.queries import ChunkCopies
from dfs.protocol.values import NodeState

_RANK = {NodeState.ALIVE: 0, NodeState.DRAINING: 1, NodeState.DRAINED: 1, NodeState.SUSPECT: 2}
_AWAY = 3
SAMPLE = 32
"""Nodes that are compared for one chunk where more are idle."""
BEST = (False, (0,) * placement.LEVELS)
"""The merit that no target exceeds."""


def sample(nodes: Sequence[int], draw: Callable[[], float]) -> Sequence[int]:
    """SAMPLE of them or somewhat more, spread evenly, from a place that is drawn; all where there are few."""
    step = len(nodes) // SAMPLE
    return nodes[int(draw() * step) :: step] if step > 1 else nodes


class Chooser:
    """:param board: the nodes that are not dead, with the streams that run there.
    :ivar compared: nodes that were compared so far.
    """

    def __init__(
        self, chunk: ChunkCopies, urgency: int, board: Mapping[int, NodeView], balance: Balance | None
    ) -> None:
        self._chunk, self._urgency, self._board = chunk, urgency, board
        stay = staying(chunk.nodes, board)
        self._lean: Collection[int] | None = None
        self.compared = 0
        self._goes: int | None = None
        if urgency == Need.RACK:
            self._goes = max(stay, key=lambda node: (self._closeness(node, stay), node))
        elif urgency == Need.BALANCE and balance is not None:
            self._goes = balance.source(chunk)
            self._lean = balance.lean
        self._near = [board[node].rack for node in stay if node != self._goes]

    def _closeness(self, node: int, among: Collection[int]) -> tuple[int, ...]:
        others = [self._board[other].rack for other in among if other != node]
        return placement.closeness(self._board[node].rack, others)

    def restorable(self, idle: Collection[int]) -> int | None:
        """A node that was told to give its replica up and may still have it: cheaper than any copy."""
        if self._urgency > Need.LEAVING:
            return None
        return next((n for n in self._chunk.retired if n in idle and self._board[n].state is NodeState.ALIVE), None)

    def choose(
        self, order: Sequence[int], idle: Collection[int], draw: Callable[[], float]
    ) -> tuple[int | None, str]:
        """The target, None where it is better to wait for a stream; and why no node could take it even if idle, "" if
        one could.

        On a large cluster only some of the nodes are compared, and all of them where none of those is as good as a node
        can be.

        :param order: nodes that are, or were a moment ago, idle.
        """
        few = sample(order, draw)
        target = self._place([node for node in few if node in idle], draw)
        if target is not None and self._merit(target) == BEST:
            return target, ""
        ideal = self._place(list(self._board), lambda: 0.0)
        if ideal is None:
            return None, "no node without a replica has room"
        if len(few) < len(order):
            target = self._place(sorted(idle), draw)
        if target is None or self._merit(target) > self._merit(ideal):
            return None, ""  # better to wait for a stream than to put two into one rack (S20)
        return target, ""

    def _place(self, nodes: Collection[int], draw: Callable[[], float]) -> int | None:
        """The target among ``nodes``; for a move that only betters where it lies, one that does."""
        chunk = self._chunk
        self.compared += len(nodes)
        excluded = chunk.nodes + chunk.retired
        views = [self._board[number] for number in nodes if self._lean is None or number in self._lean]
        found = placement.place(placement.VERSION, views, 1, excluded, draw, self._near, chunk.length)
        if not found or not self._is_better(found[0]):
            return None
        return found[0]

    def _is_better(self, target: int) -> bool:
        if self._goes is None:
            return True
        then = placement.closeness(self._board[target].rack, self._near)
        now = placement.closeness(self._board[self._goes].rack, self._near)
        return then < now if self._urgency == Need.RACK else then <= now

    def _merit(self, target: int) -> tuple[bool, tuple[int, ...]]:
        """How far a target is from the best: suspect, close to the others."""
        view = self._board[target]
        return view.state is not NodeState.ALIVE, placement.closeness(view.rack, self._near)

    def source(
        self, target: int, idle: Collection[int], failed: Collection[tuple[int, int]], busy: Mapping[int, int]
    ) -> int | None:
        """Whoever is the surest: not with this target in a pair that failed of late, alive, least busy."""
        live = [node for node in counting(self._chunk.nodes, self._board) if node in idle and node != target]
        if not live:
            return None
        return min(
            live,
            key=lambda node: (
                (node, target) in failed,
                _RANK.get(self._board[node].state, _AWAY),
                busy.get(node, 0),
                node,
            ),
        )
