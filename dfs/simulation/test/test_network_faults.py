"""The simulated network's faults, and services that live through them."""

from __future__ import annotations

from typing import Any

from twisted.application.internet import ClientService, StreamServerEndpointService
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.error import (
    ConnectionDone,
    ConnectionLost,
    ConnectionRefusedError,
    TimeoutError,
)
from twisted.internet.protocol import Factory
from twisted.protocols.basic import LineReceiver
from twisted.trial.unittest import SynchronousTestCase

from dfs.runtime.backoff import full_jitter
from dfs.runtime.dial import Address, endpoint
from dfs.simulation.host import World
from dfs.simulation.test.pair import NetworkCase, Servers


class FaultTests(NetworkCase):
    """Partitions, crashes, kills."""

    def test_partition_holds_and_heals(self) -> None:
        """A partition delays bytes in both directions; after the heal all of them come, in order."""
        client, server = self.connected()
        self.world.partition("a", "b")
        for number in range(100):
            client.transport.write(b"%03d" % number)
            server.transport.write(b"%03d" % number)
            self.world.run(0.01)
        self.assertEqual((server.received, client.received), (b"", b""))
        self.world.heal()
        client.transport.write(b"end")
        self.world.run(1)
        self.assertEqual(bytes(server.received), b"".join(b"%03d" % number for number in range(100)) + b"end")
        self.assertEqual(len(client.received), 300)

    def test_one_way_partition(self) -> None:
        """A one-way partition holds one direction only (S35)."""
        client, server = self.connected()
        self.world.partition("b", "a", both=False)
        client.transport.write(b"held")
        server.transport.write(b"passes")
        self.world.run(10)
        self.assertEqual((bytes(server.received), bytes(client.received)), (b"", b"passes"))

    def test_connecting_over_a_partition_times_out(self) -> None:
        """Connecting over a partition ends with the connector's own time-out."""
        self.world.partition("a", "b")
        failed = self.connect(timeout=5)
        self.world.run(4.9)
        self.assertNoResult(failed)
        self.world.run(0.2)
        self.failureResultOf(failed, TimeoutError)
        self.world.heal()
        self.world.run(10)
        self.assertEqual(self.servers.built, [])

    def test_sender_gives_up(self) -> None:
        """A sender whose bytes are held is reset in the end; the other end is half-open until it sends."""
        client, server = self.connected()
        self.network.give_up = 20
        self.world.partition("a", "b")
        client.transport.write(b"x")
        self.world.run(19)
        self.assertIsNone(client.lost)
        self.world.run(2)
        self.assertTrue(client.lost.check(ConnectionLost))
        self.world.heal()
        self.world.run(100)
        self.assertIsNone(server.lost)
        server.transport.write(b"anybody?")
        self.world.run(1)
        self.assertTrue(server.lost.check(ConnectionLost))

    def test_keep_alive_finds_a_partition(self) -> None:
        """An idle end with keep-alive notices a lasting partition, one without does not."""
        client, server = self.connected()
        client.transport.setTcpKeepAlive(True)
        self.world.partition("a", "b")
        self.world.run(self.network.keep_alive + 1)
        self.assertTrue(client.lost.check(ConnectionLost))
        self.assertIsNone(server.lost)

    def test_crashed_host_says_nothing(self) -> None:
        """A power cut is silent; the peer is reset when it sends to the restarted host."""
        client, server = self.connected()
        self.a.crash()
        self.world.run(10)
        self.assertIsNone(client.lost)
        self.assertIsNone(server.lost)
        self.a.restart()
        client.transport.write(b"hello?")
        self.world.run(1)
        self.assertTrue(client.lost.check(ConnectionLost))
        self.assertIsNone(server.lost)

    def test_sending_to_a_host_that_stays_down(self) -> None:
        """Sending to a host without power ends in a reset after the give-up time, connecting in a time-out."""
        client, _ = self.connected()
        self.a.crash()
        client.transport.write(b"hello?")
        failed = self.connect(timeout=5)
        self.world.run(6)
        self.failureResultOf(failed, TimeoutError)
        self.assertIsNone(client.lost)
        self.world.run(self.network.give_up)
        self.assertTrue(client.lost.check(ConnectionLost))

    def test_killed_process_closes(self) -> None:
        """A killed process leaves its kernel: peers learn at once, connecting is refused."""
        client, server = self.connected()
        self.a.kill()
        failed = self.connect()
        self.world.run(1)
        self.assertTrue(client.lost.check(ConnectionDone))
        self.assertIsNone(server.lost)
        self.failureResultOf(failed, ConnectionRefusedError)

    def test_sockets_are_forgotten(self) -> None:
        """Closed connections leave nothing behind in the network."""
        for _ in range(5):
            client, _ = self.connected()
            client.transport.loseConnection()
            self.world.run(1)
        refused = TCP4ClientEndpoint(self.b.reactor, self.a.ip, 7001).connect(Servers())
        self.world.run(1)
        self.failureResultOf(refused, ConnectionRefusedError)
        self.assertEqual(len(self.network._sockets), 0)


class Shouter(LineReceiver):
    """Answers each line in capitals."""

    def lineReceived(self, line: bytes) -> None:
        self.sendLine(line.upper())


class Asker(LineReceiver):
    """Collects answers."""

    def __init__(self) -> None:
        self.answers: list[bytes] = []

    def lineReceived(self, line: bytes) -> None:
        self.answers.append(line)


class ServiceTests(SynchronousTestCase):
    """Service trees run unmodified."""

    def run_world(self, seed: int) -> tuple[list[bytes], str]:
        """A ClientService talks, is cut off, and talks again."""
        world = World(seed)
        world.network.give_up = 10
        a, b = world.host("a"), world.host("b")
        server = StreamServerEndpointService(TCP4ServerEndpoint(a.reactor, 7000), Factory.forProtocol(Shouter))
        server.startService()
        askers: list[Asker] = []

        def ask() -> Asker:
            askers.append(Asker())
            return askers[-1]

        client = ClientService(
            endpoint(b.reactor, Address(a.ip, 7000)),
            Factory.forProtocol(ask),
            retryPolicy=full_jitter(b.runtime.random),
            clock=b.reactor,
        )
        client.startService()
        first: Any = world.run_until(client.whenConnected())
        first.sendLine(b"one")
        world.run_until(lambda: first.answers)
        world.partition("a", "b")
        first.sendLine(b"lost")
        world.run_until(lambda: client._machine is not None and first.transport.disconnected)
        waiting: Any = client.whenConnected()
        world.run(30)
        self.assertNoResult(waiting)
        world.heal()
        second: Any = world.run_until(waiting)
        self.assertIsNot(first, second)
        second.sendLine(b"two")
        world.run_until(lambda: second.answers)
        world.run_until(client.stopService())
        world.run_until(server.stopService())
        return first.answers + second.answers, world.digest

    def test_client_service_over_a_partition(self) -> None:
        """A ClientService reconnects after a partition, and the same seed gives the same trace."""
        answers, digest = self.run_world(3)
        self.assertEqual(answers, [b"ONE", b"TWO"])
        self.assertEqual(self.run_world(3), (answers, digest))
        self.assertNotEqual(self.run_world(4)[1], digest)
