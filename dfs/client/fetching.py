"""One chunk, or a range of it, from whichever replica gives it soundly.

Replicas are tried in the order of their nodes' health, equals in random order.
If the first has not answered after a short delay the next is asked beside it and
the first to answer serves (Dean and Barroso, "The Tail at Scale", 2013); blocks
flow from one replica at a time.  A corrupt replica is reported to metadata as a
hint.  When all have failed the places are looked up again, until patience ends.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen

from dfs.client.concurrency import pause
from dfs.client.context import Context
from dfs.client.errors import ChunkUnreachable, ChunkUnreadable, LocalFileError
from dfs.client.nearness import LAST, RANK
from dfs.client.opening import Wanted, open_first
from dfs.client.receiving import Place
from dfs.client.storing import Endurance
from dfs.protocol.errors import DFSError, FileNotFound, ReplicaCorrupt, ReplicaNotFound
from dfs.protocol.messages import ChunkInfo, ChunkPage, ListChunks, Replica, ReportCorrupt
from dfs.runtime.backoff import Backoff, full_jitter

ROUNDS_OF_CORRUPTION = 2  # how often all replicas must be found bad before we say so


@frozen
class Failed:
    """What was seen at a node, and whether it was the node, not its bytes, that failed."""

    reason: str
    unreachable: bool


class Fetch:
    """One attempt after the other until the bytes are there.

    :param moved: told of the bytes of an attempt that gave them all.
    """

    def __init__(self, context: Context, wanted: Wanted, place: Place, moved: Callable[[int], None]) -> None:
        self._context = context
        self._wanted = wanted
        self._place = place
        self._moved = moved
        self._tried: dict[str, Failed] = {}
        self._endurance = Endurance(context.runtime.reactor.seconds)

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
            await pause(self._context.runtime.reactor, backoff.next_delay())
            replicas = await self._look_up()

    def _ordered(self, replicas: tuple[Replica, ...]) -> list[Replica]:
        draw = self._context.runtime.random.random
        ranked = sorted(((RANK.get(each.state, LAST), draw(), each) for each in replicas), key=lambda entry: entry[:2])
        return [each for _, _, each in ranked]

    async def _attempt(self, remaining: list[Replica]) -> bool:
        """Ask the first of ``remaining`` (taking it, and those hedged, off the list); True when the bytes are there."""
        opened = await open_first(self._context, self._wanted, self._place, remaining, self._note)
        if opened is None:
            return False
        try:
            await opened.sink.finished()
        except Exception as error:
            self._context.pool.release(opened.connection)
            if isinstance(error, LocalFileError) or not isinstance(error, DFSError):
                raise
            self._note(opened.node, error)
            return False
        self._context.pool.release(opened.connection)
        self._moved(opened.sink.received)
        return True

    def _note(self, node: str, error: BaseException) -> None:
        """Remember what was tried where; report what looks corrupt."""
        corrupt = isinstance(error, ReplicaCorrupt)
        self._tried[node] = Failed(
            str(error) or type(error).__name__, not corrupt and not isinstance(error, ReplicaNotFound)
        )
        if corrupt:
            chunk = self._wanted.chunk
            self._context.reports.send(ReportCorrupt(self._wanted.file_id, chunk.index, chunk.generation, node))

    def _judge(self, rounds: int) -> None:
        """Raise when there is no sense in another round."""
        unreachable = any(failed.unreachable for failed in self._tried.values())
        all_bad = bool(self._tried) and not unreachable and rounds >= ROUNDS_OF_CORRUPTION
        if self._endurance.failed() < self._context.patience and not all_bad:
            return
        wanted = self._wanted
        tried = sorted(self._tried.items())
        where = "; ".join(f"{node}: {failed.reason}" for node, failed in tried) or "no node with a replica is known"
        kind = ChunkUnreachable if unreachable or not tried else ChunkUnreadable
        raise kind(
            f"chunk {wanted.chunk.index} of {wanted.name!r} ({wanted.chunk.chunk_id.hex()}) cannot be read: {where}",
            "`dfs stat` shows where its replicas are; bring one of those nodes back, then run the same command again",
            tuple(node for node, _ in tried),
        )

    async def _look_up(self) -> tuple[Replica, ...]:
        """Where the replicas are now.  Raises ChunkUnreadable when the file was deleted (S47)."""
        wanted = self._wanted
        found: list[ChunkInfo] = []
        try:
            page = await self._context.read(ListChunks(wanted.file_id, wanted.chunk.index, 1), ChunkPage)
            found = [chunk for chunk in page.chunks if chunk.index == wanted.chunk.index]
        except FileNotFound:
            found = []
        if not found or found[0].generation != wanted.chunk.generation:
            raise ChunkUnreadable(
                f"{wanted.name!r} was deleted while it was read", "the file is gone; list the names that are there"
            )
        return found[0].replicas
