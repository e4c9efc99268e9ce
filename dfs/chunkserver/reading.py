"""Reading a replica back: every piece is compared with the footer's table before it leaves the thread.

Everything here blocks and runs on a thread, one call at a time a reader.
"""

from __future__ import annotations

import errno
import hashlib
from typing import Protocol

from attrs import frozen

from dfs.chunkserver import footer as footers
from dfs.chunkserver.errors import CorruptPiece, Unreadable
from dfs.chunkserver.footer import BadFooter, Footer
from dfs.chunkserver.layout import Layout
from dfs.chunkserver.recordfile import open_record
from dfs.chunkserver.records import Place
from dfs.disk.errors import DiskError
from dfs.disk.interfaces import IDisk, IDiskFile
from dfs.protocol.blocks import piece_crc
from dfs.protocol.errors import ReplicaCorrupt
from dfs.protocol.interfaces import Block
from dfs.protocol.values import BLOCK, PIECE, ChunkRef

READ = 1 << 20
"""Bytes read by one call of a thread."""

PIECES_A_BLOCK = BLOCK // PIECE


def read_footer(file: IDiskFile) -> Footer:
    """The footer of an open chunk file.  Raises BadFooter, DiskError."""
    size = file.size()
    tail = file.pread(footers.MAX_FOOTER, max(0, size - footers.MAX_FOOTER))
    return footers.decode(tail, size)


class Digest(Protocol):
    """A hash being computed."""

    def update(self, content: memoryview, /) -> None: ...

    def digest(self) -> bytes: ...


class ChunkReader:
    """One replica, open for reading.  ``footer`` is what the file says of itself, checked against ``ref``."""

    def __init__(self, disk: IDisk, layout: Layout, ref: ChunkRef, where: str | Place | None = None) -> None:
        """Raises ReplicaCorrupt, Unreadable, NotFound, DiskError.

        :param where: where it is packed, or the path of its file, if that is not in its place.
        """
        try:
            if isinstance(where, Place):
                self._file: IDiskFile = open_record(disk, layout, ref, where)
            else:
                self._file = disk.open(where or layout.path(ref), writable=False)
        except BadFooter as error:
            raise ReplicaCorrupt(f"the replica's record is bad: {error}") from error
        except DiskError as error:
            raise_media_error(error, None)
            raise
        try:
            self.footer = read_footer(self._file)
            if self.footer.ref != ref or self.footer.cluster != layout.cluster:
                raise BadFooter("foreign", "the footer is another chunk's")
        except BadFooter as error:
            self._file.close()
            raise ReplicaCorrupt(f"the replica's footer is bad: {error}") from error
        except DiskError as error:
            self._file.close()
            raise_media_error(error, None)
            raise
        except BaseException:
            self._file.close()
            raise

    def read(self, offset: int, length: int, digest: Digest | None = None) -> list[Block]:
        """Blocks with the bytes from ``offset`` (a multiple of PIECE) on, cut at the chunk's end; verified,
        and hashed into ``digest``.

        Raises CorruptPiece after a second look at a piece that failed: what a read error of the moment
        spoiled is not called corrupt.  Raises Unreadable for a media error.
        """
        assert offset % PIECE == 0, offset
        length = min(length, self.footer.length - offset)
        content = self._pread(length, offset)
        if self._first_bad(content, offset, length) is not None:
            content = self._pread(length, offset)
            bad = self._first_bad(content, offset, length)
            if bad is not None:
                raise CorruptPiece(f"the bytes from {bad} on do not match their CRC-32C", bad)
        if digest is not None:
            digest.update(content)
        crcs = self.footer.crcs
        return [
            Block(
                offset + at,
                min(BLOCK, length - at),
                crcs[(offset + at) // PIECE : (offset + at) // PIECE + footers.piece_count(min(BLOCK, length - at))],
                (content[at : at + BLOCK],),
            )
            for at in range(0, length, BLOCK)
        ]

    def _pread(self, length: int, offset: int) -> memoryview:
        """Raises Unreadable with the piece that the disk does not read, DiskError."""
        try:
            return memoryview(self._file.pread(length, offset))
        except DiskError as error:
            raise_media_error(error, self._first_unreadable(length, offset))
            raise

    def _first_unreadable(self, length: int, offset: int) -> int | None:
        for at in range(offset, offset + length, PIECE):
            try:
                self._file.pread(PIECE, at)
            except DiskError:
                return at
        return None

    def _first_bad(self, content: memoryview, offset: int, length: int) -> int | None:
        """The offset of the first piece that is not what its checksum says."""
        crcs = self.footer.crcs
        for at in range(0, length, PIECE):
            piece = content[at : min(at + PIECE, length)]
            if len(piece) != min(PIECE, length - at) or piece_crc(piece) != crcs[(offset + at) // PIECE]:
                return offset + at
        return None

    def close(self) -> None:
        """Idempotent."""
        self._file.close()


@frozen
class Wanted:
    """What is going to be read of a replica, and what hashes it."""

    offset: int
    length: int
    digest: Digest | None = None


@frozen
class First:
    """What was read of a replica by the call that opened it.  ``last``: no more is wanted, and its file was closed."""

    offset: int
    length: int
    digest: Digest | None
    blocks: list[Block]
    last: bool


def begin(
    disk: IDisk, layout: Layout, ref: ChunkRef, where: str | Place | None, wanted: Wanted | None
) -> tuple[ChunkReader, First | None]:
    """Open a replica and, where ``wanted`` is within it, read the first READ bytes around that: most reads then cost
    one call of a thread.  Raises what ChunkReader and its ``read`` do."""
    reader = ChunkReader(disk, layout, ref, where)
    if wanted is None or wanted.offset + wanted.length > reader.footer.length:
        return reader, None
    start, end = covering(wanted.offset, wanted.length, reader.footer.length)
    length = min(READ, end - start)
    last = start + length == end
    try:
        first = First(start, length, wanted.digest, reader.read(start, length, wanted.digest), last)
    except BaseException:
        reader.close()
        raise
    if last:
        reader.close()
    return reader, first


def raise_media_error(error: DiskError, offset: int | None) -> None:
    """Raise Unreadable for a media error; any other is the disk's, and proves nothing of the replica."""
    if error.errno == errno.EIO:
        where = "" if offset is None else f" at offset {offset}"
        raise Unreadable(f"the disk does not read the replica{where}: {error.reason}", offset) from error


def covering(offset: int, length: int, chunk_length: int) -> tuple[int, int]:
    """The whole pieces around a range, as (start, end), cut at the chunk's end."""
    start = offset // PIECE * PIECE
    if length == 0:
        return start, start
    end = min(chunk_length, -(-(offset + length) // PIECE) * PIECE)
    return start, max(start, end)


def verify(disk: IDisk, layout: Layout, ref: ChunkRef, where: str | Place | None = None) -> Footer:
    """Read the whole replica and compare every CRC-32C and the SHA-256.  Raises ReplicaCorrupt, Unreadable, NotFound,
    DiskError."""
    reader = ChunkReader(disk, layout, ref, where)
    try:
        digest = hashlib.sha256()
        for offset in range(0, reader.footer.length, READ):
            reader.read(offset, READ, digest)
        if digest.digest() != reader.footer.sha256:
            raise ReplicaCorrupt("the bytes on disk do not match the SHA-256 of the footer")
        return reader.footer
    finally:
        reader.close()
