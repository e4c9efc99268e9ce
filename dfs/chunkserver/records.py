"""The bytes of a segment file: a head, then records; pure.

A segment holds many small replicas, so that one sync makes many of them durable.  It begins with its head, alone in a
page of 4096 bytes; each record begins at a page's start and is filled up with zeros to the next one, so that no write
ever touches a sector that holds an older record.  All numbers big endian.  Head of a segment::

    offset size
       0     1   version, 1
       1     3   magic, "DFG"
       4     4   number of the segment
       8    16   cluster id
      24     8   nonce, random, of this segment alone
      32     4   CRC-32C of bytes 0 to 31

Record: its head, from offset 128 on the body: the very bytes of a replica's file, chunk and footer (see
dfs.chunkserver.footer).  The head has what a start needs, so that no body is read then::

    offset size
       0     1   version, 1
       1     3   magic, "DFR"
       4     1   kind: 1 replica, 2 removed, 3 set aside in its place
       5     1   version of the footer
       6     2   zero
       8     4   number of the segment
      12     4   offset of the record
      16     8   nonce of the segment
      24     4   offset of the first record of its group
      28     4   length of the body
      32     8   file id
      40     4   index of the chunk in its file
      44     8   generation
      52     8   number of the add at this node
      60     4   length of the chunk
      64    32   SHA-256 of the chunk
      96     4   CRC-32C of bytes 0 to 95

A *group* is what one sync makes durable: all before the newest group of a segment was synced before that group was
written.  A head names its own place and its segment's nonce: bytes that look like a record and are not, in a chunk
or left on the disk by a former file, are none.
"""

from __future__ import annotations

import struct

from attrs import frozen
from crc32c import crc32c

from dfs.protocol.messages import HeldReplica
from dfs.protocol.values import PIECE, ChunkRef, FileId, Generation

PAGE = 4096
VERSION = 1
SEGMENT_MAGIC = b"DFG"
RECORD_MAGIC = b"DFR"
BODY = 128
"""Offset of the body in a record."""

SMALL = PIECE
"""Bytes of the longest chunk that is packed: one piece, so it has at most one checksum."""

REPLICA, REMOVED, ASIDE = 1, 2, 3

_SEGMENT = struct.Struct(">B3sI16s8s")
_HEAD = struct.Struct(">B3sBB2xII8sIIQIQQI32s")


@frozen
class Place:
    """Where a record begins: a segment, by number from 1 on, and an offset in bytes."""

    segment: int
    offset: int


@frozen
class SegmentHead:
    """Which segment a file is."""

    number: int
    cluster: bytes
    nonce: bytes


@frozen
class RecordHead:
    """What a record says of itself; the fields are those of the module's table."""

    kind: int
    footer_version: int
    place: Place
    nonce: bytes
    group: int
    body: int
    held: HeldReplica

    @property
    def ref(self) -> ChunkRef:
        """The generation of the chunk in the body."""
        return ChunkRef(self.held.file_id, self.held.index, self.held.generation)

    @property
    def end(self) -> int:
        """Offset of what follows the record."""
        return self.place.offset + record_size(self.body)


class NewerRecord(Exception):
    """A record, or a segment, that a newer program wrote."""


def record_size(body: int) -> int:
    """Bytes that a record with a body of that length takes."""
    return -(-(BODY + body) // PAGE) * PAGE


def encode_segment(head: SegmentHead) -> bytes:
    """The first page of a segment."""
    body = _SEGMENT.pack(VERSION, SEGMENT_MAGIC, head.number, head.cluster, head.nonce)
    return (body + crc32c(body).to_bytes(4, "big")).ljust(PAGE, b"\0")


def decode_segment(content: bytes) -> SegmentHead | None:
    """The head in a segment's first bytes, None where there is none.  Raises NewerRecord."""
    body = content[: _SEGMENT.size]
    if content[_SEGMENT.size : _SEGMENT.size + 4] != crc32c(body).to_bytes(4, "big") or len(body) < _SEGMENT.size:
        return None
    version, magic, number, cluster, nonce = _SEGMENT.unpack(body)
    if magic != SEGMENT_MAGIC:
        return None
    if version != VERSION:
        raise NewerRecord(f"the segment has version {version}, not {VERSION}")
    return SegmentHead(number, cluster, nonce)


def encode_head(head: RecordHead) -> bytes:
    """The head's bytes, up to the body."""
    held, place = head.held, head.place
    packed = _HEAD.pack(
        VERSION,
        RECORD_MAGIC,
        head.kind,
        head.footer_version,
        place.segment,
        place.offset,
        head.nonce,
        head.group,
        head.body,
        held.file_id,
        held.index,
        held.generation,
        held.number,
        held.length,
        held.sha256,
    )
    return (packed + crc32c(packed).to_bytes(4, "big")).ljust(BODY, b"\0")


def decode_head(content: bytes, place: Place, nonce: bytes | None) -> RecordHead | None:
    """The head of the record at that place of the segment with that nonce (None: any); None where there is no such
    record.  Raises NewerRecord.

    :param content: bytes from the record's first on.
    """
    packed = content[: _HEAD.size]
    if packed[1:4] != RECORD_MAGIC or len(packed) < _HEAD.size:
        return None
    if content[_HEAD.size : _HEAD.size + 4] != crc32c(packed).to_bytes(4, "big"):
        return None
    (version, _, kind, footer, segment, offset, salt, group, body, *fields) = _HEAD.unpack(packed)
    if (segment, offset) != (place.segment, place.offset) or (nonce is not None and salt != nonce):
        return None
    if version != VERSION or kind not in (REPLICA, REMOVED, ASIDE):
        raise NewerRecord(f"a record at offset {offset} has version {version} and kind {kind}")
    file_id, index, generation, number, length, sha256 = fields
    held = HeldReplica(FileId(file_id), index, Generation(generation), length, sha256, number)
    return RecordHead(kind, footer, place, salt, group, body, held)
