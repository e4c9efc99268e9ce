"""A periodic call that nothing ends by accident (R60).

A bare ``LoopingCall`` stops for good and in silence at the first exception, waits for
a returned Deferred, and runs on whatever clock is global.  A ticker has its
clock set, logs what its body raises and goes on, and tells the body how
many ticks went by: after a stall of the process several are due at once and come as one call.

It does without a Deferred for each call: three servers tick sixty times a second for years of virtual time.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

_log = Logger()


class Ticker:
    """Calls ``body(ticks)`` every ``interval`` seconds; owned by a Service that starts and stops it.

    Calls are due at whole intervals from the start, so that they do not drift.

    :param body: takes the number of intervals since its last call, at least 1; returns nothing.
    :param name: for the log.
    """

    def __init__(self, clock: IReactorTime, interval: float, body: Callable[[int], None], name: str = "ticker") -> None:
        self.name = name
        self.interval = interval
        self.errors = 0
        self._clock = clock
        self._body = body
        self._call: IDelayedCall | None = None
        self._origin = 0.0
        self._passed = 0
        self.running = False

    def start(self, now: bool = False) -> None:
        """The first call comes after one interval, or within this call with ``now``.  Fine when running."""
        if self.running:
            return
        self.running = True
        self._origin = self._clock.seconds()
        self._passed = 0
        if now:
            self._tick(1)
        self._schedule()

    def stop(self) -> None:
        """No call comes after this.  Fine when stopped."""
        self.running = False
        call, self._call = self._call, None
        if call is not None:
            call.cancel()

    def _schedule(self) -> None:
        """Unless the body has stopped it, or has started it anew."""
        if self.running and self._call is None:
            due = self._origin + (self._passed + 1) * self.interval
            self._call = self._clock.callLater(max(0.0, due - self._clock.seconds()), self._came)

    def _came(self) -> None:
        self._call = None
        passed = int((self._clock.seconds() - self._origin) / self.interval)
        ticks = max(1, passed - self._passed)
        self._passed += ticks
        self._tick(ticks)
        self._schedule()

    def _tick(self, ticks: int) -> None:
        try:
            self._body(ticks)
        except Exception:  # noqa: BLE001 - that is what a ticker is for
            self.errors += 1
            _log.failure("{name}: a tick failed; the next one comes as planned", name=self.name)
