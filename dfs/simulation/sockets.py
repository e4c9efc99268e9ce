"""A simulated TCP socket: what the kernel would be for Twisted's own transports.

Twisted's ``tcp.Client`` and ``tcp.Server`` run unmodified over it, so producers,
pausing, flushing at ``loseConnection`` and half-closing behave exactly as in
production.  The socket gives them what a kernel gives: bytes in order, a send window
(``send`` refuses when as many bytes are unread at the peer), end of file, resets.

Two ends of a connection know one another as ``peer``; everything that one
tells the other goes through :class:`dfs.simulation.network.SimulatedNetwork` as packets.

Invariant: ``unread`` of one end is the bytes of its in flight plus those in its peer's receive
queue that it does not know to be read; it never exceeds the network's ``window``.
"""

from __future__ import annotations

import errno
import os
import socket
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dfs.simulation.network import SimulatedNetwork
    from dfs.simulation.reactor import SimulatedReactor

Endpoint = tuple[str, int]
"""An IP literal and a port, as the socket module writes them."""


def os_error(number: int) -> OSError:
    """The exception that the socket module would raise."""
    return OSError(number, os.strerror(number))


class SimulatedSocket:
    """One end of a connection.

    :ivar selectable: the transport that is to be told of readiness.
    :ivar state: ``new``, ``connecting``, ``connected``, ``closed``.
    :ivar label: both endpoints, for the trace.
    :ivar last_arrival: when the last packet sent arrives: later ones arrive no earlier.
    """

    def __init__(self, network: SimulatedNetwork, reactor: SimulatedReactor, local: Endpoint) -> None:
        self.network = network
        self.reactor = reactor
        self.local = local
        self._name_remote(("", 0))
        self.peer: SimulatedSocket | None = None
        self.selectable: Any = None
        self.state = "new"
        self.last_arrival = 0.0
        self.stall: Any = None
        self.turn_scheduled = False
        self.blocked = False
        self.unread = 0
        self.received_size = 0
        self._received: deque[bytes | memoryview] = deque()
        self._credit = 0
        self._credit_underway = False
        self._end_of_file = False
        self._fin_sent = False
        self._error = 0
        self._options: dict[tuple[int, int], Any] = {}
        network.open(self)

    def _name_remote(self, remote: Endpoint) -> None:
        self.remote = remote
        self.label = f"{self.local} {remote}"

    # What the transport asks.

    def fileno(self) -> int:
        return 1 << 20  # not a real descriptor: nothing may use it as one

    def setblocking(self, blocking: bool) -> None:
        assert not blocking, "Twisted never blocks"

    def setsockopt(self, level: int, option: int, value: Any) -> None:
        self._options[level, option] = value

    def getsockopt(self, level: int, option: int) -> Any:
        if (level, option) == (socket.SOL_SOCKET, socket.SO_ERROR):
            number, self._error = self._error, 0
            return number
        return self._options.get((level, option), 0)

    @property
    def keep_alive(self) -> bool:
        return bool(self._options.get((socket.SOL_SOCKET, socket.SO_KEEPALIVE)))

    def getsockname(self) -> Endpoint:
        return self.local

    def getpeername(self) -> Endpoint:
        return self.remote

    def connect_ex(self, address: Endpoint) -> int:
        if self.state == "connected":
            return errno.EISCONN
        if self.state == "connecting":
            return errno.EALREADY
        self.state = "connecting"
        self._name_remote(address)
        self.network.send(self, address[0], "syn")
        return errno.EINPROGRESS

    def send(self, content: bytes | memoryview) -> int:
        if self._error or self.state != "connected" or self._fin_sent:
            raise os_error(self._error or errno.EPIPE)
        room = self.network.window - self.unread
        if room <= len(content):  # the window is full now: wait to be told what was read
            self.blocked = True
            if self.peer is not None:
                self.peer.give_credit()
        if room <= 0:
            raise os_error(errno.EWOULDBLOCK)
        if not content:  # Twisted asks for this when it closes
            return 0
        accepted = bytes(content if len(content) <= room else content[:room])
        self.unread += len(accepted)
        self.network.send_bytes(self, accepted)
        return len(accepted)

    def sendmsg(self, pieces: Sequence[bytes | memoryview]) -> int:
        return self.send(pieces[0] if len(pieces) == 1 else b"".join(pieces))

    def recvmsg_into(self, buffers: list[memoryview]) -> tuple[int, list[Any], int, None]:
        """As of the socket module: the bytes fill one buffer after the other."""
        content = memoryview(self.recv(sum(map(len, buffers))))
        at = 0
        for buffer in buffers:
            part = content[at : at + len(buffer)]
            buffer[: len(part)] = part
            at += len(part)
        return at, [], 0, None

    def recv(self, length: int) -> bytes:
        if self._error:
            raise os_error(self._error)
        if not self._received:
            if self._end_of_file:
                return b""
            raise os_error(errno.EWOULDBLOCK)
        if len(self._received) == 1 and self.received_size <= length:  # most often: all of one packet
            content = bytes(self._received.popleft())
            self._took(len(content))
            return content
        pieces: list[bytes | memoryview] = []
        wanted = length
        while wanted > 0 and self._received:
            piece = self._received.popleft()
            if len(piece) > wanted:
                view = memoryview(piece)
                self._received.appendleft(view[wanted:])
                piece = view[:wanted]
            pieces.append(piece)
            wanted -= len(piece)
        content = b"".join(pieces)
        self._took(len(content))
        return content

    def _took(self, length: int) -> None:
        """The transport has read so many bytes."""
        self.received_size -= length
        self._credit += length
        if self.peer is not None and self.peer.blocked:
            self.give_credit()

    def shutdown(self, how: int) -> None:
        if self.state != "connected":
            raise os_error(errno.ENOTCONN)
        if how != socket.SHUT_RD and not self._fin_sent and not self._error:
            # Closing with bytes unread resets, as the kernel does: the peer may lose what it has not read yet.
            if how == socket.SHUT_WR or not self.received_size:
                self._fin_sent = True
                self.network.send(self, self.remote[0], "fin")

    def close(self) -> None:
        was, self.state = self.state, "closed"
        if was == "connected" and not self._error:
            linger = (socket.SOL_SOCKET, socket.SO_LINGER) in self._options
            if linger or self.received_size:
                self.network.send(self, self.remote[0], "reset")
            elif not self._fin_sent:
                self.network.send(self, self.remote[0], "fin")
        self._received.clear()
        self.received_size = 0
        self.network.forget(self)

    # What the network does.

    @property
    def readable(self) -> bool:
        return bool(self._received) or self._end_of_file or bool(self._error)

    @property
    def writable(self) -> bool:
        if self._error:
            return True
        return self.state == "connected" and (self.unread < self.network.window or self._fin_sent)

    def establish(self, peer: SimulatedSocket) -> None:
        """The connection stands."""
        self.peer = peer
        self._name_remote(peer.local)
        self.state = "connected"
        self.reactor.poke(self)

    def deliver(self, content: bytes) -> None:
        """Bytes arrive."""
        self._received.append(content)
        self.received_size += len(content)
        self.reactor.arrived(self)

    def deliver_end(self) -> None:
        """The peer sends no more."""
        self._end_of_file = True
        self.reactor.poke(self)

    def fail(self, number: int) -> None:
        """The connection is broken; bytes not yet read are gone, as in the kernel."""
        if self.state in ("connecting", "connected") and not self._error:
            self._error = number
            self._received.clear()
            self.received_size = 0
            self.network.forget(self)
            self.reactor.poke(self)

    def vanish(self) -> None:
        """The machine lost power: nothing is sent, nothing is told."""
        self.state = "closed"
        self._received.clear()
        self.received_size = 0
        self.network.forget(self)

    def give_credit(self) -> None:
        """Tell the peer, which waits for it, how much was read."""
        if self._credit and not self._credit_underway and self.state == "connected":
            self._credit_underway = True
            self.network.send(self, self.remote[0], "credit")

    def take_credit(self) -> int:
        """The credit packet arrives at the peer: how many bytes it may send more."""
        credit, self._credit = self._credit, 0
        self._credit_underway = False
        return credit

    def credited(self, length: int) -> None:
        """The peer read so many bytes."""
        self.unread -= length
        if self.unread < self.network.window:
            self.blocked = False
            self.reactor.poke(self)
