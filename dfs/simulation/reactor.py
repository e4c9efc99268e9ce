"""One simulated host's reactor: virtual time and simulated sockets under Twisted's own transports.

It provides what the rooms ask a reactor for: IReactorTime, IReactorTCP, callFromThread and a little of
IReactorCore.  ``tcp.Client`` and ``tcp.Server`` are Twisted's; only their sockets are ours.

``seconds()`` is the host's monotonic clock: it starts anywhere and may run fast or slow.
When the host goes down ``running`` turns False for good and nothing scheduled here ever happens;
a restarted host has a new reactor.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.abstract import isIPAddress
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError, ConnectionDone
from twisted.internet.interfaces import (
    IConnector,
    IHalfCloseableDescriptor,
    IListeningPort,
    IProtocolFactory,
    IReactorTCP,
    IReactorTime,
)
from twisted.internet.protocol import ClientFactory
from twisted.internet.tcp import Client, Connector, Server
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from dfs.simulation.clock import HeapCall, HeapClock
from dfs.simulation.network import SimulatedNetwork
from dfs.simulation.sockets import Endpoint, SimulatedSocket

_log = Logger()

LATE = 1e-9
"""Seconds that a timer comes late at least, as any real one does: one that came early by a rounding error would find
that nothing is due yet, and be set again."""


class SimulatedClient(Client):
    """Twisted's client transport over a simulated socket."""

    def __init__(self, host: str, port: int, bindAddress: None, connector: SimulatedConnector, reactor: Any) -> None:
        super().__init__(host, port, bindAddress, connector, reactor)  # type: ignore[no-untyped-call]

    def createInternetSocket(self) -> SimulatedSocket:
        reactor: SimulatedReactor = self.connector.reactor
        address = (reactor.ip, reactor.network.free_port(reactor.ip))
        end = SimulatedSocket(reactor.network, reactor, address)
        end.selectable = self
        return end


class SimulatedConnector(Connector):
    """Twisted's connector, making the above."""

    def _makeTransport(self) -> SimulatedClient:
        return SimulatedClient(self.host, self.port, None, self, self.reactor)


@implementer(IListeningPort)
class SimulatedPort:
    """A listening port of one host."""

    def __init__(self, reactor: SimulatedReactor, port: int, factory: IProtocolFactory) -> None:
        self._reactor = reactor
        self._factory = factory
        self._realPortNumber = port
        self._listening = False
        self._sessions = 0

    @property
    def address(self) -> Endpoint:
        return (self._reactor.ip, self._realPortNumber)

    def startListening(self) -> None:
        network = self._reactor.network
        if not self._realPortNumber:
            self._realPortNumber = network.free_port(self._reactor.ip)
        try:
            network.listen(self.address, self)
        except OSError as error:
            raise CannotListenError(self._reactor.ip, self._realPortNumber, error) from error
        self._listening = True
        self._factory.doStart()

    def stopListening(self) -> Deferred[None]:
        if self._listening:
            self._listening = False
            self._reactor.network.unlisten(self.address, self)
            self._factory.doStop()
        return succeed(None)

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", *self.address)

    def accept(self, remote: Endpoint) -> SimulatedSocket | None:
        if not self._reactor.running:
            return None
        return SimulatedSocket(self._reactor.network, self._reactor, self.address)

    def accepted(self, end: SimulatedSocket) -> None:
        self._reactor.when_let_go(self._accept, end)

    def _accept(self, end: SimulatedSocket) -> None:
        protocol = self._factory.buildProtocol(IPv4Address("TCP", *end.remote))
        if protocol is None:
            end.close()
            return
        self._sessions += 1
        transport = Server(end, protocol, end.remote, self, self._sessions, self._reactor)  # type: ignore[arg-type]
        end.selectable = transport
        protocol.makeConnection(transport)
        self._reactor.poke(end)


@implementer(IReactorTime, IReactorTCP)
class SimulatedReactor:
    """The reactor of one host, from its start to its end.

    :ivar ip: the host's address, an IPv4 literal.
    :ivar rate: seconds of its clock in a second of the world.
    :ivar held_until: the world's time until which its process is stopped (SIGSTOP); 0 when it never was.
    :param origin: what its clock says now.
    :param on_stop: called when the program stops its reactor.
    """

    def __init__(
        self,
        clock: HeapClock,
        network: SimulatedNetwork,
        ip: str,
        rate: float = 1.0,
        origin: float = 0.0,
        on_stop: Callable[[], None] | None = None,
    ) -> None:
        self.network = network
        self.ip = ip
        self.rate = rate
        self.running = True
        self.held_until = 0.0
        self._clock = clock
        self._origin = origin - clock.now * rate
        self._on_stop = on_stop
        self._readers: dict[Any, None] = {}
        self._writers: dict[Any, None] = {}
        self._triggers: list[tuple[str, str, Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = []

    # A process that is stopped for a while.

    def hold(self, seconds: float) -> None:
        """SIGSTOP now and SIGCONT ``seconds`` of the world later: nothing of it runs meanwhile, its clock goes on, its
        kernel takes connections and bytes."""
        self.held_until = end = self._clock.now + seconds
        self._clock.hold(self, end)

    def when_let_go(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Call now, or when the process goes on."""
        left = self.held_until - self._clock.now
        if left > 0:
            self._clock.post(self, left, function, *arguments)
        else:
            function(*arguments)

    # IReactorTime

    def seconds(self) -> float:
        return self._origin + self._clock.now * self.rate

    def callLater(self, delay: float, callable: Callable[..., Any], *args: Any, **kwargs: Any) -> HeapCall:
        return self._clock.schedule(self, delay / self.rate + LATE if delay else 0.0, callable, args, kwargs)

    def post(self, delay: float, function: Callable[..., Any], *args: Any) -> None:
        """``callLater`` of what nobody cancels."""
        self._clock.post(self, delay / self.rate, function, *args)

    def getDelayedCalls(self) -> list[HeapCall]:
        return self._clock.pending(self)

    # IReactorFromThreads and what is used of IReactorCore

    def callFromThread(self, callable: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        self._clock.schedule(self, 0.0, callable, args, kwargs)

    def callWhenRunning(self, callable: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        self.callFromThread(callable, *args, **kwargs)

    def addSystemEventTrigger(
        self, phase: str, eventType: str, callable: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Any:
        trigger = (phase, eventType, callable, args, kwargs)
        self._triggers.append(trigger)
        return trigger

    def removeSystemEventTrigger(self, triggerID: Any) -> None:
        self._triggers.remove(triggerID)

    def fireSystemEvent(self, eventType: str) -> None:
        """Call the triggers of an event, phase by phase; what they return is not waited for."""
        for phase in ("before", "during", "after"):
            for trigger in [found for found in self._triggers if found[:2] == (phase, eventType)]:
                self._triggers.remove(trigger)
                try:
                    trigger[2](*trigger[3], **trigger[4])
                except Exception:  # noqa: BLE001 - one trigger's error is not the next one's
                    _log.failure("a trigger of {event} failed", event=eventType)

    def stop(self) -> None:
        """The program ends itself: its shutdown triggers run, then the process is gone."""
        self.callFromThread(self._stopped)

    def _stopped(self) -> None:
        self.fireSystemEvent("shutdown")
        if self._on_stop is not None:
            self._on_stop()

    # IReactorTCP

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> SimulatedPort:
        listening = SimulatedPort(self, port, factory)
        listening.startListening()
        return listening

    def connectTCP(
        self, host: str, port: int, factory: ClientFactory[Any], timeout: float = 30, bindAddress: Any = None
    ) -> IConnector:
        if not isIPAddress(host):
            raise ValueError(f"{host!r} is not an IPv4 literal: the simulated network has no names")
        connector = SimulatedConnector(host, port, factory, timeout, None, self)
        connector.connect()
        return connector

    # What the transports ask, as of a reactor that watches descriptors.

    def addReader(self, reader: Any) -> None:
        self._readers[reader] = None
        self.poke(reader.socket)

    def addWriter(self, writer: Any) -> None:
        self._writers[writer] = None
        self.poke(writer.socket)

    def removeReader(self, reader: Any) -> None:
        self._readers.pop(reader, None)

    def removeWriter(self, writer: Any) -> None:
        self._writers.pop(writer, None)

    def poke(self, end: SimulatedSocket) -> None:
        """A socket may have become ready: if anybody waits for it, give it a turn."""
        if end.turn_scheduled:
            return
        selectable = end.selectable
        if (selectable in self._writers and end.writable) or (selectable in self._readers and end.readable):
            end.turn_scheduled = True
            self._clock.post(self, max(0.0, self.held_until - self._clock.now), self._turn, end)

    def arrived(self, end: SimulatedSocket) -> None:
        """Bytes came: whoever waits for them reads them in this very event, unless the socket is to get its turn."""
        if not end.turn_scheduled and self.running and end.selectable in self._readers:
            if self.held_until <= self._clock.now:
                self._do(end.selectable, True)
            if end.received_size:
                self.poke(end)

    def _turn(self, end: SimulatedSocket) -> None:
        end.turn_scheduled = False
        selectable = end.selectable
        if selectable in self._writers and end.writable:
            self._do(selectable, False)
        if selectable in self._readers and end.readable:
            self._do(selectable, True)
        self.poke(end)

    def _do(self, selectable: Any, read: bool) -> None:
        """As a real reactor does: an exception or a returned one ends the connection."""
        try:
            why = selectable.doRead() if read else selectable.doWrite()
        except Exception as error:  # noqa: BLE001 - a protocol's error ends its connection, not the reactor
            _log.failure("a protocol failed on {ip}", ip=self.ip)
            why = error
        if not why:
            return
        self.removeReader(selectable)
        if read and isinstance(why, ConnectionDone) and IHalfCloseableDescriptor.providedBy(selectable):
            selectable.readConnectionLost(Failure(why))
        else:
            self.removeWriter(selectable)
            selectable.connectionLost(Failure(why))
