"""What the planner reads of the tables, a slice at a time."""

from __future__ import annotations

from attrs import frozen

from dfs.kv.interfaces import IKeyValueStore
from dfs.metaserver import queries, tables
from dfs.metaserver.queries import ChunkCopies

Key = tuple[int, int]  # file id, index

SHORT_SCAN = 0  # a scan of the table of short chunks; other scans are named by their node
SWEEP = -1  # the slow walk over all chunks, for what no event told
PAGE = 200  # chunks looked at by one request, and as many by its scan


@frozen
class Request:
    """What to read next: a page of one scan, and chunks to look at; ``again``: the urgency for whose sake the scan is
    gone over again (see dfs.metaserver.walking)."""

    scan: int | None  # SHORT_SCAN, SWEEP, a node number, or None
    after: bytes
    chunks: tuple[Key, ...]
    again: int | None = None


@frozen
class Reply:
    """``after`` is where the scan goes on, None when it ended; ``listed`` are the chunks that are of the scan;
    ``at`` is the log index as of which all this was read."""

    request: Request
    after: bytes | None
    found: tuple[tuple[Key, ChunkCopies | None], ...]
    listed: frozenset[Key] = frozenset()
    at: int = 0


def answer(store: IKeyValueStore, request: Request) -> Reply:
    """Read for the planner, on the store's lane."""
    keys = list(request.chunks)
    after = None
    page: list[Key] = []
    if request.scan is not None:
        page = _page(store, request.scan, request.after)
        keys += page
        after = tables.place(*page[-1]) if len(page) == PAGE else None
    found = tuple((key, queries.copies(store, *key)) for key in dict.fromkeys(keys))
    head = queries.head(store)
    return Reply(request, after, found, frozenset(page), head.index if head is not None else 0)


def _page(store: IKeyValueStore, scan: int, after: bytes) -> list[Key]:
    if scan == SHORT_SCAN:
        return queries.short_page(store, after, PAGE)
    if scan == SWEEP:
        return queries.all_chunks_page(store, after, PAGE)
    return [(file_id, index) for file_id, index, _ in queries.replicas_page(store, scan, after, PAGE)]
