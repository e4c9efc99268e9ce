"""The one module that knows both Raft and the protocol: Raft's opaque messages over links between members.

We dial each other member twice: a RAFT link at once, a SNAPSHOT link when a piece of a snapshot has to go, so that a
transfer never delays a heartbeat.  Each side sends on the links that it dialed; both ends have proven the cluster key
and their names in Hello, so what comes in is known to come from that member.  Who is no member as far as we know is
heard as well (a member that was let in a moment ago, one that was removed and does not know it; R53, R57), and is
answered on the connection that it opened.

A message is dropped where there is no connection, or where the connection has more unsent bytes than its bound: Raft
sends again what matters.  A member that refuses or resets the connection is reported, so that its death is noticed at
once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from twisted.logger import Logger
from zope.interface import implementer

from dfs.metaserver.members import Members
from dfs.protocol.errors import DFSError, Disconnected
from dfs.protocol.interfaces import IConnection, Identity, IService, PeerInfo
from dfs.protocol.link import Link
from dfs.protocol.values import Purpose, Role
from dfs.raft.interfaces import IRaft, IRaftTransport
from dfs.runtime.interfaces import Runtime

_log = Logger()

KIND_OFFSET = 5  # dfs.raft.codec: version u8, CRC u32, kind u8
SNAPSHOT_PIECE = 5
MAX_GUESTS = 16
"""Connections of others than members over which they can be answered."""


def is_piece(payload: bytes) -> bool:
    """Whether a message of Raft's is a piece of a snapshot."""
    return len(payload) > KIND_OFFSET and payload[KIND_OFFSET] == SNAPSHOT_PIECE


@implementer(IRaftTransport)
class RaftTransport:
    """:param members: everybody's name and address, as they are known at each moment; changed here.
    :param admits: whether this incarnation of a member may speak (R35).
    """

    def __init__(
        self, runtime: Runtime, node: str, members: Members, admits: Callable[[str, bytes], bool]
    ) -> None:
        self._runtime = runtime
        self._node = node
        self._members = members
        self._admits = admits
        self._links: dict[tuple[Purpose, str], Link] = {}
        self._guests: dict[str, IConnection] = {}
        self._identity: Identity | None = None
        self._service: IService | None = None
        self._raft: IRaft | None = None
        self._cluster_time: Callable[[], int] = lambda: 0

    def start(self, raft: IRaft, identity: Identity, service: IService, cluster_time: Callable[[], int]) -> None:
        """Begin to dial; ``service`` hears what comes over the connections that we dialed."""
        self._raft, self._identity, self._service, self._cluster_time = raft, identity, service, cluster_time
        self._dial()

    def introduce(self, identity: Identity) -> None:
        """What we say of ourselves on connections made from now on."""
        self._identity = identity
        for link in self._links.values():
            link.identity = identity

    def stop(self) -> None:
        """Close all links; nothing is sent or received after this."""
        self._raft = None
        for link in self._links.values():
            if link.running:
                link.stopService()
        self._links.clear()

    def send(self, member: str, payload: bytes) -> None:
        """See IRaftTransport."""
        if self._raft is None:
            return
        connection = self._guests.get(member)
        if member in self._members and member != self._node:
            link = self._link(Purpose.SNAPSHOT if is_piece(payload) else Purpose.RAFT, member)
            connection = link.connection or connection
        if connection is not None:
            connection.send(payload)

    def members_changed(self, members: Mapping[str, str]) -> None:
        """See IRaftTransport."""
        former = dict(self._members)
        self._members.changed(members)
        for purpose, name in list(self._links):
            if self._members.get(name) != former.get(name):
                link = self._links.pop((purpose, name))
                if link.running:
                    link.stopService()
        if self._raft is not None:
            self._dial()

    def _dial(self) -> None:
        for name in self._members:
            if name != self._node:
                self._link(Purpose.RAFT, name)

    def message_received(self, connection: IConnection, payload: bytes) -> bool:
        """A one-way message came; False where its sender is none whose messages count."""
        peer = connection.peer
        if not self._may_speak(peer):
            return False
        if peer.name in self._guests or len(self._guests) < MAX_GUESTS:
            self._guests[peer.name] = connection
        if self._raft is not None:
            self._raft.receive(peer.name, payload)
        return True

    def disconnected(self, connection: IConnection) -> None:
        """It ended."""
        if self._guests.get(connection.peer.name) is connection:
            del self._guests[connection.peer.name]

    def _may_speak(self, peer: PeerInfo) -> bool:
        proven = peer.trusted and peer.role is Role.META and peer.name != self._node
        return proven and self._admits(peer.name, peer.incarnation)

    def _link(self, purpose: Purpose, member: str) -> Link:
        link = self._links.get((purpose, member))
        if link is None:
            assert self._identity is not None
            link = self._links[purpose, member] = Link(
                self._runtime,
                self._members[member],
                self._identity,
                purpose,
                self._service,
                expect=member,
                connected=partial(self._connected, member),
                disconnected=partial(self._disconnected, purpose, member),
                cluster_time=self._cluster_time,
            )
            link.startService()
        return link

    def _connected(self, member: str, connection: IConnection) -> None:
        if not self._admits(member, connection.peer.incarnation):
            _log.error(
                "{member} answers with another folder than the one that founded this cluster with us: it is not spoken "
                "to. Give {member} its own folder back, or see doc/operations.md for replacing a member.",
                member=member,
            )
            connection.close()

    def _disconnected(self, purpose: Purpose, member: str, error: DFSError) -> None:
        if self._raft is not None and purpose is Purpose.RAFT and isinstance(error, Disconnected):
            self._raft.member_refused(member)
