"""One chunk on its way to the disk: checked, hashed and written in the same pass.

Everything here blocks and runs on a thread, one call at a time.  The order that
makes a replica whole or absent after a crash at any step (S09):

1. bytes go to a temporary file that is this write's alone (S08);
2. the client's SHA-256 is compared with ours;
3. the footer is written behind the bytes;
4. fdatasync: bytes and footer are durable;
5. rename to the final name;
6. fsync of the folder: the name is durable.

Only then may anybody hear that the replica exists (S05).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from attrs import frozen

from dfs.chunkserver import footer as footers
from dfs.chunkserver.layout import Layout
from dfs.disk.errors import NotFound
from dfs.disk.interfaces import IDisk, IDiskFile
from dfs.protocol.blocks import first_unsound
from dfs.protocol.errors import BadRequest, NoSpace, ReplicaCorrupt
from dfs.protocol.interfaces import Block
from dfs.protocol.values import PIECE, ChunkRef, Description

RESERVE = 64 << 20


@frozen
class WriteRules:
    """``reserve``: bytes that writes leave free on the disk, for logs and the file system itself (S21).
    ``durable``: False skips every sync (DFS_DURABILITY=none).  ``segments``: small replicas are packed into segments
    (DFS_SEGMENTS); those that are packed already are served either way.  ``segment_size``: bytes at which a segment is
    full."""

    reserve: int = RESERVE
    durable: bool = True
    segments: bool = False
    segment_size: int = 64 << 20


def check_pieces(block: Block) -> None:
    """Compare a block's bytes with its checksums, one CRC-32C a piece.  Raises ReplicaCorrupt."""
    at = first_unsound(block)
    if at is not None:
        raise ReplicaCorrupt(f"the piece at offset {block.offset + at * PIECE} does not match its CRC-32C")


class ChunkWriter:
    """Writes one replica; see the module for the order.  After any error :meth:`abort` is due.

    :param limit: the most bytes that the chunk may have.
    :param expected: its length, or None where only the end will tell.
    :param nonce: 8 random bytes that no other write has.
    :param description: what the footer says of the file; None where nobody told.
    """

    def __init__(
        self,
        disk: IDisk,
        layout: Layout,
        ref: ChunkRef,
        limit: int,
        expected: int | None,
        nonce: bytes,
        rules: WriteRules,
        description: Description | None = None,
    ) -> None:
        self._disk = disk
        self._layout = layout
        self._ref = ref
        self._limit = limit
        self._expected = expected
        self._rules = rules
        self._description = description
        self._temporary = layout.temporary(ref, nonce)
        self._file: IDiskFile | None = None
        self._hash = hashlib.sha256()
        self._crcs: list[int] = []
        self._length = 0

    def append(self, blocks: Sequence[Block]) -> None:
        """Check, hash and write blocks that follow one another.

        Raises ReplicaCorrupt (bytes do not match their checksums), BadRequest (a gap, too long),
        NoSpace, DiskError.
        """
        file = self._opened()
        start = self._length
        pieces: list[memoryview] = []
        for block in blocks:
            self._accept(block)
            check_pieces(block)
            for view in block.pieces:
                self._hash.update(view)
            pieces += block.pieces
            self._crcs += block.crcs
            self._length += block.length
        if pieces:
            file.pwrite(pieces, start)

    def finish(self, blocks: Sequence[Block], length: int, sha256: bytes, number: int) -> None:
        """Append the last blocks, compare, and make the replica durable under its final name.

        When this returns, file and name are on disk.  Raises as :meth:`append`; SyncFailed is final for the disk.
        """
        self.append(blocks)
        if length != self._length or (self._expected is not None and length != self._expected):
            raise BadRequest(f"the chunk ended after {self._length} bytes, not {length} or {self._expected}")
        if self._hash.digest() != sha256:
            raise ReplicaCorrupt(f"the SHA-256 of the {length} bytes received is not the sender's")
        self._publish(sha256, number)

    def check(self, blocks: Sequence[Block], length: int, sha256: bytes) -> None:
        """As :meth:`finish`, but the replica is there already: compare, then :meth:`abort`."""
        self.append(blocks)
        if length != self._length or self._hash.digest() != sha256:
            raise ReplicaCorrupt(f"the SHA-256 of the {self._length} bytes received is not the sender's")
        self.abort()

    def abort(self) -> None:
        """Leave nothing behind; idempotent, and harmless after :meth:`finish`.  Raises DiskError if the
        temporary file cannot be removed: the next start removes it."""
        if self._file is None:
            return
        self._file.close()
        self._file = None
        try:
            self._disk.unlink(self._temporary)
        except NotFound:
            return  # it was renamed, and the sync of its folder failed

    def _opened(self) -> IDiskFile:
        """The temporary file, made at the first write; refuses when the disk is nearly full."""
        if self._file is None:
            wanted = self._limit if self._expected is None else self._expected
            free = self._disk.space(self._layout.root).free
            whole = wanted + footers.footer_length(wanted, self._description)
            if free < self._rules.reserve + whole:
                raise NoSpace(f"{free} bytes are free; {self._rules.reserve} of them are kept in reserve")
            self._file = self._disk.open(self._temporary, create=True, exclusive=True)
            if wanted >= PIECE and self._expected is not None:
                self._file.allocate(whole)
        return self._file

    def _accept(self, block: Block) -> None:
        """A stream has no gaps, no short piece but the last, and an end."""
        if block.offset != self._length or self._length % PIECE:
            raise BadRequest(f"a block at offset {block.offset} does not follow {self._length} whole bytes")
        if self._length + block.length > self._limit:
            raise BadRequest(f"the chunk is longer than its limit of {self._limit} bytes")
        if len(block.crcs) != footers.piece_count(block.length):
            raise BadRequest(f"a block of {block.length} bytes came with {len(block.crcs)} checksums")

    def _publish(self, sha256: bytes, number: int) -> None:
        file, ref = self._file, self._ref
        assert file is not None
        footer = footers.Footer(
            self._layout.cluster,
            ref.file_id,
            ref.index,
            ref.generation,
            self._length,
            number,
            sha256,
            tuple(self._crcs),
            description=self._description,
        )
        file.pwrite([footers.encode(footer)], self._length)
        if self._rules.durable:
            file.sync()
        file.close()
        self._disk.rename(self._temporary, self._layout.path(ref))
        if self._rules.durable:
            self._disk.sync_folder(self._layout.folder(ref))
        self._file = None


def remove(disk: IDisk, layout: Layout, ref: ChunkRef, durable: bool) -> bool:
    """Unlink a replica and make that durable; False if it was absent.  Needs no free space (S21).

    The folder is synced in either case: who removed it before may have died before the sync."""
    there = True
    try:
        disk.unlink(layout.path(ref))
    except NotFound:
        there = False
    if durable:
        disk.sync_folder(layout.folder(ref))
    return there
