"""A replica going out: read on a thread, verified, written as fast as the transport drains.

One engine for reads (GetChunk) and copies (repair).  At most two reads of 1 MiB are in
memory: the one being written and the next one, besides the transport's own buffer.  A receiver that does not drain
that buffer (1 MiB) in SLOWEST seconds is given up: a byte now and then keeps no place (S43).
"""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer, IReactorTime
from zope.interface import implementer

from dfs.chunkserver.reading import READ, Digest
from dfs.protocol.errors import Cancelled, DeadlinePassed, DFSError
from dfs.protocol.interfaces import Block, IOutgoingStream

SLOWEST = 60.0


class Source(Protocol):
    """Gives verified blocks; dfs.chunkserver.handles.Reading does."""

    async def read(self, offset: int, length: int, digest: Digest | None = None) -> list[Block]: ...


@implementer(IPushProducer)
class Sender:
    """Writes the pieces from ``start`` to ``end`` (whole pieces) of an open replica to a stream.

    :param digest: hashes what is sent, or None.
    """

    def __init__(
        self,
        clock: IReactorTime,
        reading: Source,
        stream: IOutgoingStream,
        start: int,
        end: int,
        digest: Digest | None = None,
    ) -> None:
        self._clock = clock
        self._reading, self._stream = reading, stream
        self._next, self._end, self._digest = start, end, digest
        self._paused = False
        self._stopped = self._late = False
        self._wake: Deferred[None] | None = None
        self._ahead: Deferred[list[Block]] | None = None
        self._left: Deferred[Any] | None = None  # a read that nobody wants any more; why we stopped is what counts

    async def run(self) -> None:
        """Send all blocks; the caller ends or aborts the stream and closes the reading.
        Raises Cancelled after :meth:`stopProducing`, DeadlinePassed, ReplicaCorrupt, DiskFailed."""
        self._stream.register_producer(self)
        try:
            while self._next < self._end or self._ahead is not None:
                blocks = await self._read()
                for block in blocks:
                    await self._ready()
                    self._stream.write(block)
            await self._ready()
        finally:
            self._stream.unregister_producer()
            if self._ahead is not None:
                self._left = self._ahead.addErrback(lambda failure: failure.trap(DFSError))

    async def _read(self) -> list[Block]:
        """The next blocks, and begin to read those after them."""
        if self._ahead is None:
            self._read_ahead()
        ahead, self._ahead = self._ahead, None
        assert ahead is not None
        blocks = await ahead
        if self._next < self._end:
            self._read_ahead()
        return blocks

    def _read_ahead(self) -> None:
        length = min(READ, self._end - self._next)
        self._ahead = Deferred.fromCoroutine(self._reading.read(self._next, length, self._digest))
        self._next += length

    async def _ready(self) -> None:
        while self._paused and not self._stopped and not self._late:
            self._wake = Deferred()
            timer = self._clock.callLater(SLOWEST, self._give_up)
            await self._wake
            if timer.active():
                timer.cancel()
        if self._late:
            raise DeadlinePassed(f"the receiver took less than a buffer in {SLOWEST:g} s")
        if self._stopped:
            raise Cancelled("the receiver is gone")

    def _give_up(self) -> None:
        self._late = True
        self._kick()

    def pauseProducing(self) -> None:
        """The transport is full."""
        self._paused = True

    def resumeProducing(self) -> None:
        """The transport has drained."""
        self._paused = False
        self._kick()

    def stopProducing(self) -> None:
        """The receiver is gone, or wants no more."""
        self._stopped = True
        self._kick()

    def _kick(self) -> None:
        wake, self._wake = self._wake, None
        if wake is not None:
            wake.callback(None)
