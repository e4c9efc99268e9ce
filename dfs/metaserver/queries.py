"""Reads of the tables: for clients (after a read index, so that they are linearizable), for the leader's planners and
for status.  Each call reads one bounded page.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from dfs.kv.interfaces import IKeyValueStore, prefix_end
from dfs.metaserver import tables
from dfs.metaserver.files import describe
from dfs.metaserver.records import (
    ChunkRecord,
    FileRecord,
    GarbageRecord,
    Head,
    NodeRecord,
    ReplicaRecord,
    Standing,
    UploadRecord,
    chunk_codec,
    file_codec,
    garbage_codec,
    head_codec,
    node_codec,
    number_codec,
    replica_codec,
    upload_codec,
)
from dfs.metaserver.records_moving import LifeRecord, RetiredRecord, life_codec, retired_codec
from dfs.metaserver.uploads import check_name
from dfs.protocol.errors import BadRequest, FileNotFound
from dfs.protocol.messages import ChunkInfo, ChunkPage, FileInfo, FilePage, Replica
from dfs.protocol.values import FileId, Generation, NodeState, chunk_id

MAX_PAGE = 1000
PAGE_BYTES = 512 << 10  # about where a page ends, well below the largest frame
ROW_BYTES = 160  # of a row besides its names, at most


@frozen
class ChunkCopies:
    """A committed chunk of a living file as the planner needs it; ``nodes`` are those recorded, dead ones among
    them, ``retired`` those that were struck off as surplus and may still have it."""

    file_id: int
    index: int
    generation: int
    length: int
    sha256: bytes
    nodes: tuple[int, ...]
    wanted: int
    retired: tuple[int, ...] = ()


def head(store: IKeyValueStore) -> Head | None:
    """The counters; None before the first apply."""
    raw = store.get(tables.HEAD)
    return None if raw is None else head_codec.decode(raw)


def _file(store: IKeyValueStore, file_id: int) -> FileRecord | None:
    raw = store.get(tables.file_key(file_id))
    return None if raw is None else file_codec.decode(raw)


def upload(store: IKeyValueStore, file_id: int) -> UploadRecord | None:
    """An upload in progress."""
    raw = store.get(tables.upload_key(file_id))
    return None if raw is None else upload_codec.decode(raw)


def chunk(store: IKeyValueStore, file_id: int, index: int) -> ChunkRecord | None:
    raw = store.get(tables.chunk_key(file_id, index))
    return None if raw is None else chunk_codec.decode(raw)


def node(store: IKeyValueStore, number: int) -> NodeRecord | None:
    raw = store.get(tables.node_key(number))
    return None if raw is None else node_codec.decode(raw)


def life(store: IKeyValueStore, number: int) -> LifeRecord:
    """What a node went through, and what is wished of it."""
    raw = store.get(tables.life_key(number))
    return LifeRecord() if raw is None else life_codec.decode(raw)


def replica(store: IKeyValueStore, number: int, file_id: int, index: int) -> ReplicaRecord | None:
    raw = store.get(tables.replica_key(number, file_id, index))
    return None if raw is None else replica_codec.decode(raw)


def retired(store: IKeyValueStore, number: int, file_id: int, index: int) -> RetiredRecord | None:
    raw = store.get(tables.retired_key(number, file_id, index))
    return None if raw is None else retired_codec.decode(raw)


def garbage(store: IKeyValueStore, file_id: int) -> GarbageRecord | None:
    """An ended file that is not collected yet."""
    raw = store.get(tables.garbage_key(file_id))
    return None if raw is None else garbage_codec.decode(raw)


def get_file(store: IKeyValueStore, name: str | None, file_id: int | None) -> FileInfo:
    """Raises FileNotFound, BadRequest."""
    if (name is None) == (file_id is None):
        raise BadRequest("exactly one of name and file id is needed")
    if name is not None:
        check_name(name)
        raw = store.get(tables.name_key(name))
        file_id = None if raw is None else number_codec.decode(raw).number
    file = None if file_id is None else _file(store, file_id)
    if file is None or file_id is None:
        what = f"named {name!r}" if name is not None else f"with id {file_id:016x}"
        raise FileNotFound(f"there is no file {what}")
    return describe(file_id, file)


def list_files(store: IKeyValueStore, prefix: str, token: bytes, limit: int) -> FilePage:
    """In byte order of the names.  A name that is there throughout appears exactly once over all pages.  A page ends
    at PAGE_BYTES too, so that it can be sent whatever the names are (S44)."""
    _check_limit(limit)
    begin = tables.NAMES + prefix.encode()
    start = max(begin, tables.NAMES + token + b"\x00") if token else begin
    pairs = store.scan(start, prefix_end(begin), limit + 1)
    files: list[FileInfo] = []
    taken = size = 0
    for key, value in pairs[:limit]:
        size += len(key) + ROW_BYTES
        if taken and size > PAGE_BYTES:
            break
        taken += 1
        file_id = number_codec.decode(value).number
        file = _file(store, file_id)
        if file is not None:
            files.append(describe(file_id, file))
    return FilePage(tuple(files), pairs[taken - 1][0][1:] if len(pairs) > taken else b"")


def _check_limit(limit: int) -> None:
    if not 1 <= limit <= MAX_PAGE:
        raise BadRequest(f"a page has 1 to {MAX_PAGE} entries, not {limit}")


def list_chunks(
    store: IKeyValueStore,
    cluster_id: bytes,
    file_id: int,
    first_index: int,
    limit: int,
    states: Mapping[int, NodeState],
) -> ChunkPage:
    """Committed chunks of a file or an upload.  ``states`` is the leader's opinion by node number; without one the
    recorded standing counts.  A page may be short (chunks of an upload that are not committed are passed over)."""
    _check_limit(limit)
    if _file(store, file_id) is None and upload(store, file_id) is None:
        raise FileNotFound(f"there is no file with id {file_id:016x}")
    start = tables.chunk_key(file_id, first_index)
    pairs = store.scan(start, prefix_end(tables.chunks_of(file_id)), limit + 1)
    known: dict[int, Replica] = {}
    chunks: list[ChunkInfo] = []
    taken = size = 0
    for key, value in pairs[:limit]:
        if size > PAGE_BYTES:
            break
        taken += 1
        record = chunk_codec.decode(value)
        if record.committed:
            index = tables.place_of(key)[1]
            replicas = tuple(_replica(store, number, states, known) for number in record.nodes)
            identity = chunk_id(cluster_id, FileId(file_id), index)
            generation = Generation(record.generation)
            chunks.append(ChunkInfo(index, identity, generation, record.length, record.sha256, replicas))
            size += ROW_BYTES + sum(_size(replica) for replica in replicas)
    return ChunkPage(tuple(chunks), tables.place_of(pairs[taken][0])[1] if len(pairs) > taken else None)


def _size(replica: Replica) -> int:
    return len(replica.node.encode()) + len(replica.address.encode()) + 16


def _replica(store: IKeyValueStore, number: int, states: Mapping[int, NodeState], known: dict[int, Replica]) -> Replica:
    if number not in known:
        record = node(store, number)
        assert record is not None  # a node goes after the last of its replicas
        state = states.get(number, NodeState.ALIVE)
        if record.standing == Standing.DEAD:
            state = NodeState.DEAD
        known[number] = Replica(record.name, record.address, state)
    return known[number]


def nodes_page(store: IKeyValueStore, after: int = 0, limit: int = MAX_PAGE) -> list[tuple[int, NodeRecord]]:
    """Nodes by number, above ``after``."""
    pairs = store.scan(tables.node_key(after + 1), prefix_end(tables.NODES), limit)
    return [(int.from_bytes(key[1:], "big"), node_codec.decode(value)) for key, value in pairs]


def uploads_page(store: IKeyValueStore, after: int = 0, limit: int = MAX_PAGE) -> list[tuple[int, UploadRecord]]:
    """Uploads by file id, above ``after``: a new leader grants each a full lease."""
    pairs = store.scan(tables.upload_key(after + 1), prefix_end(tables.UPLOADS), limit)
    return [(tables.file_id_of(key), upload_codec.decode(value)) for key, value in pairs]


def garbage_page(store: IKeyValueStore, after: int = 0, limit: int = MAX_PAGE) -> list[tuple[int, GarbageRecord]]:
    """Files that ended, by file id, above ``after``."""
    pairs = store.scan(tables.garbage_key(after + 1), prefix_end(tables.GARBAGE), limit)
    return [(tables.file_id_of(key), garbage_codec.decode(value)) for key, value in pairs]


def chunks_page(
    store: IKeyValueStore, file_id: int, first_index: int, limit: int = MAX_PAGE
) -> list[tuple[int, ChunkRecord]]:
    """Chunk records of a file, upload or garbage, committed or not, from ``first_index``."""
    pairs = store.scan(tables.chunk_key(file_id, first_index), prefix_end(tables.chunks_of(file_id)), limit)
    return [(tables.place_of(key)[1], chunk_codec.decode(value)) for key, value in pairs]


def short_page(store: IKeyValueStore, after: bytes = b"", limit: int = MAX_PAGE) -> list[tuple[int, int]]:
    """(file id, index) of chunks with fewer recorded replicas than wanted, above ``after`` (12 bytes, tables.place)."""
    start = tables.SHORT + after + b"\x00" if after else tables.SHORT
    return [tables.place_of(key) for key, _ in store.scan(start, prefix_end(tables.SHORT), limit)]


def all_chunks_page(store: IKeyValueStore, after: bytes = b"", limit: int = MAX_PAGE) -> list[tuple[int, int]]:
    """(file id, index) of every chunk, above ``after`` (12 bytes, tables.place)."""
    start = tables.CHUNKS + after + b"\x00" if after else tables.CHUNKS
    return [tables.place_of(key) for key, _ in store.scan(start, prefix_end(tables.CHUNKS), limit)]


def retired_page(
    store: IKeyValueStore, after: bytes = b"", limit: int = MAX_PAGE
) -> list[tuple[int, tuple[int, int], RetiredRecord]]:
    """(node, (file id, index), record) of what was struck off as surplus and is not reported gone, above ``after``
    (16 bytes, :func:`retired_place`)."""
    start = tables.RETIRED + after + b"\x00" if after else tables.RETIRED
    pairs = store.scan(start, prefix_end(tables.RETIRED), limit)
    return [
        (int.from_bytes(key[1:5], "big"), tables.place_of(key), retired_codec.decode(value)) for key, value in pairs
    ]


def retired_place(number: int, place: tuple[int, int]) -> bytes:
    """Where a page of retired replicas goes on."""
    return tables.retired_key(number, *place)[1:]


def replicas_page(
    store: IKeyValueStore, number: int, after: bytes = b"", limit: int = MAX_PAGE
) -> list[tuple[int, int, ReplicaRecord]]:
    """(file id, index, record) of what a node is recorded to hold, above ``after`` (12 bytes, tables.place)."""
    prefix = tables.replicas_of(number)
    start = prefix + after + b"\x00" if after else prefix
    pairs = store.scan(start, prefix_end(prefix), limit)
    return [(*tables.place_of(key), replica_codec.decode(value)) for key, value in pairs]


def copies(store: IKeyValueStore, file_id: int, index: int) -> ChunkCopies | None:
    """None where there is nothing to heal: not committed, or the file has ended (S15)."""
    record = chunk(store, file_id, index)
    if record is None or not record.committed:
        return None
    owner: FileRecord | UploadRecord | None = _file(store, file_id) or upload(store, file_id)
    if owner is None:
        return None
    return ChunkCopies(
        file_id=file_id,
        index=index,
        generation=record.generation,
        length=record.length,
        sha256=record.sha256,
        nodes=record.nodes,
        wanted=owner.replication,
        retired=tuple(node for node in record.tried if store.get(tables.retired_key(node, file_id, index)) is not None),
    )
