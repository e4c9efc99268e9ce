"""A replica being written, and one open for reading: what the store gives to puts, gets and copies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from dfs.chunkserver.errors import Unreadable
from dfs.chunkserver.footer import Footer
from dfs.chunkserver.reading import ChunkReader, Digest, First
from dfs.chunkserver.writing import ChunkWriter
from dfs.protocol.errors import DiskFailed, ReplicaCorrupt
from dfs.protocol.interfaces import Block
from dfs.protocol.messages import HeldReplica
from dfs.protocol.values import ChunkRef

if TYPE_CHECKING:
    from dfs.chunkserver.store import ChunkStore

_log = Logger()


class Writing:
    """One write in progress.  Call one thing at a time and end with :meth:`finish` or :meth:`abort`."""

    def __init__(self, store: ChunkStore, ref: ChunkRef, writer: ChunkWriter) -> None:
        self._store, self._ref, self._writer = store, ref, writer

    def append(self, blocks: Sequence[Block]) -> Deferred[None]:
        """Check, hash and write blocks that follow one another."""
        return self._store.run(self._writer.append, blocks)

    async def finish(self, blocks: Sequence[Block], length: int, sha256: bytes) -> HeldReplica:
        """Append the last blocks and make the replica durable.  When it returns, it is (S05); after an
        error nothing of the write is left."""
        try:
            return await self._store.publish(self._ref, self._writer, blocks, length, sha256)
        except Exception:
            await self.abort()
            raise

    async def abort(self) -> None:
        """Remove the temporary file, if there is one."""
        try:
            await self._store.run(self._writer.abort)
        except DiskFailed as error:
            _log.warn("a temporary file stays until the next start: {error}", error=error)


class Reading:
    """One replica open for reading; one call at a time, then :meth:`close`.  ``first``: what was read already;
    where that is all that was wanted the file is closed, and nothing else may be read."""

    def __init__(self, store: ChunkStore, ref: ChunkRef, reader: ChunkReader, first: First | None = None) -> None:
        self._store, self._ref, self._reader, self._first = store, ref, reader, first
        self._open = first is None or not first.last
        self._busy = self._closed = False
        self._closing: Deferred[None] | None = None

    @property
    def footer(self) -> Footer:
        return self._reader.footer

    async def read(self, offset: int, length: int, digest: Digest | None = None) -> list[Block]:
        """Verified blocks from a piece's start, hashed into ``digest``.  Raises ReplicaCorrupt and Unreadable after
        setting the replica aside, DiskFailed."""
        first, self._first = self._first, None
        named = offset, min(length, self.footer.length - offset)
        if first is not None and named == (first.offset, first.length) and digest is first.digest:
            return first.blocks
        assert self._open, f"other bytes than were named: {named}"
        self._busy = True
        try:
            blocks: list[Block] = await self._store.run(self._reader.read, offset, length, digest)
            return blocks
        except (ReplicaCorrupt, Unreadable) as error:
            if await self._store.doubt(self._ref, str(error)) is None:
                raise
            blocks = await self._store.run(self._reader.read, offset, length, digest)
            return blocks
        finally:
            self._busy = False
            self._close_if_due()

    def close(self) -> None:
        """Give the file back, after the read in progress if there is one; idempotent."""
        self._closed = True
        self._close_if_due()

    def _close_if_due(self) -> None:
        if self._open and self._closed and not self._busy and self._closing is None:
            self._closing = self._store.run(self._reader.close)
