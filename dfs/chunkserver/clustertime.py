"""What time it is in the cluster: estimated, as the leader tells it."""

from __future__ import annotations

MAX_FREE_RUN_MS = 30_000
"""How far the estimate runs on after the last word: while nobody leads, the leaders' time stands still too."""


class ClusterClock:
    """Pure.  Cluster time in ms as last told by metadata, plus what our monotonic clock counted since.

    The leader is followed up and down: an estimate that only rose would be ahead for ever after an outage, and refuse
    each new grant as expired.  The others lag the leader, so their word counts only where it is higher.
    """

    def __init__(self) -> None:
        self._told_ms: int | None = None
        self._at = 0.0

    @property
    def known(self) -> bool:
        """Whether metadata has told a time at all."""
        return self._told_ms is not None

    def observe(self, told_ms: int, now: float, leads: bool) -> None:
        """Metadata said ``told_ms`` just now, 0 says nothing; ``leads``: it was the leader's word."""
        if told_ms and (self._told_ms is None or leads or told_ms > self.now_ms(now)):
            self._told_ms, self._at = told_ms, now

    def now_ms(self, now: float) -> int:
        """The estimate, 0 while nothing is known."""
        if self._told_ms is None:
            return 0
        return self._told_ms + min(int((now - self._at) * 1000), MAX_FREE_RUN_MS)
