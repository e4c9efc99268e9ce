"""Who moves what now: streams a node, bytes/s, and pairs of nodes that failed together.  Pure, leader-local."""

from __future__ import annotations

from dfs.metaserver.moves import Copy
from dfs.metaserver.pacing import Pace
from dfs.metaserver.placement import NodeView

MAX_PAIRS = 1_000  # remembered
PAIR_SECONDS = 60.0


class Streams:
    """:param most: moves of one node that are ordered at once, as source and target together.

    :ivar busy: how many there are, by node.
    :ivar changed: nodes where one began or ended; whoever keeps account of them empties it.
    """

    def __init__(self, most: int, pace: Pace) -> None:
        self._most, self._pace = most, pace
        self.busy: dict[int, int] = {}
        self.changed: set[int] = set()
        self._pairs: dict[tuple[int, int], float] = {}

    def has_free(self, view: NodeView) -> bool:
        """Whether the node has a stream for another move; fewer where clients want it."""
        most = max(1, self._most // 2) if view.clients else self._most
        return self.busy.get(view.number, 0) < most

    def wait(self, view: NodeView, now: float) -> float:
        """Seconds until the node's rate allows another move; 0: it does."""
        return self._pace.wait(view.number, view.client_rate, now)

    def is_open(self, now: float) -> bool:
        """Whether the rate of all moves together allows another one."""
        return self._pace.is_open(now)

    def begin(self, copy: Copy, now: float) -> None:
        for node in {copy.source, copy.target}:
            self.busy[node] = self.busy.get(node, 0) + 1
            self.changed.add(node)
        self._pace.began(copy.source, copy.target, copy.chunk.length, now)

    def end(self, copy: Copy) -> None:
        for node in {copy.source, copy.target}:
            self.busy[node] -= 1
            self.changed.add(node)

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
        return {pair: until for pair, until in self._pairs.items() if until > now} if self._pairs else {}
