"""What is said: one frozen class a message.

Requests are imperative, answers are nouns.  Times are cluster time in
milliseconds; sizes and offsets are bytes; ``None`` in an optional field means
"not known" or "not given".  :mod:`dfs.protocol.wire` holds the literal table of
codes and the construct declaration of each; doc/protocol.md is the specification.
"""

from __future__ import annotations

import enum

from attrs import frozen

from dfs.protocol.values import FileId, Generation, Grant, NodeNumber, NodeState, Target


@frozen
class Operation:
    """Exactly-once: the client's session (8 bytes cluster time in ms + 8 random bytes) and its sequence number.
    Answers of sequences below ``floor`` may be forgotten."""

    session: bytes
    sequence: int
    floor: int


# ---- client to metadata ------------------------------------------------------------------------


@frozen
class CreateUpload:
    """Begin an upload; ``count`` placements are wanted at once (at most 64)."""

    operation: Operation
    name: str
    size: int | None
    chunk_size: int
    replication: int
    count: int


@frozen
class ResumeUpload:
    """Take an upload over: raises its epoch, so the former writer is fenced off."""

    operation: Operation
    file_id: FileId
    count: int


@frozen
class CommittedChunk:
    """A chunk that is durable and recorded."""

    index: int
    generation: Generation
    length: int
    sha256: bytes


@frozen
class Placement:
    """Where a chunk is to be written: ``targets[0]`` is the primary.  Where the chunk is committed already,
    ``committed`` says so and there are no targets and no grant."""

    index: int
    generation: Generation
    targets: tuple[Target, ...]
    quorum: int  # replicas that must be durable before a commit
    grant: Grant | None
    committed: CommittedChunk | None


@frozen
class UploadGranted:
    """The upload is the caller's while it renews the lease in time."""

    file_id: FileId
    epoch: int
    lease_ms: int
    chunk_size: int
    replication: int
    size: int | None
    degraded: bool
    placements: tuple[Placement, ...]


@frozen
class AllocateChunks:
    """Placements for ``count`` indexes from ``first_index``; asking again answers the same."""

    operation: Operation
    file_id: FileId
    epoch: int
    first_index: int
    count: int


@frozen
class ReplaceChunk:
    """The write of ``generation`` failed: place the chunk anew under a new generation, without ``avoid``
    where that is possible.  If it was committed after all, the answer says so."""

    operation: Operation
    file_id: FileId
    epoch: int
    index: int
    generation: Generation
    avoid: tuple[str, ...]


@frozen
class Placements:
    placements: tuple[Placement, ...]


@frozen
class RenewLease:
    """Keep the upload; answered by the leader from memory."""

    file_id: FileId
    epoch: int


@frozen
class Lease:
    lease_ms: int


@frozen
class CommitFile:
    """Make the name appear, whole.  ``digest`` is :func:`dfs.protocol.values.file_digest`."""

    operation: Operation
    file_id: FileId
    epoch: int
    size: int
    count: int
    digest: bytes


@frozen
class AbortUpload:
    """Give an upload up; what it wrote becomes garbage."""

    operation: Operation
    file_id: FileId
    epoch: int


@frozen
class FileInfo:
    """A committed file.  ``created_ms`` is wall time, for display only."""

    name: str
    file_id: FileId
    size: int
    digest: bytes
    replication: int
    chunk_size: int
    count: int
    created_ms: int


@frozen
class GetFile:
    """Exactly one of name and file_id is given."""

    name: str | None
    file_id: FileId | None


@frozen
class Replica:
    """One copy of a chunk as metadata knows it."""

    node: str
    address: str
    state: NodeState


@frozen
class ChunkInfo:
    index: int
    chunk_id: bytes
    generation: Generation
    length: int
    sha256: bytes
    replicas: tuple[Replica, ...]


@frozen
class ListChunks:
    """Committed chunks of a file or of an upload in progress, at most ``limit`` (1 to 1,000) from ``first_index``."""

    file_id: FileId
    first_index: int
    limit: int


@frozen
class ChunkPage:
    """``next_index`` is where the next page begins, None at the end."""

    chunks: tuple[ChunkInfo, ...]
    next_index: int | None


@frozen
class ListFiles:
    """Files whose name starts with ``prefix``, in byte order, after ``token`` (b"" at first), at most ``limit``."""

    prefix: str
    token: bytes
    limit: int


@frozen
class FilePage:
    """``token`` is b"" at the end."""

    files: tuple[FileInfo, ...]
    token: bytes


@frozen
class DeleteFile:
    """Exactly one of name and file_id is given; by file_id it ends an upload in progress too."""

    operation: Operation
    name: str | None
    file_id: FileId | None


@frozen
class ReportCorrupt:
    """A client saw bad bytes: a hint; the server re-reads before it believes it."""

    file_id: FileId
    index: int
    generation: Generation
    node: str


@frozen
class GetStatus:
    """Answered at once by any metadata node, also during an election."""


@frozen
class MetaMember:
    name: str
    address: str


@frozen
class ChunkServerInfo:
    name: str
    address: str
    state: NodeState
    rack: str
    used: int
    free: int
    chunks: int
    quarantined: int


@frozen
class Status:
    """One metadata node's view.  ``leader`` is a node name or None; ``applied`` is the answerer's own."""

    cluster_id: bytes
    node: str
    role: str
    leader: str | None
    term: int
    applied: int
    state_hash: bytes
    members: tuple[MetaMember, ...]
    chunk_servers: tuple[ChunkServerInfo, ...]
    files: int
    bytes: int
    debt_chunks: int
    debt_bytes: int
    debt_single_copy: int
    alarms: tuple[str, ...]


# ---- chunk server to metadata ------------------------------------------------------------------


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


@frozen
class Job:
    """An order that rides on a heartbeat answer.  COPY: send your replica to ``targets``.  DELETE: remove the
    garbage named by the grant, generations of its history up to and including its own.  VERIFY: re-read your replica
    and report."""

    job: int
    kind: JobKind
    file_id: FileId
    index: int
    generation: Generation
    length: int
    sha256: bytes
    targets: tuple[Target, ...]
    grant: Grant | None


@frozen
class JobResult:
    """How a job ended: ``code`` 0 is success, else a code of dfs.protocol.errors.  For COPY ``node`` and
    ``number`` are the target's; for DELETE ``number`` is the remover's own."""

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
    progress; ``running`` the jobs accepted and not yet reported."""

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


@frozen
class HeartbeatAnswer:
    """``leads`` tells whether the answerer led in ``term`` when it answered: only then are results taken and jobs
    given.  ``register`` asks for a registration anew, ``inventory`` for a full inventory."""

    leads: bool
    term: int
    cluster_time_ms: int
    register: bool
    inventory: bool
    jobs: tuple[Job, ...]


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


# ---- to a chunk server -------------------------------------------------------------------------


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
