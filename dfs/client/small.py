"""Small files: at most MAX_SMALL bytes, which travel together with others that are under way at the same time.

Three steps, each shared with whatever else this client does meanwhile: create, put, commit.  Where the shared put does
not make the chunk durable the file goes on alone, as any other upload: re-placed, tried again, until patience ends.
"""

from __future__ import annotations

import hashlib

from twisted.logger import Logger
from zope.interface import implementer

from dfs.client.context import Context
from dfs.client.granting import Wish, committed_file
from dfs.client.progress import Meter, Observer
from dfs.client.sources import BufferedBody, ISource
from dfs.client.storing import FINAL
from dfs.client.together import Begun, Chunk, Wanted
from dfs.client.upload import Upload, UploadResult, show_digest
from dfs.client.uploading import give_up, upload_stream
from dfs.protocol.blocks import piece_crc
from dfs.protocol.errors import DFSError, FileExists, UnknownRequest, UploadGone
from dfs.protocol.limits import MAX_SMALL
from dfs.protocol.messages import (
    ChunkInfo,
    FileInfo,
    FinishedUpload,
    GetFile,
    NewUpload,
    OpenedFile,
    Placement,
    SmallChunk,
    UploadGranted,
)
from dfs.protocol.values import file_digest

_log = Logger()


@implementer(ISource)
class HeldSource:
    """All of a small file's bytes, in memory: see :class:`dfs.client.sources.ISource`."""

    def __init__(self, content: bytes) -> None:
        self.size: int | None = len(content)
        self._left = [BufferedBody(0, len(content), (content,), True)] if content else []

    async def next_body(self) -> BufferedBody | None:
        """The only one, once."""
        return self._left.pop() if self._left else None

    async def check_unchanged(self) -> None:
        """Nothing changes it."""

    def close(self) -> None:
        """Nothing is open."""


async def upload_small(context: Context, content: bytes, wish: Wish, progress: Observer | None) -> UploadResult:
    """Store a small file; when it returns the file is durable and visible.  Raises what an upload raises."""
    began = context.runtime.reactor.seconds()
    try:
        begun = await context.together.create(
            Wanted(NewUpload(wish.name, len(content)), wish.chunk_size, wish.replication)
        )
    except UnknownRequest:  # metadata of before small files travelled together
        return await upload_stream(context, HeldSource(content), wish, progress)
    granted = _granted(begun, wish.name, len(content))
    meter = Meter(context.runtime.reactor.seconds, len(content), progress)
    degraded = False
    try:
        sha256 = hashlib.sha256(content).digest()
        finished = False
        if content:
            degraded, finished = await _store(context, wish.name, content, sha256, begun, granted, meter)
        digest = file_digest(sha256 if content else b"")
        count = 1 if content else 0
        if not finished:
            await context.together.commit(FinishedUpload(begun.file_id, 1, len(content), count, digest))
    except Exception:
        await give_up(context, granted)
        raise
    seconds = context.runtime.reactor.seconds() - began
    size = len(content)
    return UploadResult(wish.name, begun.file_id, size, show_digest(digest), count, degraded, size, 0, seconds)


async def _store(
    context: Context, name: str, content: bytes, sha256: bytes, begun: Begun, granted: UploadGranted, meter: Meter
) -> tuple[bool, bool]:
    """Make the chunk durable and committed; whether copies are missing, and whether the file has its name."""
    crc = piece_crc(memoryview(content))
    chunk = SmallChunk(begun.file_id, begun.generation, len(content), crc, sha256, begun.mac, name)
    try:
        outcome = await context.together.put(Chunk(begun.spot, chunk, content))
    except DFSError as error:
        if isinstance(error, FINAL) and not isinstance(error, UnknownRequest):
            raise
        upload = Upload(context, HeldSource(content), name, granted, {}, meter)
        try:
            await upload.run(1)
        except (FileExists, UploadGone):
            if await committed_file(context, begun.file_id) is None:
                raise
            return False, True  # the batch did it after all: only its answer was lost
        return upload.degraded, False
    meter.advance(len(content))
    return len(outcome.replicas) < granted.replication, outcome.finished


async def open_small(context: Context, file: GetFile) -> OpenedFile:
    """A file, with its chunk if it has just one and metadata tells that.  Raises FileNotFound."""
    if context.any_member is None:
        try:
            return await context.together.open(file)
        except UnknownRequest:  # metadata of before small files travelled together
            pass
    return OpenedFile(await context.read(file, FileInfo), None)


async def get_small(context: Context, info: FileInfo, chunk: ChunkInfo) -> bytes | None:
    """All of a small file's bytes, verified; None where they must be fetched as a larger one's are."""
    if chunk.length > MAX_SMALL or file_digest(chunk.sha256) != info.digest:
        return None
    try:
        return await context.together.get(info, chunk)
    except DFSError as error:
        _log.debug("{name} is fetched alone: {error}", name=info.name, error=error)
        return None


def _granted(begun: Begun, name: str, size: int) -> UploadGranted:
    """The same as a single upload is granted."""
    spot = begun.spot
    placements: tuple[Placement, ...] = ()
    if size:
        grant = begun.grant(name, size)
        placements = (Placement(0, begun.generation, spot.targets, spot.quorum, grant, None),)
    return UploadGranted(
        file_id=begun.file_id,
        epoch=1,
        lease_ms=spot.lease_ms,
        chunk_size=spot.chunk_size,
        replication=spot.replication,
        size=size,
        degraded=size > 0 and len(spot.targets) < spot.replication,
        placements=placements,
    )
