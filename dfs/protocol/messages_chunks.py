"""What chunk servers tell metadata, what they are told, streams of chunks.  See :mod:`dfs.protocol.messages`."""

from __future__ import annotations

import enum

from attrs import frozen

from dfs.protocol.removal import Removal
from dfs.protocol.values import Description, FileId, Generation, Grant, NodeNumber, Target


@frozen
class Register:
    """A chunk server's first word on every control connection.  ``incarnation`` (16 bytes) was made with its
    folder; ``boot`` (16 bytes) with its process: the same folder run twice is seen (S19)."""

    name: str
    address: str
    incarnation: bytes
    boot: bytes
    rack: str
    total: int
    free: int
    number: int


@frozen
class Registered:
    """``inventory`` asks for a full inventory now."""

    node: NodeNumber
    heartbeat_ms: int
    cluster_time_ms: int
    inventory: bool


class JobKind(enum.IntEnum):
    COPY = 1
    DELETE = 2
    VERIFY = 3
    TRIM = 4
    RESTORE = 5


@frozen
class Job:
    """An order that rides on a heartbeat answer.  COPY: send your replica to ``targets``.  DELETE: remove the
    garbage named by the grant, generations of its history up to and including its own.  VERIFY: re-read your replica
    and report; with a ``sha256`` other than zeros, other bytes are corrupt.  TRIM: set the replica that ``removal``
    names aside, and delete it when its time in quarantine is over.  RESTORE: serve the replica that was trimmed again,
    from the quarantine or from where it still is, under a new number, if its bytes are those of ``sha256``."""

    job: int
    kind: JobKind
    file_id: FileId
    index: int
    generation: Generation
    length: int
    sha256: bytes
    targets: tuple[Target, ...]
    grant: Grant | None
    removal: Removal | None = None


@frozen
class JobResult:
    """How a job ended: ``code`` 0 is success, else a code of dfs.protocol.errors.  For COPY ``node`` and
    ``number`` are the target's, whose copy was read back from its disk; for DELETE and TRIM ``number`` is the remover's
    own (having nothing to remove is success); for RESTORE it is the replica's new one; for VERIFY it is the number as
    of which the node looked, 0 where it did not."""

    job: int
    kind: JobKind
    file_id: FileId
    index: int
    generation: Generation
    node: NodeNumber
    number: int
    code: int
    message: str


@frozen
class Heartbeat:
    """Goes to every metadata node.  ``number`` is the last durable add or remove; ``streams`` the transfers in
    progress, ``clients`` those of clients among them, ``client_rate`` their bytes/s since the last beat; ``running``
    the jobs accepted and not yet reported."""

    node: NodeNumber
    incarnation: bytes
    boot: bytes
    total: int
    free: int
    used: int
    chunks: int
    quarantined: int
    streams: int
    number: int
    running: tuple[int, ...]
    results: tuple[JobResult, ...]
    clients: int = 0
    client_rate: int = 0


@frozen
class HeartbeatAnswer:
    """``leads`` tells whether the answerer led in ``term`` when it answered: only then are results taken and jobs
    given.  ``register`` asks for a registration anew, ``inventory`` for a full inventory.  ``next_ms`` is when the next
    beat is due, 0: as before."""

    leads: bool
    term: int
    cluster_time_ms: int
    register: bool
    inventory: bool
    jobs: tuple[Job, ...]
    next_ms: int = 0


@frozen
class HeldReplica:
    """One replica in a chunk server's inventory; ``number`` is the one of its durable add."""

    file_id: FileId
    index: int
    generation: Generation
    length: int
    sha256: bytes
    number: int


@frozen
class Inventory:
    """A page: everything held with (file_id, index) above ``after`` up to and including ``upto``, as of ``number``.
    ``after`` and ``upto`` are 12 bytes (file id u64, index u32); upto is 12 x ff in the last page."""

    node: NodeNumber
    incarnation: bytes
    number: int
    after: bytes
    upto: bytes
    replicas: tuple[HeldReplica, ...]


@frozen
class InventoryTaken:
    """``unknown`` counts replicas of the page that metadata has no record of (kept, never deleted: S16)."""

    unknown: int
    missing: int
    added: int


@frozen
class DurableReplica:
    node: NodeNumber
    number: int


@frozen
class ChunkCommit:
    """The primary's word that these replicas are durable with this length and SHA-256."""

    file_id: FileId
    index: int
    generation: Generation
    length: int
    sha256: bytes
    replicas: tuple[DurableReplica, ...]


@frozen
class CommitChunks:
    """At most 256 commits; each is judged alone."""

    commits: tuple[ChunkCommit, ...]


class CommitOutcome(enum.IntEnum):
    COMMITTED = 1  # also when it was committed before with the same generation and hash
    STALE = 2  # another generation is allocated or committed
    GONE = 3  # the upload was deleted, aborted or has expired


@frozen
class CommitOutcomes:
    """One a commit, in order."""

    outcomes: tuple[CommitOutcome, ...]


@frozen
class AddReplicas:
    """Replicas that became durable after the commit, or by a copy: recorded if generation and SHA-256 match."""

    replicas: tuple[ChunkCommit, ...]


@frozen
class PutChunk:
    """Opens a stream of blocks.  ``targets`` is the whole tree and ``quorum`` how many of it must be durable, both as
    metadata signed them in the grant; ``position`` is the receiver's place in it.  ``commit``: the receiver is the
    primary and commits the chunk with metadata before it answers (a copy says False).
    ``length`` None: known only at the end; never above ``limit``."""

    file_id: FileId
    index: int
    generation: Generation
    length: int | None
    limit: int
    targets: tuple[Target, ...]
    position: int
    quorum: int
    commit: bool
    grant: Grant


@frozen
class PutLabelled(PutChunk):
    """A PutChunk of a file whose name and shape the replicas are to know.  A client sends it where the grant stands for
    a label (dfs.protocol.labels); ``written_ms`` counts in copies only."""

    description: Description


@frozen
class ChunkWritten:
    """Durable here and at the others named.  ``dropped`` names targets that did not make it."""

    length: int
    sha256: bytes
    replicas: tuple[DurableReplica, ...]
    dropped: tuple[str, ...]


@frozen
class GetChunk:
    """``length`` bytes from ``offset``; the stream covers whole 64 KiB pieces around them."""

    file_id: FileId
    index: int
    generation: Generation
    offset: int
    length: int


@frozen
class ChunkHead:
    """Comes before the blocks of a GetChunk: the whole chunk's length and SHA-256 as this replica's footer has them."""

    length: int
    sha256: bytes


@frozen
class VerifyChunk:
    """Re-read the replica from disk and compare every checksum."""

    file_id: FileId
    index: int
    generation: Generation


@frozen
class Verified:
    length: int
    sha256: bytes


@frozen
class Done:
    """Nothing more to say."""
