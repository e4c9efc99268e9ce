"""Many files in one go: small ones share their requests, a larger one goes by itself with its chunks in parallel.

Files come as they are found and are told of as they end; neither list is ever held.  What fails is told and the rest is
carried on, unless the cluster itself does not answer any more.  At most ``parallel`` small files and READ_AHEAD read
ahead, and ``parallel`` chunks of one larger file, are in flight at a time.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from attrs import frozen
from twisted.internet.defer import DeferredLock

from dfs.client.coalescing import Coalescer
from dfs.client.concurrency import gather, locked
from dfs.client.context import Context
from dfs.client.download import FileDownload
from dfs.client.errors import LocalFileChanged, LocalFileError
from dfs.client.granting import Wish, verify_finished
from dfs.client.progress import Meter
from dfs.client.small import get_small, open_small, upload_small
from dfs.client.sources import PathSource
from dfs.client.upload import already
from dfs.client.uploading import upload_path
from dfs.client.writing import Write, write_files
from dfs.disk.errors import DiskError
from dfs.disk.interfaces import IDisk
from dfs.protocol.errors import DFSError, FileExists, FileNotFound, Unavailable
from dfs.protocol.limits import MAX_BATCH, MAX_SMALL, MAX_TOGETHER
from dfs.protocol.messages import FileInfo, GetFile
from dfs.protocol.values import file_digest

READ_AHEAD = 16
"""Local files read by one call on a thread."""


@frozen
class Pair:
    """A file of this machine and its name in the cluster."""

    path: str
    name: str


@frozen
class Ended:
    """What became of one file: ``error`` is None where it is at its place, ``skipped`` where it was so before."""

    name: str
    path: str
    size: int
    skipped: bool
    error: DFSError | None


Told = Callable[[Ended], None]
Place = Callable[[FileInfo], Awaitable[str]]
"""Gives the path for a file of the cluster, its folder made.  Raises LocalFileError where it has none."""


@frozen
class Found:
    """A local file as it was read: its bytes, if it is small, or why it could not be."""

    pair: Pair
    content: bytes | None
    error: DFSError | None


def read_files(disk: IDisk, pairs: Sequence[Pair]) -> list[Found]:
    """The small ones whole.  Blocks."""
    return [_read(disk, pair) for pair in pairs]


def _read(disk: IDisk, pair: Pair) -> Found:
    try:
        before = disk.stat(pair.path)
        if before.length > MAX_SMALL:
            return Found(pair, None, None)
        file = disk.open(pair.path, writable=False)
        try:
            content = file.pread(MAX_SMALL + 1, 0)
        finally:
            file.close()
        after = disk.stat(pair.path)
    except DiskError as error:
        return Found(pair, None, LocalFileError(f"cannot read {error}", "check the path and its permissions"))
    if (before.length, before.modified) != (after.length, after.modified) or len(content) != before.length:  # S40
        return Found(pair, None, LocalFileChanged(f"{pair.path} changed while it was read", "upload it again"))
    return Found(pair, bytes(content), None)


class UploadMany:
    """:param wish: of every file, but for its name.
    :param skip_same: a file that is there with the same bytes is as good as uploaded.
    """

    def __init__(
        self, context: Context, pairs: AsyncIterator[Pair], wish: Callable[[str], Wish], skip_same: bool, told: Told,
        meter: Meter,
    ) -> None:  # fmt: skip
        self._context, self._pairs, self._wish, self._skip_same = context, pairs, wish, skip_same
        self._told, self._meter = told, meter
        self._ready: deque[Found] = deque()
        self._feeding, self._large = DeferredLock(), DeferredLock()

    async def run(self, parallel: int) -> None:
        """Returns when all were told of."""
        await gather(self._context.runtime.reactor, (self._work() for _ in range(parallel)))

    async def _work(self) -> None:
        while (found := await locked(self._feeding, self._next)) is not None:
            try:
                skipped, size = await self._upload(found)
            except Unavailable:
                raise
            except DFSError as error:
                self._told(Ended(found.pair.name, found.pair.path, 0, False, error))
            else:
                if skipped or found.content is None:
                    self._meter.skip(size)
                else:
                    self._meter.advance(size)
                self._told(Ended(found.pair.name, found.pair.path, size, skipped, None))

    async def _next(self) -> Found | None:
        if not self._ready:
            pairs: list[Pair] = []
            async for pair in self._pairs:
                pairs.append(pair)
                if len(pairs) == READ_AHEAD:
                    break
            self._ready.extend(await self._context.runtime.threads.run(read_files, self._context.disk, pairs))
        return self._ready.popleft() if self._ready else None

    async def _upload(self, found: Found) -> tuple[bool, int]:
        """(whether it was there, its bytes).  Raises DFSError."""
        if found.error is not None:
            raise found.error
        wish = self._wish(found.pair.name)
        if found.content is None:
            return await locked(self._large, lambda: self._upload_large(found.pair, wish))
        if self._skip_same and await self._is_there(wish, found.content):
            return True, len(found.content)
        await upload_small(self._context, found.content, wish, None)
        return False, len(found.content)

    async def _is_there(self, wish: Wish, content: bytes) -> bool:
        """Raises FileExists where it is there with other bytes."""
        info = await self._find(wish.name)
        if info is None:
            return False
        digest = file_digest(hashlib.sha256(content).digest() if content else b"")
        if (info.size, info.digest) != (len(content), digest):
            raise FileExists(f"{wish.name!r} exists with other bytes", "delete it first, or choose another prefix")
        return True

    async def _find(self, name: str) -> FileInfo | None:
        try:
            return (await open_small(self._context, GetFile(name, None))).info
        except FileNotFound:
            return None

    async def _upload_large(self, pair: Pair, wish: Wish) -> tuple[bool, int]:
        info = await self._find(wish.name) if self._skip_same else None
        if info is None:
            result = await upload_path(self._context, pair.path, wish, None)
            return False, result.size
        source = PathSource(self._context.disk, self._context.runtime.threads, pair.path, info.chunk_size)
        try:
            await source.open()
            await verify_finished(self._context, source, info, wish.parallel)
        finally:
            source.close()
        return True, already(info, 0.0).size


class DownloadMany:
    """:param skip_same: a file that is there with the same bytes is as good as downloaded."""

    def __init__(
        self, context: Context, infos: AsyncIterator[FileInfo], place: Place, force: bool, skip_same: bool, told: Told,
        meter: Meter,
    ) -> None:  # fmt: skip
        self._context, self._infos, self._place = context, infos, place
        self._force, self._skip_same = force, skip_same
        self._told, self._meter = told, meter
        self._feeding, self._large = DeferredLock(), DeferredLock()
        self._writes: Coalescer[Write, bool | DFSError] = Coalescer(
            context.runtime.reactor, self._write_all, lambda write: None, lambda write: len(write.content),
            MAX_TOGETHER, MAX_BATCH, 2,
        )  # fmt: skip

    async def run(self, parallel: int) -> None:
        """Returns when all were told of."""
        await gather(self._context.runtime.reactor, (self._work(parallel) for _ in range(parallel)))

    async def _work(self, parallel: int) -> None:
        while (info := await locked(self._feeding, self._next)) is not None:
            path = ""
            try:
                path = await self._place(info)
                skipped = await self._download(info, path, parallel)
            except Unavailable:
                raise
            except DFSError as error:
                self._told(Ended(info.name, path, info.size, False, error))
            else:
                self._told(Ended(info.name, path, info.size, skipped, None))

    async def _next(self) -> FileInfo | None:
        async for info in self._infos:
            return info
        return None

    async def _download(self, info: FileInfo, path: str, parallel: int) -> bool:
        """Whether it was there.  Raises DFSError."""
        if info.size > MAX_SMALL:
            return await locked(self._large, lambda: self._download_large(info, path, parallel))
        content = await self._content(info)
        if content is None:
            return await self._download_large(info, path, 1)
        outcome = await self._writes.add(Write(path, content, info.file_id, self._force, self._skip_same))
        if isinstance(outcome, DFSError):
            raise outcome
        if outcome:
            self._meter.skip(info.size)
        else:
            self._meter.advance(info.size)
        return outcome

    async def _content(self, info: FileInfo) -> bytes | None:
        """A small file's bytes; None where they must be fetched alone."""
        if not info.size:
            return b""
        opened = await open_small(self._context, GetFile(None, info.file_id))
        return None if opened.chunk is None else await get_small(self._context, info, opened.chunk)

    async def _write_all(self, writes: Sequence[Write]) -> Sequence[bool | DFSError]:
        try:
            done: list[bool | DFSError] = await self._context.runtime.threads.run(
                write_files, self._context.disk, writes
            )
        except DiskError as error:
            raise LocalFileError(f"cannot write {error}", "check the disk") from error
        return done

    async def _download_large(self, info: FileInfo, path: str, parallel: int) -> bool:
        if self._skip_same and await self._has_all(info, path):
            self._meter.skip(info.size)
            return True
        await FileDownload(self._context, info, path, self._force, self._meter).run(parallel)
        return False

    async def _has_all(self, info: FileInfo, path: str) -> bool:
        """Whether the file is there with the committed bytes."""
        source = PathSource(self._context.disk, self._context.runtime.threads, path, info.chunk_size)
        try:
            await source.open()
            await verify_finished(self._context, source, info, 1)
        except LocalFileError:
            return False
        finally:
            source.close()
        return True
