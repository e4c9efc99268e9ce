"""Who moves what now: streams a node, bytes/s, and pairs of nodes that failed together.  Pure, leader-local."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import evolve

from dfs.metaserver.moves import Copy
from dfs.metaserver.pacing import Pace
from dfs.metaserver.placement import NodeView
from dfs.protocol.values import NodeState

MAX_PAIRS = 1_000  # remembered
PAIR_SECONDS = 60.0


class Streams:
    """:param most: moves of one node that are ordered at once, as source and target together.

    :ivar busy: how many there are, by node.
    """

    # The board is kept: to make it anew for each plan would cost the reactor thread milliseconds on a large cluster.

    def __init__(self, most: int, pace: Pace) -> None:
        self._most, self._pace = most, pace
        self.busy: dict[int, int] = {}
        self._board: dict[int, NodeView] = {}
        self._changed: set[int] = set()
        self._pairs: dict[tuple[int, int], float] = {}

    def spare(self, view: NodeView, now: float) -> bool:
        """Whether the node may begin another move: within its streams and its rate, less where clients want it."""
        most = max(1, self._most // 2) if view.clients else self._most
        return self.busy.get(view.number, 0) < most and self._pace.allows(view.number, view.client_rate, now)

    def begin(self, copy: Copy, now: float) -> None:
        for node in {copy.source, copy.target}:
            self.busy[node] = self.busy.get(node, 0) + 1
            self._changed.add(node)
        self._pace.began(copy.source, copy.target, copy.chunk.length, now)

    def end(self, copy: Copy) -> None:
        for node in {copy.source, copy.target}:
            self.busy[node] -= 1
            self._changed.add(node)

    def failed(self, copy: Copy, now: float) -> None:
        """These two may not reach one another, though both reach us: other pairs first for a while (S22)."""
        if len(self._pairs) >= MAX_PAIRS:
            self._pairs = self.failed_pairs(now)
        if len(self._pairs) < MAX_PAIRS:
            self._pairs[copy.source, copy.target] = now + PAIR_SECONDS

    def succeeded(self, copy: Copy) -> None:
        self._pairs.pop((copy.source, copy.target), None)

    def failed_pairs(self, now: float) -> dict[tuple[int, int], float]:
        """(source, target) of copies that failed of late, and until when they are avoided."""
        return {pair: until for pair, until in self._pairs.items() if until > now}

    def changed(self, node: int) -> None:
        """It is another view now, or gone."""
        self._changed.add(node)

    def board(self, nodes: Mapping[int, NodeView]) -> dict[int, NodeView]:
        """The nodes that are not dead, by number, with the streams that were begun.  Ours: it is kept up to date."""
        for number in self._changed:
            view = nodes.get(number)
            if view is None or view.state is NodeState.DEAD:
                self._board.pop(number, None)
            else:
                busy = self.busy.get(number)
                self._board[number] = evolve(view, streams=view.streams + busy) if busy else view
        self._changed.clear()
        return self._board
