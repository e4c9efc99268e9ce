"""A write that may become a small replica: held in memory until it has ended, or is too long for a segment.

At most SMALL bytes are held, copied out of the receive buffer; what comes after them sends the whole to a file of its
own, as if it had gone there from the start.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dfs.chunkserver import footer as footers
from dfs.chunkserver.handles import Writing
from dfs.chunkserver.records import SMALL
from dfs.chunkserver.segments import SmallPut
from dfs.protocol.errors import BadRequest
from dfs.protocol.interfaces import Block
from dfs.protocol.messages import HeldReplica
from dfs.protocol.values import ChunkRef, Description

if TYPE_CHECKING:
    from dfs.chunkserver.store import ChunkStore


class SmallWriting:
    """As dfs.chunkserver.handles.Writing: call one thing at a time and end with :meth:`finish` or :meth:`abort`.

    :param limit: the most bytes that the chunk may have.
    :param expected: its length, or None where only the end will tell.
    :param description: what the footer says of the file; None where nobody told.
    """

    def __init__(
        self,
        store: ChunkStore,
        ref: ChunkRef,
        limit: int,
        expected: int | None,
        description: Description | None,
    ) -> None:
        self._store, self._ref, self._limit, self._expected = store, ref, limit, expected
        self._description = description
        self._content = b""
        self._crcs: tuple[int, ...] = ()
        self._file: Writing | None = None

    async def append(self, blocks: Sequence[Block]) -> None:
        """Take blocks that follow one another.  Raises BadRequest, and what a write to a file raises."""
        for at, block in enumerate(blocks):
            if self._file is None and len(self._content) + block.length > SMALL:
                await self._go_to_file()
            if self._file is not None:
                await self._file.append(blocks[at:])
                return
            self._hold(block)

    def _hold(self, block: Block) -> None:
        if block.offset != len(self._content) or (self._content and block.length):
            raise BadRequest(f"a block at offset {block.offset} does not follow {len(self._content)} whole bytes")
        if block.length > self._limit:
            raise BadRequest(f"the chunk is longer than its limit of {self._limit} bytes")
        if len(block.crcs) != footers.piece_count(block.length):
            raise BadRequest(f"a block of {block.length} bytes came with {len(block.crcs)} checksums")
        self._content += b"".join(block.pieces)
        self._crcs += block.crcs

    async def _go_to_file(self) -> None:
        """It is too long to be packed."""
        self._file = self._store.begin_file(self._ref, self._limit, self._expected, self._description)
        content, self._content = self._content, b""
        if content:
            await self._file.append([Block(0, len(content), self._crcs, (memoryview(content),))])

    async def finish(self, blocks: Sequence[Block], length: int, sha256: bytes) -> HeldReplica:
        """Append the last blocks and make the replica durable.  When it returns, it is (S05); after an error nothing of
        the write is left."""
        try:
            await self.append(blocks)
            if self._file is not None:
                return await self._file.finish((), length, sha256)
            if length != len(self._content) or (self._expected is not None and length != self._expected):
                raise BadRequest(f"the chunk ended after {len(self._content)} bytes, not {length} or {self._expected}")
            small = SmallPut(self._ref, self._content, self._crcs, sha256, self._description)
            return await self._store.packing.put(small)
        except Exception:
            await self.abort()
            raise

    async def abort(self) -> None:
        """Leave nothing behind."""
        self._content = b""
        if self._file is not None:
            await self._file.abort()
