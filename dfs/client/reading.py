"""Ranges of a file: what ``open(name).read(offset, length)`` does."""

from __future__ import annotations

from dfs.client.chunklist import chunk_page
from dfs.client.concurrency import gather
from dfs.client.context import Context
from dfs.client.fetching import Fetch
from dfs.client.opening import Wanted
from dfs.client.receiving import MemoryPlace
from dfs.client.small import get_small
from dfs.protocol.messages import ChunkInfo, FileInfo

MAX_READ = 256 << 20


class RemoteFile:
    """A committed file, open for reading.  It stays the same file whatever happens to its name."""

    def __init__(self, context: Context, info: FileInfo, parallel: int, only: ChunkInfo | None = None) -> None:
        """:param only: its chunk, if it has just one and that is known."""
        self._context = context
        self._parallel = parallel
        self._only = only
        self.info = info

    @property
    def size(self) -> int:
        """Bytes."""
        return self.info.size

    async def read(self, offset: int = 0, length: int | None = None) -> bytes:
        """The bytes from ``offset``, at most ``length`` (all by default), fewer only at the end of the file.

        Every 64 KiB piece is checked against its CRC-32C, whole chunks against their SHA-256 too.

        :raises ValueError: for a negative offset, or more than 256 MiB at once (use ``download``).
        :raises ChunkUnreadable: when no replica gives the bytes.
        """
        if offset < 0 or (length is not None and length < 0):
            raise ValueError("offset and length are not negative")
        end = self.info.size if length is None else min(self.info.size, offset + length)
        if end <= offset:
            return b""
        if end - offset > MAX_READ:
            raise ValueError(f"at most {MAX_READ >> 20} MiB at once; use download for more")
        if self._only is not None and (offset, end) == (0, self.info.size):
            content = await get_small(self._context, self.info, self._only)
            if content is not None:
                return content
        pieces: list[bytearray] = []
        first, last = offset // self.info.chunk_size, (end - 1) // self.info.chunk_size
        while first <= last:
            chunks = await chunk_page(self._context, self.info, first, min(self._parallel, last + 1 - first))
            pieces += await gather(self._context.runtime.reactor, (self._piece(chunk, offset, end) for chunk in chunks))
            first += len(chunks)
        return b"".join(pieces)

    async def _piece(self, chunk: ChunkInfo, offset: int, end: int) -> bytearray:
        start = chunk.index * self.info.chunk_size
        low = max(offset - start, 0)
        high = min(end - start, chunk.length)
        place = MemoryPlace(low, high - low)
        wanted = Wanted(self.info.name, self.info.file_id, chunk, low, high - low)
        await Fetch(self._context, wanted, place, lambda _: None).run()
        return place.data
