"""The rules of a rebuild: files that chunk servers hold are recorded anew in an empty namespace.

A file comes in parts, in order, as an upload of epoch 0 (uploads.RECOVERED); the last part makes the name appear, by
the rule of any commit.  Its chunks are recorded as committed, at no node: what each chunk server holds of them is
found by its inventory, as after any absence (S03).  So a rebuild orders nothing and deletes nothing (S16): an upload of
epoch 0 never expires, and what was not recovered is unknown, and kept.

Ids go on far above all that was seen, within the history that was seen: what is on a server that is away now is not
taken for something new, and what is issued from now on is never taken for something old (S28).

A file that was recovered, in part or whole, and then deleted is remembered for good: a server that comes late cannot
bring it back with a second run (S36).  Of what this namespace issued since, it knows best itself.
"""

from __future__ import annotations

from attrs import evolve

from dfs.metaserver import files
from dfs.metaserver.answers import Changed
from dfs.metaserver.commands import CommitFile
from dfs.metaserver.records import ChunkRecord, RebuildRecord, UploadRecord
from dfs.metaserver.transaction import Transaction
from dfs.metaserver.uploads import RECOVERED, check_name, check_shape
from dfs.protocol.errors import BadRequest, FileExists, FileNotFound, Forbidden
from dfs.protocol.messages import BeginRebuild, CommittedChunk, Operation, RecoverFile

LEAP = 1 << 32
"""Ids and generations that may have been issued beyond the highest that was seen."""

NOBODY = Operation(bytes(16), 0, 0)


def begin(state: Transaction, command: BeginRebuild) -> Changed:
    """Once, before anything was issued; said again it changes nothing."""
    if state.rebuild() is not None:
        return Changed(0)
    head = state.head
    if head.file_counter or head.files or head.uploads or head.garbage or head.chunks:
        raise Forbidden(
            "this metadata has files of its own: nothing is rebuilt into it",
            hint="a rebuild wants metadata nodes that were started with empty folders",
        )
    file_id, generation = command.file_id + LEAP, command.generation + LEAP
    if not command.file_id or not command.generation or max(file_id, generation) >= 1 << 64:
        raise BadRequest("a rebuild begins above a file id and a generation that a chunk server holds")
    state.put_rebuild(RebuildRecord(file_id, generation))
    head.incarnation, head.file_counter = divmod(file_id, 1 << 48)
    head.generation = generation
    return Changed(1)


def recover(state: Transaction, command: RecoverFile) -> Changed:
    """How many chunks of the part were not recorded before; the last part counts the name as well."""
    rebuild = state.rebuild()
    if rebuild is None:
        raise Forbidden("no rebuild was begun here", hint="dfs rebuild does both")
    file_id, head = command.file_id, state.head
    if rebuild.file_id < file_id <= head.incarnation << 48 | head.file_counter:
        return Changed(0)
    _check(command, rebuild)
    if state.deleted(file_id) or state.garbage(file_id) is not None:
        raise FileNotFound(f"{command.name!r} was deleted since it was recovered")
    done = state.file(file_id)
    if done is not None:
        if (done.size, done.digest) != (command.size, command.digest):
            raise FileExists(f"{done.name!r} was recovered from other chunks before")
        return Changed(0)
    if state.name(command.name) is not None:
        raise FileExists(f"{command.name!r} belongs to another file")
    upload, new = _put_chunks(state, command)
    if command.first_index + len(command.chunks) < command.count:
        return Changed(new)
    fields = (file_id, RECOVERED, command.size, command.count, command.digest, command.created_ms)
    files.appear(state, CommitFile(NOBODY, *fields), upload)
    return Changed(new + 1)


def _check(command: RecoverFile, rebuild: RebuildRecord) -> None:
    """Raises BadRequest."""
    check_name(command.name)
    check_shape(command.size, command.chunk_size, command.replication, 1)
    highest = max((chunk.generation for chunk in command.chunks), default=0)
    if command.file_id > rebuild.file_id or highest > rebuild.generation:
        raise BadRequest("the file is of another history than the one that was rebuilt, or of a later time")
    indexes = tuple(chunk.index for chunk in command.chunks)
    if not indexes or indexes != tuple(range(command.first_index, command.first_index + len(indexes))):
        raise BadRequest("a part of a file is some chunks in order")
    if indexes[-1] >= command.count:
        raise BadRequest(f"chunk {indexes[-1]} lies behind the last of {command.count}")
    if not all(0 < chunk.length <= command.chunk_size for chunk in command.chunks):
        raise BadRequest(f"a chunk has 1 to {command.chunk_size} bytes")


def _put_chunks(state: Transaction, command: RecoverFile) -> tuple[UploadRecord, int]:
    """Record the chunks that are not yet, and how many these are; the upload's counters run along.  Raises
    BadRequest."""
    upload = state.upload(command.file_id)
    if upload is None:
        state.head.uploads += 1
        upload = UploadRecord(
            name=command.name,
            size=command.size,
            chunk_size=command.chunk_size,
            replication=command.replication,
            quorum=1,
            epoch=RECOVERED,
            count=0,
            bytes=0,
            extent=0,
            began_ms=state.head.time_ms,
            created_ms=command.created_ms,
        )
    fresh = [chunk for chunk in command.chunks if _is_new(state, command.file_id, chunk)]
    for chunk in fresh:
        record = ChunkRecord(chunk.generation, RECOVERED, True, chunk.length, chunk.sha256, (), ())
        state.put_chunk(command.file_id, chunk.index, record)
        state.put_short(command.file_id, chunk.index, 0, command.replication)
    state.head.chunks += len(fresh)
    upload = evolve(
        upload,
        name=command.name,
        count=upload.count + len(fresh),
        bytes=upload.bytes + sum(chunk.length for chunk in fresh),
        extent=max([upload.extent, *(chunk.index + 1 for chunk in fresh)]),
    )
    state.put_upload(command.file_id, upload)
    return upload, len(fresh)


def _is_new(state: Transaction, file_id: int, chunk: CommittedChunk) -> bool:
    known = state.chunk(file_id, chunk.index)
    if known is None:
        return True
    if (known.generation, known.length, known.sha256) != (chunk.generation, chunk.length, chunk.sha256):
        raise BadRequest(f"chunk {chunk.index} was recovered as generation {known.generation} before")
    return False
