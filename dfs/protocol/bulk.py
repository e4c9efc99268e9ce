"""Input and output of a BULK connection's socket without Twisted's copies.

Twisted's transport receives into a new ``bytes`` each time, joins what it has to send, and
sends 128 KiB of it at once.  For a chunk's bytes that is a copy each way, a page fault for every
4 KiB and many turns of the reactor.  So on a BULK connection, once Hello is finished, two
methods of the transport that the reactor calls, ``doRead`` and ``doWrite``, are ours; Twisted
itself replaces these very two when a connection is aborted.  Everything else, from pausing to
closing, stays the transport's, and the simulated sockets carry it like real ones.

- **Receiving**: ``recvmsg_into`` straight into the block that is being filled, and a little
  beyond, so that the next frame's head comes with it.
- **Sending**: ``sendmsg`` of the blocks' own pieces; what the kernel has no room for waits as
  views, not as a copy.  At HIGH_WATER bytes the producer is paused, and it goes on when all went.
- **Waking**: while a block is being filled nothing can be done with a part of it, so the kernel
  is asked to wake us for WAKE bytes at once (SO_RCVLOWAT), or for what is missing.

Rejected: a thread for each connection that blocks in the kernel (no twin in the simulation, and
the number of threads would be the bound of connections).

Invariant: while ``unsent`` is not 0, nothing is written to the transport's own buffer, so the order is kept.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable, Sequence
from errno import EAGAIN, ENOBUFS, EWOULDBLOCK
from itertools import islice
from typing import Any

from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST

from dfs.protocol.frames import FrameDecoder
from dfs.protocol.limits import BULK_BUFFER

HIGH_WATER = BULK_BUFFER

WAKE = 256 << 10
"""Bytes that a wake-up is worth.  The slowest peer that is not taken for a silent one sends so many in 30 s."""

READS = 4
"""Receives in one turn of the reactor, so that one connection does not keep out the others."""

PIECES = 64
"""Pieces for one sendmsg."""

_BUSY = (EAGAIN, EWOULDBLOCK, ENOBUFS)


class BulkTransport:
    """Takes a TCP transport over, from :meth:`attach` to its end.

    :param received: called when the bytes of a receive are in the decoder; tells whether to read on.
    :param full: called at the high-water mark; the transport tells its producer to go on.
    """

    def __init__(
        self, transport: Any, decoder: FrameDecoder, received: Callable[[], bool], full: Callable[[], None]
    ) -> None:
        self._transport = transport
        self._decoder = decoder
        self._received = received
        self._full = full
        self._waiting: deque[bytes | memoryview] = deque()
        self._wake = 1
        self.unsent = 0
        """Bytes that the kernel has not taken."""

    def attach(self) -> None:
        """From now on the reactor's calls come here."""
        self._transport.doRead = self._read
        self._transport.doWrite = self._write

    def lost(self) -> None:
        """The transport is gone: let go of it, and of what it did not send."""
        self._transport.__dict__.pop("doRead", None)
        self._transport.__dict__.pop("doWrite", None)
        self._waiting.clear()
        self.unsent = 0

    # ---- receiving

    def _read(self) -> Exception | None:
        transport, decoder = self._transport, self._decoder
        for _ in range(READS):
            room = decoder.room()
            try:
                count = transport.socket.recvmsg_into(room)[0]
            except OSError as error:
                if error.errno in _BUSY:
                    break
                return CONNECTION_LOST
            if not count:
                return CONNECTION_DONE
            decoder.filled(count)
            if not self._received() or count < len(room[0]):  # all that was there was taken, or nobody reads on
                break
        self._set_wake()
        return None

    def _set_wake(self) -> None:
        wanted = max(1, min(WAKE, self._decoder.missing))
        if wanted != self._wake and self._transport.connected:
            self._wake = wanted
            self._transport.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, wanted)

    # ---- sending

    def write(self, pieces: Sequence[bytes | memoryview]) -> None:
        """Send, in order; the pieces must not change afterwards."""
        if not self._waiting:
            length = sum(map(len, pieces))
            sent = self._send(pieces)
            if sent == length:
                return
            self.unsent = length
            self._waiting.extend(pieces)
            self._forget(max(sent, 0))
            self._transport.startWriting()
        else:
            self._waiting.extend(pieces)
            self.unsent += sum(map(len, pieces))
        if self.unsent > HIGH_WATER and not self._transport.producerPaused:
            self._transport.producerPaused = True
            self._full()

    def _send(self, pieces: Sequence[bytes | memoryview]) -> int:
        """Bytes that the kernel took; -1 after an error, which the transport meets again and then closes."""
        if not self._transport.connected:
            return -1
        try:
            return int(self._transport.socket.sendmsg(pieces))
        except OSError as error:
            return 0 if error.errno in _BUSY else -1

    def _forget(self, sent: int) -> None:
        """So many bytes are the kernel's now."""
        waiting = self._waiting
        self.unsent -= sent
        while sent:
            first = waiting.popleft()
            if len(first) > sent:
                waiting.appendleft(memoryview(first)[sent:])
                return
            sent -= len(first)

    def _write(self) -> Any:
        if not self._waiting:
            return type(self._transport).doWrite(self._transport)
        sent = self._send(list(islice(self._waiting, PIECES)))
        if sent < 0:
            return CONNECTION_LOST
        self._forget(sent)
        return None if self._waiting else self._drained()

    def _drained(self) -> Any:
        """As Twisted's own at this point, but for an empty send."""
        transport = self._transport
        if transport.disconnecting:
            return type(transport).doWrite(transport)
        transport.stopWriting()
        if transport.producerPaused and transport.producer is not None:
            transport.producerPaused = False
            transport.producer.resumeProducing()
        return None
