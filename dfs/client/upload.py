"""An upload: chunks in parallel, each retried under a new generation, then one commit.

The name appears only with CommitFile, whole or not at all.  The upload keeps its
lease while it runs; losing it (another writer resumed it, the file was deleted)
ends the upload at once.  What is durable is metadata's to say: after a lost
answer the client asks, it never guesses (S24, S26).
"""

from __future__ import annotations

from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred

from dfs.client.concurrency import gather, pause
from dfs.client.context import Context
from dfs.client.errors import LocalFileChanged, Unavailable
from dfs.client.placing import PlacementsAhead
from dfs.client.progress import Meter
from dfs.client.sending import hash_body, send_chunk
from dfs.client.sources import ChunkBody, ISource
from dfs.protocol.errors import Advice, DFSError, QuorumFailed, StaleGeneration
from dfs.protocol.messages import (
    ChunkWritten,
    CommitFile,
    CommittedChunk,
    FileInfo,
    Placement,
    PutChunk,
    RenewLease,
    UploadGranted,
)
from dfs.protocol.values import file_digest
from dfs.runtime.backoff import Backoff, full_jitter

CONTROL_TIMEOUT = 5.0


@frozen
class UploadResult:
    """``sent``: bytes that this call stored; ``resumed``: bytes found durable; ``digest``: ``dfs1:`` + hex."""

    name: str
    file_id: int
    size: int
    digest: str
    chunks: int
    degraded: bool
    sent: int
    resumed: int
    seconds: float


class Upload:
    """One upload that has been granted.

    :param durable: chunks that are committed already, by index (a resumed upload): their bodies are hashed
        again and not sent.
    """

    def __init__(
        self,
        context: Context,
        source: ISource,
        granted: UploadGranted,
        durable: dict[int, CommittedChunk],
        meter: Meter,
    ) -> None:
        count = None if source.size is None else -(-source.size // granted.chunk_size)
        self._context = context
        self._source = source
        self._granted = granted
        self._durable = durable
        self._meter = meter
        self._placements = PlacementsAhead(context.caller, context.session, granted, count)
        self._hashes: dict[int, bytes] = {}
        self.size = 0
        self.sent = 0
        self.resumed = 0
        self.degraded = granted.degraded

    async def run(self, parallel: int) -> bytes:
        """Store every chunk, ``parallel`` at a time; the file's digest.  Then :meth:`commit`."""
        renewing = Deferred.fromCoroutine(self._renew_forever())
        storing = Deferred.fromCoroutine(gather(self._work() for _ in range(parallel)))
        lost: list[BaseException] = []

        def lease_lost(failure: Any) -> None:
            if not storing.called:
                lost.append(failure.value)
                storing.cancel()

        renewing = renewing.addErrback(lease_lost)
        try:
            await storing
        except BaseException:
            if lost:
                raise lost[0] from None
            raise
        finally:
            renewing.cancel()
        await self._source.check_unchanged()
        return file_digest(b"".join(self._hashes[index] for index in range(len(self._hashes))))

    async def commit(self, digest: bytes) -> None:
        """Make the name appear."""
        with self._context.session.operation() as operation:
            await self._context.caller.call(
                CommitFile(operation, self._granted.file_id, self._granted.epoch, self.size, len(self._hashes), digest),
                patience=self._context.patience,
            )

    @property
    def chunks(self) -> int:
        return len(self._hashes)

    async def _work(self) -> None:
        while (body := await self._source.next_body()) is not None:
            self._hashes[body.index] = await self._store(body)
            self.size += body.length

    async def _store(self, body: ChunkBody) -> bytes:
        """Make one chunk durable; its SHA-256."""
        known = self._durable.pop(body.index, None)
        if known is not None:
            await self._verify(body, known)
            self.resumed += body.length
            self._meter.skip(body.length)
            return known.sha256
        placement = await self._placements.take(body.index)
        backoff = Backoff(full_jitter(self._context.runtime.random, 0.05, 2.0))
        avoid: set[str] = set()
        while placement.committed is None:
            try:
                written = await self._put(placement, body)
            except DFSError as error:
                self._judge(error, body.index)
                avoid.update(error.nodes or (placement.targets[0].name,))
                await self._pause(backoff.next_delay())
                placement = await self._placements.replace(placement, avoid)
                if len(avoid) >= len(placement.targets):
                    avoid.clear()
            else:
                self.sent += body.length
                if written.dropped or len(written.replicas) < self._granted.replication:
                    self.degraded = True
                return written.sha256
        await self._verify(body, placement.committed)
        self.sent += body.length
        self._meter.advance(body.length)
        return placement.committed.sha256

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
        if error.advice is Advice.FAIL and not isinstance(error, QuorumFailed | StaleGeneration):
            raise error
        waited = self._context.runtime.reactor.seconds() - self._meter.last_progress
        if waited > self._context.patience:
            raise Unavailable(
                f"no progress for {waited:.0f} s; chunk {index} could not be stored: {error.message}",
                "check `dfs status`, then run the same command again: it resumes",
                error.nodes,
            ) from error

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
            placement.quorum,
            True,
            placement.grant,
        )
        connection = await self._context.pool.acquire(primary.address, primary.name)
        try:
            return await send_chunk(
                connection,
                request,
                body,
                self._context.runtime.threads,
                self._context.idle_timeout,
                self._meter.advance,
            )
        finally:
            self._context.pool.release(connection)

    async def _renew_forever(self) -> None:
        """Ends only by cancellation, or by the error that says that the upload is lost."""
        interval = self._granted.lease_ms / 3000
        while True:
            await self._pause(interval)
            await self._context.caller.call(
                RenewLease(self._granted.file_id, self._granted.epoch), patience=self._context.patience
            )

    def _pause(self, seconds: float) -> Deferred[None]:
        return pause(self._context.runtime.reactor, seconds)


def show_digest(digest: bytes) -> str:
    """The form that users see: ``dfs1:`` + hex."""
    return f"dfs1:{digest.hex()}"


def already(info: FileInfo, seconds: float) -> UploadResult:
    """The result of an upload that turned out to be committed before."""
    return UploadResult(
        info.name,
        info.file_id,
        info.size,
        show_digest(info.digest),
        info.count,
        False,
        0,
        info.size,
        seconds,
    )
