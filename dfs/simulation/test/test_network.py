"""Twisted's endpoints and transports on the simulated network."""

from __future__ import annotations

from typing import Any

from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.error import (
    CannotListenError,
    ConnectionAborted,
    ConnectionDone,
    ConnectionLost,
    ConnectionRefusedError,
)
from twisted.internet.interfaces import (
    IListeningPort,
    IPushProducer,
    IReactorTCP,
    IReactorTime,
    ITCPTransport,
)
from zope.interface import implementer
from zope.interface.verify import verifyObject

from dfs.simulation.test.pair import HalfCloseable, NetworkCase, Servers


class ConnectionTests(NetworkCase):
    """Connecting, talking, closing."""

    def test_provides_interfaces(self) -> None:
        """Reactor, port and transports provide Twisted's interfaces."""
        verifyObject(IReactorTime, self.a.reactor)
        verifyObject(IReactorTCP, self.a.reactor)
        verifyObject(IListeningPort, self.port)
        for protocol in self.connected():
            verifyObject(ITCPTransport, protocol.transport)
            protocol.transport.setTcpNoDelay(True)
            protocol.transport.setTcpKeepAlive(True)
            self.assertTrue(protocol.transport.getTcpNoDelay())
            self.assertTrue(protocol.transport.getTcpKeepAlive())

    def test_addresses(self) -> None:
        """Each end knows its own address and the other's."""
        client, server = self.connected()
        self.assertEqual(client.transport.getPeer(), server.transport.getHost())
        self.assertEqual(server.transport.getPeer(), client.transport.getHost())
        self.assertEqual((server.transport.getHost().host, server.transport.getHost().port), (self.a.ip, 7000))

    def test_bytes_in_order(self) -> None:
        """Everything arrives once and in order, cut anywhere, and closing flushes first."""
        client, server = self.connected()
        sent = b"".join(number.to_bytes(4, "big") for number in range(200_000))
        for start in range(0, len(sent), 100_000):
            client.transport.write(sent[start : start + 100_000])
        client.transport.loseConnection()
        self.world.run_until(lambda: server.lost)
        self.assertEqual(bytes(server.received), sent)
        self.assertTrue(server.lost.check(ConnectionDone))
        self.assertTrue(client.lost.check(ConnectionDone))

    def test_writes_are_cut_and_joined(self) -> None:
        """The boundaries of writes are not kept: pieces come joined and cut."""
        client, server = self.connected()
        sizes = set()
        for _ in range(200):
            before = len(server.received)
            client.transport.writeSequence([b"12345", b"67890"])
            self.world.run(0.001)
            sizes.add(len(server.received) - before)
        self.assertEqual(sizes, {10})
        self.assertGreater(server.pieces, 200)

    def test_buffer_size(self) -> None:
        """A transport delivers at most its bufferSize at once, and that can be set."""
        client, server = self.connected()
        biggest: list[int] = []
        server.dataReceived = lambda data: biggest.append(len(data))
        server.transport.bufferSize = 1000
        client.transport.write(b"x" * 10_000)
        self.world.run(1)
        self.assertEqual(sum(biggest), 10_000)
        self.assertEqual(max(biggest), 1000)

    def test_refused(self) -> None:
        """Where nobody listens, and where refusing was asked for, a connection is refused."""
        failed = TCP4ClientEndpoint(self.b.reactor, self.a.ip, 7001).connect(Servers())
        self.network.refusing.add((self.a.ip, 7000))
        also = self.connect()
        self.world.run(1)
        self.failureResultOf(failed, ConnectionRefusedError)
        self.failureResultOf(also, ConnectionRefusedError)

    def test_stop_listening(self) -> None:
        """A closed port refuses; its number can be listened on again, though not twice at once."""
        self.failureResultOf(TCP4ServerEndpoint(self.a.reactor, 7000).listen(Servers()), CannotListenError)
        self.successResultOf(self.port.stopListening())
        refused = self.connect()
        self.world.run(1)
        self.failureResultOf(refused, ConnectionRefusedError)
        self.successResultOf(TCP4ServerEndpoint(self.a.reactor, 7000).listen(self.servers))
        self.connected()

    def test_abort(self) -> None:
        """Aborting drops what is buffered and resets the other end."""
        client, server = self.connected()
        client.transport.write(b"x" * 10_000_000)
        client.transport.abortConnection()
        self.world.run(1)
        self.assertTrue(client.lost.check(ConnectionAborted))
        self.assertTrue(server.lost.check(ConnectionLost))

    def test_half_close(self) -> None:
        """One direction can end before the other."""
        client, server = self.connected(HalfCloseable)
        client.transport.write(b"question")
        client.transport.loseWriteConnection()
        self.world.run(1)
        self.assertEqual((client.ends, server.ends), (["write"], ["read"]))
        server.transport.write(b"answer")
        server.transport.loseConnection()
        self.world.run(1)
        self.assertEqual((bytes(server.received), bytes(client.received)), (b"question", b"answer"))

    def test_protocol_error_ends_its_connection(self) -> None:
        """A protocol that raises loses its connection and nothing else."""
        client, server = self.connected()

        def fail(data: bytes) -> None:
            raise ZeroDivisionError

        server.dataReceived = fail
        client.transport.write(b"x")
        self.world.run(1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertTrue(server.lost.check(ZeroDivisionError))
        self.assertTrue(client.lost)
        self.connected()

    def test_write_to_closed_peer(self) -> None:
        """Writing to a peer that closed before it read everything ends in a reset."""
        client, server = self.connected()
        server.transport.pauseProducing()
        client.transport.write(b"unread")
        self.world.run(1)
        server.transport.loseConnection()
        self.world.run(1)
        self.assertTrue(client.lost.check(ConnectionLost))


@implementer(IPushProducer)
class Firehose:
    """A push producer that writes as long as it may, and counts."""

    def __init__(self, transport: Any, limit: int) -> None:
        self.transport = transport
        self.left = limit
        self.paused = 0
        self.peak = 0
        self._running = False

    def start(self) -> None:
        self.transport.registerProducer(self, True)
        self.resumeProducing()

    def resumeProducing(self) -> None:
        self._running = True
        while self._running and self.left:
            self.transport.write(b"x" * 10_000)
            self.left -= 10_000
            self.peak = max(self.peak, len(self.transport.dataBuffer) + self.transport._tempDataLen)
        if not self.left:
            self.transport.unregisterProducer()

    def pauseProducing(self) -> None:
        self._running = False
        self.paused += 1

    def stopProducing(self) -> None:
        self._running = False


class BackPressureTests(NetworkCase):
    """A slow reader slows its writer down; nobody buffers without bound."""

    def test_paused_reader_bounds_the_sender(self) -> None:
        """While the reader is paused a push producer is paused too: at most a window and a buffer are on their way."""
        client, server = self.connected()
        server.transport.pauseProducing()
        hose = Firehose(client.transport, 10_000_000)
        hose.start()
        self.world.run(60)
        sent = 10_000_000 - hose.left
        self.assertLessEqual(hose.peak, client.transport.bufferSize + 10_000)
        # What left the producer is in the window, or still in the transport's own buffer.
        self.assertLessEqual(sent, self.network.window + client.transport.bufferSize + 10_000)
        self.assertGreaterEqual(sent, self.network.window)
        self.assertEqual(server.received, b"")
        server.transport.resumeProducing()
        self.world.run_until(lambda: len(server.received) == 10_000_000)
        self.assertLessEqual(hose.peak, client.transport.bufferSize + 10_000)
        self.assertGreater(hose.paused, 10)

    def test_pull_producer(self) -> None:
        """A pull producer is asked for the next piece when the former has left."""
        client, server = self.connected()

        class Puller:
            pieces = 20

            def resumeProducing(self) -> None:
                if self.pieces:
                    self.pieces -= 1
                    client.transport.write(b"y" * 50_000)
                else:
                    client.transport.unregisterProducer()

            def stopProducing(self) -> None:
                self.pieces = 0

        puller = Puller()
        server.transport.pauseProducing()
        client.transport.registerProducer(puller, False)
        self.world.run(10)
        self.assertGreater(puller.pieces, 10)
        server.transport.resumeProducing()
        self.world.run(10)
        self.assertEqual(len(server.received), 1_000_000)

    def test_producer_is_stopped_with_the_connection(self) -> None:
        """A producer on a broken connection is told to stop."""
        client, server = self.connected()
        server.transport.pauseProducing()
        hose = Firehose(client.transport, 10_000_000)
        stopped: list[bool] = []
        hose.stopProducing = lambda: stopped.append(True)  # type: ignore[method-assign]
        hose.start()
        self.world.run(1)
        self.network.reset(self.a.ip, self.b.ip)
        self.world.run(1)
        self.assertEqual(stopped, [True])
        self.assertTrue(client.lost.check(ConnectionLost))

    def test_bandwidth(self) -> None:
        """A link of limited bandwidth takes its time."""
        client, server = self.connected()
        self.network.slow(self.b.ip, self.a.ip, latency=0.1, bandwidth=1_000_000)
        start = self.world.clock.now
        client.transport.write(b"x" * 2_000_000)
        self.world.run_until(lambda: len(server.received) == 2_000_000)
        self.assertGreater(self.world.clock.now - start, 2.0)
        self.assertLess(self.world.clock.now - start, 4.0)
