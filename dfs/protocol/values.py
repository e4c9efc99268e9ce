"""Values that client, metadata server and chunk server share."""

from __future__ import annotations

import enum
import hashlib
import hmac
from typing import NewType

from attrs import frozen

FileId = NewType("FileId", int)  # u64, from a replicated counter, never reused
NodeNumber = NewType("NodeNumber", int)  # u32, given at first registration of an incarnation; 0 is none
Generation = NewType("Generation", int)  # u64, from the same counter discipline; 0 is none
ChunkId = NewType("ChunkId", bytes)  # 32 bytes

CHUNK_SIZE = 4 << 20
MIN_CHUNK_SIZE = 64 << 10
MAX_CHUNK_SIZE = 64 << 20
PIECE = 64 << 10  # bytes that one CRC-32C covers
BLOCK = 1 << 20  # most data bytes in one BLOCK frame: 16 pieces
MAX_NAME = 4096  # bytes of UTF-8
MAX_REPLICATION = 16


def cluster_id_of(cluster_key: bytes) -> bytes:
    """The 16-byte id of the cluster that a key makes: who holds the key knows it, and it tells nothing of the key."""
    return hmac.new(cluster_key, b"dfs cluster id 1", hashlib.sha256).digest()[:16]


def chunk_id(cluster: bytes, file_id: FileId, index: int) -> ChunkId:
    """SHA-256(cluster id, file id u64, index u32): for folders, display and the wire, never a key of the tables."""
    return ChunkId(hashlib.sha256(cluster + file_id.to_bytes(8, "big") + index.to_bytes(4, "big")).digest())


def file_digest(chunk_hashes: bytes) -> bytes:
    """SHA-256 over the concatenated 32-byte chunk hashes in index order (shown as ``dfs1:`` + hex)."""
    return hashlib.sha256(chunk_hashes).digest()


HISTORY_SHIFT = 40
"""The upper 24 bits of a generation name the history that issued it: drawn by chance when a cluster is founded."""


def may_delete(bound: Generation, generation: Generation) -> bool:
    """Whether an order to delete up to and including ``bound`` reaches a replica of ``generation``: never one of
    another history, whose metadata was lost, nor one issued after the order (S16)."""
    return generation <= bound and generation >> HISTORY_SHIFT == bound >> HISTORY_SHIFT


@frozen(order=True)
class ChunkRef:
    """One generation of one chunk: what every write, read, copy, delete and file on disk names."""

    file_id: FileId
    index: int
    generation: Generation


class Role(enum.IntEnum):
    """Who speaks (in Hello)."""

    CLIENT = 1
    META = 2
    CHUNK = 3


class Purpose(enum.IntEnum):
    """What a connection is for: kinds never mix, so bulk bytes never delay a heartbeat or a vote."""

    CONTROL = 1
    BULK = 2
    RAFT = 3
    SNAPSHOT = 4


class NodeState(enum.IntEnum):
    """A chunk server as metadata sees it."""

    ALIVE = 1
    SUSPECT = 2
    DEAD = 3
    MAINTENANCE = 4
    DRAINING = 5
    DRAINED = 6


class GrantKind(enum.IntEnum):
    """What a grant allows."""

    PUT = 1
    COPY = 2
    DELETE = 3


@frozen
class Grant:
    """Leave from metadata for one operation on one generation of a chunk.

    ``expires_ms`` is cluster time.  ``evidence`` is, for DELETE, the log index of the entry that ended
    the file; for PUT what stands for the file's label (dfs.protocol.labels); else 0.  ``mac`` is HMAC-SHA256 over the
    encoded rest, under the cluster's grant key.
    """

    kind: GrantKind
    file_id: FileId
    index: int
    generation: Generation  # for DELETE 0 means: every generation of the chunk
    expires_ms: int
    evidence: int
    mac: bytes


@frozen
class Label:
    """What the chunks of a file say of it, so that names can be rebuilt from chunk servers alone.  ``size`` is None
    where it was not known when the upload began."""

    name: str
    size: int | None
    chunk_size: int
    replication: int


@frozen
class Description:
    """What a replica says of its file.  ``last``: no chunk follows this one.  ``written_ms`` is the wall time at which
    the chunk was stored first, for display and for the order of events after a disaster; 0: to be set by the writer."""

    label: Label
    last: bool
    written_ms: int


@frozen
class Target:
    """A place in a put's tree: ``parent`` is the position in the list of who forwards to it
    (the receiver of the put is position 0, whose parent is 0 too)."""

    node: NodeNumber
    name: str
    address: str  # host:port
    parent: int = 0
