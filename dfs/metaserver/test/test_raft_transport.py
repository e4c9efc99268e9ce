"""Raft's bytes over the protocol's links."""

from __future__ import annotations

from typing import Any

from attrs import evolve, frozen
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from dfs.metaserver.raft_transport import MAX_GUESTS, is_piece
from dfs.metaserver.test.cluster import Cluster
from dfs.protocol.interfaces import PeerInfo
from dfs.protocol.values import Purpose, Role
from dfs.raft.codec import encode_message
from dfs.raft.interfaces import IRaftTransport
from dfs.raft.messages import (
    AppendReply,
    AppendRequest,
    SnapshotPiece,
    SnapshotProgress,
    SnapshotReply,
    VoteReply,
    VoteRequest,
)


@frozen(eq=False)
class Heard:
    """A connection over which something came."""

    peer: PeerInfo
    sent: list[bytes]

    def send(self, payload: bytes) -> None:
        self.sent.append(payload)


class TransportTests(SynchronousTestCase):
    """Between real nodes of a simulated world."""

    def test_pieces_are_told_apart(self) -> None:
        """Pieces of snapshots, and they alone, go on the link of their own."""
        piece = SnapshotPiece(1, 5, 1, 0, False, b"", b"data")
        self.assertTrue(is_piece(encode_message(piece)))
        for other in (
            VoteRequest(1, 5, 1, False),
            VoteReply(1, True, False),
            AppendRequest(1, 5, 1, 5, 1),
            AppendReply(1, 1, True, 5),
            SnapshotReply(1, 5, 0, SnapshotProgress.WANTED),
        ):
            self.assertFalse(is_piece(encode_message(other)), other)
        self.assertFalse(is_piece(b""))

    def test_who_is_heard(self) -> None:
        """A message counts only from a proven metadata server other than ourselves, with the folder that is pinned if
        it is a member (R35); one that is none, as far as we know, is heard, and answered where it spoke (R53, R57)."""
        cluster = Cluster()
        cluster.start()
        self.addCleanup(cluster.stop)
        transport = cluster.metas[0].server._transport
        self.assertTrue(verifyObject(IRaftTransport, transport))
        seen = transport._raft
        assert seen is not None
        other = cluster.metas[1]
        assert other.server._raft is not None and other.server._raft.identity is not None
        incarnation = other.server._raft.identity.incarnation

        def peer(
            role: Role = Role.META, name: str = "meta-2", trusted: bool = True, of: bytes = incarnation
        ) -> Any:
            return Heard(PeerInfo(role, name, Purpose.RAFT, of, trusted, ""), [])

        cluster.world.run(5.0)
        self.assertTrue(transport.message_received(peer(), b"rubbish that Raft ignores"))
        for stranger in (
            peer(role=Role.CHUNK),
            peer(name="meta-1"),
            peer(trusted=False),
            peer(of=bytes(16)),
        ):
            self.assertFalse(transport.message_received(stranger, b""), stranger)
        guest = peer(name="meta-9")
        self.assertTrue(transport.message_received(guest, b""))
        transport.send("meta-9", b"you were removed")
        transport.disconnected(guest)
        transport.send("meta-9", b"too late")
        self.assertEqual(guest.sent, [b"you were removed"])
        for number in range(100):
            transport.message_received(peer(name=f"guest-{number}"), b"")
        self.assertLessEqual(len(transport._guests), MAX_GUESTS)

    def test_a_follower_far_behind_gets_a_snapshot(self) -> None:
        """S32: a member that was away while the log was compacted catches up by a snapshot over its own link."""
        cluster = Cluster(
            1, lambda config: evolve(config, trailing_entries=20, sync_interval=0.5, segment_length=64 << 10)
        )
        cluster.start(3)
        self.addCleanup(cluster.stop)
        behind = next(meta for meta in cluster.metas if meta is not cluster.leader())
        cluster.world.run_until(behind.server.stopService())
        for number in range(40):
            cluster.store(f"f{number}")
            cluster.world.run(0.1)
        behind.restart()
        cluster.world.run_until(behind.server.ready)
        cluster.world.run(10.0)
        self.assertEqual(cluster.status(behind).files, 40)
        self.assertIn((Purpose.SNAPSHOT, behind.name), cluster.leader().server._transport._links)
