"""How fast replicas may move: bytes/s of one node and of the whole cluster, less where clients want the node.

Pure, times are monotonic seconds.  A bucket may be overdrawn by one chunk and is then waited for, so that a chunk
larger than a second's share moves too.
"""

from __future__ import annotations

from attrs import define

YIELD = 2
"""A node gives clients up to half of its rate."""
BURST = 1.0
"""Seconds of the rate that an idle bucket saves up."""


@define
class _Bucket:
    level: float
    at: float


class Pace:
    """:param node_rate, cluster_rate: bytes/s, 0 for no limit."""

    def __init__(self, node_rate: int = 0, cluster_rate: int = 0) -> None:
        self.node_rate, self.cluster_rate = node_rate, cluster_rate
        self._buckets: dict[int, _Bucket] = {}

    def is_open(self, now: float) -> bool:
        """Whether the cluster's rate allows another move now."""
        return not self.cluster_rate or self._level(0, self.cluster_rate, now) > 0

    def wait(self, node: int, client_rate: int, now: float) -> float:
        """Seconds until a move may begin at the node, by its own rate; 0: now.

        :param client_rate: bytes/s that clients take of the node.
        """
        rate = self.rate_of(client_rate)
        if not rate:
            return 0.0
        level = self._level(node, rate, now)
        return 0.0 if level > 0 else (1 - level) / rate

    def rate_of(self, client_rate: int) -> int:
        """Bytes/s that a node may move while clients take so many: what they leave, and a share that they cannot have,
        for what is never healed is lost some day; 0 for no limit."""
        return max(self.node_rate // YIELD, self.node_rate - client_rate)

    def began(self, source: int, target: int, length: int, now: float) -> None:
        """A move of ``length`` bytes began: it counts for both nodes, and once for the cluster."""
        for node in {source, target}:
            if self.node_rate:
                self._level(node, self.node_rate, now)
                self._buckets[node].level -= length
        if self.cluster_rate:
            self._level(0, self.cluster_rate, now)
            self._buckets[0].level -= length

    def _level(self, number: int, rate: int, now: float) -> float:
        """The bytes that may go now.  0 is the cluster, nodes count from 1."""
        bucket = self._buckets.get(number)
        if bucket is None:
            bucket = self._buckets[number] = _Bucket(rate * BURST, now)
        bucket.level = min(rate * BURST, bucket.level + rate * (now - bucket.at))
        bucket.at = now
        return bucket.level
