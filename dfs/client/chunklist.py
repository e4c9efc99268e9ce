"""A committed file's chunks in order, fetched by pages as they are needed."""

from __future__ import annotations

from collections import deque

from twisted.internet.defer import DeferredLock

from dfs.client.concurrency import locked
from dfs.client.context import Context
from dfs.client.errors import ChunkUnreadable
from dfs.protocol.errors import FileNotFound
from dfs.protocol.messages import ChunkInfo, ChunkPage, FileInfo, GetFile, ListChunks
from dfs.protocol.values import file_digest

PAGE = 256


async def find_file(context: Context, name: str) -> FileInfo:
    """Raises FileNotFound."""
    return await context.read(GetFile(name, None), FileInfo)


async def chunk_page(context: Context, info: FileInfo, first: int, limit: int) -> tuple[ChunkInfo, ...]:
    """At least one chunk from ``first`` on, without a gap.  Raises ChunkUnreadable: the file is named by its id, so
    one that was deleted, and perhaps uploaded again, is never mixed with its successor (S47)."""
    try:
        page = await context.read(ListChunks(info.file_id, first, limit), ChunkPage)
        chunks = page.chunks
    except FileNotFound:
        chunks = ()
    if not chunks or [chunk.index for chunk in chunks] != list(range(first, first + len(chunks))):
        raise ChunkUnreadable(
            f"{info.name!r} was deleted while it was read", "the file is gone; list the names that are there"
        )
    return chunks


class ChunkList:
    """All chunks of a file, one after the other.  Safe for several coroutines."""

    def __init__(self, context: Context, info: FileInfo) -> None:
        self._context = context
        self._info = info
        self._ready: deque[ChunkInfo] = deque()
        self._lock = DeferredLock()
        self._hashes: list[bytes] = []

    async def take(self) -> ChunkInfo | None:
        """The next chunk, None at the end."""
        return await locked(self._lock, self._take)

    async def _take(self) -> ChunkInfo | None:
        known = len(self._hashes)
        if not self._ready and known < self._info.count:
            chunks = await chunk_page(self._context, self._info, known, min(PAGE, self._info.count - known))
            self._ready = deque(chunks)
            self._hashes += [chunk.sha256 for chunk in chunks]
        return self._ready.popleft() if self._ready else None

    def check(self) -> None:
        """All chunks were taken: their hashes give the digest that was committed.  Raises ChunkUnreadable."""
        if len(self._hashes) != self._info.count or file_digest(b"".join(self._hashes)) != self._info.digest:
            raise ChunkUnreadable(f"the chunks of {self._info.name!r} do not give the digest that was committed")
