"""The transport as the rest of the shell sees it."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from dfs.protocol.port import MAX_GATHERED, Port, rest_of


class Transport(StringTransport):
    """Notes each send by itself."""

    bufferSize = 0

    def __init__(self) -> None:
        super().__init__()
        self.events: list[bytes | str] = []

    def write(self, data: bytes) -> None:
        self.events.append(data)

    def loseConnection(self) -> None:
        self.events.append("close")

    def abortConnection(self) -> None:
        self.events.append("abort")


class GatheringTests(SynchronousTestCase):
    """A connection whose messages are many and small."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.transport = Transport()
        self.port = Port(self.clock, self.transport, lambda: None)
        self.port.configure(4096, gathers=True)

    def test_one_send_a_turn(self) -> None:
        """What is written in one turn leaves in one send at its end, in order, and counts as unsent until then."""
        for message in (b"one ", b"two ", b"three"):
            self.port.write(message)
        self.assertEqual(self.transport.events, [])
        self.assertEqual((self.port.unsent, self.port.taken), (13, 0))
        self.clock.advance(0)
        self.port.write(b"four")
        self.clock.advance(0)
        self.assertEqual(self.transport.events, [b"one two three", b"four"])
        self.assertEqual((self.port.unsent, self.port.taken), (0, 17))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_bound(self) -> None:
        """A turn that writes much does not hold it all in memory until its end (S43)."""
        half = b"x" * (MAX_GATHERED // 2)
        for _ in range(5):
            self.port.write(half)
        self.assertEqual([len(event) for event in self.transport.events], [MAX_GATHERED, MAX_GATHERED])
        self.clock.advance(0)
        self.assertEqual(self.transport.events[2:], [half])

    def test_close(self) -> None:
        """What was written before a close is sent before it; what is written after it is not."""
        self.port.write(b"farewell")
        self.port.close()
        self.port.write(b"too late")
        self.clock.advance(0)
        self.assertEqual(self.transport.events, [b"farewell", "close"])

    def test_abort(self) -> None:
        """Nothing is sent on a connection that was cut off or lost, and no timer of it stays."""
        for end in (self.port.abort, self.port.lost):
            self.port.write(b"for nobody")
            end()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual((self.transport.events, self.port.unsent), (["abort"], 0))


class RestTests(SynchronousTestCase):
    """What the kernel did not take."""

    def test_every_cut(self) -> None:
        """Wherever the kernel stopped, just the bytes after it are queued, in order, and no empty piece among them."""
        pieces: list[bytes | memoryview] = [b"head", memoryview(b"some data"), b"x"]
        whole = b"".join(pieces)
        for cut in range(len(whole) + 1):
            rest = rest_of(pieces, cut)
            self.assertEqual(b"".join(rest), whole[cut:])
            self.assertTrue(all(len(piece) for piece in rest))
