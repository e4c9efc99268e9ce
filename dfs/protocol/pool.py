"""Connections for streams: a few for each address, kept for the next stream."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from attrs import Factory, define
from twisted.internet.defer import Deferred, DeferredList, fail, succeed
from twisted.python.failure import Failure

from dfs.protocol.dial import connect, no_time
from dfs.protocol.errors import Disconnected
from dfs.protocol.interfaces import IConnection, Identity
from dfs.protocol.values import Purpose
from dfs.runtime.interfaces import Runtime

_Key = tuple[str, str]


@define(eq=False)
class _Place:
    """What there is for one address and expected name."""

    count: int = 0  # open or being opened
    idle: list[IConnection] = Factory(list)
    waiting: deque[Deferred[IConnection]] = Factory(deque)


class BulkPool:
    """At most ``per_address`` BULK connections to each address; whoever wants one more waits for a release.

    A connection that is busy with a stream when it is released, or that ended, is not kept.
    """

    def __init__(
        self, runtime: Runtime, identity: Identity, per_address: int = 8, cluster_time: Callable[[], int] = no_time
    ) -> None:
        self.identity = identity
        self._runtime = runtime
        self._per_address = per_address
        self._cluster_time = cluster_time
        self._places: dict[_Key, _Place] = {}
        self._keys: dict[IConnection, _Key] = {}
        self._watching: dict[IConnection, Deferred[None]] = {}
        self._stopped = False

    def acquire(self, address: str, expect: str = "") -> Deferred[IConnection]:
        """An idle connection, or a new one; the caller has it alone until ``release``.  Fails as
        :func:`dfs.protocol.dial.connect` does.  Cancelling gives the place up."""
        if self._stopped:
            return fail(Disconnected("the pool of connections was stopped"))
        key = (address, expect)
        place = self._places.setdefault(key, _Place())
        if place.idle:
            return succeed(place.idle.pop())
        if place.count < self._per_address:
            return self._open(key, place)

        def give_up(waiter: Deferred[IConnection]) -> None:
            if waiter in place.waiting:
                place.waiting.remove(waiter)

        waiter: Deferred[IConnection] = Deferred(give_up)
        place.waiting.append(waiter)
        return waiter

    def release(self, connection: IConnection) -> None:
        """Give a connection back, in whatever state."""
        key = self._keys.get(connection)
        if key is None:
            return  # it ended and is forgotten already
        if connection.streaming or self._stopped:
            connection.close()
            self._forget(connection)
            return
        place = self._places[key]
        if place.waiting:
            place.waiting.popleft().callback(connection)
        elif connection not in place.idle:
            place.idle.append(connection)

    def _open(self, key: _Key, place: _Place) -> Deferred[IConnection]:
        place.count += 1
        address, expect = key

        def opened(connection: IConnection) -> IConnection:
            self._keys[connection] = key
            self._watching[connection] = connection.when_closed().addCallback(lambda reason: self._ended(connection))
            if self._stopped:
                connection.close()
                raise Disconnected("the pool of connections was stopped")
            return connection

        def failed(failure: Failure) -> Failure:
            self._gone(key, place)
            return failure

        opening = connect(
            self._runtime, address, self.identity, Purpose.BULK, None, expect, cluster_time=self._cluster_time
        )
        return opening.addCallbacks(opened, failed)

    def _ended(self, connection: IConnection) -> None:
        self._watching.pop(connection, None)
        self._forget(connection)

    def _forget(self, connection: IConnection) -> None:
        key = self._keys.pop(connection, None)
        if key is None:
            return
        place = self._places[key]
        if connection in place.idle:
            place.idle.remove(connection)
        self._gone(key, place)

    def _gone(self, key: _Key, place: _Place) -> None:
        """A connection, or the try for one, is no more: whoever waits may open another."""
        place.count -= 1
        if place.waiting and not self._stopped:
            waiter = place.waiting.popleft()

            def opened(connection: IConnection) -> None:
                if waiter.called:  # cancelled meanwhile
                    self.release(connection)
                else:
                    waiter.callback(connection)

            def failed(failure: Failure) -> None:
                if not waiter.called:
                    waiter.errback(failure)

            self._opening = self._open(key, place).addCallbacks(opened, failed)
        elif place.count == 0 and not place.waiting:
            self._places.pop(key, None)

    def stop(self) -> Deferred[None]:
        """Close all; those that wait fail.  Fires when all are closed."""
        self._stopped = True
        for place in list(self._places.values()):
            while place.waiting:
                place.waiting.popleft().errback(Disconnected("the pool of connections was stopped"))
        closing = [connection.when_closed() for connection in self._watching]
        for connection in list(self._watching):
            connection.close()
        return DeferredList(closing).addCallback(lambda results: None)
