"""The replicated log of events: what happened to nodes and what the mover did, bounded, the same on every member."""

from __future__ import annotations

from attrs import evolve

from dfs.kv.interfaces import IKeyValueStore
from dfs.metaserver import tables
from dfs.metaserver.answers import Changed
from dfs.metaserver.commands_moving import NoteEvent
from dfs.metaserver.records_moving import CareRecord, EventRecord, care_codec, event_codec
from dfs.metaserver.transaction import Transaction
from dfs.protocol.messages import Event, EventKind, EventPage

MAX_KEPT = 10_000


def note(
    state: Transaction, kind: EventKind | int, node: int = 0, detail: str = "", count: int = 0, length: int = 0
) -> None:
    """Append an event; at the bound the oldest one goes."""
    record = state.node(node) if node else None
    name = record.name if record is not None else ""
    care = state.care()
    state.put_event(care.next, EventRecord(state.index, state.head.time_ms, int(kind), name, count, length, detail))
    first = care.first
    if care.next - first >= MAX_KEPT:
        state.put_event(first, None)
        first += 1
    state.put_care(evolve(care, first=first, next=care.next + 1))


def note_event(state: Transaction, command: NoteEvent) -> Changed:
    """What a leader tells, summed up."""
    note(state, command.kind, command.node, command.detail, command.count, command.bytes)
    return Changed(1)


def care(store: IKeyValueStore) -> CareRecord:
    """The record, as it begins where there is none."""
    raw = store.get(tables.CARE)
    return CareRecord() if raw is None else care_codec.decode(raw)


def page(store: IKeyValueStore, after: int, limit: int) -> EventPage:
    """Events above ``after``, oldest first; with ``after`` 0 the newest ``limit``."""
    kept = care(store)
    first = max(kept.first, after + 1 if after else kept.next - limit)
    pairs = store.scan(tables.event_key(first), tables.event_key(kept.next), limit)
    events = tuple(_event(tables.sequence_of(key), event_codec.decode(value)) for key, value in pairs)
    return EventPage(events, kept.first)


def _event(sequence: int, record: EventRecord) -> Event:
    return Event(
        sequence=sequence,
        index=record.index,
        at_ms=record.at_ms,
        kind=EventKind(record.kind),
        node=record.node,
        count=record.count,
        bytes=record.bytes,
        detail=record.detail,
    )
