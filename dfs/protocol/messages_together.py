"""Many small files in one request.  See :mod:`dfs.protocol.messages`.

A file is small if it has at most ``MAX_SMALL`` bytes, so one chunk or none.  Each part of a batch has an outcome of its
own: a part that is refused takes none of the others along.  The whole batch is one operation: asked again it is
answered as before, part by part, and nothing of it is done twice (S26).
"""

from __future__ import annotations

import enum

from attrs import frozen

from dfs.protocol.messages_chunks import ChunkCommit, DurableReplica
from dfs.protocol.messages_metadata import ChunkInfo, FileInfo, GetFile, Operation
from dfs.protocol.values import FileId, Generation, Target


@frozen
class Refusal:
    """Why one part was not done: a code of dfs.protocol.errors, and its sentences."""

    code: int
    message: str
    hint: str


@frozen
class NewUpload:
    """One part of CreateUploads; ``size`` is at most ``MAX_SMALL``."""

    name: str
    size: int


@frozen
class CreateUploads:
    """Begin uploads of small files, at most ``MAX_TOGETHER``.  All get the same targets."""

    operation: Operation
    chunk_size: int
    replication: int
    uploads: tuple[NewUpload, ...]


@frozen
class GrantedUpload:
    """One upload: its epoch is 1.  ``generation`` is its chunk's, 0 for an empty file; ``mac`` the chunk's grant's."""

    file_id: FileId
    generation: Generation
    mac: bytes


@frozen
class UploadOutcome:
    """Exactly one of the two."""

    granted: GrantedUpload | None
    refusal: Refusal | None


@frozen
class UploadsGranted:
    """One outcome a part, in order.  ``targets`` and ``quorum`` as in a Placement; the grants to put expire at
    ``expires_ms``."""

    lease_ms: int
    targets: tuple[Target, ...]
    quorum: int
    expires_ms: int
    outcomes: tuple[UploadOutcome, ...]


@frozen
class FinishedUpload:
    """One part of CommitFiles, as in CommitFile."""

    file_id: FileId
    epoch: int
    size: int
    count: int
    digest: bytes


@frozen
class CommitFiles:
    """Make names appear, each whole or not at all; at most ``MAX_TOGETHER``."""

    operation: Operation
    files: tuple[FinishedUpload, ...]


@frozen
class CommitRefusal:
    """``refusal`` is None where the file was committed."""

    refusal: Refusal | None


@frozen
class FilesCommitted:
    """One outcome a part, in order."""

    outcomes: tuple[CommitRefusal, ...]


@frozen
class OpenFiles:
    """Files by name or id, at most ``MAX_TOGETHER``, each with its chunk if it has just one."""

    files: tuple[GetFile, ...]


@frozen
class OpenedFile:
    """``info`` is None where there is no such file; ``chunk`` where the file has none, or more than one."""

    info: FileInfo | None
    chunk: ChunkInfo | None


@frozen
class FilesOpened:
    """One a file, in order."""

    files: tuple[OpenedFile, ...]


@frozen
class SmallChunk:
    """One chunk of a PutChunks: the only one of its file, so of index 0.  ``crc`` is the CRC-32C of its bytes, ``mac``
    its grant's, ``name`` its file's."""

    file_id: FileId
    generation: Generation
    length: int
    crc: int
    sha256: bytes
    mac: bytes
    name: str


@frozen
class PutChunks:
    """Opens a stream with the bytes of at most ``MAX_TOGETHER`` small chunks, one after the other, for the same
    targets; the whole has at most ``MAX_BATCH`` bytes.  The fields are those of a PutChunk, the grants expire together;
    the primary commits all that are durable with metadata, and their files with them, before it answers."""

    chunk_size: int
    replication: int
    targets: tuple[Target, ...]
    position: int
    quorum: int
    expires_ms: int
    chunks: tuple[SmallChunk, ...]


@frozen
class ChunkOutcome:
    """Where one chunk of the batch is durable, or why it is not stored.  ``finished``: its file has its name, and no
    CommitFiles is needed."""

    replicas: tuple[DurableReplica, ...]
    finished: bool
    refusal: Refusal | None


@frozen
class ChunksWritten:
    """One outcome a chunk, in order; ``dropped`` as in ChunkWritten."""

    outcomes: tuple[ChunkOutcome, ...]
    dropped: tuple[str, ...]


@frozen
class WantedChunk:
    """One chunk of a GetChunks, whole."""

    file_id: FileId
    index: int
    generation: Generation


@frozen
class GetChunks:
    """Asks for at most ``MAX_TOGETHER`` small chunks of one server, of at most ``MAX_BATCH`` bytes in all."""

    chunks: tuple[WantedChunk, ...]


@frozen
class FoundChunk:
    """Its length (0 where it is refused); metadata knows the SHA-256 that the bytes must have."""

    length: int
    refusal: Refusal | None


@frozen
class ChunksHead:
    """One a chunk, in order; comes before a stream with the bytes of all that were found, one after the other."""

    chunks: tuple[FoundChunk, ...]


@frozen
class FinishUploads:
    """The primary's word as in CommitChunks, for small files: the commit of the only chunk of an upload is the commit
    of the file.  At most ``MAX_TOGETHER``; asked again it does nothing twice."""

    commits: tuple[ChunkCommit, ...]


class FinishOutcome(enum.IntEnum):
    """As CommitOutcome; FINISHED: the chunk is committed and the file has its name."""

    COMMITTED = 1
    STALE = 2
    GONE = 3
    FINISHED = 4


@frozen
class UploadsFinished:
    """One a commit, in order."""

    outcomes: tuple[FinishOutcome, ...]
