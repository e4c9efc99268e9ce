"""A network of simulated hosts: delay, bandwidth, partitions, resets.

Everything between two sockets travels as a packet over the directed link of their
hosts.  A packet takes the link's latency, drawn from the network's seeded random,
and a connection's packets never overtake one another.  Byte runs are now and then cut in
two, so that nobody can rely on the boundaries of writes.

**A partition holds packets, it does not drop them**: TCP retransmits.  After a heal
they arrive, in order, within ``retransmit`` seconds.  A sender whose bytes are held for
``give_up`` seconds has its end reset (ETIMEDOUT); the other end does not learn of it until
it sends itself or its keep-alive finds out.  A host without power is, to the
others, a partition: when it is back it answers packets of old connections with a reset.

A killed process is different: its kernel lives on, closes the connections at
once and refuses new ones.
"""

from __future__ import annotations

import errno
import random
from collections.abc import Callable
from typing import Protocol

from attrs import define, field

from dfs.simulation.clock import HeapCall, HeapClock
from dfs.simulation.sockets import Endpoint, SimulatedSocket

FIRST_EPHEMERAL = 32768
LAST_PORT = 65535
CUT = 0.125
"""How often a run of bytes is cut in two."""


class Listener(Protocol):
    """What takes connections on a port."""

    def accept(self, remote: Endpoint) -> SimulatedSocket | None:
        """A new socket for the connection, not yet established; None refuses."""

    def accepted(self, end: SimulatedSocket) -> None:
        """The connection stands: build its protocol."""


@define(eq=False)
class Packet:
    """What is on its way: ``kind`` is syn, accepted, refused, bytes, fin, reset or credit."""

    source: SimulatedSocket
    target: SimulatedSocket | None
    kind: str
    content: bytes = b""


@define(eq=False)
class Link:
    """One direction between two hosts.

    :ivar latency: seconds at least; each packet takes up to ``jitter`` seconds more.
    :ivar bandwidth: bytes/s; 0 is without limit.
    :ivar blocked: packets are held.
    """

    latency: float
    jitter: float
    bandwidth: float = 0.0
    blocked: bool = False
    busy_until: float = 0.0
    held: list[Packet] = field(factory=list)
    drain: HeapCall | None = None


class SimulatedNetwork:
    """All hosts by IP, and the links between them.

    :ivar window: bytes that a connection takes in each direction before the peer has read them.
    :ivar latency, jitter: of links not yet used.
    :ivar retransmit: the longest time, in seconds, until held packets arrive after a heal.
    :ivar give_up: seconds until a sender whose packets are held is reset.
    :ivar keep_alive: seconds until an idle end with SO_KEEPALIVE notices that its peer is not there.
    :ivar refusing: (ip, port) pairs that refuse connections though somebody listens.
    """

    def __init__(self, clock: HeapClock, random: random.Random, trace: Callable[[str], None] | None = None) -> None:
        self.clock = clock
        self._draw = random.random
        self._arriving = self._arrive  # bound once, not for each packet
        self._trace = trace if trace is not None else lambda line: None
        self.window = 256 * 1024
        self.latency = 0.0002
        self.jitter = 0.0004
        self.retransmit = 0.4
        self.give_up = 60.0
        self.keep_alive = 60.0
        self.refusing: set[Endpoint] = set()
        self._powered: set[str] = set()
        self._listeners: dict[Endpoint, Listener] = {}
        self._sockets: dict[SimulatedSocket, None] = {}  # a dict for its order: sets differ from run to run
        self._links: dict[tuple[str, str], Link] = {}
        self._next_port: dict[str, int] = {}

    # Hosts and ports.

    def power_on(self, ip: str) -> None:
        """The machine is up: packets held for it arrive, and those of old connections are answered by resets."""
        self._powered.add(ip)
        for source, target in self._links:
            if target == ip:
                self._drain_later(source, target)

    def power_off(self, ip: str) -> None:
        """The machine is gone without a word; its peers find out by sending, or by their keep-alive."""
        self._powered.discard(ip)
        self._trace(f"{self.clock.now:.9f} off {ip}")
        for end in self._of(ip):
            end.vanish()
        for (source, _), link in self._links.items():
            if source == ip:  # nobody is left to send again what a partition holds
                self._drop_held(link)
        self._drop_listeners(ip)
        self._probe_later([end for end in self._sockets if end.remote[0] == ip])

    def kill(self, ip: str) -> None:
        """The process is gone but its kernel lives: connections are closed, new ones refused."""
        self._trace(f"{self.clock.now:.9f} kill {ip}")
        for end in self._of(ip):
            end.close()
        self._drop_listeners(ip)

    def listen(self, address: Endpoint, listener: Listener) -> None:
        """Raises OSError EADDRINUSE."""
        if address in self._listeners:
            raise OSError(errno.EADDRINUSE, "Address already in use")
        self._listeners[address] = listener

    def unlisten(self, address: Endpoint, listener: Listener) -> None:
        if self._listeners.get(address) is listener:
            del self._listeners[address]

    def free_port(self, ip: str) -> int:
        """The next unused port of a host."""
        port = self._next_port.get(ip, FIRST_EPHEMERAL)
        while (ip, port) in self._listeners:
            port += 1
        self._next_port[ip] = port + 1 if port < LAST_PORT else FIRST_EPHEMERAL
        return port

    def open(self, end: SimulatedSocket) -> None:
        """For sockets: it exists."""
        self._sockets[end] = None

    def forget(self, end: SimulatedSocket) -> None:
        """For sockets: it neither sends nor expects anything more."""
        self._sockets.pop(end, None)

    def _of(self, ip: str) -> list[SimulatedSocket]:
        return [end for end in self._sockets if end.local[0] == ip]

    def _drop_listeners(self, ip: str) -> None:
        for address in [address for address in self._listeners if address[0] == ip]:
            del self._listeners[address]

    # Faults.

    def link(self, source: str, target: str) -> Link:
        """The directed link between two IPs; its attributes may be set."""
        found = self._links.get((source, target))
        if found is None:
            scale = 0.1 if source == target else 1.0
            found = self._links[source, target] = Link(self.latency * scale, self.jitter * scale)
        return found

    def slow(self, source: str, target: str, latency: float, bandwidth: float = 0.0) -> None:
        """Make one direction slow; packets already on their way are not."""
        link = self.link(source, target)
        link.latency, link.bandwidth = latency, bandwidth

    def restore(self, source: str | None = None, target: str | None = None) -> None:
        """End the slowness of one direction, or of all."""
        for (one, other), link in self._links.items():
            if source is None or (one, other) == (source, target):
                scale = 0.1 if one == other else 1.0
                link.latency, link.bandwidth = self.latency * scale, 0.0

    def partition(self, source: str, target: str, both: bool = True) -> None:
        """Hold what goes from ``source`` to ``target``, and with ``both`` also what comes back."""
        self._trace(f"{self.clock.now:.9f} partition {source} {target} {both}")
        self.link(source, target).blocked = True
        if both:
            self.link(target, source).blocked = True
        pair = {source, target}
        self._probe_later([end for end in self._sockets if {end.local[0], end.remote[0]} == pair])

    def heal(self, source: str | None = None, target: str | None = None) -> None:
        """End the partitions between two IPs in both directions, or all of them."""
        self._trace(f"{self.clock.now:.9f} heal {source} {target}")
        for ends, link in self._links.items():
            if link.blocked and (source is None or set(ends) == {source, target}):
                link.blocked = False
                self._drain_later(*ends)

    def reset(self, one: str, other: str) -> None:
        """Break every connection between two IPs; both ends learn it at once."""
        self._trace(f"{self.clock.now:.9f} reset {one} {other}")
        for end in list(self._sockets):
            if (end.local[0], end.remote[0]) in ((one, other), (other, one)):
                end.fail(errno.ECONNRESET)

    def _probe_later(self, ends: list[SimulatedSocket]) -> None:
        for end in ends:
            self.clock.callLater(self.keep_alive, self._probe, end)

    def _probe(self, end: SimulatedSocket) -> None:
        """Keep-alive: after a fault, an idle end finds out whether its peer is still there."""
        if end.state != "connected" or not end.keep_alive or end.peer is None:
            return
        here, there = end.local[0], end.remote[0]
        if not (self._passes(here, there) and self._passes(there, here)):
            end.fail(errno.ETIMEDOUT)
        elif end.peer.state == "closed":
            end.fail(errno.ECONNRESET)

    # Packets.

    def send_bytes(self, source: SimulatedSocket, content: bytes) -> None:
        """For sockets: bytes, now and then in two packets."""
        if len(content) > 1 and self._draw() < CUT:
            cut = 1 + int(self._draw() * (len(content) - 1))
            self.send(source, source.remote[0], "bytes", content[:cut])
            content = content[cut:]
        self.send(source, source.remote[0], "bytes", content)

    def send(self, source: SimulatedSocket, target_ip: str, kind: str, content: bytes = b"") -> None:
        """For sockets: put a packet on the link."""
        link = self._links.get((source.local[0], target_ip)) or self.link(source.local[0], target_ip)
        start = self.clock.now
        if link.bandwidth:
            start = link.busy_until = max(start, link.busy_until) + len(content) / link.bandwidth
        arrival = start + link.latency + self._draw() * link.jitter
        if arrival < source.last_arrival:
            arrival = source.last_arrival
        source.last_arrival = arrival
        self.clock.post_at(arrival, self._arriving, link, target_ip, source, source.peer, kind, content)

    def _passes(self, source: str, target: str) -> bool:
        return not self.link(source, target).blocked and target in self._powered

    def _arrive(
        self,
        link: Link,
        target_ip: str,
        source: SimulatedSocket,
        target: SimulatedSocket | None,
        kind: str,
        content: bytes,
    ) -> None:
        if link.held or link.blocked or target_ip not in self._powered:
            link.held.append(Packet(source, target, kind, content))
            if source.stall is None:
                source.stall = self.clock.callLater(self.give_up, self._give_up, link, source)
        else:
            self._take(source, target, kind, content)

    def _give_up(self, link: Link, source: SimulatedSocket) -> None:
        source.stall = None
        link.held = [packet for packet in link.held if packet.source is not source]
        source.fail(errno.ETIMEDOUT)

    def _drop_held(self, link: Link) -> None:
        for packet in link.held:
            stall, packet.source.stall = packet.source.stall, None
            if stall is not None:
                stall.cancel()
        link.held = []

    def _drain_later(self, source: str, target: str) -> None:
        link = self.link(source, target)
        if link.held and link.drain is None:
            delay = self._draw() * self.retransmit
            link.drain = self.clock.callLater(delay, self._drain, link, source, target)

    def _drain(self, link: Link, source: str, target: str) -> None:
        link.drain = None
        if not self._passes(source, target):
            return
        packets, link.held = link.held, []
        for packet in packets:
            if packet.source.stall is not None:
                packet.source.stall.cancel()
                packet.source.stall = None
            self._take(packet.source, packet.target, packet.kind, packet.content)

    def _take(self, source: SimulatedSocket, target: SimulatedSocket | None, kind: str, content: bytes) -> None:
        """A packet reaches its host."""
        self._trace(f"{self.clock.now:.9f} {kind} {source.label} {len(content)}")
        if kind == "bytes" and target is not None and target.state == "connected":
            target.deliver(content)
            return
        if kind == "syn":
            self._take_syn(source)
        elif target is None:
            raise AssertionError(f"{kind} without a connection")
        elif kind == "refused":
            target.fail(errno.ECONNREFUSED)
        elif kind == "accepted" and target.state == "connecting":
            target.establish(source)
        elif kind == "reset":
            target.fail(errno.ECONNRESET)
        elif kind == "credit":
            target.credited(source.take_credit())
        elif target.state != "connected":
            # Its process is gone or has closed: the kernel answers with a reset.
            if kind != "fin" and source.state == "connected":
                self.send_reset(target, source)
        elif kind == "fin":
            target.deliver_end()

    def _take_syn(self, client: SimulatedSocket) -> None:
        if client.state != "connecting":
            return
        listener = None if client.remote in self.refusing else self._listeners.get(client.remote)
        end = listener.accept(client.local) if listener is not None else None
        if listener is None or end is None:
            kernel = SimulatedSocket(self, client.reactor, client.remote)
            kernel.peer = client
            self.send(kernel, client.local[0], "refused")
            self.forget(kernel)
            return
        end.establish(client)
        client.peer = end
        self.send(end, client.local[0], "accepted")
        listener.accepted(end)

    def send_reset(self, gone: SimulatedSocket, source: SimulatedSocket) -> None:
        """The kernel of ``gone``, which is closed, answers a packet of ``source``."""
        gone.peer = source
        self.send(gone, source.local[0], "reset")
