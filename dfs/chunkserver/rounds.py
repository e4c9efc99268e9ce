"""Background work in rounds: a tick begins the next one where the last has ended."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from dfs.protocol.errors import DFSError
from dfs.runtime.interfaces import Runtime
from dfs.runtime.ticker import Ticker

_log = Logger()


class Rounds:
    """Rounds of ``work``, one at a time.  One that fails with a DFSError is tried again at the next tick.

    :param interval: seconds between two ticks.
    :param name: of the work, for the log.
    :ivar stopped: the present round is to begin no further step.
    """

    def __init__(
        self, runtime: Runtime, interval: float, work: Callable[[], Coroutine[Deferred[Any], Any, Any]], name: str
    ) -> None:
        self.stopped = False
        self._work, self._name = work, name
        self._ticker = Ticker(runtime.reactor, interval, self._tick, name)
        self._round: Deferred[None] | None = None

    def start(self) -> None:
        self._ticker.start()

    async def stop(self) -> None:
        """No step begins after this; fires when the last one ended."""
        self.stopped = True
        self._ticker.stop()
        if self._round is not None:
            await self._round

    def _tick(self, ticks: int) -> None:
        if self._round is None:
            self._round = Deferred.fromCoroutine(self._run())
            if self._round.called:
                self._round = None

    async def _run(self) -> None:
        try:
            await self._work()
        except DFSError as error:
            _log.info("the {name} goes on later: {error}", name=self._name, error=error)
        except Exception:  # noqa: BLE001 - a defect in one round must not end the next ones
            _log.failure("a round of the {name} failed", name=self._name)
        finally:
            self._round = None
