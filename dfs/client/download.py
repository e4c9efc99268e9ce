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
from twisted.internet.defer import Deferred, DeferredList

from dfs.client.chunklist import ChunkList
from dfs.client.concurrency import gather
from dfs.client.context import Context
from dfs.client.errors import ChunkUnreadable, LocalFileError, OutputExists
from dfs.client.fetching import Fetch
from dfs.client.opening import Wanted
from dfs.client.progress import Meter
from dfs.client.receiving import FilePlace, MemoryPlace, Place
from dfs.disk.errors import DiskError, DiskFull, Locked, NotFound
from dfs.disk.interfaces import IDisk, IDiskFile
from dfs.protocol.messages import ChunkInfo, FileInfo
from dfs.runtime.interfaces import IThreads

READ = 1 << 20
LONGEST_BASE = 200  # bytes of the target's name in the temporary one's: file systems allow 255


@frozen
class DownloadResult:
    """``digest`` is ``dfs1:`` + hex; ``path`` is where the bytes are, "-" for a stream."""

    name: str
    size: int
    digest: str
    seconds: float
    path: str


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


def partial_path(path: str, file_id: int) -> str:
    """Where a download lies until it is whole."""
    folder, base = posixpath.split(path)
    short = base.encode(errors="surrogateescape")[:LONGEST_BASE].decode(errors="ignore")
    return posixpath.join(folder, f".{short}.{file_id:016x}.dfs-part")


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
        self._partial = partial_path(path, info.file_id)

    async def run(self, parallel: int) -> None:
        """Raises LocalFileError, OutputExists, ChunkUnreadable and what metadata says."""
        try:
            await self._check_target()
            known = await self._threads.run(self._disk.exists, self._partial)
            # The lock comes before the file is opened: whoever holds it has the file that bears the name.
            lock = await self._threads.run(self._disk.lock, self._partial)
            try:
                await self._fill(parallel, known)
            finally:
                lock.release()
        except Locked as error:
            raise LocalFileError(
                f"another download of {self._info.name!r} to {self._path} runs", "wait for it, or choose another --out"
            ) from error
        except DiskFull as error:
            raise LocalFileError(f"no space: {error}", "free some space, then run the same command again") from error
        except NotFound as error:
            raise LocalFileError(f"cannot write {error}", "make the folder first") from error
        except DiskError as error:
            raise LocalFileError(f"cannot write {error}", "check the folder and its permissions") from error

    async def _fill(self, parallel: int, known: bool) -> None:
        """Every chunk into the temporary file; its bytes are durable before it gets the name."""
        file = await self._threads.run(self._disk.open, self._partial, True)
        try:
            await self._threads.run(file.truncate, self._info.size)
            chunks = ChunkList(self._context, self._info)
            await gather(self._context.runtime.reactor, (self._work(file, chunks, known) for _ in range(parallel)))
            chunks.check()
            await self._threads.run(file.sync)
        except ChunkUnreadable:
            await self._drop_if_nothing_was_fetched()
            raise
        finally:
            file.close()
        await self._check_target()
        await self._threads.run(self._disk.rename, self._partial, self._path)
        await self._threads.run(self._disk.sync_folder, posixpath.dirname(self._path))

    async def _drop_if_nothing_was_fetched(self) -> None:
        """A temporary file without a byte of the file is only litter."""
        if not self._meter.done:
            await self._threads.run(self._disk.unlink, self._partial)

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
            await write(await ahead.pop(0))
    except Exception:
        for each in ahead:
            each.cancel()
        await DeferredList(ahead, consumeErrors=True)  # their ends are not what ended us
        raise
    chunks.check()
