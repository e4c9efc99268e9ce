"""An upload: chunks in parallel, then one commit.

The name appears only with CommitFile, whole or not at all.  The upload keeps its
lease while it runs; losing it (another writer resumed it, the file was deleted)
ends the upload at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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
        reactor = self._context.runtime.reactor
        work = self._work() if parallel == 1 else gather(reactor, (self._work() for _ in range(parallel)))
        storing: Deferred[Any] = Deferred.fromCoroutine(work)
        lost: list[BaseException] = []

        def lease_lost(failure: Failure) -> None:
            if not storing.called and failure.value is not None:
                lost.append(failure.value)
                storing.cancel()

        renewing = Renewing(reactor, self._granted.lease_ms / 3000, self._renew, lease_lost)
        try:
            await storing
        except Exception:
            renewing.stop()
            if lost:
                raise lost[0] from None
            raise
        renewing.stop()
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

    async def _renew(self) -> None:
        await self._context.ask(RenewLease(self._granted.file_id, self._granted.epoch), Lease)


class Renewing:
    """A lease that is renewed until it is lost, or stopped.  Most uploads end before its first renewal: so a timer
    waits for that, and no coroutine.

    :param lost: called once, with the error of a renewal that says that the upload is lost.
    """

    def __init__(
        self, reactor: Any, interval: float, renew: Callable[[], Any], lost: Callable[[Failure], None]
    ) -> None:
        self._reactor, self._interval, self._renew, self._lost = reactor, interval, renew, lost
        self._running: Deferred[None] | None = None
        self._timer = reactor.callLater(interval, self._begin)

    def _begin(self) -> None:
        self._running = Deferred.fromCoroutine(self._forever()).addErrback(self._lost)

    async def _forever(self) -> None:
        while True:
            await self._renew()
            await pause(self._reactor, self._interval)

    def stop(self) -> None:
        """Renew no more."""
        if self._running is not None:
            self._running.cancel()
        elif self._timer.active():  # else the first renewal failed at once, and who was told of it stops us
            self._timer.cancel()


def show_digest(digest: bytes) -> str:
    """The form that users see: ``dfs1:`` + hex."""
    return f"dfs1:{digest.hex()}"


def already(info: FileInfo, seconds: float) -> UploadResult:
    """The result of an upload that turned out to be committed before."""
    digest = show_digest(info.digest)
    return UploadResult(info.name, info.file_id, info.size, digest, info.count, False, 0, info.size, seconds)
