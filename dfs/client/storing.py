"""One chunk of an upload, until it is durable: tried, re-placed under a new generation, tried again.

What is durable is metadata's to say: after a lost answer the client asks, it
never guesses (S24, S26).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from attrs import asdict, frozen

from dfs.client.concurrency import cancellable, pause
from dfs.client.context import Context
from dfs.client.errors import LocalFileChanged, LocalFileError, Unavailable
from dfs.client.placing import PlacementsAhead
from dfs.client.progress import Meter
from dfs.client.sending import Sending, hash_body
from dfs.client.sources import ChunkBody
from dfs.protocol.errors import (
    BadRequest,
    DFSError,
    FileExists,
    SessionExpired,
    StaleEpoch,
    UnknownRequest,
    UploadGone,
    VersionMismatch,
)
from dfs.protocol.messages import ChunkWritten, CommittedChunk, Placement, PutChunk, PutLabelled, UploadGranted
from dfs.protocol.values import Description, Label
from dfs.runtime.backoff import Backoff, full_jitter

#: No other place mends these.  All else is tried again until patience ends; Forbidden too, for grants expire.
FINAL = (
    BadRequest,
    FileExists,
    LocalFileError,
    SessionExpired,
    StaleEpoch,
    UnknownRequest,
    UploadGone,
    VersionMismatch,
)
AVOIDED = 8  # as many of the nodes that failed last are avoided


class Endurance:
    """For how long everything has failed: the seconds since the first failure after the last success."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._since: float | None = None

    def succeeded(self) -> None:
        """Something was done."""
        self._since = None

    def failed(self) -> float:
        """Something failed; for how long that has been so."""
        now = self._seconds()
        if self._since is None:
            self._since = now
        return now - self._since


@frozen
class Stored:
    """A durable chunk: its SHA-256, the bytes sent for it, those found durable, whether copies are missing."""

    sha256: bytes
    sent: int
    resumed: int
    degraded: bool


class ChunkStoring:
    """Stores the chunks of one upload, several at a time.

    :param durable: chunks that are committed already, by index (a resumed upload): their bodies are hashed
        again and not sent (S40).
    """

    def __init__(
        self,
        context: Context,
        name: str,
        granted: UploadGranted,
        count: int | None,
        durable: dict[int, CommittedChunk],
        meter: Meter,
    ) -> None:
        self._context = context
        self._granted = granted
        self._label = Label(name, granted.size, granted.chunk_size, granted.replication)
        self._durable = durable
        self._meter = meter
        self._placements = PlacementsAhead(context, granted, count)
        self._endurance = Endurance(context.runtime.reactor.seconds)

    async def store(self, body: ChunkBody) -> Stored:
        """Make one chunk durable.  Raises DFSError."""
        known = self._durable.pop(body.index, None)
        if known is None:
            placement = await self._placements.take(body.index)
            known = placement.committed
        if known is not None:
            await self._verify(body, known)
            self._meter.skip(body.length)
            return Stored(known.sha256, 0, body.length, False)
        stored = await self._store_new(body, placement)
        self._endurance.succeeded()
        return stored

    async def _store_new(self, body: ChunkBody, placement: Placement) -> Stored:
        backoff = Backoff(full_jitter(self._context.runtime.random, 0.05, 2.0))
        avoid: deque[str] = deque(maxlen=AVOIDED)
        while placement.committed is None:
            try:
                written = await self._put(placement, body)
            except DFSError as error:
                self._judge(error, body.index)
                avoid.extend(name for name in self._guilty(placement, error) if name not in avoid)
                await pause(self._context.runtime.reactor, backoff.next_delay())
                placement = await self._placements.replace(placement, avoid)
            else:
                return Stored(written.sha256, body.length, 0, len(written.replicas) < self._granted.replication)
        await self._verify(body, placement.committed)  # it was committed after all: only the answer was lost
        self._meter.advance(body.length)
        return Stored(placement.committed.sha256, body.length, 0, False)

    async def _verify(self, body: ChunkBody, committed: CommittedChunk) -> None:
        """What is durable must be what is here."""
        ours = await self._context.runtime.threads.run(hash_body, body)
        if (committed.length, committed.sha256) != (body.length, ours):
            raise LocalFileChanged(
                f"chunk {body.index} differs from what was uploaded before: the local file changed",
                "upload it again with --no-resume",
            )

    def _judge(self, error: DFSError, index: int) -> None:
        """Raise what no other placement can mend, and what has lasted too long."""
        if isinstance(error, FINAL):
            raise error
        lasted = self._endurance.failed()
        if lasted >= self._context.patience:
            raise Unavailable(
                f"no progress for {lasted:.0f} s; chunk {index} could not be stored: {error.message}",
                "check `dfs status`, then run the same command again: it resumes",
                error.nodes,
            ) from error

    def _guilty(self, placement: Placement, error: DFSError) -> list[str]:
        """The nodes of a placement that an error names, else the primary."""
        named = [target.name for target in placement.targets if target.name in error.nodes]
        return named or [placement.targets[0].name]

    async def _put(self, placement: Placement, body: ChunkBody) -> ChunkWritten:
        primary = placement.targets[0]
        assert placement.grant is not None
        request = PutChunk(
            self._granted.file_id,
            body.index,
            placement.generation,
            body.length,
            self._granted.chunk_size,
            placement.targets,
            0,
            placement.quorum,
            True,
            placement.grant,
        )
        if placement.grant.evidence:  # of metadata that knows of labels
            description = Description(self._label, body.last, 0)
            request = PutLabelled(**asdict(request, recurse=False), description=description)
        context = self._context
        connection = await cancellable(context.pool.acquire(primary.address, primary.name), context.pool.release)
        try:
            sending = Sending(
                connection, request, body, context.runtime.threads, context.idle_timeout, self._meter.advance
            )
            written = await sending.run()
        except Exception:
            context.pool.release(connection)
            raise
        context.pool.release(connection)
        return written
