"""CONTROL connections to several addresses, one for each, opened when first wanted."""

from __future__ import annotations

from twisted.internet.defer import Deferred, DeferredList, fail, succeed
from twisted.python.failure import Failure

from dfs.protocol.dial import connect
from dfs.protocol.errors import Disconnected
from dfs.protocol.interfaces import IConnection, Identity, IService
from dfs.protocol.values import Purpose
from dfs.runtime.interfaces import Runtime


class ControlConnections:
    """Whoever asks for a connection while it is being opened shares the attempt.

    :ivar identity: what we say of ourselves on connections made from now on.
    :ivar cluster: the cluster id that the first to answer named, b"" before.
    """

    def __init__(self, runtime: Runtime, identity: Identity, service: IService | None) -> None:
        self.identity = identity
        self.cluster = identity.cluster
        self._runtime = runtime
        self._service = service
        self._open: dict[str, IConnection] = {}
        self._opening: dict[str, Deferred[None]] = {}
        self._waiting: dict[str, list[Deferred[IConnection]]] = {}
        self._watching: dict[IConnection, Deferred[None]] = {}
        self._time_ms = 0
        self._time_at = 0.0
        self._stopped = False

    def cluster_time_ms(self) -> int:
        """Cluster time by the Hellos so far and our own monotonic clock since; 0 before the first; never goes back."""
        if not self._time_ms:
            return 0
        return self._time_ms + int((self._runtime.reactor.seconds() - self._time_at) * 1000)

    def get(self, address: str, timeout: float) -> Deferred[IConnection]:
        """The connection to ``address``.  Fails as :func:`dfs.protocol.dial.connect` does; ``timeout`` counts for
        the attempt that this call begins.  Cancelling gives up the result, not an attempt that others share."""
        if self._stopped:
            return fail(Disconnected("the connections were stopped"))
        if address in self._open:
            return succeed(self._open[address])
        waiting = self._waiting.setdefault(address, [])
        waiter: Deferred[IConnection] = Deferred(lambda cancelled: waiting.remove(cancelled))
        waiting.append(waiter)
        if address not in self._opening:
            opening = connect(
                self._runtime,
                address,
                self.identity,
                Purpose.CONTROL,
                self._service,
                timeout=timeout,
                cluster_time=self.cluster_time_ms,
            ).addCallbacks(self._opened, self._not_opened, callbackArgs=(address,), errbackArgs=(address,))
            if not opening.called:
                self._opening[address] = opening
        return waiter

    def _opened(self, connection: IConnection, address: str) -> None:
        self._opening.pop(address, None)
        self._open[address] = connection
        self.cluster = self.cluster or connection.cluster
        if connection.cluster_time_ms > self.cluster_time_ms():
            self._time_ms = connection.cluster_time_ms
            self._time_at = self._runtime.reactor.seconds()
        self._watching[connection] = connection.when_closed().addCallback(lambda _: self._lost(connection, address))
        for waiter in list(self._waiting.pop(address, [])):
            if not waiter.called:
                waiter.callback(connection)

    def _not_opened(self, failure: Failure, address: str) -> None:
        self._opening.pop(address, None)
        for waiter in list(self._waiting.pop(address, [])):
            if not waiter.called:
                waiter.errback(failure)

    def drop(self, connection: IConnection, address: str) -> None:
        """It is of no use any more: the next to ask gets another."""
        if self._open.get(address) is connection:
            del self._open[address]
        connection.abort()

    def _lost(self, connection: IConnection, address: str) -> None:
        self._watching.pop(connection, None)
        if self._open.get(address) is connection:
            del self._open[address]

    def stop(self) -> Deferred[None]:
        """Close all; fires when they are closed."""
        self._stopped = True
        for opening in list(self._opening.values()):
            opening.cancel()
        closing = [connection.when_closed() for connection in self._watching]
        for connection in list(self._watching):
            connection.close()
        return DeferredList(closing).addCallback(lambda results: None)
