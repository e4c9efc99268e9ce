"""For one chunk that needs a copy: where to, and where from.  Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

from dfs.metaserver import placement
from dfs.metaserver.balancing import Balance
from dfs.metaserver.idle import IdleNodes
from dfs.metaserver.mover import Need, counting, staying
from dfs.metaserver.queries import ChunkCopies
from dfs.metaserver.racks import closeness
from dfs.protocol.values import NodeState

_RANK = {NodeState.ALIVE: 0, NodeState.DRAINING: 1, NodeState.DRAINED: 1, NodeState.SUSPECT: 2}
_AWAY = 3
NO_ROOM = "no node without a replica has room"


class Chooser:
    """:param idle: the nodes that are not dead, and which of them are idle.
    :ivar compared: nodes that were compared so far, one by one.
    """

    def __init__(self, chunk: ChunkCopies, urgency: int, idle: IdleNodes, balance: Balance | None) -> None:
        self._chunk, self._urgency, self._idle = chunk, urgency, idle
        board = idle.board
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
        self._excluded = chunk.nodes + chunk.retired if chunk.retired else chunk.nodes

    def _closeness(self, node: int, among: Collection[int]) -> tuple[int, ...]:
        others = [self._idle.board[other].rack for other in among if other != node]
        return closeness(self._idle.board[node].rack, others)

    def restorable(self) -> int | None:
        """A node that was told to give its replica up and may still have it: cheaper than any copy."""
        if self._urgency > Need.LEAVING:
            return None
        idle, board = self._idle.nodes, self._idle.board
        return next((n for n in self._chunk.retired if n in idle and board[n].state is NodeState.ALIVE), None)

    def choose(self, draw: Callable[[], float]) -> tuple[int | None, str]:
        """The target, None where it is better to wait for a stream; and why no node could take it even if idle, "" if
        one could.

        The ground tells of the nodes that are alive and take any chunk.  Where others come into question, which it
        knows nothing of, all nodes are compared: when none of those is as good as a node can be.
        """
        if self._lean is not None:
            return self._compare(draw)
        found = self._idle.targets.draw(self._near, self._excluded, draw)
        if found is not None and not any(found[1]):
            return self._judged(found[0])
        best = self._idle.ground.least(self._near, self._excluded)
        if self._idle.others and (best is None or any(best)):
            return self._compare(draw)
        if best is None:
            return None, NO_ROOM
        if found is None or found[1] > best:
            return None, ""  # better to wait for a stream than to put two into one rack (S20)
        return self._judged(found[0])

    def _judged(self, target: int) -> tuple[int | None, str]:
        return (target, "") if self._is_better(target) else (None, NO_ROOM)

    def _compare(self, draw: Callable[[], float]) -> tuple[int | None, str]:
        """The same by looking at each node."""
        ideal = self._place(self._idle.board, lambda: 0.0)
        if ideal is None:
            return None, NO_ROOM
        target = self._place(self._idle.nodes, draw)
        if target is None or self._merit(target) > self._merit(ideal):
            return None, ""
        return target, ""

    def _place(self, nodes: Iterable[int], draw: Callable[[], float]) -> int | None:
        """The target among ``nodes``; for a move that only betters where it lies, one that does."""
        views = [self._idle.loaded(number) for number in nodes if self._lean is None or number in self._lean]
        self.compared += len(views)
        found = placement.place(placement.VERSION, views, 1, self._excluded, draw, self._near, self._chunk.length)
        if not found or not self._is_better(found[0]):
            return None
        return found[0]

    def _is_better(self, target: int) -> bool:
        if self._goes is None:
            return True
        board = self._idle.board
        then = closeness(board[target].rack, self._near)
        now = closeness(board[self._goes].rack, self._near)
        return then < now if self._urgency == Need.RACK else then <= now

    def _merit(self, target: int) -> tuple[bool, tuple[int, ...]]:
        """How far a target is from the best: suspect, close to the others."""
        view = self._idle.board[target]
        return view.state is not NodeState.ALIVE, closeness(view.rack, self._near)

    def source(self, target: int, failed: Collection[tuple[int, int]], busy: Mapping[int, int]) -> int | None:
        """Whoever is the surest: not with this target in a pair that failed of late, alive, least busy."""
        board, idle = self._idle.board, self._idle.nodes
        live = [node for node in counting(self._chunk.nodes, board) if node in idle and node != target]
        if len(live) < 2:
            return live[0] if live else None
        return min(
            live,
            key=lambda node: (
                (node, target) in failed,
                _RANK.get(board[node].state, _AWAY),
                busy.get(node, 0),
                node,
            ),
        )
