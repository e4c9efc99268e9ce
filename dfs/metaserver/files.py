"""The rules of names: commit and delete.

A committed name is unique; it appears whole, by one entry, or not at all; what was ended never appears again (S36,
S46).
"""

from __future__ import annotations

from dfs.metaserver.commands import CommitFile, DeleteFile
from dfs.metaserver.records import FileRecord, UploadRecord
from dfs.metaserver.transaction import Transaction, UploadCommitted
from dfs.metaserver.uploads import RECOVERED, bury, check_name, end_upload, writer
from dfs.protocol.errors import BadRequest, FileExists, FileNotFound
from dfs.protocol.messages import FileInfo
from dfs.protocol.values import FileId


def describe(file_id: int, file: FileRecord) -> FileInfo:
    return FileInfo(
        name=file.name,
        file_id=FileId(file_id),
        size=file.size,
        digest=file.digest,
        replication=file.replication,
        chunk_size=file.chunk_size,
        count=file.count,
        created_ms=file.created_ms,
    )


def commit(state: Transaction, command: CommitFile) -> FileInfo:
    """O(1): count and bytes were kept by the commits of the chunks (S37)."""
    done = state.file(command.file_id)
    if done is not None and (done.epoch, done.size, done.digest) == (command.epoch, command.size, command.digest):
        return describe(command.file_id, done)  # said again beyond the session's memory
    return appear(state, command, writer(state, command.file_id, command.epoch))


def appear(state: Transaction, command: CommitFile, upload: UploadRecord) -> FileInfo:
    """The upload becomes a file, if it is whole and its name is nobody's."""
    _check_whole(state, command, upload)
    if state.name(upload.name) is not None:
        raise FileExists(f"{upload.name!r} was created by somebody else meanwhile", hint="choose another name")
    file = FileRecord(
        name=upload.name,
        size=command.size,
        digest=command.digest,
        replication=upload.replication,
        chunk_size=upload.chunk_size,
        count=command.count,
        created_ms=command.wall_ms,
        epoch=upload.epoch,
    )
    state.put_upload(command.file_id, None)
    state.tell(UploadCommitted(command.file_id))
    state.put_file(command.file_id, file)
    state.put_name(upload.name, command.file_id)
    state.head.uploads -= 1
    state.head.files += 1
    state.head.file_bytes += file.size
    return describe(command.file_id, file)


def _check_whole(state: Transaction, command: CommitFile, upload: UploadRecord) -> None:
    """Every chunk is at most chunk_size long, so if the last one has what is left and the sum is right, each other one
    is full."""
    if (command.count, command.count) != (upload.count, upload.extent) or command.size != upload.bytes:
        raise BadRequest(
            f"{upload.count} chunks with {upload.bytes} bytes are committed, the last at {upload.extent - 1}; "
            f"{command.count} with {command.size} were named",
            hint="upload the missing chunks, then commit the file again",
        )
    if upload.size is not None and upload.size != command.size:
        raise BadRequest(f"the upload was begun for {upload.size} bytes, not {command.size}")
    if command.count:
        last = state.chunk(command.file_id, command.count - 1)
        rest = command.size - (command.count - 1) * upload.chunk_size
        if last is None or last.length != rest:
            raise BadRequest("a chunk before the last one is not full")


def delete(state: Transaction, command: DeleteFile) -> FileInfo:
    """One record moves to the garbage; the chunks follow in bounded commands."""
    if (command.name is None) == (command.file_id is None):
        raise BadRequest("exactly one of name and file id is needed")
    file_id = command.file_id
    if command.name is not None:
        check_name(command.name)
        file_id = state.name(command.name)
    if file_id is None:
        raise FileNotFound(f"there is no file named {command.name!r}")
    file = state.file(file_id)
    if file is None:
        return _delete_upload(state, file_id)
    state.put_file(file_id, None)
    if file.epoch == RECOVERED:
        state.put_deleted(file_id)
    state.put_name(file.name, None)
    state.head.files -= 1
    state.head.file_bytes -= file.size
    bury(state, file_id, was_committed=True)
    return describe(file_id, file)


def _delete_upload(state: Transaction, file_id: int) -> FileInfo:
    upload = state.upload(file_id)
    if upload is None:
        raise FileNotFound(f"there is no file with id {file_id:016x}")
    if upload.epoch == RECOVERED:
        state.put_deleted(file_id)
    end_upload(state, file_id)
    return FileInfo(
        name=upload.name,
        file_id=FileId(file_id),
        size=upload.bytes,
        digest=bytes(32),
        replication=upload.replication,
        chunk_size=upload.chunk_size,
        count=upload.count,
        created_ms=upload.created_ms,
    )
