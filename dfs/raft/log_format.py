"""The bytes of the log on disk: segment headers, batches and records.

A log is a chain of segment files ``log-<sequence>``.  A segment is a header in
its first sector, then batches, each starting on a sector boundary.  A batch is
what one write and one sync made durable: a header, then one record an entry.
All numbers are big endian.  Nothing on disk is ever changed in place: an
overwritten suffix is superseded by a later batch whose ``cut`` is lower than
the log's last index, so truncate and append are one atomic batch (R28).

Segment header (44 bytes, the rest of the sector is zero)::

    offset size
       0     1   version, 1
       1     1   kind, 0xA5
       2     2   zero
       4     4   link: checksum that ended the previous segment (0 in the first)
       8     8   sequence of the segment, from 1
      16    16   incarnation of the folder
      32     8   number of the first batch in it
      40     4   CRC-32C of bytes 0 to 39

Batch header (48 bytes), then the entries as :mod:`dfs.raft.codec` encodes them,
then zeros to the end of the sector::

       0     1   version, 1
       1     1   kind, 0xB7
       2     2   zero
       4     4   count of entries; 0 is a commit marker
       8     8   number of the batch, one more than that of the batch before
      16     8   cut: the last index that stays; the entries follow it
      24     8   commit index known when it was written, at most what was durable before it
      32     4   length of all entries, bytes
      36     4   link: checksum of the batch or segment header before
      40     4   CRC-32C of all entries
      44     4   CRC-32C of bytes 0 to 43, begun with the segment header's checksum

The links chain every checksum to all bytes before it, down to the random
incarnation: a batch that was misdirected, lost, or copied from another folder
breaks the chain (R30; each entry carries its index, its term and the checksum of
the entry before besides).  The segment's checksum seeds each batch header's, so
bytes inside a payload can never look like a batch header of this segment.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

from attrs import frozen
from construct import Bytes, Const, Int8ub, Int16ub, Int32ub, Int64ub
from construct import Struct as Layout
from crc32c import crc32c

from dfs.raft.codec import CodecError, decode_entry
from dfs.raft.messages import Entry

VERSION = 1
SECTOR = 512
SEGMENT_KIND = 0xA5
BATCH_KIND = 0xB7
SEGMENT_HEADER_LENGTH = 44
HEADER_LENGTH = 48
MAX_BODY = 256 << 20

_BATCH_START = bytes([VERSION, BATCH_KIND])
_CHECKSUM = struct.Struct(">I")
_SEGMENT = struct.Struct(">BBHIQ16sQ")
_BATCH = struct.Struct(">BBHIQQQIII")

segment_layout = Layout(
    "version" / Const(VERSION, Int8ub),
    "kind" / Const(SEGMENT_KIND, Int8ub),
    "zero" / Const(0, Int16ub),
    "link" / Int32ub,
    "sequence" / Int64ub,
    "incarnation" / Bytes(16),
    "first_batch" / Int64ub,
    "checksum" / Int32ub,
)
batch_layout = Layout(
    "version" / Const(VERSION, Int8ub),
    "kind" / Const(BATCH_KIND, Int8ub),
    "zero" / Const(0, Int16ub),
    "count" / Int32ub,
    "number" / Int64ub,
    "cut" / Int64ub,
    "commit" / Int64ub,
    "body_length" / Int32ub,
    "link" / Int32ub,
    "body_checksum" / Int32ub,
    "checksum" / Int32ub,
)


class BadRecord(Exception):
    """These bytes are not what was written here: torn or corrupt, recovery decides which."""


@frozen
class SegmentHeader:
    """What opens a segment; ``checksum`` is its place in the chain and the seed of its batches."""

    link: int
    sequence: int
    incarnation: bytes
    first_batch: int
    checksum: int


@frozen
class BatchHeader:
    """What one write made durable; see the module's table.  ``checksum`` is its place in the chain."""

    count: int
    number: int
    cut: int
    commit: int
    body_length: int
    link: int
    body_checksum: int
    checksum: int

    @property
    def length(self) -> int:
        """Bytes from its offset to the offset of the next batch."""
        return sectors(HEADER_LENGTH + self.body_length)


def sectors(length: int) -> int:
    """``length`` rounded up to whole sectors."""
    return -(-length // SECTOR) * SECTOR


def encode_segment_header(link: int, sequence: int, incarnation: bytes, first_batch: int) -> tuple[bytes, int]:
    """The first sector of a segment, and the checksum that continues the chain."""
    head = _SEGMENT.pack(VERSION, SEGMENT_KIND, 0, link, sequence, incarnation, first_batch)
    checksum = crc32c(head)
    return (head + _CHECKSUM.pack(checksum)).ljust(SECTOR, b"\0"), checksum


def decode_segment_header(data: memoryview | bytes) -> SegmentHeader:
    """Raises BadRecord."""
    if len(data) < SECTOR:
        raise BadRecord("the segment header is cut short")
    version, kind, zero, link, sequence, incarnation, first_batch = _SEGMENT.unpack_from(data)
    checksum: int = _CHECKSUM.unpack_from(data, SEGMENT_HEADER_LENGTH - 4)[0]
    if crc32c(data[: SEGMENT_HEADER_LENGTH - 4]) != checksum:
        raise BadRecord("the segment header fails its checksum")
    if (version, kind, zero) != (VERSION, SEGMENT_KIND, 0):
        raise BadRecord(f"unknown segment version {version} or kind {kind}")
    return SegmentHeader(link, sequence, incarnation, first_batch, checksum)


def encode_batch(
    seed: int, link: int, number: int, cut: int, commit: int, entries: Sequence[Entry]
) -> tuple[list[bytes], int]:
    """The pieces of one batch, padded to whole sectors, and the checksum that continues the chain.

    ``entries`` follow ``cut`` without a gap (asserted).
    """
    pieces = [b"", b""]
    body_length = body_checksum = 0
    expected = cut
    for entry in entries:
        expected += 1
        assert entry.index == expected, (entry.index, expected)
        encoded = entry.encoded
        body_checksum = crc32c(encoded, body_checksum)
        body_length += len(encoded)
        pieces.append(encoded)
    assert body_length <= MAX_BODY, body_length
    head = _BATCH.pack(
        VERSION, BATCH_KIND, 0, len(entries), number, cut, commit, body_length, link, body_checksum
    )
    checksum = crc32c(head, seed)
    pieces[0], pieces[1] = head, _CHECKSUM.pack(checksum)
    length = HEADER_LENGTH + body_length
    pieces.append(bytes(sectors(length) - length))
    return pieces, checksum


def decode_batch_header(data: memoryview | bytes, seed: int) -> BatchHeader:
    """The header at the start of ``data``.  Raises BadRecord."""
    if len(data) < HEADER_LENGTH:
        raise BadRecord("the batch header is cut short")
    version, kind, zero, count, number, cut, commit, body_length, link, body_checksum = _BATCH.unpack_from(data)
    checksum: int = _CHECKSUM.unpack_from(data, HEADER_LENGTH - 4)[0]
    if crc32c(data[: HEADER_LENGTH - 4], seed) != checksum:
        raise BadRecord("the batch header fails its checksum")
    if (version, kind, zero) != (VERSION, BATCH_KIND, 0) or body_length > MAX_BODY:
        raise BadRecord(f"unknown batch version {version} or kind {kind}")
    return BatchHeader(count, number, cut, commit, body_length, link, body_checksum, checksum)


def decode_entries(data: memoryview, header: BatchHeader) -> list[Entry]:
    """All entries of the batch that starts at the start of ``data``.  Raises BadRecord."""
    body = bytes(data[HEADER_LENGTH : HEADER_LENGTH + header.body_length])
    if len(body) < header.body_length:
        raise BadRecord("the batch is cut short")
    if crc32c(body) != header.body_checksum:
        raise BadRecord("the entries of a batch fail their checksum")
    entries: list[Entry] = []
    offset = 0
    try:
        for index in range(header.cut + 1, header.cut + 1 + header.count):
            entry = decode_entry(body, offset)
            if entry.index != index:
                raise BadRecord(f"entry {entry.index} stands where {index} belongs")
            offset += len(entry.encoded)
            entries.append(entry)
    except CodecError as error:
        raise BadRecord(str(error)) from error
    if offset != len(body):
        raise BadRecord("the entries do not fill the batch")
    return entries


def batches_behind(data: memoryview, start: int, seed: int) -> Iterator[tuple[int, BatchHeader]]:
    """Every sector from ``start`` on that holds a valid batch header of this segment, with its offset.

    Used on what follows a bad batch: a valid one behind it proves that the bad one was once durable.
    """
    for offset in range(sectors(start), len(data), SECTOR):
        if bytes(data[offset : offset + 2]) == _BATCH_START:
            try:
                yield offset, decode_batch_header(data[offset : offset + HEADER_LENGTH], seed)
            except BadRecord:
                continue
