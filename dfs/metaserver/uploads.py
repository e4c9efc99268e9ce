"""The rules of an upload's life: create, resume, allocate, re-place, abort, expire.

Invariants: a generation is issued once, to one epoch of one chunk; a resume raises the epoch, so what was allocated
before and is not committed gets a new generation (the model shows why); a committed chunk is never allocated again.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import evolve

from dfs.metaserver.answers import LEASE_MS, Changed
from dfs.metaserver.commands import (
    AbortUpload,
    AllocateChunks,
    CreateUpload,
    ExpireUpload,
    ReplaceChunk,
    ResumeUpload,
)
from dfs.metaserver.commands_together import Nodes
from dfs.metaserver.records import MAX_NODES_OF_A_CHUNK, ChunkRecord, GarbageRecord, UploadRecord
from dfs.metaserver.transaction import FileEnded, Transaction, UploadBegan
from dfs.protocol.errors import BadRequest, FileExists, FileNotFound, StaleEpoch, Unavailable, UploadGone
from dfs.protocol.messages import CommittedChunk, Done, Placement, Placements, UploadGranted
from dfs.protocol.values import (
    MAX_CHUNK_SIZE,
    MAX_NAME,
    MAX_REPLICATION,
    MIN_CHUNK_SIZE,
    PIECE,
    FileId,
    Generation,
    NodeNumber,
    Target,
)

MAX_INDEX = (1 << 32) - 2
NO_HASH = bytes(32)
RECOVERED = 0  # the epoch of an upload that a rebuild fills: it has no writer, gets none, and never expires


def check_name(name: str) -> None:
    """Raises BadRequest.  Nothing but NUL, emptiness and length is special in a name (S44)."""
    try:
        length = len(name.encode())
    except UnicodeEncodeError:
        raise BadRequest("a name is UTF-8 without NUL") from None
    if not 1 <= length <= MAX_NAME:
        raise BadRequest(f"a name has 1 to {MAX_NAME} bytes; this one has {length}")
    if "\0" in name:
        raise BadRequest("a name is UTF-8 without NUL")


def check_shape(size: int | None, chunk_size: int, replication: int, quorum: int) -> None:
    """Raises BadRequest."""
    if not MIN_CHUNK_SIZE <= chunk_size <= MAX_CHUNK_SIZE or chunk_size % PIECE:
        raise BadRequest(
            f"chunk size {chunk_size} is not a multiple of {PIECE} from {MIN_CHUNK_SIZE} to {MAX_CHUNK_SIZE}"
        )
    if not 1 <= replication <= MAX_REPLICATION:
        raise BadRequest(f"replication {replication} is not from 1 to {MAX_REPLICATION}")
    if not 1 <= quorum <= replication:
        raise BadRequest(f"write quorum {quorum} is not from 1 to the replication, {replication}")
    if size is not None and size > chunk_size * MAX_INDEX:
        raise BadRequest(f"{size} bytes are more than {MAX_INDEX} chunks of {chunk_size}")


def create(state: Transaction, command: CreateUpload) -> UploadGranted:
    check_name(command.name)
    check_shape(command.size, command.chunk_size, command.replication, command.quorum)
    if state.name(command.name) is not None:
        raise FileExists(f"{command.name!r} exists already", hint="delete it first, or choose another name")
    head = state.head
    head.file_counter += 1
    file_id = head.incarnation << 48 | head.file_counter
    upload = UploadRecord(
        name=command.name,
        size=command.size,
        chunk_size=command.chunk_size,
        replication=command.replication,
        quorum=command.quorum,
        epoch=1,
        count=0,
        bytes=0,
        extent=0,
        began_ms=head.time_ms,
        created_ms=command.wall_ms,
    )
    head.uploads += 1
    state.put_upload(file_id, upload)
    state.tell(UploadBegan(file_id, upload.epoch))
    return granted(file_id, upload, allocate_range(state, file_id, upload, 0, command.placements))


def resume(state: Transaction, command: ResumeUpload) -> UploadGranted:
    upload = state.upload(command.file_id)
    if upload is None or upload.epoch == RECOVERED:
        raise gone(state, command.file_id)
    upload = evolve(upload, epoch=upload.epoch + 1)
    state.put_upload(command.file_id, upload)
    state.tell(UploadBegan(command.file_id, upload.epoch))
    placements = allocate_range(state, command.file_id, upload, 0, command.placements)
    return granted(command.file_id, upload, placements)


def granted(file_id: int, upload: UploadRecord, placements: tuple[Placement, ...]) -> UploadGranted:
    degraded = any(p.committed is None and len(p.targets) < upload.replication for p in placements)
    return UploadGranted(
        file_id=FileId(file_id),
        epoch=upload.epoch,
        lease_ms=LEASE_MS,
        chunk_size=upload.chunk_size,
        replication=upload.replication,
        size=upload.size,
        degraded=degraded,
        placements=placements,
    )


def gone(state: Transaction, file_id: int) -> UploadGone | FileExists:
    """Why there is no such upload."""
    if (file := state.file(file_id)) is not None:
        return FileExists(f"the upload of {file.name!r} is finished")
    return UploadGone("the upload was deleted, aborted or has expired", hint="start it again")


def writer(state: Transaction, file_id: int, epoch: int) -> UploadRecord:
    """The upload, for the writer who holds it.  Raises StaleEpoch, UploadGone, FileExists."""
    upload = state.upload(file_id)
    if upload is None or upload.epoch == RECOVERED:
        raise gone(state, file_id)
    if epoch != upload.epoch:
        raise StaleEpoch("another writer resumed this upload", hint="resume it again to take it back")
    return upload


def allocate(state: Transaction, command: AllocateChunks) -> Placements:
    upload = writer(state, command.file_id, command.epoch)
    if command.first_index + len(command.placements) > MAX_INDEX:
        raise BadRequest(f"a file has at most {MAX_INDEX} chunks")
    return Placements(allocate_range(state, command.file_id, upload, command.first_index, command.placements))


def allocate_range(
    state: Transaction, file_id: int, upload: UploadRecord, first: int, proposed: Sequence[Nodes]
) -> tuple[Placement, ...]:
    """One placement an index; fewer where the size is known and ends before.  What is allocated in this epoch or
    committed is answered as it is."""
    end = first + len(proposed)
    if upload.size is not None:
        end = min(end, -(-upload.size // upload.chunk_size))
    return tuple(_allocate(state, file_id, upload, index, proposed[index - first]) for index in range(first, end))


def _allocate(state: Transaction, file_id: int, upload: UploadRecord, index: int, proposed: Nodes) -> Placement:
    chunk = state.chunk(file_id, index)
    if chunk is None or (not chunk.committed and _is_void(state, upload, chunk)):
        chunk = _issue(state, file_id, upload, index, chunk, proposed)
    return placement(state, upload, index, chunk)


def _is_void(state: Transaction, upload: UploadRecord, chunk: ChunkRecord) -> bool:
    """Whether what was allocated is no use any more: to another writer, or at nodes that were removed since."""
    return chunk.epoch != upload.epoch or sum(state.has_node(node) for node in chunk.nodes) < upload.quorum


def _issue(
    state: Transaction, file_id: int, upload: UploadRecord, index: int, former: ChunkRecord | None, proposed: Nodes
) -> ChunkRecord:
    """A new generation at ``proposed``; the former targets are remembered, for they may hold bytes."""
    nodes = tuple(node for node in dict.fromkeys(proposed) if state.has_node(node))[: upload.replication]
    if len(nodes) < upload.quorum:
        raise Unavailable(
            f"{len(nodes)} chunk servers can take the chunk; the write quorum is {upload.quorum}",
            hint="start more chunk servers, or upload with a smaller --replication",
        )
    tried: tuple[int, ...] = ()
    if former is not None:
        tried = tuple(node for node in dict.fromkeys(former.tried + former.nodes) if node not in nodes)
    if len(tried) + len(nodes) > MAX_NODES_OF_A_CHUNK:
        raise Unavailable(
            "the chunk was tried at too many chunk servers", hint="look at their health, then start again"
        )
    state.head.generation += 1
    chunk = ChunkRecord(
        generation=state.head.generation,
        epoch=upload.epoch,
        committed=False,
        length=0,
        sha256=NO_HASH,
        nodes=nodes,
        tried=tried,
    )
    state.put_chunk(file_id, index, chunk)
    return chunk


def placement(state: Transaction, upload: UploadRecord, index: int, chunk: ChunkRecord) -> Placement:
    """A chunk as its writer is told of it; the first target forwards to all others."""
    generation = Generation(chunk.generation)
    if chunk.committed:
        committed = CommittedChunk(index, generation, chunk.length, chunk.sha256)
        return Placement(index, generation, (), upload.quorum, None, committed)
    targets = []
    for node in chunk.nodes:
        record = state.node(node)
        if record is not None:  # else it was removed since
            targets.append(Target(NodeNumber(node), record.name, record.address))
    return Placement(index, generation, tuple(targets), upload.quorum, None, None)


def replace(state: Transaction, command: ReplaceChunk) -> Placements:
    """A generation that was replaced already is answered with its successor."""
    upload = writer(state, command.file_id, command.epoch)
    chunk = state.chunk(command.file_id, command.index)
    if chunk is None or command.generation > chunk.generation:
        raise BadRequest(f"generation {command.generation} of chunk {command.index} was never issued")
    if not chunk.committed and (chunk.generation == command.generation or _is_void(state, upload, chunk)):
        chunk = _issue(state, command.file_id, upload, command.index, chunk, command.nodes)
    return Placements((placement(state, upload, command.index, chunk),))


def abort(state: Transaction, command: AbortUpload) -> Done:
    writer(state, command.file_id, command.epoch)
    end_upload(state, command.file_id)
    return Done()


def expire(state: Transaction, command: ExpireUpload) -> Changed:
    """Of an upload that was resumed since the proposal nothing is taken."""
    upload = state.upload(command.file_id)
    if upload is None or upload.epoch != command.epoch or upload.epoch == RECOVERED:
        return Changed(0)
    end_upload(state, command.file_id)
    return Changed(1)


def end_upload(state: Transaction, file_id: int) -> None:
    """One record moves; its chunks go later, in bounded commands (S15)."""
    if state.upload(file_id) is None:
        raise FileNotFound("there is no such upload")
    state.put_upload(file_id, None)
    state.head.uploads -= 1
    bury(state, file_id, was_committed=False)


def bury(state: Transaction, file_id: int, was_committed: bool) -> None:
    state.put_garbage(file_id, GarbageRecord(state.index, state.head.time_ms, was_committed))
    state.head.garbage += 1
    state.tell(FileEnded(file_id))
