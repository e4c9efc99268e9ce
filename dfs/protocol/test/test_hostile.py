"""Hostile bytes on a port: the others are served, nothing grows, nothing crashes (S43)."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from typing import Any

from crc32c import crc32c
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from dfs.protocol import frames
from dfs.protocol.buffers import Buffers
from dfs.protocol.errors import DFSError, Forbidden
from dfs.protocol.failures import decode_error
from dfs.protocol.frames import FrameDecoder, FrameType, encode_block, encode_end, encode_frame
from dfs.protocol.hello import Handshake
from dfs.protocol.limits import HELLO_TIMEOUT, MAX_STRANGER_BODY
from dfs.protocol.messages import Lease, VerifyChunk
from dfs.protocol.requests import encode_request
from dfs.protocol.test.nodes import ASK, Room, blocks, identity, put_request
from dfs.protocol.values import BLOCK, FileId, Generation, Purpose, Role


class Stranger(Protocol):
    """Writes what it is told and keeps what comes."""

    def __init__(self) -> None:
        self.received = b""
        self.closed = False

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.closed = True


class HostileCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.room = Room()
        self.good = self.room.dial()

    def stranger(self) -> Stranger:
        """A bare connection to the node."""
        found: Stranger = self.room.raw(Stranger())
        return found

    def greeted(self, purpose: Purpose = Purpose.CONTROL) -> Stranger:
        """A connection of a client that has finished Hello."""
        stranger = self.stranger()
        shake = Handshake(identity(Role.CLIENT, "evil", key=b""), purpose, b"n" * 32, 0, "", dialer=True)
        self.write(stranger, shake.start())
        self.room.until(lambda: self.is_frame(stranger.received))
        stranger.received = b""
        return stranger

    def is_frame(self, data: bytes) -> bool:
        """Whether a whole frame has come: the network cuts what is sent where it likes."""
        decoder = FrameDecoder()
        decoder.receive(data)
        return decoder.next_frame() is not None

    def write(self, stranger: Stranger, data: bytes) -> None:
        """Send bytes as they are."""
        assert stranger.transport is not None
        stranger.transport.write(data)

    def reason(self, stranger: Stranger) -> DFSError:
        """What the node said last before it closed."""
        decoder = FrameDecoder()
        decoder.receive(stranger.received)
        frame = following = decoder.next_frame()
        while following is not None:
            frame, following = following, decoder.next_frame()
        assert frame is not None
        self.assertEqual((frame.type, frame.request), (FrameType.FAILURE, 0))
        return decode_error(frame.code, frame.body)

    def assert_others_are_served(self) -> None:
        self.assertEqual(self.room.until(self.good.call(ASK, 5)), Lease(7))


class BeforeHelloTests(HostileCase):
    def test_noise(self) -> None:
        """Random bytes of any length end their connection, with a sentence, and no other."""
        noise = random.Random(5)
        strangers = []
        for length in (1, 15, 16, 17, 100, 5000, 100_000):
            strangers.append(self.stranger())
            self.write(strangers[-1], bytes(noise.getrandbits(8) for _ in range(length)))
        self.room.run(HELLO_TIMEOUT + 5)
        self.assertTrue(all(stranger.closed for stranger in strangers))
        self.assertEqual(len(self.room.factory.connections), 1)
        self.assert_others_are_served()

    def test_other_protocols(self) -> None:
        """A browser that strays here is told so at once."""
        stranger = self.stranger()
        self.write(stranger, b"GET / HTTP/1.1\r\nHost: meta-1\r\n\r\n")
        self.room.run()
        self.assertTrue(stranger.closed)
        self.assertTrue(self.reason(stranger).message)

    def test_request_before_hello(self) -> None:
        """Nobody is served before Hello."""
        stranger = self.stranger()
        self.write(stranger, encode_request(1, ASK, 5))
        self.room.run()
        self.assertTrue(stranger.closed)
        self.assertEqual([event for event in self.room.service.events if event[0] == "request"], [])

    def test_slow_drip(self) -> None:
        """Whoever drips Hello byte by byte is closed after its time."""
        stranger = self.stranger()
        hello = encode_frame(FrameType.HELLO, 0, 0, bytes(4000))
        for second in range(int(HELLO_TIMEOUT) + 2):
            self.write(stranger, hello[second : second + 1])
            self.room.run(1)
        self.assertTrue(stranger.closed)
        self.assert_others_are_served()

    def test_half_open_by_the_thousand(self) -> None:
        """Thousands that connect and say nothing hold few resources, for a short time, and shut nobody out for long."""
        self.room.factory._max_connections = 500
        strangers = [self.stranger() for _ in range(1500)]
        self.room.run(0.5)
        self.assertLessEqual(len(self.room.factory.connections), 500)
        self.assertGreaterEqual(sum(stranger.closed for stranger in strangers), 1000)
        self.assert_others_are_served()
        self.room.run(HELLO_TIMEOUT + 1)
        self.assertEqual(len(self.room.factory.connections), 1)
        self.assertEqual(self.room.until(self.room.dial().call(ASK, 5)), Lease(7))

    def test_idle_strangers_make_room(self) -> None:
        """Strangers that finished Hello and ask nothing keep no node out: the oldest of them goes, never a node that
        proved the key (S43)."""
        self.room.factory._max_connections = 20
        strangers = [self.room.dial(identity(Role.CLIENT, "", key=b"", cluster=b"")) for _ in range(19)]
        gone: list[object] = []
        for stranger in strangers:
            stranger.when_closed().addCallback(lambda _, which=stranger: gone.append(which))
        self.room.run(3600)
        self.assertEqual(self.room.until(self.room.dial().call(ASK, 5)), Lease(7))
        self.room.run()
        self.assertEqual(gone, strangers[:1])
        self.assert_others_are_served()


class AfterHelloTests(HostileCase):
    def assert_ended(self, data: bytes, purpose: Purpose = Purpose.CONTROL) -> None:
        """Such bytes end the connection with a sentence."""
        stranger = self.greeted(purpose)
        self.write(stranger, data)
        self.room.run()
        self.assertTrue(stranger.closed)
        self.assertTrue(self.reason(stranger).message)

    def test_frames_that_break_a_rule(self) -> None:
        """Frames out of place or malformed end their connection, and each gets a reason."""
        request = encode_request(1, ASK, 5)
        for data in (
            encode_frame(FrameType.HELLO, 0, 0),
            encode_frame(FrameType.PROOF, 0, 0, bytes(32)),
            encode_frame(FrameType.MESSAGE, 0, 0, b"vote"),
            encode_frame(FrameType.FAILURE, 2, 3, b"\xff"),
            encode_frame(FrameType.ABORT, 2, 3, b""),
            encode_block(1, blocks(1)[0]),
            encode_end(1, 0, b""),
            encode_request(2, ASK, 5),
            encode_request(0, ASK, 5),
            request + request,
            request[:-1] + bytes((request[-1] ^ 1,)),
            struct.pack(">IIBBHI", MAX_STRANGER_BODY + 1, 0, 1, FrameType.REQUEST, 1, 1),
            b"\xff" * 100,
        ):
            self.assert_ended(data)
        self.assert_others_are_served()

    def test_streams_that_break_a_rule(self) -> None:
        """Parts of streams that never were, and second streams, end a bulk connection."""
        opened = encode_request(1, put_request(), 30)
        for data in (
            encode_block(1, blocks(1)[0]),
            encode_block(7, blocks(1)[0]),
            opened + encode_request(3, put_request(), 30),
            opened + encode_frame(FrameType.END, 0, 1, b"short"),
            opened + encode_frame(FrameType.BLOCK, 0, 1, bytes(50)),
        ):
            self.assert_ended(data, Purpose.BULK)
        self.assert_others_are_served()

    def test_blocks_that_nobody_wants(self) -> None:
        """A stranger who sends blocks to no stream of his is ended at the first one's head, and the blocks of a put
        that was refused are received into memory that all of them share (S43)."""
        taken: list[int] = []

        class Counting(Buffers):
            def take(self, length: int) -> memoryview:
                taken.append(length)
                return super().take(length)

        self.patch(frames, "BUFFERS", Counting())
        block = encode_block(1, blocks(BLOCK)[0])
        self.assert_ended(block[:200], Purpose.BULK)

        def refuse(*arguments: object) -> Any:
            raise Forbidden("no grant")

        self.patch(self.room.service, "put_opened", refuse)
        strangers = [self.greeted(Purpose.BULK) for _ in range(5)]
        for stranger in strangers:
            self.write(stranger, encode_request(1, put_request(), 30) + block[:-1])
        self.room.run()
        self.assertEqual((taken, [stranger.closed for stranger in strangers]), ([], [False] * 5))
        for stranger in strangers:
            stranger.received = b""
            self.write(stranger, block[-1:] + encode_request(3, ASK, 5))
        self.room.run()
        self.assertEqual([self.is_frame(stranger.received) for stranger in strangers], [True] * 5)

    def test_put_that_never_goes_on(self) -> None:
        """A put whose sender names a deadline of a month and then only shows that he is alive is given up, and its
        place is free (S43)."""
        stranger = self.greeted(Purpose.BULK)
        self.write(stranger, encode_request(1, put_request(), 30 * 86400.0))
        for _ in range(20):
            self.write(stranger, encode_frame(FrameType.PING, 0, 0))
            self.room.run(10)
        self.assertFalse(stranger.closed)
        self.assertIn(("stream failed", "DeadlinePassed"), self.room.service.events)
        self.assertTrue(self.is_frame(stranger.received))

    def test_malformed_requests_are_answered(self) -> None:
        """A request that cannot be understood in a frame that can gets an error of its own, and the next is served."""
        stranger = self.greeted()
        bodies = [(0x05, b""), (0x05, bytes(4)), (0x05, bytes(21)), (0x7E, bytes(4)), (0x80, bytes(4))]
        for place, (code, body) in enumerate(bodies):
            self.write(stranger, encode_frame(FrameType.REQUEST, code, 2 * place + 1, body))
        self.write(stranger, encode_request(99, ASK, 5))
        self.room.run()
        self.assertFalse(stranger.closed)
        decoder = FrameDecoder()
        decoder.receive(stranger.received)
        frames = [decoder.next_frame() for _ in range(len(bodies) + 1)]
        kinds = [frame.type for frame in frames if frame is not None]
        self.assertEqual(kinds, [FrameType.FAILURE] * len(bodies) + [FrameType.RESPONSE])

    def test_forbidden_requests_reach_nobody(self) -> None:
        """A stranger's request for what only nodes may do never reaches the service."""
        stranger = self.greeted()
        self.write(stranger, encode_request(1, VerifyChunk(FileId(1), 0, Generation(1)), 5))
        self.room.run()
        self.assertEqual([event for event in self.room.service.events if event[0] == "request"], [])

    def test_any_bit_flipped(self) -> None:
        """A conversation with any bit flipped is served, refused or ended, and nothing is logged as a bug."""
        conversation = encode_request(1, ASK, 5) + encode_frame(FrameType.CANCEL, 0, 1)
        for bit in range(0, 8 * len(conversation), 5):
            flipped = bytearray(conversation)
            flipped[bit // 8] ^= 1 << bit % 8
            self.write(self.greeted(), bytes(flipped))
        self.room.run(100)
        self.assertEqual(self.flushLoggedErrors(), [])
        self.assertEqual(len(self.room.factory.connections), 1)
        self.assert_others_are_served()

    def test_dripped_frame(self) -> None:
        """A frame that does not become whole in its time ends its connection."""
        stranger = self.greeted()
        frame = encode_frame(FrameType.REQUEST, 5, 1, bytes(5000))
        self.drip(stranger, frame, lambda: stranger.closed)
        self.assertTrue(stranger.closed)

    def drip(self, stranger: Stranger, data: bytes, enough: Callable[[], bool]) -> None:
        """A byte every two seconds."""
        for place in range(60):
            if enough():
                return
            self.write(stranger, data[place : place + 1])
            self.room.run(2)

    def test_checksum_of_the_sender(self) -> None:
        """A frame with a true checksum and a lying length of its message is refused without harm."""
        body = struct.pack(">I", 1000) + b"\x01\xff\xff"
        covered = struct.pack(">BBHI", 1, FrameType.REQUEST, 0x08, 1)
        stranger = self.greeted()
        self.write(stranger, struct.pack(">II", len(body), crc32c(body, crc32c(covered))) + covered + body)
        self.room.run()
        self.assertFalse(stranger.closed)
        self.assert_others_are_served()
