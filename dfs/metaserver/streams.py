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

    def __init__(self, most: int, pace: Pace) -> None:
        self._most, self._pace = most, pace
        self.busy: dict[int, int] = {}
        self._pairs: dict[tuple[int, int], float] = {}

    def spare(self, view: NodeView, now: float) -> bool:
        """Whether the node may begin another move: within its streams and its rate, less where clients want it."""
        most = max(1, self._most // 2) if view.clients else self._most
        return self.busy.get(view.number, 0) < most and self._pace.allows(view.number, view.client_rate, now)

    def begin(self, copy: Copy, now: float) -> None:
        for node in {copy.source, copy.target}:
            self.busy[node] = self.busy.get(node, 0) + 1
        self._pace.began(copy.source, copy.target, copy.chunk.length, now)

    def end(self, copy: Copy) -> None:
        for node in {copy.source, copy.target}:
            self.busy[node] -= 1

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

    def board(self, nodes: Mapping[int, NodeView]) -> dict[int, NodeView]:
        """The nodes that are not dead, by number, with the streams that were begun."""
        return {
            number: evolve(nodes[number], streams=nodes[number].streams + self.busy[number])
            if self.busy.get(number) else nodes[number]
            for number in sorted(nodes)
            if nodes[number].state is not NodeState.DEAD
        }  # fmt: skip
