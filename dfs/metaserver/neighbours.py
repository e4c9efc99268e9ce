"""Requests from one metadata member to another, over CONTROL connections that are opened when first wanted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from twisted.internet.defer import Deferred

from dfs.protocol.controls import ControlConnections
from dfs.protocol.errors import DFSError, Disconnected, Forbidden, InternalError, Unavailable
from dfs.protocol.interfaces import Identity
from dfs.protocol.values import Role
from dfs.runtime.interfaces import Runtime

TIMEOUT = 2.0
"""Seconds for a connection, and for an answer."""

Answer = TypeVar("Answer")


class Neighbours:
    """:param addresses: the members' addresses by name, as they are known at each moment.
    :param admits: whether this incarnation of a member may speak (R35).
    """

    def __init__(self, runtime: Runtime, addresses: Mapping[str, str], admits: Callable[[str, bytes], bool]) -> None:
        self._runtime, self._addresses, self._admits = runtime, addresses, admits
        self._connections: ControlConnections | None = None

    def start(self, identity: Identity) -> None:
        """From now on others can be asked."""
        self._connections = ControlConnections(self._runtime, identity, None)

    def introduce(self, identity: Identity) -> None:
        """What we say of ourselves on connections made from now on."""
        if self._connections is not None:
            self._connections.identity = identity

    def stop(self) -> Deferred[None] | None:
        """Close all connections; fires when they are closed.  None where there are none."""
        connections, self._connections = self._connections, None
        return connections.stop() if connections is not None else None

    async def ask(self, member: str, request: object, answer: type[Answer]) -> Answer:
        """Its answer.  Raises DFSError."""
        if self._connections is None or member not in self._addresses:
            raise Unavailable(f"{member} cannot be asked now")
        address = self._addresses[member]
        connection = await self._connections.get(address, TIMEOUT)
        peer = connection.peer
        if not (peer.trusted and peer.role is Role.META and peer.name == member):
            raise Forbidden(f"{peer.name} is at {address}, where {member} should be")
        if not self._admits(member, peer.incarnation):
            raise Forbidden(f"{member} answers with another folder than the cluster knows")
        try:
            found = await connection.call(request, TIMEOUT)
        except DFSError as error:
            if isinstance(error, Disconnected):
                self._connections.drop(connection, address)
            raise
        if not isinstance(found, answer):
            raise InternalError(f"{member} answered with {type(found).__name__}")
        return found
