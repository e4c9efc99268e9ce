"""The first replica to answer a read: one is asked, and a second one beside it if the first is slow.

Whoever answers later is told to stop before its first block came, so two
replicas never write to one place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from dfs.client.concurrency import cancellable
from dfs.client.context import Context
from dfs.client.receiving import Expected, Place, PlaceSink
from dfs.protocol.errors import Cancelled, InternalError, ReplicaCorrupt
from dfs.protocol.interfaces import IConnection
from dfs.protocol.messages import ChunkHead, ChunkInfo, GetChunk, Replica
from dfs.protocol.values import PIECE, FileId


@frozen
class Wanted:
    """Bytes ``offset`` to ``offset + length`` of a chunk of the named file."""

    name: str
    file_id: FileId
    chunk: ChunkInfo
    offset: int
    length: int

    def expected_of(self, node: str) -> Expected:
        """Whole pieces come; a chunk that is read whole is held against the committed SHA-256."""
        whole = self.offset == 0 and self.length == self.chunk.length
        start = self.offset - self.offset % PIECE
        sha256 = self.chunk.sha256 if whole else b""
        return Expected(node, start, self.offset + self.length, self.chunk.length, sha256)


@frozen(eq=False)
class Opened:
    """A replica that answered; its blocks are about to come."""

    node: str
    connection: IConnection
    sink: PlaceSink


async def open_replica(context: Context, wanted: Wanted, place: Place, replica: Replica) -> Opened:
    """Ask one replica.  Raises DFSError; ReplicaCorrupt where it says that it holds something else."""
    chunk = wanted.chunk
    connection = await cancellable(context.pool.acquire(replica.address, replica.node), context.pool.release)
    try:
        sink = PlaceSink(context.runtime.threads, place, wanted.expected_of(replica.node))
        request = GetChunk(wanted.file_id, chunk.index, chunk.generation, wanted.offset, wanted.length)
        head, stream = await cancellable(connection.open_get(request, sink, context.idle_timeout))
        sink.attach(stream)
        if not isinstance(head, ChunkHead):
            raise InternalError(f"{replica.node} answered a read with {type(head).__name__}")
        if (head.length, head.sha256) != (chunk.length, chunk.sha256):
            error = ReplicaCorrupt(f"{replica.node} holds other bytes than were committed", nodes=(replica.node,))
            sink.give_up(error)
            raise error
    except Exception:
        context.pool.release(connection)
        raise
    return Opened(replica.node, connection, sink)


async def open_first(
    context: Context,
    wanted: Wanted,
    place: Place,
    remaining: list[Replica],
    failed: Callable[[str, BaseException], None],
) -> Opened | None:
    """Ask the first of ``remaining``, and the next after ``hedge_after`` seconds without an answer; whom it asks it
    takes off the list.  None when all that were asked failed; ``failed`` is told of each."""
    race = _Race(context, failed)

    def ask() -> None:
        if remaining and not race.result.called:
            replica = remaining.pop(0)
            race.enter(replica.node, Deferred.fromCoroutine(open_replica(context, wanted, place, replica)))

    ask()
    hedge = context.runtime.reactor.callLater(context.hedge_after, ask)
    try:
        opened = await race.result
    except Exception:
        race.end(hedge)
        raise
    race.end(hedge)
    return opened


class _Race:
    """Who answers first.  The others, and those that come after it was given up, are let go of."""

    def __init__(self, context: Context, failed: Callable[[str, BaseException], None]) -> None:
        self._context = context
        self._failed = failed
        self._running: dict[str, Deferred[None]] = {}
        self.result: Deferred[Opened | None] = Deferred()

    def enter(self, node: str, opening: Deferred[Opened]) -> None:
        """One more takes part."""
        entered = opening.addCallbacks(self._won, self._lost, callbackArgs=(node,), errbackArgs=(node,))
        self._running[node] = entered
        if entered.called:
            self._leave(node)

    def _leave(self, node: str) -> None:
        self._running.pop(node, None)

    def _won(self, opened: Opened, node: str) -> None:
        self._leave(node)
        if self.result.called:
            opened.sink.give_up(Cancelled("another replica answered first"))
            self._context.pool.release(opened.connection)
        else:
            self.result.callback(opened)

    def _lost(self, failure: Failure, node: str) -> None:
        self._leave(node)
        if not self.result.called and failure.value is not None:
            self._failed(node, failure.value)
            if not self._running:
                self.result.callback(None)

    def end(self, hedge: Any) -> None:
        """Nobody else is asked or waited for."""
        if hedge.active():
            hedge.cancel()
        for opening in list(self._running.values()):
            opening.cancel()
