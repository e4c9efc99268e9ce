"""One target that a put forwards to: the blocks as they come, its back-pressure, its answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer, IReactorTime
from zope.interface import implementer

from dfs.protocol.errors import Cancelled, DeadlinePassed, DFSError, Disconnected
from dfs.protocol.interfaces import Block, IConnection, IPut
from dfs.protocol.messages import PutChunk, PutChunks
from dfs.protocol.values import Target

Answer = TypeVar("Answer")

PENDING_HIGH = 1 << 20
"""Bytes kept for a child whose connection is not open yet; above it the child counts as paused."""

STUCK = 2.0
"""Seconds without progress after which a child with unsent bytes is not worth an ABORT frame."""

PUT_TIMEOUT = 60.0
"""Seconds without any progress after which the connection gives the stream up."""


class Pool(Protocol):
    """What is used of dfs.protocol.pool.BulkPool."""

    def acquire(self, address: str, expect: str = "") -> Deferred[IConnection]: ...

    def release(self, connection: IConnection) -> None: ...


@implementer(IPushProducer)
class Child(Generic[Answer]):
    """Forwards one stream.

    :param targets: the child, and those below it.
    :param request: what is asked of it.
    :param checked: its answer, if it is about what was sent; else it raises a DFSError.
    :ivar paused: it cannot take more now; who feeds it has to pause.
    :ivar since: the clock's seconds at its last progress: it drained, or, after the end, nothing yet.
    :param changed: called whenever ``paused`` changes.
    """

    def __init__(
        self,
        clock: IReactorTime,
        pool: Pool,
        targets: tuple[Target, ...],
        request: PutChunk | PutChunks,
        changed: Callable[[], None],
        checked: Callable[[object], Answer],
    ) -> None:
        self.targets = targets
        self.paused = False
        self.since = clock.seconds()
        self.ended = False
        self._clock, self._pool, self._changed = clock, pool, changed
        self._request, self._checked = request, checked
        self._put: IPut | None = None
        self._pending: list[Block] = []
        self._pending_bytes = 0
        self._end: tuple[int, bytes] | None = None
        self._given_up: DFSError | None = None
        self._cut = False  # the connection is of no use any more

    async def run(self) -> Answer:
        """Connect, forward, wait for the answer.  Raises DFSError; the connection is given back either way."""
        connection = await self._pool.acquire(self.targets[0].address, expect=self.targets[0].name)
        try:
            if self._given_up is not None:
                raise self._given_up
            self._put = put = connection.open_put(self._request, PUT_TIMEOUT)
            put.register_producer(self)
            self._flush(put)
            written = self._checked(await put.answer)
        except Exception as error:
            self._cut = self._cut or isinstance(error, Disconnected | DeadlinePassed)
            self._let_go(connection)
            raise
        self._let_go(connection)  # not in a finally: one that is dropped with its program gives it to nobody
        return written

    def _let_go(self, connection: IConnection) -> None:
        """The put is over."""
        put, self._put = self._put, None
        if put is not None:
            put.unregister_producer()
        if self._cut:
            connection.abort()  # the pool learns of it by itself
        else:
            self._pool.release(connection)

    def write(self, block: Block) -> None:
        """Forward a block, or keep it until the connection is open."""
        if self._given_up is not None:
            return
        if self._put is not None:
            self._put.write(block)
            if not self.paused:
                self.since = self._clock.seconds()
            return
        self._pending.append(block)
        self._pending_bytes += block.length
        if self._pending_bytes >= PENDING_HIGH:
            self.pauseProducing()

    def end(self, length: int, sha256: bytes) -> None:
        """All was forwarded; the answer is awaited from now on."""
        self.ended = True
        self._end = (length, sha256)
        self.since = self._clock.seconds()
        if self._put is not None and self._given_up is None:
            self.resumeProducing()  # nothing more is produced, whatever is still in the transport
            self._put.end(length, sha256)

    def give_up(self, error: DFSError) -> None:
        """Tell the child to forget the stream.  A child that takes no bytes is cut off: it could not hear us,
        and what is buffered for it would stay."""
        if self._given_up is not None:
            return
        self._given_up = error
        self._pending.clear()
        if self._put is not None:
            self._cut = self._put.buffered > 0 and self._clock.seconds() - self.since > STUCK
            self._put.abort(error)

    def _flush(self, put: IPut) -> None:
        pending, self._pending, self._pending_bytes = self._pending, [], 0
        self.resumeProducing()
        for block in pending:
            put.write(block)
        if self._end is not None:
            put.end(*self._end)

    def pauseProducing(self) -> None:
        """The transport is full."""
        if not self.paused:
            self.paused = True
            self.since = self._clock.seconds()
            self._changed()

    def resumeProducing(self) -> None:
        """The transport has drained."""
        self.since = self._clock.seconds()
        if self.paused:
            self.paused = False
            self._changed()

    def stopProducing(self) -> None:
        """The connection is gone: the answer fails, and says so."""
        self.give_up(Cancelled("the connection is gone"))
