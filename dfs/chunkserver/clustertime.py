"""What time it is in the cluster: estimated, never going back."""

from __future__ import annotations


class ClusterClock:
    """Pure.  Cluster time in ms as last told by metadata, plus what our monotonic clock counted since.

    Metadata nodes lag one another, so the highest estimate wins.
    """

    def __init__(self) -> None:
        self._told_ms: int | None = None
        self._at = 0.0

    @property
    def known(self) -> bool:
        """Whether metadata has told a time at all."""
        return self._told_ms is not None

    def observe(self, told_ms: int, now: float) -> None:
        """Metadata said ``told_ms`` just now; 0 says nothing."""
        if told_ms and (self._told_ms is None or told_ms > self.now_ms(now)):
            self._told_ms, self._at = told_ms, now

    def now_ms(self, now: float) -> int:
        """The estimate, 0 while nothing is known."""
        return 0 if self._told_ms is None else self._told_ms + int((now - self._at) * 1000)
