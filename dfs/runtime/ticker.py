"""A periodic call that nothing ends by accident (R60).

A bare ``LoopingCall`` stops for good and in silence at the first exception, waits for
a returned Deferred, and runs on whatever clock is global.  A ticker has its
clock set, logs what its body raises and goes on, and tells the body how
many ticks went by: after a stall of the process several are due at once and come as one call.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

_log = Logger()


class Ticker:
    """Calls ``body(ticks)`` every ``interval`` seconds; owned by a Service that starts and stops it.

    :param body: takes the number of intervals since its last call, at least 1; returns nothing.
    :param name: for the log.
    """

    def __init__(self, clock: IReactorTime, interval: float, body: Callable[[int], None], name: str = "ticker") -> None:
        self.name = name
        self.interval = interval
        self.errors = 0
        self._body = body
        self._clock = clock
        self._loop = LoopingCall(self._tick)
        self._loop.clock = clock
        self._began = 0.0
        self._done = 0
        self._ended: Deferred[LoopingCall | None] | None = None

    @property
    def running(self) -> bool:
        return self._loop.running

    def start(self, now: bool = False) -> None:
        """The first call comes after one interval, or within this call with ``now``.  Fine when running."""
        if not self._loop.running:
            self._began, self._done = self._clock.seconds(), -1 if now else 0
            self._ended = self._loop.start(self.interval, now=now).addErrback(self._loop_failed)

    def stop(self) -> None:
        """No call comes after this.  Fine when stopped."""
        if self._loop.running:
            self._loop.stop()

    def _tick(self) -> None:
        """A call of the loop.  How many intervals have gone by is counted here, for less than ``withCount`` takes; one
        that came early by a rounding error counts none, and the loop calls again."""
        passed = int((self._clock.seconds() - self._began) / self.interval)
        ticks = passed - self._done
        if ticks <= 0:
            return
        self._done = passed
        try:
            self._body(ticks)
        except Exception:  # noqa: BLE001 - that is what a ticker is for
            self.errors += 1
            _log.failure("{name}: a tick failed; the next one comes as planned", name=self.name)

    def _loop_failed(self, failure: object) -> None:
        _log.critical("{name}: the loop ended: {failure}", name=self.name, failure=failure)
