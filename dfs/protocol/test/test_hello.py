"""Who may connect to whom."""

from __future__ import annotations

import attrs
from twisted.trial.unittest import SynchronousTestCase

from dfs.protocol.errors import BadRequest, DFSError, Forbidden, VersionMismatch, WrongCluster
from dfs.protocol.failures import encode_error
from dfs.protocol.frames import Frame, FrameDecoder, FrameType
from dfs.protocol.hello import HELLO, Handshake
from dfs.protocol.interfaces import Identity
from dfs.protocol.test.nodes import identity
from dfs.protocol.values import Purpose, Role


def frame_of(data: bytes) -> Frame:
    """The one frame in some bytes."""
    decoder = FrameDecoder()
    decoder.receive(data)
    frame = decoder.next_frame()
    assert frame is not None
    return frame


def sides(
    dialer: Identity, listener: Identity, purpose: Purpose = Purpose.CONTROL, expect: str = ""
) -> tuple[Handshake, Handshake]:
    """Both sides before Hello."""
    return (
        Handshake(dialer, purpose, b"d" * 32, 5, expect, dialer=True),
        Handshake(listener, Purpose.CONTROL, b"l" * 32, 6, "", dialer=False),
    )


def shake(dialer: Handshake, listener: Handshake) -> None:
    """Run Hello to its end, or to the first error."""
    data = dialer.start()
    receiver, sender = listener, dialer
    while data:
        data = receiver.receive(frame_of(data))
        receiver, sender = sender, receiver


META = identity(Role.META, "meta-1")
CHUNK = identity(Role.CHUNK, "chunk-1")
CLIENT = identity(Role.CLIENT, "client-1", key=b"", cluster=b"")


class AcceptedTests(SynchronousTestCase):
    def test_nodes_trust_each_other(self) -> None:
        """Two nodes with one key end trusted on both sides, each knowing who the other is."""
        dialer, listener = sides(CHUNK, META)
        shake(dialer, listener)
        assert dialer.established is not None and listener.established is not None
        self.assertEqual((dialer.established.trusted, listener.established.trusted), (True, True))
        self.assertEqual(dialer.established.theirs.name, "meta-1")
        self.assertEqual(listener.established.theirs.name, "chunk-1")
        self.assertEqual(listener.established.theirs.role, Role.CHUNK)
        self.assertEqual(dialer.established.theirs.cluster_time_ms, 6)

    def test_client_is_a_stranger(self) -> None:
        """A client without a key is let in, untrusted, and learns the cluster."""
        dialer, listener = sides(CLIENT, CHUNK, Purpose.BULK)
        shake(dialer, listener)
        assert dialer.established is not None and listener.established is not None
        self.assertFalse(listener.established.trusted)
        self.assertEqual(dialer.established.theirs.cluster, META.cluster)
        self.assertEqual(dialer.established.theirs.purpose, Purpose.BULK)

    def test_proof_is_kept_from_the_wrong_listener(self) -> None:
        """A dialer that means a chunk server shows a metadata node no proof, and the other way round: so nobody in
        between can pass it on (S43)."""
        for purpose, listener in ((Purpose.BULK, META), (Purpose.RAFT, CHUNK), (Purpose.SNAPSHOT, CHUNK)):
            dialer = Handshake(identity(Role.META, "meta-2"), purpose, b"d" * 32, 5, "", dialer=True)
            answering = Handshake(listener, Purpose.CONTROL, b"l" * 32, 6, "", dialer=False)
            welcome = answering.receive(frame_of(dialer.start()))
            self.assertRaises(WrongCluster, dialer.receive, frame_of(welcome))

    def test_expected_name(self) -> None:
        """A dialer that expects just this node is content."""
        dialer, listener = sides(CHUNK, META, expect="meta-1")
        shake(dialer, listener)
        self.assertIsNotNone(dialer.established)


    def test_founding_is_told(self) -> None:
        """Each side learns the other's founding; one that does not know its own, or is of a version that does not
        name it, is let in (S39)."""
        for one, other in ((b"f" * 16, b"f" * 16), (b"f" * 16, b""), (b"", b"f" * 16)):
            dialer, listener = sides(attrs.evolve(CHUNK, founding=one), attrs.evolve(META, founding=other))
            shake(dialer, listener)
            assert dialer.established is not None and listener.established is not None
            self.assertEqual(dialer.established.founding, other or bytes(16))
            self.assertEqual(listener.established.founding, one or bytes(16))
        dialer, listener = sides(CLIENT, attrs.evolve(META, founding=b"f" * 16))
        old = frame_of(dialer.start()).body[:-16]
        listener.receive(Frame(FrameType.HELLO, 0, 0, old))
        assert listener.established is not None
        self.assertEqual(listener.established.founding, bytes(16))


class RefusedTests(SynchronousTestCase):
    def refused(
        self,
        error: type[DFSError],
        dialer: Identity,
        listener: Identity = META,
        purpose: Purpose = Purpose.CONTROL,
        expect: str = "",
    ) -> DFSError:
        """Hello fails on one side with this error, and neither side took the other in before."""
        one, other = sides(dialer, listener, purpose, expect)
        found: DFSError = self.assertRaises(error, shake, one, other)
        self.assertIsNone(other.established)
        self.assertTrue(found.message)
        return found

    def test_wrong_key(self) -> None:
        """A node that holds another key is refused before anything else it says is looked at."""
        error = self.refused(Forbidden, identity(Role.CHUNK, "chunk-9", key=b"x" * 32))
        self.assertIn("another cluster key", error.message)

    def test_other_founding(self) -> None:
        """A node of a cluster that other members founded under the same key is refused, with a sentence (S28)."""
        error = self.refused(
            WrongCluster, attrs.evolve(CHUNK, founding=b"a" * 16), attrs.evolve(META, founding=b"b" * 16)
        )
        self.assertIn("under the same key", error.message)
        self.assertIn("--peers", error.hint)

    def test_no_key(self) -> None:
        """Whoever says that it is a node and cannot prove it is refused."""
        for role in (Role.META, Role.CHUNK):
            self.refused(Forbidden, identity(role, "chunk-9", key=b""))

    def test_listener_without_key(self) -> None:
        """A node does not speak to a listener that cannot prove the key."""
        self.refused(Forbidden, CHUNK, identity(Role.META, "meta-1", key=b""))

    def test_listener_with_wrong_key(self) -> None:
        """A dialer takes nobody for trusted whose proof is wrong, even one who let its own pass."""
        dialer, listener = sides(CHUNK, META)
        welcome = listener.receive(frame_of(dialer.start()))
        dialer.receive(frame_of(welcome))
        self.assertRaises(Forbidden, dialer.receive, Frame(FrameType.PROOF, 0, 0, b"p" * 32))
        self.assertIsNone(dialer.established)

    def test_reflected_proof(self) -> None:
        """A proof sent back to its maker proves nothing: each direction has its own key."""
        dialer, listener = sides(CHUNK, META)
        proof = dialer.receive(frame_of(listener.receive(frame_of(dialer.start()))))
        self.assertRaises(Forbidden, dialer.receive, frame_of(proof))

    def test_replayed_proof(self) -> None:
        """A proof overheard in one Hello is worthless in the next, whose nonce differs."""
        dialer, listener = sides(CHUNK, META)
        hello = dialer.start()
        proof = dialer.receive(frame_of(listener.receive(frame_of(hello))))
        again = Handshake(META, Purpose.CONTROL, b"m" * 32, 6, "", dialer=False)
        again.receive(frame_of(hello))
        self.assertRaises(Forbidden, again.receive, frame_of(proof))

    def test_wrong_cluster(self) -> None:
        """Nodes and clients of another cluster are refused with a sentence that names both."""
        other = b"o" * 16
        for who in (identity(Role.CHUNK, "chunk-1", cluster=other), attrs.evolve(CLIENT, cluster=other)):
            error = self.refused(WrongCluster, who)
            self.assertIn(other.hex(), error.message)

    def test_wrong_node(self) -> None:
        """A dialer that expects another node is told which one it reached."""
        error = self.refused(WrongCluster, CHUNK, expect="meta-2")
        self.assertIn("this is meta-1, not meta-2", error.message)

    def test_only_metadata_servers_vote(self) -> None:
        """Connections for consensus are for metadata servers alone."""
        for purpose in (Purpose.RAFT, Purpose.SNAPSHOT):
            self.refused(Forbidden, CHUNK, purpose=purpose)
            self.refused(Forbidden, CLIENT, purpose=purpose)

    def test_versions_apart(self) -> None:
        """A peer that speaks no version of ours is refused with both ranges (S39)."""
        data = sides(attrs.evolve(CHUNK, versions=(2, 3)), META)[0].start()
        error = self.assertRaises(VersionMismatch, sides(CHUNK, META)[1].receive, frame_of(data))
        self.assertIn("versions 2 to 3 of the protocol, this node 1 to 1", error.message)

    def test_highest_common_version(self) -> None:
        """Of overlapping ranges the highest common version is spoken (S39)."""
        for dialer_speaks, listener_speaks, spoken in (((1, 5), (2, 3), 3), ((2, 2), (1, 4), 2), ((1, 1), (1, 2), 1)):
            dialer, listener = sides(
                attrs.evolve(CHUNK, versions=dialer_speaks), attrs.evolve(META, versions=listener_speaks)
            )
            shake(dialer, listener)
            assert dialer.established is not None and listener.established is not None
            self.assertEqual((dialer.established.version, listener.established.version), (spoken, spoken))

    def test_hello_of_a_later_version(self) -> None:
        """A Hello that has grown at its end, of a peer that also speaks our version, is understood (S39)."""
        body = bytearray(frame_of(sides(CHUNK, META)[0].start()).body + b"more")
        body[5] = 9
        listener = sides(CHUNK, META)[1]
        welcome = frame_of(listener.receive(Frame(FrameType.HELLO, 0, 0, bytes(body))))
        self.assertEqual(welcome.type, FrameType.WELCOME)
        body[4:7] = b"\x08\x09\xff"
        later = Frame(FrameType.HELLO, 0, 0, bytes(body))
        self.assertRaises(VersionMismatch, sides(CHUNK, META)[1].receive, later)

    def test_out_of_turn(self) -> None:
        """Any frame but the one whose turn it is ends Hello: nothing is served before the proof (S43)."""
        dialer, listener = sides(CHUNK, META)
        hello = frame_of(dialer.start())
        for type in set(FrameType) - {FrameType.HELLO, FrameType.FAILURE}:
            self.assertRaises(BadRequest, sides(CHUNK, META)[1].receive, Frame(type, 0, 0, hello.body))
        listener.receive(hello)
        for type in set(FrameType) - {FrameType.PROOF, FrameType.FAILURE}:
            self.assertRaises(BadRequest, listener.receive, Frame(type, 0, 0, hello.body))

    def test_peer_says_why(self) -> None:
        """A peer's FAILURE during Hello is raised as the error that it is."""
        dialer, _ = sides(CHUNK, META)
        dialer.start()
        body = encode_error(WrongCluster("no, not here"))
        error = self.assertRaises(WrongCluster, dialer.receive, Frame(FrameType.FAILURE, 13, 0, body))
        self.assertEqual(error.message, "no, not here")

    def test_hostile_hello(self) -> None:
        """A Hello cut at any byte or with any bit flipped never passes a node for another (S43)."""
        body = frame_of(sides(CHUNK, META)[0].start()).body
        for length in set(range(len(body))) - {len(body) - 16}:  # there an older version ends
            self.assertRaises(DFSError, sides(CHUNK, META)[1].receive, Frame(FrameType.HELLO, 0, 0, body[:length]))
        for bit in range(8 * len(body)):
            flipped = bytearray(body)
            flipped[bit // 8] ^= 1 << bit % 8
            listener = sides(CHUNK, META)[1]
            try:
                welcome = listener.receive(Frame(FrameType.HELLO, 0, 0, bytes(flipped)))
                if listener.established is not None:
                    self.assertFalse(listener.established.trusted)
                    continue
                proof = sides_dialer().receive(frame_of(welcome))
                self.assertRaises(Forbidden, listener.receive, frame_of(proof))
            except DFSError:
                pass
            self.assertIsNone(listener.established)

    def test_fields(self) -> None:
        """The first fields of Hello lie where every future version will look for them."""
        body = frame_of(sides(CHUNK, META)[0].start()).body
        self.assertEqual(body[:8], b"DFS1\x01\x01\x03\x01")
        self.assertEqual(HELLO.parse(body).name, "chunk-1")


def sides_dialer() -> Handshake:
    """The dialer of CHUNK to META, its Hello sent."""
    dialer, _ = sides(CHUNK, META)
    dialer.start()
    return dialer
