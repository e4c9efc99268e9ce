"""What clients ask of metadata, and what it answers.  See :mod:`dfs.protocol.messages`."""

from __future__ import annotations

from attrs import frozen

from dfs.protocol.values import FileId, Generation, Grant, NodeState, Target


@frozen
class Operation:
    """Exactly-once: the client's session (8 bytes cluster time in ms + 8 random bytes) and its sequence number.
    Answers of sequences below ``floor`` may be forgotten."""

    session: bytes
    sequence: int
    floor: int


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
class Survey:
    """Committed files with where their chunks are recorded, in the order of file ids and indexes, above ``after``
    (b"" at first, else a page's ``next``); at most ``limit`` (1 to 1,000) rows."""

    after: bytes
    limit: int


@frozen
class SurveyedChunk:
    """A chunk of a committed file; ``nodes`` are the numbers of its recorded replicas, dead nodes among them."""

    index: int
    generation: Generation
    length: int
    sha256: bytes
    nodes: tuple[int, ...]


@frozen
class SurveyedFile:
    """Some of a file's chunks, contiguous as they are recorded: a long file goes on in the next page."""

    info: FileInfo
    chunks: tuple[SurveyedChunk, ...]


@frozen
class SurveyedNode:
    """What a node's number in this page stands for, as the leader sees it."""

    number: int
    name: str
    address: str
    state: NodeState
    rack: str


@frozen
class SurveyPage:
    """``next`` is b"" at the end."""

    files: tuple[SurveyedFile, ...]
    nodes: tuple[SurveyedNode, ...]
    next: bytes


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
    """``quarantined`` files of ``quarantined_bytes`` are set aside.  The scrub has verified ``scrubbed`` bytes of about
    ``to_scrub`` in this pass."""

    name: str
    address: str
    state: NodeState
    rack: str
    used: int
    free: int
    chunks: int
    quarantined: int
    quarantined_bytes: int
    scrubbed: int
    to_scrub: int


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
