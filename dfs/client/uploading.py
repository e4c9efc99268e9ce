"""A whole upload from its beginning to its manifest's end: of a path, which can be resumed, or of a stream."""

from __future__ import annotations

from twisted.logger import Logger

from dfs.client.context import Context
from dfs.client.errors import LocalFileError
from dfs.client.granting import Wish, begin, create
from dfs.client.manifest import Manifest, ManifestFolder
from dfs.client.progress import Meter, Observer
from dfs.client.sources import ISource, PathSource
from dfs.client.upload import Upload, UploadResult, already, show_digest
from dfs.protocol.messages import AbortUpload, Done, UploadGranted

_log = Logger()

GIVING_UP = 0.5  # seconds that telling metadata of an upload's failure may take


async def upload_path(context: Context, path: str, wish: Wish, progress: Observer | None) -> UploadResult:
    """Store a file of this machine, going on where a former try stopped (S40)."""
    began = context.runtime.reactor.seconds()
    source = PathSource(context.disk, context.runtime.threads, path, wish.chunk_size)
    try:
        await source.open()
        folder = ManifestFolder(context.disk, context.runtime.threads, context.state_folder)
        start = await begin(context, wish, source, path, folder)
        if start.finished is not None:
            await _remember(folder, start.manifest)
            return already(start.finished, context.runtime.reactor.seconds() - began)
        assert start.granted is not None
        if start.manifest is None:
            return await _upload_once(context, source, start.granted, wish, progress, began)
        if not start.saved:
            await _keep(context, folder, start.manifest, start.granted)
        source.set_chunk_size(start.granted.chunk_size)
        meter = Meter(context.runtime.reactor.seconds, source.size, progress)
        upload = Upload(context, source, wish.name, start.granted, start.durable, meter)
        digest = await upload.run(wish.parallel)
        await upload.commit(digest)
        await _remember(folder, start.manifest)
        return _result(context, wish.name, start.granted, upload, digest, began)
    finally:
        source.close()


async def upload_stream(context: Context, source: ISource, wish: Wish, progress: Observer | None) -> UploadResult:
    """Store what comes from a stream.  It cannot be read twice, so it has no manifest."""
    began = context.runtime.reactor.seconds()
    granted = await create(context, wish, None)
    return await _upload_once(context, source, granted, wish, progress, began)


async def _upload_once(
    context: Context,
    source: ISource,
    granted: UploadGranted,
    wish: Wish,
    progress: Observer | None,
    began: float,
) -> UploadResult:
    """An upload that cannot be resumed: when it fails its chunks are given up at once."""
    meter = Meter(context.runtime.reactor.seconds, source.size, progress)
    upload = Upload(context, source, wish.name, granted, {}, meter)
    try:
        digest = await upload.run(wish.parallel)
        await upload.commit(digest)
    except Exception:
        await give_up(context, granted)
        raise
    return _result(context, wish.name, granted, upload, digest, began)


async def _keep(context: Context, folder: ManifestFolder, manifest: Manifest, granted: UploadGranted) -> None:
    """The manifest is durable before any byte is sent; an upload that could not be resumed is given up."""
    try:
        await folder.save(manifest)
    except Exception:
        await give_up(context, granted)
        raise


async def _remember(folder: ManifestFolder, manifest: Manifest | None) -> None:
    """Mark a manifest as committed.  The file is there whether or not this works: the next time finds out again."""
    try:
        if manifest is not None and manifest.state != "committed":
            await folder.finished(manifest)
    except LocalFileError as error:
        _log.warn("{reason}", reason=error.message)


async def give_up(context: Context, granted: UploadGranted) -> None:
    """Tell metadata, so that the chunks are collected now and not after a day; the lease's end does it else."""
    with context.session.operation() as operation:
        request = AbortUpload(operation, granted.file_id, granted.epoch)
        telling = context.caller.call(request, GIVING_UP, patience=GIVING_UP)
        await telling.addErrback(lambda _: Done())  # the upload's own error is what the caller is told


def _result(
    context: Context, name: str, granted: UploadGranted, upload: Upload, digest: bytes, began: float
) -> UploadResult:
    return UploadResult(
        name,
        granted.file_id,
        upload.size,
        show_digest(digest),
        upload.chunks,
        upload.degraded,
        upload.sent,
        upload.resumed,
        context.runtime.reactor.seconds() - began,
    )
