"""How late the reactor is: nothing may hold its thread for long (R61).

A call is scheduled every ``interval``; how much later than due it comes is the lag
that every message on this reactor suffers too.
"""

from __future__ import annotations

from collections import deque

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

_log = Logger()

INTERVAL = 0.1
LIMIT = 0.02
"""Seconds of lag that count as late."""
COMPLAIN = 0.5
"""Seconds of lag that are told in the log."""
SAMPLES = 600
"""How many samples are remembered: a minute's worth."""


class LagMonitor:
    """Owned by a Service: ``start`` and ``stop`` with it.

    :ivar late_count: how many samples were above ``limit`` since the start.
    """

    def __init__(self, clock: IReactorTime, interval: float = INTERVAL, limit: float = LIMIT) -> None:
        self._clock = clock
        self._interval = interval
        self._limit = limit
        self._samples: deque[float] = deque(maxlen=SAMPLES)
        self._call: IDelayedCall | None = None
        self._due = 0.0
        self.late_count = 0

    def start(self) -> None:
        if self._call is None:
            self._schedule()

    def stop(self) -> None:
        if self._call is not None:
            self._call.cancel()
            self._call = None

    @property
    def last(self) -> float:
        """Seconds of lag at the last sample."""
        return self._samples[-1] if self._samples else 0.0

    @property
    def worst(self) -> float:
        """The most seconds of lag among the samples remembered (about the last minute)."""
        return max(self._samples, default=0.0)

    def _schedule(self) -> None:
        self._due = self._clock.seconds() + self._interval
        self._call = self._clock.callLater(self._interval, self._sample)

    def _sample(self) -> None:
        lag = max(0.0, self._clock.seconds() - self._due)
        self._samples.append(lag)
        if lag > self._limit:
            self.late_count += 1
        if lag > COMPLAIN:
            _log.warn("the reactor was held up for {lag:.3f} s", lag=lag)
        self._schedule()
