"""Summaries: what a segment holds, in one short file, so that a start need not read the segment.

``segments/NNNNNNNN.sum`` is written for a segment that is whole and is not appended to any more.  It is only a copy of
what the segment's heads say, and only as of its writing: whoever changes a head removes it first, durably.  So one that
is there and passes its checksum is true; where it is missing or torn the segment is looked through instead, and
nothing is lost.  It is not synced for the same reason.  Everything here blocks.  Big endian::

    offset size
       0     1   version, 1
       1     3   magic, "DFX"
       4     4   number of the segment
       8     8   nonce of the segment
      16     8   length of the segment
      24     8   bytes of removed records
      32     4   number of replicas n
      36     4   the newest version of a footer
      40   72n   of each: offset u32, length of the body u32, file id u64, index u32, generation u64, number u64,
                 length of the chunk u32, SHA-256
  40+72n     4   CRC-32C of all before
"""

from __future__ import annotations

import struct

from crc32c import crc32c
from twisted.logger import Logger

from dfs.chunkserver import footer as footers
from dfs.chunkserver import records, segmentscan
from dfs.chunkserver.layout import Layout
from dfs.chunkserver.records import PAGE, REPLICA, NewerRecord, Place, RecordHead, SegmentHead
from dfs.chunkserver.segments import name_of
from dfs.chunkserver.segmentscan import Found
from dfs.disk.errors import DiskError
from dfs.disk.interfaces import IDisk
from dfs.protocol.messages import HeldReplica
from dfs.protocol.values import FileId, Generation

_log = Logger()

VERSION = 1
MAGIC = b"DFX"
_HEAD = struct.Struct(">B3sI8sQQII")
_ENTRY = struct.Struct(">IIQIQQI32s")


def encode(found: Found, nonce: bytes) -> bytes:
    """The file's bytes.  The segment is whole (asserted)."""
    assert found.whole, found.number
    newest = max((head.footer_version for head in found.replicas), default=0)
    count = len(found.replicas)
    parts = [_HEAD.pack(VERSION, MAGIC, found.number, nonce, found.length, found.gone, count, newest)]
    for head in found.replicas:
        held = head.held
        fields = (held.file_id, held.index, held.generation, held.number, held.length, held.sha256)
        parts.append(_ENTRY.pack(head.place.offset, head.body, *fields))
    body = b"".join(parts)
    return body + crc32c(body).to_bytes(4, "big")


def decode(content: bytes, segment: SegmentHead, length: int) -> Found | None:
    """What it tells of that segment, which has ``length`` bytes; None where it is not its summary, or not whole."""
    body = content[:-4]
    if len(body) < _HEAD.size or crc32c(body).to_bytes(4, "big") != content[-4:]:
        return None
    version, magic, number, nonce, told, gone, count, newest = _HEAD.unpack_from(body)
    if (version, magic, number, nonce, told) != (VERSION, MAGIC, segment.number, segment.nonce, length):
        return None
    if len(body) != _HEAD.size + count * _ENTRY.size or newest > footers.VERSION:
        return None
    replicas = []
    for fields in _ENTRY.iter_unpack(memoryview(body)[_HEAD.size :]):
        offset, size, file_id, index, generation, add, chunk, sha256 = fields
        held = HeldReplica(FileId(file_id), index, Generation(generation), chunk, sha256, add)
        replicas.append(RecordHead(REPLICA, newest, Place(number, offset), nonce, PAGE, size, held))
    return Found(number, length, replicas, gone=gone)


def save(disk: IDisk, layout: Layout, found: Found) -> None:
    """Write the summary of a whole segment that nobody appends to or marks meanwhile.  Raises DiskError."""
    segment, _ = _segment(disk, layout, found.number)
    if segment is None:
        return
    file = disk.open(layout.summary(found.number), create=True)
    try:
        file.truncate(0)
        file.pwrite([encode(found, segment.nonce)], 0)
    finally:
        file.close()


def load(disk: IDisk, layout: Layout, number: int) -> Found | None:
    """What a segment's summary says; None where there is none that holds, or the disk does not read it."""
    try:
        file = disk.open(layout.summary(number), writable=False)
    except DiskError:
        return None
    try:
        content = file.pread(file.size(), 0)
        segment, length = _segment(disk, layout, number)
    except (DiskError, NewerRecord):
        return None  # the segment is looked through, and tells
    finally:
        file.close()
    if segment is None or segment.cluster != layout.cluster:
        return None
    return decode(content, segment, length)


def look(disk: IDisk, layout: Layout, number: int, durable: bool) -> Found:
    """What a segment holds, by its summary or by a scan; a whole one has a summary then, if there is room for it.
    Raises RefusedStart, DiskError."""
    found = load(disk, layout, number)
    return summarise(disk, layout, number, durable) if found is None else found


def summarise(disk: IDisk, layout: Layout, number: int, durable: bool) -> Found:
    """Scan a segment that nobody appends to or marks meanwhile, and write its summary.  Raises RefusedStart,
    DiskError."""
    found = segmentscan.scan(disk, layout, number, durable)
    if found.whole:
        try:
            save(disk, layout, found)
        except DiskError as error:
            _log.info("segment {number} gets no summary: {error}", number=number, error=error)
    return found


def _segment(disk: IDisk, layout: Layout, number: int) -> tuple[SegmentHead | None, int]:
    """The head and the length of a segment."""
    file = disk.open(layout.segment(name_of(number)), writable=False)
    try:
        return records.decode_segment(file.pread(PAGE, 0)), file.size()
    finally:
        file.close()
