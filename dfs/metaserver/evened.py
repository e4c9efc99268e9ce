"""What rebalancing has moved since it was switched on, whoever led meanwhile: the replicated log of events tells."""

from __future__ import annotations

from attrs import frozen

from dfs.kv.interfaces import IKeyValueStore
from dfs.metaserver import eventlog, tables
from dfs.metaserver.reading import Reader
from dfs.metaserver.records_moving import Balancing, EventRecord, event_codec
from dfs.protocol.limits import MAX_PAGE
from dfs.protocol.messages import EventKind

REASON = "balance"
"""Of copies that were made for it, in the log."""
_OFF = Balancing.OFF.name.lower()


@frozen
class Evened:
    """Copied so far."""

    chunks: int = 0
    bytes: int = 0


async def evened(reader: Reader) -> Evened:
    """Read backwards, a page at a time, to where it was off; as far as events are kept."""
    found, before = Evened(), 0
    while before != 1:
        before, events = await reader.look(_page_before, before)
        for event in reversed(events):
            if event.kind == EventKind.REBALANCE and event.detail.startswith(_OFF):
                return found
            if event.kind == EventKind.COPIED and event.detail == REASON:
                found = Evened(found.chunks + event.count, found.bytes + event.bytes)
    return found


def _page_before(store: IKeyValueStore, before: int) -> tuple[int, list[EventRecord]]:
    """Where the page begins (1: nothing is before it) and its events, all below ``before``; 0: the newest."""
    care = eventlog.care(store)
    last = before or care.next
    first = max(care.first, last - MAX_PAGE)
    pairs = store.scan(tables.event_key(first), tables.event_key(last), MAX_PAGE) if first < last else []
    return (1 if first <= care.first else first), [event_codec.decode(value) for _, value in pairs]
