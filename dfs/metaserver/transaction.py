"""Typed reading and writing of the tables for the commands of one apply.

The rules (uploads, chunks, files, nodes, garbage, sessions) see nothing of keys and bytes; they get, change and put
records here, and raise a DFSError to refuse: then everything that the command did is undone.
"""

from __future__ import annotations

from collections import deque

from attrs import evolve, frozen

from dfs.metaserver import tables
from dfs.metaserver.overlay import Overlay
from dfs.metaserver.records import (
    ChunkRecord,
    FileRecord,
    GarbageRecord,
    Head,
    MemberRecord,
    NodeRecord,
    NumberRecord,
    RebuildRecord,
    ReplicaRecord,
    ShortRecord,
    Standing,
    UploadRecord,
    chunk_codec,
    file_codec,
    garbage_codec,
    member_codec,
    node_codec,
    number_codec,
    rebuild_codec,
    replica_codec,
    short_codec,
    upload_codec,
)
from dfs.metaserver.records_moving import (
    CareRecord,
    EventRecord,
    LifeRecord,
    RetiredRecord,
    care_codec,
    event_codec,
    life_codec,
    retired_codec,
)

MAX_EVENTS = 10_000


@frozen
class ShortChunk:
    """A chunk has fewer recorded replicas than wanted now."""

    file_id: int
    index: int


@frozen
class NodeChanged:
    """A node's record is another one, or gone."""

    node: int


@frozen
class UploadBegan:
    """An upload was begun, or taken over by a writer with this epoch."""

    file_id: int
    epoch: int


@frozen
class UploadCommitted:
    """An upload has become a file."""

    file_id: int


@frozen
class FileEnded:
    """There is new garbage."""

    file_id: int


Event = ShortChunk | NodeChanged | UploadBegan | UploadCommitted | FileEnded


class Transaction:
    """The state as the current command sees it.  ``index`` is that of its log entry."""

    def __init__(self, overlay: Overlay, head: Head) -> None:
        self._overlay = overlay
        self.head = head
        self.index = 0
        self.events: deque[Event] = deque()
        self._saved = head
        self._saved_events = 0
        self._nodes: dict[bytes, NodeRecord] = {}  # decoded, by their bytes: each commit looks at the same few

    def begin(self, index: int) -> None:
        """A command begins: what follows can be undone up to here."""
        self.index = index
        self._overlay.mark()
        self._saved = self.head.copied()
        self._saved_events = len(self.events)

    def roll_back(self) -> None:
        """Undo the command."""
        self._overlay.roll_back()
        self.head = self._saved
        while len(self.events) > self._saved_events:
            self.events.pop()

    def tell(self, event: Event) -> None:
        """Note for the leader's planner; no part of the state."""
        self.events.append(event)

    # ---- names, files, uploads, garbage

    def name(self, name: str) -> int | None:
        raw = self._overlay.get(tables.name_key(name))
        return None if raw is None else number_codec.decode(raw).number

    def put_name(self, name: str, file_id: int | None) -> None:
        value = None if file_id is None else number_codec.encode(NumberRecord(file_id))
        self._overlay.put(tables.name_key(name), value)

    def file(self, file_id: int) -> FileRecord | None:
        raw = self._overlay.get(tables.file_key(file_id))
        return None if raw is None else file_codec.decode(raw)

    def put_file(self, file_id: int, record: FileRecord | None) -> None:
        self._overlay.put(tables.file_key(file_id), None if record is None else file_codec.encode(record))

    def upload(self, file_id: int) -> UploadRecord | None:
        raw = self._overlay.get(tables.upload_key(file_id))
        return None if raw is None else upload_codec.decode(raw)

    def put_upload(self, file_id: int, record: UploadRecord | None) -> None:
        self._overlay.put(tables.upload_key(file_id), None if record is None else upload_codec.encode(record))

    def garbage(self, file_id: int) -> GarbageRecord | None:
        raw = self._overlay.get(tables.garbage_key(file_id))
        return None if raw is None else garbage_codec.decode(raw)

    def put_garbage(self, file_id: int, record: GarbageRecord | None) -> None:
        self._overlay.put(tables.garbage_key(file_id), None if record is None else garbage_codec.encode(record))

    def rebuild(self) -> RebuildRecord | None:
        raw = self._overlay.get(tables.REBUILD)
        return None if raw is None else rebuild_codec.decode(raw)

    def put_rebuild(self, record: RebuildRecord) -> None:
        self._overlay.put(tables.REBUILD, rebuild_codec.encode(record))

    def deleted(self, file_id: int) -> bool:
        """Whether it is a recovered file that was deleted."""
        return self._overlay.get(tables.deleted_key(file_id)) is not None

    def put_deleted(self, file_id: int) -> None:
        self._overlay.put(tables.deleted_key(file_id), number_codec.encode(NumberRecord(self.index)))

    # ---- chunks and replicas

    def chunk(self, file_id: int, index: int) -> ChunkRecord | None:
        raw = self._overlay.get(tables.chunk_key(file_id, index))
        return None if raw is None else chunk_codec.decode(raw)

    def put_chunk(self, file_id: int, index: int, record: ChunkRecord | None) -> None:
        self._overlay.put(tables.chunk_key(file_id, index), None if record is None else chunk_codec.encode(record))

    def has_chunks(self, file_id: int) -> bool:
        return self._overlay.first(tables.chunks_of(file_id)) is not None

    def replica(self, node: int, file_id: int, index: int) -> ReplicaRecord | None:
        raw = self._overlay.get(tables.replica_key(node, file_id, index))
        return None if raw is None else replica_codec.decode(raw)

    def put_replica(self, node: int, file_id: int, index: int, record: ReplicaRecord) -> None:
        """Record it and count it at its node (once)."""
        former = self.replica(node, file_id, index)
        if former == record:
            return
        self._overlay.put(tables.replica_key(node, file_id, index), replica_codec.encode(record))
        if former is None:
            self._count(node, 1, record.length, record.number)
        else:
            self._count(node, 0, record.length - former.length, record.number)

    def remove_replica(self, node: int, file_id: int, index: int) -> bool:
        """Whether it was recorded."""
        former = self.replica(node, file_id, index)
        if former is None:
            return False
        self._overlay.put(tables.replica_key(node, file_id, index), None)
        self._count(node, -1, -former.length)
        return True

    def _count(self, node: int, chunks: int, length: int, number: int = 0) -> None:
        record = self.node(node)
        if record is not None:
            highest = max(record.highest, number)
            sums = evolve(record, chunks=record.chunks + chunks, bytes=record.bytes + length, highest=highest)
            self.put_node(node, sums)

    def put_short(self, file_id: int, index: int, recorded: int, wanted: int) -> None:
        """Keep the table of short chunks true: a record where ``recorded`` is below ``wanted``, none else."""
        key = tables.short_key(file_id, index)
        if recorded < wanted:
            self._overlay.put(key, short_codec.encode(ShortRecord(recorded, wanted)))
            self.tell(ShortChunk(file_id, index))
        elif self._overlay.get(key) is not None:
            self._overlay.put(key, None)

    # ---- nodes and members

    def has_node(self, number: int) -> bool:
        return self._overlay.get(tables.node_key(number)) is not None

    def node(self, number: int) -> NodeRecord | None:
        raw = self._overlay.get(tables.node_key(number))
        if raw is None:
            return None
        record = self._nodes.get(raw)
        if record is None:
            record = self._nodes[raw] = node_codec.decode(raw)
        return record

    def put_node(self, number: int, record: NodeRecord) -> None:
        raw = node_codec.encode(record)
        self._nodes[raw] = record
        self._overlay.put(tables.node_key(number), raw)

    def node_of_name(self, name: str) -> int | None:
        raw = self._overlay.get(tables.node_name_key(name))
        return None if raw is None else number_codec.decode(raw).number

    def node_of_incarnation(self, incarnation: bytes) -> int | None:
        raw = self._overlay.get(tables.incarnation_key(incarnation))
        return None if raw is None else number_codec.decode(raw).number

    def name_node(self, name: str, number: int) -> None:
        self._overlay.put(tables.node_name_key(name), number_codec.encode(NumberRecord(number)))

    def pin_node(self, incarnation: bytes, number: int) -> None:
        self._overlay.put(tables.incarnation_key(incarnation), number_codec.encode(NumberRecord(number)))

    def remove_node(self, number: int, record: NodeRecord) -> None:
        """Every trace of it, but its number and its folder's incarnation, which never return."""
        self._overlay.put(tables.node_key(number), None)
        self._overlay.put(tables.life_key(number), None)
        if self.node_of_name(record.name) == number:
            self._overlay.put(tables.node_name_key(record.name), None)

    # ---- nodes' lives, moves, events

    def life(self, number: int) -> LifeRecord:
        raw = self._overlay.get(tables.life_key(number))
        return LifeRecord() if raw is None else life_codec.decode(raw)

    def put_life(self, number: int, record: LifeRecord) -> None:
        self._overlay.put(tables.life_key(number), life_codec.encode(record))

    def disturb(self, nodes: tuple[int, ...]) -> None:
        """A chunk that these nodes hold changed its replicas: whoever found one of them drained must look again.  One
        that was drained already is draining anew."""
        for number in nodes:
            record = self.node(number)
            if record is None or record.standing not in (Standing.DRAINING, Standing.DRAINED):
                continue
            self.put_life(number, evolve(self.life(number), disturbed=self.index))
            if record.standing == Standing.DRAINED:
                self.put_node(number, evolve(record, standing=int(Standing.DRAINING)))
                self.tell(NodeChanged(number))

    def retired(self, node: int, file_id: int, index: int) -> RetiredRecord | None:
        raw = self._overlay.get(tables.retired_key(node, file_id, index))
        return None if raw is None else retired_codec.decode(raw)

    def put_retired(self, node: int, file_id: int, index: int, record: RetiredRecord | None) -> None:
        key = tables.retired_key(node, file_id, index)
        if record is not None:
            self._overlay.put(key, retired_codec.encode(record))
        elif self._overlay.get(key) is not None:
            self._overlay.put(key, None)

    def first_retired(self, node: int) -> tuple[int, int] | None:
        """(file id, index) of one of the node's retired replicas."""
        key = self._overlay.first(tables.retired_of(node))
        return None if key is None else tables.place_of(key)

    def care(self) -> CareRecord:
        raw = self._overlay.get(tables.CARE)
        return CareRecord() if raw is None else care_codec.decode(raw)

    def put_care(self, record: CareRecord) -> None:
        self._overlay.put(tables.CARE, care_codec.encode(record))

    def put_event(self, sequence: int, record: EventRecord | None) -> None:
        self._overlay.put(tables.event_key(sequence), None if record is None else event_codec.encode(record))

    def member(self, name: str) -> MemberRecord | None:
        raw = self._overlay.get(tables.member_key(name))
        return None if raw is None else member_codec.decode(raw)

    def put_member(self, name: str, record: MemberRecord) -> None:
        self._overlay.put(tables.member_key(name), member_codec.encode(record))

    # ---- raw, for sessions

    def raw(self, key: bytes) -> bytes | None:
        return self._overlay.get(key)

    def put_raw(self, key: bytes, value: bytes | None) -> None:
        self._overlay.put(key, value)

    def first(self, prefix: bytes) -> bytes | None:
        """The first key under a prefix."""
        return self._overlay.first(prefix)
