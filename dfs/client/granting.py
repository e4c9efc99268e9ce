"""How an upload begins: anew, or where a former one of the same local file stopped (S40)."""

from __future__ import annotations

from attrs import frozen
from twisted.logger import Logger

from dfs.client.concurrency import gather
from dfs.client.context import Context
from dfs.client.errors import LocalFileChanged, LocalFileError
from dfs.client.manifest import Manifest, ManifestFolder, manifest_key
from dfs.client.sending import hash_body
from dfs.client.sources import PathSource
from dfs.protocol.errors import FileExists, FileNotFound, InternalError, UploadGone
from dfs.protocol.messages import (
    ChunkPage,
    CommittedChunk,
    CreateUpload,
    FileInfo,
    GetFile,
    ListChunks,
    ResumeUpload,
    UploadGranted,
)
from dfs.protocol.values import FileId, file_digest

_log = Logger()

PAGE = 1000
PLACED_AT_ONCE = 16


@frozen
class Wish:
    """What the user asked for."""

    name: str
    chunk_size: int
    replication: int
    parallel: int
    resume: bool


async def create(context: Context, wish: Wish, size: int | None) -> UploadGranted:
    """A new upload.  Raises FileExists and all that metadata may say."""
    count = wish.parallel if size is None else min(PLACED_AT_ONCE, -(-size // wish.chunk_size))
    return await context.mutate(
        lambda operation: CreateUpload(operation, wish.name, size, wish.chunk_size, wish.replication, count),
        UploadGranted,
    )


async def committed_file(context: Context, file_id: int) -> FileInfo | None:
    """The committed file of this id, or None."""
    try:
        return await context.ask(GetFile(None, FileId(file_id)), FileInfo)
    except FileNotFound:
        return None


async def durable_chunks(context: Context, file_id: FileId) -> dict[int, CommittedChunk]:
    """Every committed chunk of an upload in progress."""
    found: dict[int, CommittedChunk] = {}
    first: int | None = 0
    while first is not None:
        page = await context.ask(ListChunks(file_id, first, PAGE), ChunkPage)
        for chunk in page.chunks:
            found[chunk.index] = CommittedChunk(chunk.index, chunk.generation, chunk.length, chunk.sha256)
        if page.next_index is not None and page.next_index <= first:
            raise InternalError("metadata lists the same chunks again and again")
        first = page.next_index
    return found


@frozen
class Beginning:
    """Either ``finished`` (it is committed already) or a grant with what is durable.  ``manifest`` is None where none
    is kept; ``saved`` tells whether it lies in its folder already."""

    finished: FileInfo | None
    granted: UploadGranted | None
    durable: dict[int, CommittedChunk]
    manifest: Manifest | None
    saved: bool = False


async def begin(context: Context, wish: Wish, source: PathSource, path: str, folder: ManifestFolder) -> Beginning:
    """Resume by the manifest where there is one, else create.  The caller saves a manifest that is still unsaved
    before any byte is sent (:meth:`dfs.client.manifest.ManifestFolder.save`)."""
    assert source.size is not None
    cluster = context.caller.cluster.hex()
    key = manifest_key(cluster, wish.name, path, source.size, source.modified)
    if not wish.resume:
        granted = await create(context, wish, source.size)  # first: a refused upload loses no manifest
        await _forget(folder, key)
        return Beginning(None, granted, {}, None)
    manifest = await folder.load(key)
    if manifest is not None:
        resumed = await _resume(context, manifest)
        if resumed is not None:
            if resumed.finished is not None:
                await verify_finished(context, source, resumed.finished, wish.parallel)
            return resumed
    granted = await create(context, wish, source.size)
    manifest = Manifest(
        cluster, wish.name, path, source.size, source.modified, granted.file_id, granted.chunk_size, "open"
    )
    return Beginning(None, granted, {}, manifest)


async def _forget(folder: ManifestFolder, key: str) -> None:
    """Forget a former upload.  If that does not work it is found next time, and metadata says what it is worth."""
    try:
        await folder.forget(key)
    except LocalFileError as error:
        _log.warn("{reason}", reason=error.message)


async def _resume(context: Context, manifest: Manifest) -> Beginning | None:
    """None where the former upload is gone: a new one begins."""
    finished = await committed_file(context, manifest.file_id)
    if finished is None and manifest.state == "open":
        file_id = FileId(manifest.file_id)
        try:
            granted = await context.mutate(lambda operation: ResumeUpload(operation, file_id, 0), UploadGranted)
        except (UploadGone, FileNotFound):
            return None
        except FileExists:
            finished = await committed_file(context, file_id)  # another process finished it just now
        else:
            return Beginning(None, granted, await durable_chunks(context, file_id), manifest, True)
    return None if finished is None else Beginning(finished, None, {}, manifest, True)


async def verify_finished(context: Context, source: PathSource, info: FileInfo, parallel: int) -> None:
    """The local file still has the bytes that were committed.  Raises LocalFileChanged (S40)."""
    source.set_chunk_size(info.chunk_size)
    threads = context.runtime.threads

    async def hashed(index: int) -> bytes:
        found: bytes = await threads.run(hash_body, source.body(index))
        return found

    hashes: list[bytes] = []
    if source.size == info.size:
        for first in range(0, info.count, parallel):
            hashes += await gather(
                context.runtime.reactor, (hashed(index) for index in range(first, min(first + parallel, info.count)))
            )
    if source.size != info.size or file_digest(b"".join(hashes)) != info.digest:
        raise LocalFileChanged(
            f"the local file differs from {info.name!r}, which was uploaded from it",
            "upload it under another --name, or delete the old one first",
        )
