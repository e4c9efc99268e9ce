"""Many small files in one request.  See :mod:`dfs.protocol.messages`.

A file is small if it has at most ``MAX_SMALL`` bytes, so one chunk or none.  Each part of a batch has an outcome of its
own: a part that is refused takes none of the others along.  The whole batch is one operation: asked again it is
answered as before, part by part, and nothing of it is done twice (S26).
"""

from __future__ import annotations

from attrs import frozen

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
