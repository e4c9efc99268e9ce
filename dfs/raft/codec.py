"""Messages and log entries as bytes: the fast path.

Big endian throughout.  :mod:`dfs.raft.layout` declares the same layouts with construct; a property test holds
the two equal, so that file is the reference and this one is what runs.

An entry (the same bytes on disk and to peers)::

    offset  length  field
         0       1  version, 1
         1       1  kind: 0 no-op, 1 command, 2 configuration
         2       8  index, from 1
        10       8  term
        18       4  checksum of the entry before, 0 where its proposer did not know it (R30)
        22       4  length of the payload, at most 1 MiB
        26       4  CRC-32C of bytes 0 to 25 and the payload
        30       n  payload

A message::

         0       1  version, 1
         1       4  CRC-32C of everything from byte 5
         5       1  kind
         6       8  term
        14       n  body

    kind  body
       1  vote request: last index u64, last term u64, flags u8 (1 pre-vote, 2 transfer)
       2  vote reply: flags u8 (1 granted, 2 pre-vote)
       3  append request: previous index, previous term, commit, round u64; count u32; entries
       4  append reply: flags u8 (1 accepted, 2 wants a snapshot); round, index, hint index, hint term u64
       5  snapshot piece: index, mark term, offset u64; flags u8 (1 last); configuration length u32;
          data length u32; configuration; data
       6  snapshot reply: index, offset u64; progress u8 (0 wanted, 1 installed, 2 refused)
       7  time-out now: nothing
       8  read request: epoch, number u64
       9  read reply: epoch, number, index u64
      10  removed notice: nothing

Lengths are checked against what is there before anything is sliced; an unknown version, kind, flag or a
trailing byte is an error (R64).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

from crc32c import crc32c

from dfs.raft.messages import (
    ENTRY_HEADER_LENGTH,
    AppendReply,
    AppendRequest,
    Entry,
    EntryKind,
    Message,
    ReadReply,
    ReadRequest,
    RemovedNotice,
    SnapshotPiece,
    SnapshotProgress,
    SnapshotReply,
    TimeoutNow,
    VoteReply,
    VoteRequest,
)

VERSION: Final = 1
MAX_PAYLOAD: Final = 1 << 20
MAX_CONFIGURATION: Final = 3800
"""Bytes of a configuration's payload: it has to fit a twin record, beside other fields."""
MAX_MESSAGE: Final = (1 << 20) + 4096
"""What a transport must carry (dfs.raft.interfaces.IRaftTransport)."""

_ENTRY_BODY = struct.Struct(">BBQQII")
_ENTRY = struct.Struct(">BBQQIII")
_CHECKSUM = struct.Struct(">I")
_HEAD = struct.Struct(">BI")
_VOTE_REQUEST = struct.Struct(">BQQQB")
_VOTE_REPLY = struct.Struct(">BQB")
_APPEND_REQUEST = struct.Struct(">BQQQQQI")
_APPEND_REPLY = struct.Struct(">BQBQQQQ")
_PIECE = struct.Struct(">BQQQQBII")
_SNAPSHOT_REPLY = struct.Struct(">BQQQB")
_TERM_ONLY = struct.Struct(">BQ")
_READ_REQUEST = struct.Struct(">BQQQ")
_READ_REPLY = struct.Struct(">BQQQQ")
_BODY_START = _HEAD.size
_KINDS = {int(kind): kind for kind in EntryKind}


class CodecError(ValueError):
    """These bytes are not a message or an entry of ours: close the connection, or treat the disk as corrupt."""


def encode_entry(index: int, term: int, kind: EntryKind, payload: bytes, previous: int) -> Entry:
    """Make an entry; its bytes are made here and nowhere else.  ValueError where the payload is over 1 MiB."""
    if len(payload) > MAX_PAYLOAD:
        raise ValueError(f"a payload of {len(payload)} bytes is over the limit of {MAX_PAYLOAD}")
    head = _ENTRY_BODY.pack(VERSION, kind, index, term, previous, len(payload))
    checksum: int = crc32c(payload, crc32c(head))
    return Entry(index, term, kind, previous, checksum, b"".join((head, _CHECKSUM.pack(checksum), payload)))


def entry_length(header: bytes) -> int:
    """The length of the whole entry whose first 30 bytes are ``header``, unverified but within the limit."""
    if len(header) < ENTRY_HEADER_LENGTH or header[0] != VERSION:
        raise CodecError("not the header of an entry of version 1")
    length = int.from_bytes(header[22:26], "big")
    if length > MAX_PAYLOAD:
        raise CodecError(f"an entry claims a payload of {length} bytes")
    return ENTRY_HEADER_LENGTH + length


def decode_entry(buffer: bytes, offset: int = 0) -> Entry:
    """The entry that starts at ``offset``, its checksum verified; its length is ``len(entry.encoded)``.
    CodecError where it is cut, changed or of another version."""
    end = offset + ENTRY_HEADER_LENGTH
    if len(buffer) < end:
        raise CodecError("an entry is cut short in its header")
    version, kind, index, term, previous, length, checksum = _ENTRY.unpack_from(buffer, offset)
    if version != VERSION or kind not in _KINDS or length > MAX_PAYLOAD:
        raise CodecError(f"an entry has version {version}, kind {kind}, length {length}")
    if len(buffer) < end + length:
        raise CodecError("an entry is cut short in its payload")
    encoded = buffer[offset : end + length]
    if crc32c(encoded[ENTRY_HEADER_LENGTH:], crc32c(encoded[: ENTRY_HEADER_LENGTH - 4])) != checksum:
        raise CodecError(f"entry {index} fails its checksum")
    return Entry(index, term, _KINDS[kind], previous, checksum, encoded)


def encode_message(message: Message) -> bytes:
    """One frame's payload: at most MAX_MESSAGE bytes if the entries obey the core's limits."""
    if isinstance(message, AppendRequest):
        m = message
        head = _APPEND_REQUEST.pack(3, m.term, m.previous_index, m.previous_term, m.commit, m.round, len(m.entries))
        body = b"".join((head, *(entry.encoded for entry in m.entries))) if m.entries else head
    elif isinstance(message, AppendReply):
        r = message
        flags = r.accepted | r.wants_snapshot << 1
        body = _APPEND_REPLY.pack(4, r.term, flags, r.round, r.index, r.hint_index, r.hint_term)
    elif isinstance(message, VoteRequest):
        flags = message.pre | message.transfer << 1
        body = _VOTE_REQUEST.pack(1, message.term, message.last_index, message.last_term, flags)
    elif isinstance(message, VoteReply):
        body = _VOTE_REPLY.pack(2, message.term, message.granted | message.pre << 1)
    elif isinstance(message, SnapshotPiece):
        p = message
        lengths = len(p.configuration), len(p.data)
        head = _PIECE.pack(5, p.term, p.index, p.mark_term, p.offset, p.last, *lengths)
        body = b"".join((head, p.configuration, p.data))
    elif isinstance(message, SnapshotReply):
        body = _SNAPSHOT_REPLY.pack(6, message.term, message.index, message.offset, message.progress)
    else:
        body = _small(message)
    return _HEAD.pack(VERSION, crc32c(body)) + body


def _small(message: TimeoutNow | ReadRequest | ReadReply | RemovedNotice) -> bytes:
    if isinstance(message, ReadRequest):
        return _READ_REQUEST.pack(8, message.term, message.epoch, message.number)
    if isinstance(message, ReadReply):
        return _READ_REPLY.pack(9, message.term, message.epoch, message.number, message.index)
    return _TERM_ONLY.pack(7 if isinstance(message, TimeoutNow) else 10, message.term)


def decode_message(payload: bytes) -> Message:
    """The inverse of :func:`encode_message`; CodecError for anything else."""
    if len(payload) < _BODY_START + 1 or len(payload) > MAX_MESSAGE:
        raise CodecError(f"a message of {len(payload)} bytes")
    version, checksum = _HEAD.unpack_from(payload)
    if version != VERSION:
        raise CodecError(f"a message of version {version}")
    if crc32c(memoryview(payload)[_BODY_START:]) != checksum:
        raise CodecError("a message fails its checksum")
    decoder = _DECODERS.get(payload[_BODY_START])
    if decoder is None:
        raise CodecError(f"a message of kind {payload[_BODY_START]}")
    return decoder(payload)


def _exactly(payload: bytes, layout: struct.Struct) -> tuple[int, ...]:
    if len(payload) != _BODY_START + layout.size:
        raise CodecError(f"a message of kind {payload[_BODY_START]} has {len(payload)} bytes")
    return layout.unpack_from(payload, _BODY_START)


def _at_least(payload: bytes, layout: struct.Struct) -> tuple[int, ...]:
    if len(payload) < _BODY_START + layout.size:
        raise CodecError(f"a message of kind {payload[_BODY_START]} has {len(payload)} bytes")
    return layout.unpack_from(payload, _BODY_START)


def _flag(flags: int, allowed: int) -> int:
    if flags & ~allowed:
        raise CodecError(f"unknown flags {flags:#x}")
    return flags


def _vote_request(payload: bytes) -> VoteRequest:
    _, term, last_index, last_term, flags = _exactly(payload, _VOTE_REQUEST)
    _flag(flags, 3)
    return VoteRequest(term, last_index, last_term, bool(flags & 1), bool(flags & 2))


def _vote_reply(payload: bytes) -> VoteReply:
    _, term, flags = _exactly(payload, _VOTE_REPLY)
    _flag(flags, 3)
    return VoteReply(term, bool(flags & 1), bool(flags & 2))


def _append_request(payload: bytes) -> AppendRequest:
    _, term, previous_index, previous_term, commit, round_, count = _at_least(payload, _APPEND_REQUEST)
    offset = _BODY_START + _APPEND_REQUEST.size
    if count > (len(payload) - offset) // ENTRY_HEADER_LENGTH:
        raise CodecError(f"{count} entries cannot be in {len(payload)} bytes")
    entries = []
    for _ in range(count):
        entry = decode_entry(payload, offset)
        offset += len(entry.encoded)
        entries.append(entry)
    if offset != len(payload):
        raise CodecError("bytes after the last entry")
    return AppendRequest(term, previous_index, previous_term, commit, round_, tuple(entries))


def _append_reply(payload: bytes) -> AppendReply:
    _, term, flags, round_, index, hint_index, hint_term = _exactly(payload, _APPEND_REPLY)
    _flag(flags, 3)
    return AppendReply(term, round_, bool(flags & 1), index, hint_index, hint_term, bool(flags & 2))


def _piece(payload: bytes) -> SnapshotPiece:
    _, term, index, mark_term, offset, flags, configuration_length, length = _at_least(payload, _PIECE)
    _flag(flags, 1)
    start = _BODY_START + _PIECE.size
    if configuration_length > MAX_CONFIGURATION or len(payload) != start + configuration_length + length:
        raise CodecError("the lengths of a snapshot piece do not add up")
    middle = start + configuration_length
    return SnapshotPiece(term, index, mark_term, offset, bool(flags), payload[start:middle], payload[middle:])


def _snapshot_reply(payload: bytes) -> SnapshotReply:
    _, term, index, offset, progress = _exactly(payload, _SNAPSHOT_REPLY)
    if progress > SnapshotProgress.REFUSED:
        raise CodecError(f"unknown snapshot progress {progress}")
    return SnapshotReply(term, index, offset, SnapshotProgress(progress))


def _time_out_now(payload: bytes) -> TimeoutNow:
    return TimeoutNow(_exactly(payload, _TERM_ONLY)[1])


def _read_request(payload: bytes) -> ReadRequest:
    return ReadRequest(*_exactly(payload, _READ_REQUEST)[1:])


def _read_reply(payload: bytes) -> ReadReply:
    return ReadReply(*_exactly(payload, _READ_REPLY)[1:])


def _removed_notice(payload: bytes) -> RemovedNotice:
    return RemovedNotice(_exactly(payload, _TERM_ONLY)[1])


_DECODERS: dict[int, Callable[[bytes], Message]] = {
    1: _vote_request,
    2: _vote_reply,
    3: _append_request,
    4: _append_reply,
    5: _piece,
    6: _snapshot_reply,
    7: _time_out_now,
    8: _read_request,
    9: _read_reply,
    10: _removed_notice,
}
