"""Addresses as people write them, and the endpoints that dial them."""

from __future__ import annotations

from twisted.internet.endpoints import HostnameEndpoint, TCP6ClientEndpoint
from twisted.internet.error import TimeoutError
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from dfs.runtime.dial import CONNECT_TIMEOUT, Address, endpoint, parse_address, parse_addresses
from dfs.runtime.errors import SettingError
from dfs.simulation.host import World


class AddressTests(SynchronousTestCase):
    """parse_address"""

    def test_good(self) -> None:
        """Names, IPv4 and bracketed IPv6 are understood, and written back the same."""
        for text, host, port in (
            ("localhost:7000", "localhost", 7000),
            ("127.0.0.1:1", "127.0.0.1", 1),
            ("[::1]:65535", "::1", 65535),
        ):
            address = parse_address(text)
            self.assertEqual(address, Address(host, port))
            self.assertEqual(str(address), text)

    def test_bad(self) -> None:
        """Everything else is refused with a sentence that quotes it."""
        for text in (
            "", "host", ":7000", "host:", "host:0", "host:65536", "host:-1", "host:7x", "::1:7000", "[::1]",
            "[::1]7000", "[host]:7000", "a b:7000", "tcp://h:1", "host:\u0667", "host:00000000007",
        ):  # fmt: skip
            error = self.assertRaises(SettingError, parse_address, text)
            self.assertIn(repr(text), str(error))

    def test_list(self) -> None:
        """Addresses are separated by commas, each kept once in its place."""
        self.assertEqual(parse_addresses(" b:2, a:1,b:2 ,"), (Address("b", 2), Address("a", 1)))
        self.assertEqual(parse_addresses(""), ())
        self.assertRaises(SettingError, parse_addresses, "a:1,b")

    def test_order(self) -> None:
        """Addresses sort, so that lists of them come out the same everywhere."""
        self.assertEqual(sorted([Address("b", 1), Address("a", 2)]), [Address("a", 2), Address("b", 1)])


class EndpointTests(SynchronousTestCase):
    """endpoint"""

    def test_kinds(self) -> None:
        """IP literals are dialled directly, names through the resolver."""
        reactor = MemoryReactorClock()
        self.assertIsInstance(endpoint(reactor, Address("::1", 1)), TCP6ClientEndpoint)
        self.assertIsInstance(endpoint(reactor, Address("example.org", 1)), HostnameEndpoint)
        connecting = endpoint(reactor, Address("10.0.0.1", 7)).connect(Factory.forProtocol(Protocol))
        host, port, _, timeout, _ = reactor.tcpClients[0]
        self.assertEqual((host, port, timeout), ("10.0.0.1", 7, CONNECT_TIMEOUT))
        self.assertNoResult(connecting)

    def test_connect_timeout(self) -> None:
        """An address where nothing answers is given up after the connect time-out."""
        world = World(1)
        connecting = endpoint(world.host("a").reactor, Address("10.9.9.9", 7)).connect(Factory.forProtocol(Protocol))
        world.run(CONNECT_TIMEOUT + 0.01)
        self.failureResultOf(connecting, TimeoutError)
