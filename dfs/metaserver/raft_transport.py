"""The one module that knows both Raft and the protocol: Raft's opaque messages over links between members.

We dial each other member twice: a RAFT link at once, a SNAPSHOT link when a piece of a snapshot has to go, so that a
transfer never delays a heartbeat.  Each side sends on the links that it dialed; both ends have proven the cluster key
and their names in Hello, so what comes in is known to come from that member.

A message is dropped where there is no connection, or where the connection has more unsent bytes than its bound: Raft
sends again what matters.  A member that refuses or resets the connection is reported, so that its death is noticed at
once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from twisted.logger import Logger
from zope.interface import implementer

from dfs.protocol.errors import DFSError, Disconnected
from dfs.protocol.interfaces import IConnection, Identity, PeerInfo
from dfs.protocol.link import Link
from dfs.protocol.values import Purpose, Role
from dfs.raft.interfaces import IRaft, IRaftTransport
from dfs.runtime.interfaces import Runtime

_log = Logger()

KIND_OFFSET = 5  # dfs.raft.codec: version u8, CRC u32, kind u8
SNAPSHOT_PIECE = 5


def is_piece(payload: bytes) -> bool:
    """Whether a message of Raft's is a piece of a snapshot."""
    return len(payload) > KIND_OFFSET and payload[KIND_OFFSET] == SNAPSHOT_PIECE


@implementer(IRaftTransport)
class RaftTransport:
    """:param peers: every member's name and address, as they are known at each moment.
    :param raft: set before ``start``; what comes in goes there.
    :param admits: whether this incarnation of a member may speak (R35).
    """

    def __init__(
        self, runtime: Runtime, node: str, peers: Mapping[str, str], admits: Callable[[str, bytes], bool]
    ) -> None:
        self._runtime = runtime
        self._node = node
        self._peers = peers
        self._admits = admits
        self._links: dict[tuple[Purpose, str], Link] = {}
        self._identity: Identity | None = None
        self._raft: IRaft | None = None
        self._cluster_time: Callable[[], int] = lambda: 0

    def start(self, raft: IRaft, identity: Identity, cluster_time: Callable[[], int]) -> None:
        """Begin to dial."""
        self._raft, self._identity, self._cluster_time = raft, identity, cluster_time
        for name in self._peers:
            if name != self._node:
                self._link(Purpose.RAFT, name)

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
        if self._raft is None or member not in self._peers or member == self._node:
            return
        connection = self._link(Purpose.SNAPSHOT if is_piece(payload) else Purpose.RAFT, member).connection
        if connection is not None:
            connection.send(payload)

    def members_changed(self, members: Mapping[str, str]) -> None:
        """See IRaftTransport."""
        former = self._peers
        self._peers = {name: address for name, address in members.items() if name != self._node and address}
        for purpose, name in list(self._links):
            if self._peers.get(name) != former.get(name):
                link = self._links.pop((purpose, name))
                if link.running:
                    link.stopService()
        if self._raft is not None:
            for name in self._peers:
                self._link(Purpose.RAFT, name)

    def message_received(self, peer: PeerInfo, payload: bytes) -> bool:
        """A one-way message came; False where its sender is none whose messages count."""
        if not self._is_member(peer):
            return False
        if self._raft is not None:
            self._raft.receive(peer.name, payload)
        return True

    def _is_member(self, peer: PeerInfo) -> bool:
        known = peer.trusted and peer.role is Role.META and peer.name in self._peers and peer.name != self._node
        return known and self._admits(peer.name, peer.incarnation)

    def _link(self, purpose: Purpose, member: str) -> Link:
        link = self._links.get((purpose, member))
        if link is None:
            assert self._identity is not None
            link = self._links[purpose, member] = Link(
                self._runtime,
                self._peers[member],
                self._identity,
                purpose,
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
