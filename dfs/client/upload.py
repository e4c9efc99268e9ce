"""An upload: chunks in parallel, then one commit.

The name appears only with CommitFile, whole or not at all.  The upload keeps its
lease while it runs; losing it (another writer resumed it, the file was deleted)
ends the upload at once.
"""

from __future__ import annotations

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from dfs.client.concurrency import gather, pause
from dfs.client.context import Context
from dfs.client.errors import LocalFileChanged
from dfs.client.progress import Meter
from dfs.client.sources import ISource
from dfs.client.storing import ChunkStoring
from dfs.protocol.messages import CommitFile, CommittedChunk, FileInfo, Lease, RenewLease, UploadGranted
from dfs.protocol.values import file_digest


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
    """One upload that has been granted; ``durable`` as for :class:`dfs.client.storing.ChunkStoring`."""

    def __init__(
        self,
        context: Context,
        source: ISource,
        name: str,
        granted: UploadGranted,
        durable: dict[int, CommittedChunk],
        meter: Meter,
    ) -> None:
        count = None if source.size is None else -(-source.size // granted.chunk_size)
        self._context = context
        self._source = source
        self._granted = granted
        self._storing = ChunkStoring(context, name, granted, count, durable, meter)
        self._hashes: dict[int, bytes] = {}
        self.size = 0
        self.sent = 0
        self.resumed = 0
        self.degraded = granted.degraded

    async def run(self, parallel: int) -> bytes:
        """Store every chunk, ``parallel`` at a time; the file's digest.  Then :meth:`commit`."""
        storing = Deferred.fromCoroutine(gather(self._context.runtime.reactor, (self._work() for _ in range(parallel))))
        lost: list[BaseException] = []

        def lease_lost(failure: Failure) -> None:
            if not storing.called and failure.value is not None:
                lost.append(failure.value)
                storing.cancel()

        renewing = Deferred.fromCoroutine(self._renew_forever()).addErrback(lease_lost)
        try:
            await storing
        except Exception:
            renewing.cancel()
            if lost:
                raise lost[0] from None
            raise
        renewing.cancel()
        await self._source.check_unchanged()
        if self._source.size != self.size:
            raise LocalFileChanged(f"{self.size} bytes were read of {self._source.size}", "upload it again")
        return file_digest(b"".join(self._hashes[index] for index in range(len(self._hashes))))

    async def commit(self, digest: bytes) -> None:
        """Make the name appear."""
        upload, size, count = self._granted, self.size, self.chunks
        await self._context.mutate(
            lambda operation: CommitFile(operation, upload.file_id, upload.epoch, size, count, digest), FileInfo
        )

    @property
    def chunks(self) -> int:
        """How many are durable."""
        return len(self._hashes)

    async def _work(self) -> None:
        while (body := await self._source.next_body()) is not None:
            stored = await self._storing.store(body)
            self._hashes[body.index] = stored.sha256
            self.size += body.length
            self.sent += stored.sent
            self.resumed += stored.resumed
            self.degraded = self.degraded or stored.degraded

    async def _renew_forever(self) -> None:
        """Ends only by cancellation, or by the error that says that the upload is lost."""
        interval = self._granted.lease_ms / 3000
        while True:
            await pause(self._context.runtime.reactor, interval)
            await self._context.ask(RenewLease(self._granted.file_id, self._granted.epoch), Lease)


def show_digest(digest: bytes) -> str:
    """The form that users see: ``dfs1:`` + hex."""
    return f"dfs1:{digest.hex()}"


def already(info: FileInfo, seconds: float) -> UploadResult:
    """The result of an upload that turned out to be committed before."""
    digest = show_digest(info.digest)
    return UploadResult(info.name, info.file_id, info.size, digest, info.count, False, 0, info.size, seconds)
