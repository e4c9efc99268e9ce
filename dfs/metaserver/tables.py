"""Where each record lies: the keys of the tables and their order.

One letter names the table; numbers are big endian, so that the order of keys is that of numbers and each question is
one point or one short range:

======  ==============================  ==========================================================
letter  key after it                    value
======  ==============================  ==========================================================
``N``   name (UTF-8)                    file id; a committed file (listing is a range scan)
``F``   file id (8)                     the file
``U``   file id (8)                     the upload in progress
``C``   file id (8), index (4)          the chunk (a file's chunks are neighbours)
``R``   node (4), file id, index        the replica (a node's replicas are neighbours)
``H``   file id (8), index (4)          short: fewer recorded replicas than wanted
``G``   file id (8)                     garbage: a file that ended and whose chunks are still there
``D``   node (4)                        the node
``K``   node name                       the number of the node that has the name now
``I``   incarnation (16)                the number of the node
``P``   member name                     a metadata member's pinned incarnation
``S``   session (16)                    the session
``A``   session (16), sequence (8)      the remembered answer
``T``   active ms (8), session (16)     b"": sessions by last activity, for eviction
``L``   node (4)                        what the node went through, and what is wished of it
``Q``   node (4), file id, index        retired: a surplus replica that is struck off and ordered away
``E``   sequence (8)                    an event
``O``   (nothing)                       the care: counters of events, what is to be balanced
``B``   (nothing)                       the rebuild that this namespace began with
``Z``   file id (8)                     a recovered file that was deleted: never recovered again
``M``   (nothing)                       the head
======  ==============================  ==========================================================
"""

from __future__ import annotations

import struct

_U32 = struct.Struct(">I")
_U64 = struct.Struct(">Q")
_CHUNK = struct.Struct(">cQI")
_REPLICA = struct.Struct(">cIQI")

HEAD = b"M"
NAMES = b"N"
GARBAGE = b"G"
UPLOADS = b"U"
NODES = b"D"
MEMBERS = b"P"
SHORT = b"H"
CHUNKS = b"C"
ACTIVITY = b"T"
RETIRED = b"Q"
CARE = b"O"
REBUILD = b"B"

LAST_PLACE = b"\xff" * 12  # above every (file id, index)


def name_key(name: str) -> bytes:
    return b"N" + name.encode()


def file_key(file_id: int) -> bytes:
    return b"F" + _U64.pack(file_id)


def upload_key(file_id: int) -> bytes:
    return b"U" + _U64.pack(file_id)


def garbage_key(file_id: int) -> bytes:
    return b"G" + _U64.pack(file_id)


def deleted_key(file_id: int) -> bytes:
    return b"Z" + _U64.pack(file_id)


def chunk_key(file_id: int, index: int) -> bytes:
    return _CHUNK.pack(b"C", file_id, index)


def chunks_of(file_id: int) -> bytes:
    """The prefix of a file's chunks."""
    return b"C" + _U64.pack(file_id)


def replica_key(node: int, file_id: int, index: int) -> bytes:
    return _REPLICA.pack(b"R", node, file_id, index)


def replicas_of(node: int) -> bytes:
    """The prefix of a node's replicas; (file id, index) in 12 bytes follows."""
    return b"R" + _U32.pack(node)


def short_key(file_id: int, index: int) -> bytes:
    return _CHUNK.pack(b"H", file_id, index)


def node_key(node: int) -> bytes:
    return b"D" + _U32.pack(node)


def life_key(node: int) -> bytes:
    return b"L" + _U32.pack(node)


def retired_key(node: int, file_id: int, index: int) -> bytes:
    return _REPLICA.pack(b"Q", node, file_id, index)


def retired_of(node: int) -> bytes:
    """The prefix of a node's retired replicas; (file id, index) in 12 bytes follows."""
    return b"Q" + _U32.pack(node)


def event_key(sequence: int) -> bytes:
    return b"E" + _U64.pack(sequence)


def sequence_of(key: bytes) -> int:
    """The sequence in an event's key."""
    sequence: int = _U64.unpack_from(key, 1)[0]
    return sequence


def node_name_key(name: str) -> bytes:
    return b"K" + name.encode()


def incarnation_key(incarnation: bytes) -> bytes:
    return b"I" + incarnation


def member_key(name: str) -> bytes:
    return b"P" + name.encode()


def session_key(session: bytes) -> bytes:
    return b"S" + session


def answer_key(session: bytes, sequence: int) -> bytes:
    return b"A" + session + _U64.pack(sequence)


def activity_key(active_ms: int, session: bytes) -> bytes:
    return b"T" + _U64.pack(active_ms) + session


def active_ms_of(key: bytes) -> int:
    """The time in an activity key."""
    active_ms: int = _U64.unpack_from(key, 1)[0]
    return active_ms


def place(file_id: int, index: int) -> bytes:
    """(file id, index) in 12 bytes: the order of inventories."""
    return _U64.pack(file_id) + _U32.pack(index)


def place_of(key: bytes) -> tuple[int, int]:
    """(file id, index) from the last 12 bytes of a chunk's, replica's or short key."""
    return _U64.unpack_from(key, len(key) - 12)[0], _U32.unpack_from(key, len(key) - 4)[0]


def file_id_of(key: bytes) -> int:
    """The file id from the last 8 bytes of a file's, upload's or garbage key."""
    file_id: int = _U64.unpack_from(key, len(key) - 8)[0]
    return file_id
