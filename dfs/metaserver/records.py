"""The records of the tables, packed (DESIGN: small, separate, versioned; offsets in doc/formats-metadata.md).

Room for later owners, modes, storage classes and ciphers is the version byte: a new version has its own codec beside
the old one.  Nothing here is larger than a name plus a few hundred bytes, whatever the file's size.
"""

from __future__ import annotations

import enum
from operator import attrgetter

from attrs import define, frozen

from dfs.metaserver.packing import FLAG, ID16, SHA256, U8, U16, U32, U64, Codec, Many, Optional, Text
from dfs.protocol.values import MAX_NAME

MAX_NODES_OF_A_CHUNK = 64  # replicas and tried targets together
MAX_ANSWERS = 64  # remembered answers of one session

name_text = Text(MAX_NAME)
short_text = Text(255)


@frozen
class FileRecord:
    """A committed file."""

    name: str
    size: int
    digest: bytes
    replication: int
    chunk_size: int
    count: int
    created_ms: int  # wall time, for display
    epoch: int  # of the writer that committed it


@frozen
class UploadRecord:
    """A file that is being written.  ``count``, ``bytes`` and ``extent`` (highest committed index + 1) run along with
    the commits of chunks, so that CommitFile looks at no chunk but the last."""

    name: str
    size: int | None
    chunk_size: int
    replication: int
    quorum: int
    epoch: int
    count: int
    bytes: int
    extent: int
    began_ms: int  # cluster time
    created_ms: int  # wall time


@frozen
class ChunkRecord:
    """A chunk that was allocated.  ``nodes`` are its targets until it is committed, its recorded replicas from then on;
    ``tried`` are other nodes that may hold bytes of it, of any generation: they are told when the file is garbage."""

    generation: int
    epoch: int  # of the writer to whom the generation was issued
    committed: bool
    length: int
    sha256: bytes
    nodes: tuple[int, ...]
    tried: tuple[int, ...]


@frozen
class ReplicaRecord:
    """A replica on a node; ``number`` is that of its durable add (S06)."""

    number: int
    length: int


class Standing(enum.IntEnum):
    """What is recorded of a node's state; that it is suspect is the leader's own opinion, never recorded."""

    ALIVE = 1
    DEAD = 3
    MAINTENANCE = 4
    DRAINING = 5
    DRAINED = 6


@frozen
class NodeRecord:
    """A chunk server's folder.  ``chunks`` and ``bytes`` count its recorded replicas; ``highest`` is the highest number
    under which one was ever recorded: where the folder counts lower, it was put back from an older copy (S06)."""

    name: str
    address: str
    rack: str
    incarnation: bytes
    standing: int
    chunks: int
    bytes: int
    since: int  # log index of the last change of standing
    highest: int


@frozen
class GarbageRecord:
    """A file that ended; ``ended`` is the log index of the entry that ended it: the evidence of each deletion."""

    ended: int
    ended_ms: int  # cluster time
    was_committed: bool


@frozen
class SessionRecord:
    """What is remembered of a client: answers of ``sequences`` (ascending); below ``floor`` they were forgotten."""

    floor: int
    active_ms: int
    sequences: tuple[int, ...]


@frozen
class ShortRecord:
    """A committed chunk with fewer recorded replicas than wanted."""

    recorded: int
    wanted: int


@frozen
class MemberRecord:
    """A metadata member, pinned at its first contact (R35)."""

    incarnation: bytes


@frozen
class NumberRecord:
    """Points to a file id or a node number."""

    number: int


@frozen
class RebuildRecord:
    """This namespace was rebuilt from chunk servers: all that they held is at or below these, all that was issued since
    is above."""

    file_id: int
    generation: int


@define
class Head:
    """The one record that every apply rewrites: what was applied, the clock, the counters, the hash of the rest.
    Mutable, for the commands of one apply change it one after the other.  ``file_counter``, ``generation`` and ``node``
    are the last ones issued; ``chunks`` counts committed chunks, ``files`` and ``file_bytes`` committed files."""

    cluster_id: bytes
    index: int
    term: int
    time_ms: int
    incarnation: int
    file_counter: int
    generation: int
    node: int
    session_floor: int
    sessions: int
    files: int
    file_bytes: int
    uploads: int
    garbage: int
    chunks: int
    hash: bytes

    def copied(self) -> Head:
        """As it is now; once for each command, so without ``copy``, which takes ten times as long."""
        return Head(*_head_values(self))


file_codec = Codec(
    FileRecord,
    1,
    ("name", name_text),
    ("size", U64),
    ("digest", SHA256),
    ("replication", U8),
    ("chunk_size", U32),
    ("count", U32),
    ("created_ms", U64),
    ("epoch", U32),
)
upload_codec = Codec(
    UploadRecord,
    1,
    ("name", name_text),
    ("size", Optional(U64)),
    ("chunk_size", U32),
    ("replication", U8),
    ("quorum", U8),
    ("epoch", U32),
    ("count", U32),
    ("bytes", U64),
    ("extent", U32),
    ("began_ms", U64),
    ("created_ms", U64),
)
chunk_codec = Codec(
    ChunkRecord,
    1,
    ("generation", U64),
    ("epoch", U32),
    ("committed", FLAG),
    ("length", U32),
    ("sha256", SHA256),
    ("nodes", Many(U32, MAX_NODES_OF_A_CHUNK)),
    ("tried", Many(U32, MAX_NODES_OF_A_CHUNK)),
)
replica_codec = Codec(ReplicaRecord, 1, ("number", U64), ("length", U32))
node_codec = Codec(
    NodeRecord,
    1,
    ("name", short_text),
    ("address", short_text),
    ("rack", short_text),
    ("incarnation", ID16),
    ("standing", U8),
    ("chunks", U64),
    ("bytes", U64),
    ("since", U64),
    ("highest", U64),
)
garbage_codec = Codec(GarbageRecord, 1, ("ended", U64), ("ended_ms", U64), ("was_committed", FLAG))
session_codec = Codec(SessionRecord, 1, ("floor", U64), ("active_ms", U64), ("sequences", Many(U64, MAX_ANSWERS)))
short_codec = Codec(ShortRecord, 1, ("recorded", U8), ("wanted", U8))
member_codec = Codec(MemberRecord, 1, ("incarnation", ID16))
rebuild_codec = Codec(RebuildRecord, 1, ("file_id", U64), ("generation", U64))
number_codec = Codec(NumberRecord, 1, ("number", U64))
_head_fields = (
    ("cluster_id", ID16),
    ("index", U64),
    ("term", U64),
    ("time_ms", U64),
    ("incarnation", U16),
    ("file_counter", U64),
    ("generation", U64),
    ("node", U32),
    ("session_floor", U64),
    ("sessions", U32),
    ("files", U64),
    ("file_bytes", U64),
    ("uploads", U32),
    ("garbage", U64),
    ("chunks", U64),
    ("hash", SHA256),
)
head_codec = Codec(Head, 1, *_head_fields)
_head_values = attrgetter(*(name for name, _ in _head_fields))

CODECS: tuple[Codec[object], ...] = (
    file_codec,
    upload_codec,
    chunk_codec,
    replica_codec,
    node_codec,
    garbage_codec,
    session_codec,
    short_codec,
    member_codec,
    number_codec,
    rebuild_codec,
    head_codec,
)  # type: ignore[assignment]  # Codec is invariant; the tests only look
