"""A connection that comes back: the long-lived control link between two nodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from dfs.protocol.dial import connect, no_time
from dfs.protocol.errors import DFSError, Disconnected, Forbidden, VersionMismatch, WrongCluster
from dfs.protocol.interfaces import IConnection, Identity, IService
from dfs.protocol.values import Purpose
from dfs.runtime.backoff import Backoff, full_jitter
from dfs.runtime.interfaces import Runtime

_log = Logger()

FIRST_DELAY = 0.1
MAX_DELAY = 3.0
REFUSED_DELAY = 10.0
"""Between tries while the other side refuses us: it will not change its mind soon."""

_REFUSALS = (Forbidden, WrongCluster, VersionMismatch)


def _ignore(argument: Any) -> None:
    """Nobody is told."""


class Link(Service):
    """Stays connected to one address from startService to stopService.

    :param connected: called with each new connection, ``disconnected`` with the reason of each loss or failed try,
        ``refused`` with the error when the other side will not have us (another cluster, key or version).

    :ivar connection: the open connection, or None.
    :ivar identity: what we say of ourselves from the next connection on.
    """

    def __init__(
        self,
        runtime: Runtime,
        address: str,
        identity: Identity,
        purpose: Purpose,
        service: IService | None = None,
        expect: str = "",
        connected: Callable[[IConnection], None] = _ignore,
        disconnected: Callable[[DFSError], None] = _ignore,
        refused: Callable[[DFSError], None] = _ignore,
        cluster_time: Callable[[], int] = no_time,
    ) -> None:
        self.address = address
        self.identity = identity
        self.connection: IConnection | None = None
        self.last_error: DFSError | None = None
        self._runtime = runtime
        self._purpose = purpose
        self._service = service
        self._expect = expect
        self._connected = connected
        self._disconnected = disconnected
        self._refused = refused
        self._cluster_time = cluster_time
        self._backoff = Backoff(full_jitter(runtime.random, FIRST_DELAY, MAX_DELAY))
        self._waiting: list[Deferred[IConnection]] = []
        self._loop: Deferred[None] | None = None
        self._pause: Deferred[None] | None = None

    def startService(self) -> None:
        Service.startService(self)
        self._loop = Deferred.fromCoroutine(self._run()).addErrback(self._ended)

    def stopService(self) -> None:
        Service.stopService(self)
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.cancel()
        if self.connection is not None:
            self.connection.close()
            self.connection = None
        waiting, self._waiting = self._waiting, []
        for deferred in waiting:
            deferred.errback(Disconnected(f"the link to {self.address} was stopped"))

    def when_connected(self) -> Deferred[IConnection]:
        """A new Deferred that fires with the connection, now or once there is one; fails when the link is stopped."""
        deferred: Deferred[IConnection] = Deferred(lambda cancelled: self._waiting.remove(cancelled))
        if self.connection is not None:
            deferred.callback(self.connection)
        else:
            self._waiting.append(deferred)
        return deferred

    def retry_now(self) -> None:
        """The other side is known to be there again: do not wait longer."""
        if self._pause is not None and not self._pause.called:
            self._pause.callback(None)

    def _ended(self, failure: Any) -> None:
        if not failure.check(CancelledError):
            _log.failure("the link to {address} failed", failure, address=self.address)

    async def _run(self) -> None:
        while self.running:
            try:
                connection = await connect(
                    self._runtime,
                    self.address,
                    self.identity,
                    self._purpose,
                    self._service,
                    self._expect,
                    cluster_time=self._cluster_time,
                )
            except DFSError as error:
                if not self.running:
                    return
                await self._wait(self._failed(error))
                continue
            closed = connection.when_closed()
            self._backoff.reset()
            self.connection = connection
            self.last_error = None
            self._connected(connection)
            waiting, self._waiting = self._waiting, []
            for deferred in waiting:
                deferred.callback(connection)
            reason = await closed
            self.connection = None
            if self.running:
                await self._wait(self._failed(reason))

    def _failed(self, error: DFSError) -> float:
        """Tell of a failed try or a lost connection; return how long to wait."""
        if isinstance(error, _REFUSALS):
            if self.last_error is None or self.last_error.message != error.message:
                _log.warn("{address} refuses us: {reason}", address=self.address, reason=error.message)
            self.last_error = error
            self._refused(error)
            self._disconnected(error)
            return REFUSED_DELAY * (0.5 + self._runtime.random.random() / 2)
        self.last_error = error
        self._disconnected(error)
        return self._backoff.next_delay()

    async def _wait(self, delay: float) -> None:
        pause: Deferred[None] = Deferred()
        self._pause = pause
        timer = self._runtime.reactor.callLater(delay, pause.callback, None)
        try:
            await pause
        finally:
            self._pause = None
            if timer.active():
                timer.cancel()
