"""One connection's transport as the rest of the shell sees it: write, pause, measure, close.

Reading is paused while anyone has a reason to (a stream's sink is behind, too
many requests are in progress, the peer does not take our answers); the reasons are named, so
that no one resumes over another's head.  Writing is measured: what was
written and not yet taken by the kernel is ``unsent``, and whoever
produces a stream is paused at the transport's high-water mark.

A transport that is paused sees no disconnect of its peer; writes and the
keep-alive find it.

What is written in one turn of the reactor to a CONTROL connection goes in one send at the turn's end: a metadata node
answers, and a client asks, dozens of requests in one turn, and each send is a system call that takes and gives the
interpreter lock and wakes the peer, who then reads one message at a time.  Messages of Raft, few and large, leave at
once: before this member's own disk begins, so that the others' work beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.abstract import FileDescriptor
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime, ITCPTransport
from twisted.internet.tcp import Connection
from zope.interface import implementer

from dfs.protocol.bulk import BulkTransport
from dfs.protocol.frames import FrameDecoder
from dfs.protocol.limits import CLOSE_TIMEOUT, MAX_UNSENT

MAX_GATHERED = 64 << 10
"""Bytes written in one turn above which they are sent before it ends."""


def unsent(transport: Any) -> int:
    """Bytes written to a transport that the kernel has not taken.  Twisted has no public name for it; a transport
    that is no FileDescriptor may tell by an attribute ``unsent``."""
    if isinstance(transport, FileDescriptor):
        return len(transport.dataBuffer) - transport.offset + transport._tempDataLen
    return int(getattr(transport, "unsent", 0))


def rest_of(pieces: list[bytes | memoryview], skip: int) -> list[bytes | memoryview]:
    """The pieces without their first ``skip`` bytes; copies none."""
    for number, piece in enumerate(pieces):
        if skip < len(piece):
            return [memoryview(piece)[skip:], *pieces[number + 1 :]]
        skip -= len(piece)
    return []


@implementer(IPushProducer)
class Port:
    """The transport of one connection.

    :ivar last_sent: when something was last written, ``last_received`` when something last came.
    :ivar reading: nobody has a reason not to read.
    :ivar reading_since: when reading last began; of meaning only while ``reading``.
    """

    def __init__(self, reactor: IReactorTime, transport: Any, resumed: Callable[[], None]) -> None:
        self.reactor = reactor
        self.closing = False
        self.reading = True
        now = reactor.seconds()
        self.last_sent = self.last_received = self.reading_since = now
        self._transport = transport
        self._resumed = resumed
        self._reasons: set[str] = set()
        self._written = 0
        self._full = False
        self._producer: IPushProducer | None = None
        self._close_timer: Any = None
        self._gathers = False
        self._gathered: list[bytes | memoryview] = []
        self._gathered_length = 0
        self._flush_call: IDelayedCall | None = None
        self._bulk: BulkTransport | None = None
        transport.registerProducer(self, True)

    def configure(self, buffer_length: int, gathers: bool = False) -> None:
        """Set the receive size, which is the high-water mark too, and the socket's options.  ``gathers``: what is
        written in one turn goes together at its end."""
        self._gathers = gathers
        self._transport.bufferSize = buffer_length
        if ITCPTransport.providedBy(self._transport):
            self._transport.setTcpNoDelay(True)
            self._transport.setTcpKeepAlive(True)

    def take_over(self, decoder: FrameDecoder, received: Callable[[], None]) -> None:
        """From now on receive into ``decoder`` and send without copies, where the transport is plain TCP;
        ``received`` is called when there is something new in it."""

        def filled() -> bool:
            if decoder.missing:  # a part of a block is nobody's business yet
                self.last_received = self.reactor.seconds()
                return True
            received()
            return self.reading and not self.closing

        if isinstance(self._transport, Connection) and not self._transport.TLS:
            self._bulk = BulkTransport(self._transport, decoder, filled, self.pauseProducing)
            self._bulk.attach()

    # ---- reading

    def pause(self, reason: str) -> None:
        """Stop reading (idempotent for each reason)."""
        if not self._reasons:
            self._transport.pauseProducing()
            self.reading = False
        self._reasons.add(reason)

    def resume(self, reason: str) -> None:
        """Read on unless someone else has a reason not to; buffered frames are delivered from the reactor, never
        within this call."""
        if reason not in self._reasons:
            return
        self._reasons.discard(reason)
        self.reading = not self._reasons
        if self.reading and not self.closing:
            self.reading_since = self.reactor.seconds()
            self._transport.resumeProducing()
            self._resumed()

    # ---- writing

    @property
    def unsent(self) -> int:
        """Bytes written that the kernel has not taken."""
        return unsent(self._transport) + self._gathered_length + (0 if self._bulk is None else self._bulk.unsent)

    @property
    def taken(self) -> int:
        """Bytes that the kernel has taken since the connection began; it grows while the peer makes progress."""
        return self._written - self.unsent

    def write(self, data: bytes) -> None:
        """Send bytes; dropped once the connection is closing.  A peer that lets too much pile up is cut off."""
        if not self._gathers:
            self.write_pieces([data])
        elif not self.closing:
            self._written += len(data)
            self._gathered.append(data)
            self._gathered_length += len(data)
            if self._gathered_length >= MAX_GATHERED:
                self._flush()
            elif self._flush_call is None:
                self._flush_call = self.reactor.callLater(0, self._turn_ended)

    def write_pieces(self, pieces: list[bytes | memoryview]) -> None:
        """As :meth:`write` on a connection that does not gather, of bytes in pieces."""
        if not self.closing:
            self._written += sum(map(len, pieces))
            self._send(pieces)

    def _turn_ended(self) -> None:
        self._flush_call = None
        self._flush()

    def _flush(self) -> None:
        """Send what was gathered; the call at the end of the turn may find nothing more."""
        if self._gathered and not self.closing:
            pieces, self._gathered, self._gathered_length = self._gathered, [], 0
            self._send([b"".join(pieces)])

    def _send(self, pieces: list[bytes | memoryview]) -> None:
        """What the kernel has room for goes at once and uncopied, without a turn of the reactor; only the rest is
        joined and queued."""
        self.last_sent = self.reactor.seconds()
        if self._bulk is not None and not unsent(self._transport):
            self._bulk.write(pieces)
        else:
            sent = self._send_now(pieces)
            if sent == sum(map(len, pieces)):
                return
            self._transport.write(b"".join(rest_of(pieces, sent) if sent else pieces))
        if self.unsent > MAX_UNSENT:
            self.abort()

    def _send_now(self, pieces: list[bytes | memoryview]) -> int:
        """How many bytes the kernel took.  None unless the transport is a plain TCP connection with nothing queued; an
        error is left to the transport, which meets it again and closes."""
        transport = self._transport
        if not isinstance(transport, Connection) or transport.TLS or not transport.connected or unsent(transport):
            return 0
        try:
            return transport.getHandle().sendmsg(pieces)
        except OSError:
            return 0

    def produce(self, producer: IPushProducer | None) -> None:
        """Who is to be paused at the high-water mark from now on; None: reading is paused instead, so that answers
        to a peer that does not take them stay bounded."""
        self._producer = producer
        if producer is not None:
            self.resume("output")
            if self._full:
                producer.pauseProducing()
        elif self._full:
            self.pause("output")

    def pauseProducing(self) -> None:
        self._full = True
        if self._producer is not None:
            self._producer.pauseProducing()
        else:
            self.pause("output")

    def resumeProducing(self) -> None:
        self._full = False
        self.resume("output")
        if self._producer is not None:
            self._producer.resumeProducing()

    def stopProducing(self) -> None:
        """The transport is gone; connectionLost follows and tells everyone."""
        self._full = False

    # ---- the end

    def close(self) -> None:
        """Write what is queued, then close; after a while close anyway."""
        if self.closing:
            return
        self._flush()
        self.closing = True
        self._transport.unregisterProducer()
        self._transport.loseConnection()
        self._close_timer = self.reactor.callLater(CLOSE_TIMEOUT, self._transport.abortConnection)

    def abort(self) -> None:
        """Close now."""
        self.closing = True
        self._forget_gathered()
        self._transport.abortConnection()

    def lost(self) -> None:
        """The transport is gone: let go of everything."""
        self.closing = True
        self._forget_gathered()
        self._producer = None
        if self._bulk is not None:
            self._bulk.lost()
        if self._close_timer is not None and self._close_timer.active():
            self._close_timer.cancel()

    def _forget_gathered(self) -> None:
        self._gathered, self._gathered_length = [], 0
        if self._flush_call is not None:
            self._flush_call.cancel()
            self._flush_call = None


class Watch:
    """Ends what makes no progress for ``timeout`` seconds.

    ``mark()`` returns something that changes with progress, or None while none is owed.
    """

    def __init__(
        self, reactor: IReactorTime, timeout: float, mark: Callable[[], object], expired: Callable[[], None]
    ) -> None:
        self._reactor = reactor
        self._timeout = timeout
        self._mark = mark
        self._expired = expired
        self._last = mark()
        self._since = reactor.seconds()
        self._timer = reactor.callLater(timeout / 4, self._look)

    def _look(self) -> None:
        now = self._reactor.seconds()
        mark = self._mark()
        if mark is None or mark != self._last:
            self._last = mark
            self._since = now
        if now - self._since >= self._timeout:
            self._expired()
        else:
            self._timer = self._reactor.callLater(self._timeout / 4, self._look)

    def stop(self) -> None:
        """Idempotent."""
        if self._timer.active():
            self._timer.cancel()
