"""Cluster time: milliseconds since the founding, as the leaders' monotonic clocks added them up (S34).

The leader reckons from what is applied plus its own monotonic clock, and each proposal carries its reckoning.  The
state machine lets one entry move time by MAX_STEP_MS at most; where the reckoning ran further ahead (the process was
stopped for an hour), it comes back to what was applied.  While nobody leads, time stands still: nothing expires of an
outage.
"""

from __future__ import annotations

from dfs.metaserver.machine import MAX_STEP_MS


class ClusterClock:
    """A leader's reckoning.  ``now`` is always monotonic seconds.

    :param applied_ms: cluster time in the state when leadership began.
    """

    def __init__(self, applied_ms: int, now: float) -> None:
        self._base_ms = applied_ms
        self._since = now
        self._last_ms = applied_ms

    def now_ms(self, now: float) -> int:
        """Never goes back."""
        self._last_ms = max(self._last_ms, self._base_ms + int((now - self._since) * 1000))
        return self._last_ms

    def applied(self, applied_ms: int, now: float) -> None:
        """An entry was applied; where the state lags by more than a step, or leads, we follow it."""
        if not applied_ms <= self.now_ms(now) <= applied_ms + MAX_STEP_MS:
            self._base_ms, self._since, self._last_ms = applied_ms, now, applied_ms
