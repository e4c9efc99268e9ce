"""The rules for many small files in one entry of the log.

A batch is one operation with one remembered answer, so asked again it does nothing twice (S26).  Within it each part is
judged alone, by the very rules of a single one, in the order of the parts: a part that is refused is undone alone
and takes nothing of the others along.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from dfs.metaserver import chunks, commands, files, uploads
from dfs.metaserver.answers import LEASE_MS
from dfs.metaserver.commands_together import CommitFiles, CreateUploads, FinishUploads
from dfs.metaserver.transaction import Transaction
from dfs.protocol.errors import BadRequest, DFSError
from dfs.protocol.limits import MAX_HINT, MAX_SENTENCE, MAX_SMALL
from dfs.protocol.messages import (
    ChunkCommit,
    CommitRefusal,
    FilesCommitted,
    FinishedUpload,
    FinishOutcome,
    GrantedUpload,
    NewUpload,
    Operation,
    Refusal,
    UploadOutcome,
    UploadsFinished,
    UploadsGranted,
)
from dfs.protocol.values import FileId, Generation, NodeNumber, Target, file_digest

Done = TypeVar("Done")
NO_MAC = bytes(32)


def create(state: Transaction, command: CreateUploads) -> UploadsGranted:
    """Begin them; the grants are signed by who answers."""

    def one(part: NewUpload) -> GrantedUpload:
        if part.size > MAX_SMALL:
            raise BadRequest(f"{part.size} bytes are no small file: at most {MAX_SMALL} are")
        single = commands.CreateUpload(
            operation=command.operation,
            name=part.name,
            size=part.size,
            chunk_size=command.chunk_size,
            replication=command.replication,
            quorum=command.quorum,
            wall_ms=command.wall_ms,
            placements=(command.nodes,),
        )
        granted = uploads.create(state, single)
        generation = granted.placements[0].generation if granted.placements else Generation(0)
        return GrantedUpload(FileId(granted.file_id), generation, NO_MAC)

    outcomes = []
    for part in command.uploads:
        granted, refusal = _alone(state, lambda part=part: one(part))  # type: ignore[misc]
        outcomes.append(UploadOutcome(granted, refusal))
    return UploadsGranted(LEASE_MS, _targets(state, command), command.quorum, 0, tuple(outcomes))


def commit(state: Transaction, command: CommitFiles) -> FilesCommitted:
    """Make their names appear."""

    def one(part: FinishedUpload) -> None:
        single = commands.CommitFile(
            operation=command.operation,
            file_id=part.file_id,
            epoch=part.epoch,
            size=part.size,
            count=part.count,
            digest=part.digest,
            wall_ms=command.wall_ms,
        )
        files.commit(state, single)

    outcomes = []
    for part in command.files:
        _, refusal = _alone(state, lambda part=part: one(part))  # type: ignore[misc]
        outcomes.append(CommitRefusal(refusal))
    return FilesCommitted(tuple(outcomes))


def finish(state: Transaction, command: FinishUploads) -> UploadsFinished:
    """Commit chunks, and with the only chunk of an upload its file.  Where that is refused, the name being taken say,
    the chunk stays committed, and the writer hears why when it commits the file."""
    outcomes = []
    for item in command.commits:
        (outcome,) = chunks.commit(state, commands.CommitChunks((item,))).outcomes
        finished = FinishOutcome(outcome)
        if finished is FinishOutcome.COMMITTED and _is_whole(state, item):
            _, refusal = _alone(state, lambda item=item: _finish(state, item, command.wall_ms))  # type: ignore[misc]
            finished = FinishOutcome.FINISHED if refusal is None else FinishOutcome.COMMITTED
        outcomes.append(finished)
    return UploadsFinished(tuple(outcomes))


def _is_whole(state: Transaction, item: ChunkCommit) -> bool:
    """Whether the chunk is all of its file: of an upload of this size by the writer to whom it was granted, or of a
    file that was finished already."""
    upload = state.upload(item.file_id)
    if upload is not None:
        chunk = state.chunk(item.file_id, item.index)
        fenced_off = chunk is None or chunk.epoch != upload.epoch  # somebody took the upload over since
        return item.index == 0 and upload.size == item.length and not fenced_off
    file = state.file(item.file_id)
    return item.index == 0 and file is not None and file.size == item.length


def _finish(state: Transaction, item: ChunkCommit, wall_ms: int) -> None:
    holder = state.upload(item.file_id) or state.file(item.file_id)
    assert holder is not None  # it is whole
    operation = Operation(bytes(16), 0, 0)  # none is remembered: said again it finds the same file
    digest = file_digest(item.sha256)
    files.commit(
        state, commands.CommitFile(operation, item.file_id, holder.epoch, item.length, 1, digest, wall_ms)
    )  # fmt: skip


def _alone(state: Transaction, rule: Callable[[], Done]) -> tuple[Done | None, Refusal | None]:
    """One part: what it did, or why it did nothing."""
    state.begin(state.index)
    try:
        return rule(), None
    except DFSError as error:
        state.roll_back()
        return None, Refusal(error.code, _cut(error.message, MAX_SENTENCE), _cut(error.hint, MAX_HINT))


def _targets(state: Transaction, command: CreateUploads) -> tuple[Target, ...]:
    """Where the chunks go: the nodes that :func:`dfs.metaserver.uploads.create` took."""
    targets = []
    for node in dict.fromkeys(command.nodes):
        record = state.node(node)
        if record is not None:
            targets.append(Target(NodeNumber(node), record.name, record.address))
    return tuple(targets[: command.replication])


def _cut(sentence: str, limit: int) -> str:
    return sentence.encode()[:limit].decode(errors="ignore")
