"""Batches in the ledger: each part as if it had been asked alone."""

from __future__ import annotations

from collections.abc import Sequence

from dfs.client.together import error_of
from dfs.protocol.errors import FileNotFound
from dfs.protocol.messages import (
    CommitFile,
    CommitFiles,
    CreateUpload,
    CreateUploads,
    Done,
    FilesCommitted,
    FilesOpened,
    GetFile,
    OpenFiles,
    UploadGranted,
    UploadOutcome,
    UploadsGranted,
)


def parts_of(request: object) -> Sequence[object]:
    """The single requests that a batch stands for; none for what is no batch."""
    if isinstance(request, CreateUploads):
        shape = request.chunk_size, request.replication
        return [CreateUpload(request.operation, part.name, part.size, *shape, 1) for part in request.uploads]
    if isinstance(request, CommitFiles):
        return [
            CommitFile(request.operation, part.file_id, part.epoch, part.size, part.count, part.digest)
            for part in request.files
        ]
    return request.files if isinstance(request, OpenFiles) else ()


def answers_of(request: object, answer: object) -> Sequence[object]:
    """What each part was answered; the same error for all where the batch had no answer."""
    if isinstance(answer, UploadsGranted) and isinstance(request, CreateUploads):
        return [_granted(request, answer, outcome) for outcome in answer.outcomes]
    if isinstance(answer, FilesCommitted):
        return [Done() if each.refusal is None else error_of(each.refusal) for each in answer.outcomes]
    if isinstance(answer, FilesOpened) and isinstance(request, OpenFiles):
        return [
            each.info if each.info is not None else _missing(part)
            for part, each in zip(request.files, answer.files, strict=True)
        ]
    return [answer] * len(parts_of(request))


def _granted(request: CreateUploads, answer: UploadsGranted, outcome: UploadOutcome) -> object:
    if outcome.granted is None:
        assert outcome.refusal is not None
        return error_of(outcome.refusal)
    shape = request.chunk_size, request.replication
    return UploadGranted(outcome.granted.file_id, 1, answer.lease_ms, *shape, None, False, ())


def _missing(file: GetFile) -> FileNotFound:
    return FileNotFound(f"there is no file {file.name or file.file_id}")
