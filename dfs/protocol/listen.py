"""Accepts connections: the factory that a listening port is given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory
from twisted.logger import Logger

from dfs.protocol.connection import Connection
from dfs.protocol.dial import no_time
from dfs.protocol.errors import DFSError
from dfs.protocol.hello import NONCE_LENGTH, Handshake
from dfs.protocol.interfaces import Identity, IService
from dfs.protocol.limits import MAX_CONNECTIONS
from dfs.protocol.values import Purpose
from dfs.runtime.interfaces import Runtime

_log = Logger()
_LOG_INTERVAL = 10.0


class ServerFactory(Factory):
    """Makes a connection of each that comes, up to a limit.  Beyond it the oldest stranger that asks nothing goes, so
    that idle strangers keep no node out; without one the newest is closed at once (S43).

    :ivar identity: what we say of ourselves; a node that learns its cluster later puts the new identity here.
    :ivar connections: those that are open now, Hello finished or not.
    """

    noisy = False

    def __init__(
        self,
        runtime: Runtime,
        identity: Identity,
        service: IService,
        cluster_time: Callable[[], int] = no_time,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        self.identity = identity
        self.connections: dict[Connection, None] = {}  # a dict for its order: a set's differs from run to run
        self._runtime = runtime
        self._service = service
        self._cluster_time = cluster_time
        self._max_connections = max_connections
        self._stopped = False
        self._refused = 0
        self._logged_at = -_LOG_INTERVAL

    def buildProtocol(self, addr: IAddress | None) -> Any:
        if self._stopped or not self._has_room():
            self._note_refusal()
            return None
        # The dialer names the purpose; ours is repeated after it.
        handshake = Handshake(
            self.identity,
            Purpose.CONTROL,
            self._runtime.entropy(NONCE_LENGTH),
            self._cluster_time(),
            expect="",
            dialer=False,
        )

        def established() -> None:
            """The service was told by the connection itself."""

        def ended(reason: DFSError) -> None:
            self.connections.pop(connection, None)

        connection = Connection(self._runtime.reactor, handshake, False, self._service, established, ended)
        connection.factory = self
        self.connections[connection] = None
        return connection

    def _has_room(self) -> bool:
        if len(self.connections) < self._max_connections:
            return True
        stranger = next((connection for connection in self.connections if connection.expendable), None)
        if stranger is None:
            return False
        del self.connections[stranger]
        stranger.abort()
        return True

    def _note_refusal(self) -> None:
        self._refused += 1
        now = self._runtime.reactor.seconds()
        if not self._stopped and now - self._logged_at >= _LOG_INTERVAL:
            _log.warn("{refused} connections were closed at once: {limit} are open", refused=self._refused,
                      limit=len(self.connections))  # fmt: skip
            self._refused = 0
            self._logged_at = now

    def stop(self) -> None:
        """Accept no more, and close what is open."""
        self._stopped = True
        for connection in list(self.connections):
            connection.close()


def server_factory(
    runtime: Runtime, identity: Identity, service: IService, cluster_time: Callable[[], int] = no_time
) -> ServerFactory:
    """The factory to listen with; ``cluster_time`` gives ours in ms, for Hello."""
    return ServerFactory(runtime, identity, service, cluster_time)
