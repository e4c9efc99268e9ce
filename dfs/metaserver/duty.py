"""A leader's recurring duty: one coroutine, again and again, as long as the leadership lasts.

A round never overlaps the next, its failure never ends the duty (S12), and the loss of leadership cancels what it waits
for.  What a round proposes is judged when it is applied, so a round that was overtaken does no harm.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from dfs.protocol.errors import DFSError
from dfs.raft.errors import RaftError

_log = Logger()


class Duty:
    """:param round: does what is due; returns True where more is waiting: then the next round begins at once.
    :param interval: seconds between rounds.
    """

    def __init__(
        self, clock: IReactorTime, name: str, interval: float, round: Callable[[], Coroutine[Any, Any, bool]]
    ) -> None:
        self.name = name
        self.rounds = 0
        self._clock = clock
        self._interval = interval
        self._round = round
        self._loop: Deferred[None] | None = None
        self._pause: Deferred[None] | None = None
        self._nudged = False
        self._running = False

    def start(self) -> None:
        self._running = True
        self._loop = Deferred.fromCoroutine(self._run()).addErrback(self._ended)

    def stop(self) -> None:
        """No round begins after this, and what the present one waits for is cancelled; idempotent."""
        self._running = False
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.cancel()

    def nudge(self) -> None:
        """Something is due: do not wait out the interval."""
        self._nudged = True
        pause, self._pause = self._pause, None
        if pause is not None:
            pause.callback(None)

    async def _run(self) -> None:
        while self._running:
            self._nudged = False
            try:
                more = await self._round()
            except (DFSError, RaftError) as error:
                more = False
                _log.debug("{duty}: {error}; again soon", duty=self.name, error=error)
            except CancelledError:
                more = False  # by our stop: then the loop ends; by whoever ended what was waited for: then it does not
            except Exception:  # noqa: BLE001 - a defect in one round must not end the duty
                more = False
                _log.failure("{duty}: a round failed; the next one comes as planned", duty=self.name)
            self.rounds += 1
            if self._running:
                await self._wait(0.0 if more or self._nudged else self._interval)

    async def _wait(self, seconds: float) -> None:
        self._pause = pause = Deferred[None]()
        timer = self._clock.callLater(seconds, pause.callback, None)
        try:
            await pause
        finally:
            self._pause = None
            if timer.active():
                timer.cancel()

    def _ended(self, failure: Any) -> None:
        if not failure.check(CancelledError):
            _log.failure("{duty} ended", failure, duty=self.name)
