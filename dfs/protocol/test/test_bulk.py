"""Input and output of a BULK connection's socket."""

from __future__ import annotations

import errno
import os
import socket
from itertools import pairwise
from typing import Any

from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.trial.unittest import SynchronousTestCase

from dfs.protocol.bulk import HIGH_WATER, WAKE, BulkTransport
from dfs.protocol.frames import FrameDecoder, encode_block
from dfs.protocol.interfaces import Block
from dfs.protocol.test.nodes import blocks
from dfs.protocol.values import BLOCK


class Socket:
    """Takes at most ``room`` bytes, gives what is in ``inbox``."""

    def __init__(self) -> None:
        self.room = 0
        self.sent = b""
        self.inbox = b""
        self.ended = False
        self.broken = False
        self.wakes: list[int] = []

    def _check(self, ready: bool) -> None:
        if self.broken:
            raise OSError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
        if not ready:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    def sendmsg(self, pieces: list[bytes | memoryview]) -> int:
        self._check(self.room > 0)
        taken = b"".join(pieces)[: self.room]
        self.room -= len(taken)
        self.sent += taken
        return len(taken)

    def recvmsg_into(self, buffers: list[memoryview]) -> tuple[int, list[Any], int, None]:
        self._check(bool(self.inbox) or self.ended)
        count = 0
        for buffer in buffers:
            part, self.inbox = self.inbox[: len(buffer)], self.inbox[len(buffer) :]
            buffer[: len(part)] = part
            count += len(part)
        return count, [], 0, None

    def setsockopt(self, level: int, option: int, value: int) -> None:
        assert (level, option) == (socket.SOL_SOCKET, socket.SO_RCVLOWAT)
        self.wakes.append(value)


class Transport:
    """What is used of Twisted's."""

    def __init__(self, events: list[str]) -> None:
        self.socket = Socket()
        self.connected = True
        self.disconnecting = False
        self.producerPaused = False
        self.producer = self
        self._events = events

    def startWriting(self) -> None:
        self._events.append("start writing")

    def stopWriting(self) -> None:
        self._events.append("stop writing")

    def resumeProducing(self) -> None:
        self._events.append("resume")

    def doRead(self) -> object:
        raise AssertionError("the transport's own reading is replaced")

    def doWrite(self) -> object:
        self._events.append("own write")
        return CONNECTION_DONE if self.disconnecting else None


class BulkCase(SynchronousTestCase):
    def setUp(self) -> None:
        """A transport that was taken over."""
        self.events: list[str] = []
        self.transport = Transport(self.events)
        self.socket = self.transport.socket
        self.decoder = FrameDecoder()
        self.decoder.blocks = True
        self.reads_on = True
        self.found: list[Block] = []
        self.bulk = BulkTransport(self.transport, self.decoder, self.received, lambda: self.events.append("full"))
        self.bulk.attach()

    def received(self) -> bool:
        """As a connection does: every whole frame."""
        while (frame := self.decoder.next_frame()) is not None:
            assert frame.block is not None
            self.found.append(frame.block)
        return self.reads_on


class SendingTests(BulkCase):
    def test_order_is_kept(self) -> None:
        """However little the kernel takes at a time, the bytes leave in order, and none twice (S43)."""
        pieces = [bytes([number]) * (100 + number) for number in range(90)]
        whole = b"".join(pieces)
        self.socket.room = 250
        self.bulk.write(pieces[:4])
        self.assertEqual(self.bulk.unsent, sum(map(len, pieces[:4])) - 250)
        for piece in pieces[4:]:
            self.bulk.write([piece])
        for _ in range(len(whole) // 333 + 1):
            self.socket.room = 333
            if self.bulk.unsent:
                self.assertIsNone(self.transport.doWrite())
        self.assertEqual(self.socket.sent, whole)
        self.assertEqual(self.events, ["start writing", "stop writing"])

    def test_high_water(self) -> None:
        """Who produces is paused once at the high-water mark, and goes on when all is gone."""
        self.bulk.write([bytes(HIGH_WATER)])
        self.assertEqual(self.events, ["start writing"])
        self.bulk.write([b"x"])
        self.bulk.write([b"y"])
        self.assertEqual(self.events, ["start writing", "full"])
        self.socket.room = 2 * HIGH_WATER
        self.transport.doWrite()
        self.assertEqual(self.events[2:], ["stop writing", "resume"])
        self.assertFalse(self.transport.producerPaused)

    def test_closing(self) -> None:
        """A connection that closes sends what waits, then the transport closes it."""
        self.bulk.write([b"last words"])
        self.transport.disconnecting = True
        self.socket.room = 5
        self.assertIsNone(self.transport.doWrite())
        self.socket.room = 50
        self.assertIs(self.transport.doWrite(), CONNECTION_DONE)
        self.assertEqual(self.socket.sent, b"last words")

    def test_broken(self) -> None:
        """A broken connection is met by the next write of the reactor, not by who writes."""
        self.socket.broken = True
        self.bulk.write([b"x"])
        self.assertIs(self.transport.doWrite(), CONNECTION_LOST)

    def test_lost(self) -> None:
        """When the transport is gone, nothing of what waited is kept, and its methods are its own again."""
        self.bulk.write([b"x"])
        self.bulk.lost()
        self.assertEqual(self.bulk.unsent, 0)
        self.transport.doWrite()
        self.assertIn("own write", self.events)


class ReceivingTests(BulkCase):
    def test_blocks(self) -> None:
        """Blocks come out as they were sent, whatever a receive brings."""
        sent = blocks(3 * BLOCK - 5)
        stream = b"".join(encode_block(7, block) for block in sent)
        for start in range(0, len(stream), 300_001):
            self.socket.inbox += stream[start : start + 300_001]
            self.assertIsNone(self.transport.doRead())
        while self.socket.inbox:
            self.assertIsNone(self.transport.doRead())
        self.assertEqual([block.crcs for block in self.found], [block.crcs for block in sent])
        self.assertEqual([bytes(block.pieces[0]) for block in self.found], [b"".join(block.pieces) for block in sent])

    def test_wakes_for_what_is_worth_it(self) -> None:
        """While a block comes the kernel wakes us for WAKE bytes or what is missing; behind it for any byte, so that
        the end of a stream is not waited for (S23)."""
        stream = encode_block(7, blocks(BLOCK)[0])
        for start, end in pairwise((0, 200, 900_000, len(stream))):
            self.socket.inbox = stream[start:end]
            self.transport.doRead()
        self.assertEqual(self.socket.wakes, [WAKE, len(stream) - 900_000, 1])

    def test_stops_when_nobody_reads_on(self) -> None:
        """A reader that is behind gets no more than one receive."""
        self.reads_on = False
        self.socket.inbox = b"".join(encode_block(7, block) for block in blocks(3 * BLOCK))
        whole = len(self.socket.inbox)
        while not self.found:
            self.transport.doRead()
        self.assertEqual(len(self.found), 1)
        self.assertGreater(len(self.socket.inbox), whole - BLOCK - 20_000)

    def test_ends(self) -> None:
        """No bytes are the end of the connection, an error its loss, and nothing there is nothing."""
        self.assertIsNone(self.transport.doRead())
        self.socket.ended = True
        self.assertIs(self.transport.doRead(), CONNECTION_DONE)
        self.socket.broken = True
        self.assertIs(self.transport.doRead(), CONNECTION_LOST)
