"""A download: chunks in parallel into a temporary file that gets its name when it is whole.

The temporary file lies beside the target, named after the file's id, so that a
download that was killed finds it again: each chunk in it is hashed, what matches
is kept, the rest is fetched (S41).  A file is immutable, so its id is enough.
To a stream (stdout) chunks are fetched ahead in parallel and written in order.
"""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Awaitable, Callable

from attrs import frozen
from twisted.internet.defer import Deferred, DeferredLock

from dfs.client.concurrency import gather
from dfs.client.context import Context
from dfs.client.errors import ChunkUnreadable, LocalFileError, OutputExists
from dfs.client.fetching import Fetch, Wanted
from dfs.client.progress import Meter
from dfs.client.receiving import FilePlace, MemoryPlace, Place
from dfs.disk.errors import DiskError, DiskFull, NotFound
from dfs.disk.interfaces import IDisk, IDiskFile
from dfs.protocol.messages import ChunkInfo, ChunkPage, FileInfo, GetFile, ListChunks
from dfs.protocol.values import file_digest
from dfs.runtime.interfaces import IThreads

PAGE = 256
READ = 1 << 20


@frozen
class DownloadResult:
    """``digest`` is ``dfs1:`` + hex; ``path`` is where the bytes are, "-" for a stream."""

    name: str
    size: int
    digest: str
    seconds: float
    path: str


async def find_file(context: Context, name: str) -> FileInfo:
    """Raises FileNotFound."""
    answer = await context.caller.call(GetFile(name, None), patience=context.patience)
    assert isinstance(answer, FileInfo)
    return answer


class ChunkList:
    """A file's chunks in order, fetched by pages as they are needed.  Safe for several coroutines."""

    def __init__(self, context: Context, info: FileInfo) -> None:
        self._context = context
        self._info = info
        self._next: int | None = 0
        self._ready: list[ChunkInfo] = []
        self._lock = DeferredLock()
        self._hashes: list[bytes] = []

    async def take(self) -> ChunkInfo | None:
        """The next chunk, None at the end."""
        await self._lock.acquire()
        try:
            if not self._ready and self._next is not None and len(self._hashes) < self._info.count:
                await self._page(self._next)
            return self._ready.pop(0) if self._ready else None
        finally:
            self._lock.release()

    async def _page(self, first: int) -> None:
        page = await self._context.caller.call(
            ListChunks(self._info.file_id, first, PAGE), patience=self._context.patience
        )
        assert isinstance(page, ChunkPage)
        expected = list(range(first, first + len(page.chunks)))
        if [chunk.index for chunk in page.chunks] != expected or not page.chunks:
            raise ChunkUnreadable(f"{self._info.name!r} was deleted while it was read", "list the names that are there")
        self._ready = list(page.chunks)
        self._hashes += [chunk.sha256 for chunk in page.chunks]
        self._next = page.next_index

    def check(self) -> None:
        """All chunks were taken: their hashes give the digest that was committed."""
        if len(self._hashes) != self._info.count or file_digest(b"".join(self._hashes)) != self._info.digest:
            raise ChunkUnreadable(f"the chunks of {self._info.name!r} do not give the digest that was committed")


async def fetch(context: Context, info: FileInfo, chunk: ChunkInfo, place: Place, meter: Meter) -> None:
    """A whole chunk into its place."""
    wanted = Wanted(info.name, info.file_id, chunk, 0, chunk.length)
    await Fetch(context, wanted, place, meter.advance).run()


def chunk_is_there(file: IDiskFile, start: int, chunk: ChunkInfo) -> bool:
    """Whether the file holds a chunk's bytes already.  Blocks: runs on a thread."""
    digest = hashlib.sha256()
    for offset in range(0, chunk.length, READ):
        data = file.pread(min(READ, chunk.length - offset), start + offset)
        if offset == 0 and not any(data[:4096]):
            return False  # a hole, most likely: fetching is surer than hashing it
        digest.update(data)
    return digest.digest() == chunk.sha256


class FileDownload:
    """Into a file of this machine."""

    def __init__(self, context: Context, info: FileInfo, path: str, force: bool, meter: Meter) -> None:
        self._context = context
        self._disk: IDisk = context.disk
        self._threads: IThreads = context.runtime.threads
        self._info = info
        self._path = path
        self._force = force
        self._meter = meter
        folder, base = posixpath.split(path)
        self._folder = folder
        self._partial = f"{folder}/.{base[:180]}.{info.file_id:016x}.dfs-part"

    async def run(self, parallel: int) -> None:
        """Raises LocalFileError, OutputExists, ChunkUnreadable and what metadata says."""
        try:
            await self._run(parallel)
        except DiskFull as error:
            raise LocalFileError(f"no space: {error}", "free some space, then run the same command again") from error
        except NotFound as error:
            raise LocalFileError(f"cannot write {error}", "make the folder first") from error
        except DiskError as error:
            raise LocalFileError(f"cannot write {error}", "check the folder and its permissions") from error

    async def _run(self, parallel: int) -> None:
        await self._check_target()
        known = await self._threads.run(self._disk.exists, self._partial)
        file = await self._threads.run(self._disk.open, self._partial, True)
        lock = await self._threads.run(self._disk.lock, self._partial)
        try:
            await self._threads.run(file.truncate, self._info.size)
            chunks = ChunkList(self._context, self._info)
            await gather(self._work(file, chunks, known) for _ in range(parallel))
            chunks.check()
            await self._threads.run(file.sync)
            await self._check_target()
            await self._threads.run(self._disk.rename, self._partial, self._path)
            await self._threads.run(self._disk.sync_folder, self._folder)
        finally:
            lock.release()
            file.close()

    async def _check_target(self) -> None:
        if not await self._threads.run(self._disk.exists, self._path):
            return
        if (await self._threads.run(self._disk.stat, self._path)).is_folder:
            raise OutputExists(f"{self._path} is a folder", "name the file to write with --out")
        if not self._force:
            raise OutputExists(f"{self._path} exists already", "choose another --out, or overwrite it with --force")

    async def _work(self, file: IDiskFile, chunks: ChunkList, known: bool) -> None:
        while (chunk := await chunks.take()) is not None:
            start = chunk.index * self._info.chunk_size
            if known and await self._threads.run(chunk_is_there, file, start, chunk):
                self._meter.skip(chunk.length)
            else:
                await fetch(self._context, self._info, chunk, FilePlace(file, start), self._meter)


async def download_to_stream(
    context: Context, info: FileInfo, write: Callable[[bytearray], Awaitable[None]], parallel: int, meter: Meter
) -> None:
    """Chunks in order to ``write``, ``parallel`` of them fetched ahead; each is verified before its first byte
    is written.  Holds at most ``parallel`` + 1 chunks in memory."""
    chunks = ChunkList(context, info)

    async def load(chunk: ChunkInfo) -> bytearray:
        place = MemoryPlace(0, chunk.length)
        await fetch(context, info, chunk, place, meter)
        return place.data

    ahead: list[Deferred[bytearray]] = []
    try:
        while True:
            while len(ahead) < parallel and (chunk := await chunks.take()) is not None:
                ahead.append(Deferred.fromCoroutine(load(chunk)))
            if not ahead:
                break
            await write(await ahead[0])
            del ahead[0]
        chunks.check()
    finally:
        for each in ahead:
            each.addErrback(lambda _: bytearray()).cancel()  # its end is not what ended us
