"""How fast something goes: bytes/s over the last seconds.  Pure."""

from __future__ import annotations

from collections import deque

WINDOW = 10.0
"""Seconds that the present rate is taken over."""
LEAST = 2.0
"""Seconds of work from which on a rate counts as measured."""
_SLICE = 0.5  # seconds that are summed up in one entry


class Meter:
    """:ivar usual: the rate when it was last at work for a while; 0: never yet."""

    def __init__(self) -> None:
        self.usual = 0
        self._began: float | None = None
        self._moved: deque[tuple[float, int]] = deque()

    def add(self, length: int, now: float) -> None:
        """So many bytes were moved."""
        self._forget(now)
        if self._began is None:
            self._began = now
        if self._moved and now - self._moved[-1][0] < _SLICE:
            at, before = self._moved.pop()
            self._moved.append((at, before + length))
        else:
            self._moved.append((now, length))
        if now - self._began >= LEAST:
            self.usual = self.rate(now)

    def rate(self, now: float) -> int:
        """Bytes/s over the window, or since it began after a pause; 0 where nothing moved."""
        self._forget(now)
        if self._began is None:
            return 0
        return int(sum(length for _, length in self._moved) / max(1.0, min(WINDOW, now - self._began)))

    def _forget(self, now: float) -> None:
        while self._moved and now - self._moved[0][0] >= WINDOW:
            self._moved.popleft()
        if not self._moved:
            self._began = None
