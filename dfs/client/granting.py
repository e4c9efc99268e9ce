"""How an upload begins: anew, or where a former one of the same local file stopped (S40)."""

from __future__ import annotations

from attrs import frozen

from dfs.client.context import Context
from dfs.client.manifest import Manifest, ManifestFolder, manifest_key
from dfs.client.sources import PathSource
from dfs.protocol.errors import FileExists, FileNotFound, UploadGone
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
from dfs.protocol.values import FileId

PAGE = 1000


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
    count = wish.parallel if size is None else min(16, -(-size // wish.chunk_size))
    with context.session.operation() as operation:
        answer = await context.caller.call(
            CreateUpload(operation, wish.name, size, wish.chunk_size, wish.replication, count),
            patience=context.patience,
        )
    assert isinstance(answer, UploadGranted)
    return answer


async def committed_file(context: Context, file_id: int) -> FileInfo | None:
    """The committed file of this id, or None."""
    try:
        answer = await context.caller.call(GetFile(None, FileId(file_id)), patience=context.patience)
    except FileNotFound:
        return None
    assert isinstance(answer, FileInfo)
    return answer


async def durable_chunks(context: Context, file_id: FileId) -> dict[int, CommittedChunk]:
    """Every committed chunk of an upload in progress."""
    found: dict[int, CommittedChunk] = {}
    first: int | None = 0
    while first is not None:
        page = await context.caller.call(ListChunks(file_id, first, PAGE), patience=context.patience)
        assert isinstance(page, ChunkPage)
        for chunk in page.chunks:
            found[chunk.index] = CommittedChunk(chunk.index, chunk.generation, chunk.length, chunk.sha256)
        first = page.next_index
    return found


@frozen
class Beginning:
    """Either ``finished`` (it is committed already) or a grant with what is durable."""

    finished: FileInfo | None
    granted: UploadGranted | None
    durable: dict[int, CommittedChunk]
    manifest: Manifest


async def begin(context: Context, wish: Wish, source: PathSource, path: str, folder: ManifestFolder) -> Beginning:
    """Resume by the manifest where there is one, else create; the manifest is durable before any byte is sent."""
    assert source.size is not None
    cluster = context.caller.cluster.hex()
    key = manifest_key(cluster, wish.name, path, source.size, source.modified)
    manifest = await folder.load(key) if wish.resume else None
    if manifest is not None:
        resumed = await _resume(context, manifest)
        if resumed is not None:
            if resumed.finished is not None and manifest.state != "committed":
                await folder.finished(manifest)
            return resumed
    granted = await create(context, wish, source.size)
    manifest = Manifest(
        cluster, wish.name, path, source.size, source.modified, granted.file_id, granted.chunk_size, "open"
    )
    await folder.save(manifest)
    return Beginning(None, granted, {}, manifest)


async def _resume(context: Context, manifest: Manifest) -> Beginning | None:
    """None where the former upload is gone: a new one begins."""
    finished = await committed_file(context, manifest.file_id)
    if finished is not None:
        return Beginning(finished, None, {}, manifest)
    if manifest.state == "committed":
        return None
    try:
        with context.session.operation() as operation:
            granted = await context.caller.call(
                ResumeUpload(operation, FileId(manifest.file_id), 0), patience=context.patience
            )
    except (UploadGone, FileNotFound, FileExists):
        return None
    assert isinstance(granted, UploadGranted)
    return Beginning(None, granted, await durable_chunks(context, granted.file_id), manifest)
