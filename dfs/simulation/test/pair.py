"""Two simulated hosts and protocols that record what happens to them: what the tests of the network share."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint, connectProtocol
from twisted.internet.error import (
    ConnectionDone,
)
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
)
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from dfs.simulation.host import World


class Recorder(Protocol):
    """Notes what happens to it."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.pieces = 0
        self.lost: Failure | None = None

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        self.pieces += 1

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:
        self.lost = reason


@implementer(IHalfCloseableProtocol)
class HalfCloseable(Recorder):
    """Outlives the end of one direction."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: list[str] = []

    def readConnectionLost(self) -> None:
        self.ends.append("read")

    def writeConnectionLost(self) -> None:
        self.ends.append("write")


class Servers(Factory):
    """Builds and remembers its protocols."""

    def __init__(self, kind: type[Recorder] = Recorder) -> None:
        self.kind = kind
        self.built: list[Any] = []

    def buildProtocol(self, addr: Any) -> Any:
        self.built.append(self.kind())
        return self.built[-1]


class NetworkCase(SynchronousTestCase):
    """Two hosts, the first of which listens on port 7000."""

    def setUp(self) -> None:
        self.world = World(7)
        self.a = self.world.host("a")
        self.b = self.world.host("b")
        self.network = self.world.network
        self.servers = Servers()
        self.port = self.successResultOf(TCP4ServerEndpoint(self.a.reactor, 7000).listen(self.servers))

    def connect(self, protocol: Any = None, timeout: float = 5) -> Deferred[Any]:
        client = TCP4ClientEndpoint(self.b.reactor, self.a.ip, 7000, timeout=timeout)
        connected: Deferred[Any] = connectProtocol(client, protocol if protocol is not None else Recorder())
        return connected

    def connected(self, kind: type[Recorder] = Recorder) -> tuple[Any, Any]:
        """A client's and its server's protocol."""
        self.servers.kind = kind
        client = self.world.run_until(self.connect(kind()))
        return client, self.servers.built[-1]
