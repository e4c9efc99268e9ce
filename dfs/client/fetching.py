"""One chunk, or a range of it, from whichever replica gives it soundly.

Replicas are tried in the order of their nodes' health, equals in random order.
If the first has not answered after a short delay the next is asked beside it and
the first to answer serves (Dean and Barroso, "The Tail at Scale", 2013); blocks
flow from one replica at a time.  A corrupt replica is reported to metadata as a
hint.  When all have failed the places are looked up again, until patience ends.
"""

from __future__ import annotations

from collections.abc import Callable

from typing import Any

from attrs import define, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from dfs.client.concurrency import pause
from dfs.client.context import Context
from dfs.client.errors import ChunkUnreachable, ChunkUnreadable, LocalFileError
from dfs.client.receiving import Place, PlaceSink
from dfs.protocol.errors import Cancelled, DFSError, Disconnected, ReplicaCorrupt, ReplicaNotFound
from dfs.protocol.interfaces import IConnection, IIncomingStream
from dfs.protocol.messages import ChunkHead, ChunkInfo, ChunkPage, GetChunk, ListChunks, Replica, ReportCorrupt
from dfs.protocol.values import FileId, NodeState
from dfs.runtime.backoff import Backoff, full_jitter

_log = Logger()

ROUNDS_OF_CORRUPTION = 2  # how often all replicas must be found bad before we say so


@frozen
class Wanted:
    """Bytes ``offset`` to ``offset + length`` of a chunk of the named file."""

    name: str
    file_id: FileId
    chunk: ChunkInfo
    offset: int
    length: int

    @property
    def whole(self) -> bool:
        return self.offset == 0 and self.length == self.chunk.length


@define
class Opened:
    """A replica that answered; its blocks are about to come."""

    connection: IConnection
    stream: IIncomingStream
    sink: PlaceSink
    head: ChunkHead


class Fetch:
    """One attempt after the other until the bytes are there."""

    def __init__(self, context: Context, wanted: Wanted, place: Place, moved: Callable[[int], None]) -> None:
        self._context = context
        self._wanted = wanted
        self._place = place
        self._moved = moved
        self._reactor = context.runtime.reactor
        self._tried: dict[str, str] = {}
        self._unreachable: set[str] = set()
        self._began = self._reactor.seconds()

    async def run(self) -> None:
        """Raises ChunkUnreadable, LocalFileError."""
        replicas = self._wanted.chunk.replicas
        backoff = Backoff(full_jitter(self._context.runtime.random, 0.1, 2.0))
        rounds = 0
        while True:
            remaining = self._ordered(replicas)
            while remaining:
                if await self._attempt(remaining):
                    return
            rounds += 1
            self._judge(rounds)
            await pause(self._reactor, backoff.next_delay())
            replicas = await self._look_up(replicas)

    def _ordered(self, replicas: tuple[Replica, ...]) -> list[Replica]:
        rank = {NodeState.ALIVE: 0, NodeState.DRAINING: 1, NodeState.MAINTENANCE: 2, NodeState.SUSPECT: 3}
        draw = self._context.runtime.random.random
        return [r for _, _, r in sorted(((rank.get(r.state, 4), draw(), r) for r in replicas), key=lambda t: t[:2])]

    async def _attempt(self, remaining: list[Replica]) -> bool:
        """Ask the first of ``remaining`` (taking it, and those hedged, off the list); True when the bytes are there."""
        opened = await self._open_first(remaining)
        if opened is None:
            return False
        node = opened.connection.peer.name
        try:
            await opened.sink.done
            self._moved(opened.sink.received)
            return True
        except LocalFileError:
            raise
        except DFSError as error:
            self._note(node, error)
            return False
        except CancelledError:
            opened.sink.give_up(Cancelled("the reader gave the chunk up"))
            raise
        finally:
            self._context.pool.release(opened.connection)

    async def _open_first(self, remaining: list[Replica]) -> Opened | None:
        """The first replica to answer; a second one is asked after ``hedge_after``.  None when all asked failed."""
        winner: Deferred[Opened | None] = Deferred()
        asked: list[Deferred[Any]] = []

        def ask() -> None:
            replica = remaining.pop(0)
            opening: Deferred[Any] = Deferred.fromCoroutine(self._open(replica))
            asked.append(opening)
            asked[-1] = opening.addCallbacks(won, lost, errbackArgs=(replica,))

        def won(opened: Opened) -> None:
            if winner.called:
                opened.sink.give_up(Cancelled("another replica answered first"))
                self._context.pool.release(opened.connection)
            else:
                winner.callback(opened)

        def lost(failure: Failure, replica: Replica) -> None:
            if not winner.called:
                self._note(replica.node, failure.value)
                if all(each.called for each in asked):
                    winner.callback(None)

        ask()
        hedge = self._reactor.callLater(
            self._context.hedge_after, lambda: ask() if remaining and not winner.called else None
        )
        try:
            return await winner
        finally:
            if hedge.active():
                hedge.cancel()
            for each in asked:
                each.cancel()

    async def _open(self, replica: Replica) -> Opened:
        wanted = self._wanted
        chunk = wanted.chunk
        connection = await self._context.pool.acquire(replica.address, replica.node)
        sink = PlaceSink(
            self._context.runtime.threads,
            self._place,
            wanted.offset - wanted.offset % (64 << 10),
            wanted.length + wanted.offset % (64 << 10),
            chunk.sha256 if wanted.whole else b"",
            replica.node,
        )
        try:
            head, stream = await connection.open_get(
                GetChunk(wanted.file_id, chunk.index, chunk.generation, wanted.offset, wanted.length),
                sink,
                self._context.idle_timeout,
            )
            assert isinstance(head, ChunkHead)
            sink.attach(stream)
            if (head.length, head.sha256) != (chunk.length, chunk.sha256):
                error = ReplicaCorrupt(f"{replica.node} holds other bytes than were committed", nodes=(replica.node,))
                stream.refuse(error)
                raise error
        except BaseException:
            self._context.pool.release(connection)
            raise
        return Opened(connection, stream, sink, head)

    def _note(self, node: str, error: BaseException | None) -> None:
        """Remember what was tried where; report what looks corrupt."""
        self._tried[node] = str(error) or type(error).__name__
        if isinstance(error, ReplicaCorrupt):
            self._unreachable.discard(node)
            chunk = self._wanted.chunk
            report = self._context.caller.call(
                ReportCorrupt(self._wanted.file_id, chunk.index, chunk.generation, node), patience=5.0
            )
            report.addErrback(lambda failure: _log.warn("could not report a corrupt replica: {f}", f=failure.value))
        elif isinstance(error, ReplicaNotFound):
            self._unreachable.discard(node)
        else:
            self._unreachable.add(node)

    def _judge(self, rounds: int) -> None:
        """Raise when there is no sense in another round."""
        waited = self._reactor.seconds() - self._began
        all_bad = bool(self._tried) and not self._unreachable and rounds >= ROUNDS_OF_CORRUPTION
        if not all_bad and waited < self._context.patience:
            return
        wanted = self._wanted
        where = "; ".join(f"{node}: {reason}" for node, reason in sorted(self._tried.items())) or "no live replica"
        kind = ChunkUnreachable if self._unreachable or not self._tried else ChunkUnreadable
        raise kind(
            f"chunk {wanted.chunk.index} of {wanted.name!r} ({wanted.chunk.chunk_id.hex()}) cannot be read: {where}",
            "`dfs stat` shows where its replicas are; bring one of those nodes back, then run the same command again",
            tuple(sorted(self._tried)),
        )

    async def _look_up(self, former: tuple[Replica, ...]) -> tuple[Replica, ...]:
        """Where the replicas are now."""
        wanted = self._wanted
        try:
            page = await self._context.caller.call(
                ListChunks(wanted.file_id, wanted.chunk.index, 1), patience=self._context.patience
            )
        except Disconnected:
            return former
        assert isinstance(page, ChunkPage)
        found = [chunk for chunk in page.chunks if chunk.index == wanted.chunk.index]
        if not found or found[0].generation != wanted.chunk.generation:
            raise ChunkUnreadable(
                f"{wanted.name!r} was deleted while it was read", "the file is gone; list the names that are there"
            )
        return found[0].replicas
