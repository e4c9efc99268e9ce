"""What the planner reads of the tables, a slice at a time."""

from __future__ import annotations

from attrs import frozen

from dfs.kv.interfaces import IKeyValueStore
from dfs.metaserver import queries, tables
from dfs.metaserver.queries import ChunkCopies

Key = tuple[int, int]  # file id, index

SHORT_SCAN = 0  # a scan of the table of short chunks; other scans are named by their node
PAGE = 200  # chunks looked at by one request, and as many by its scan


@frozen
class Request:
    """What to read next: a page of one scan, and chunks to look at."""

    scan: int | None  # SHORT_SCAN, a node number, or None
    after: bytes
    chunks: tuple[Key, ...]


@frozen
class Reply:
    """``after`` is where the scan goes on, None when it ended."""

    request: Request
    after: bytes | None
    found: tuple[tuple[Key, ChunkCopies | None], ...]


def answer(store: IKeyValueStore, request: Request) -> Reply:
    """Read for the planner, on the store's lane."""
    keys = list(request.chunks)
    after = None
    if request.scan is not None:
        if request.scan == SHORT_SCAN:
            page = queries.short_page(store, request.after, PAGE)
        else:
            page = [(f, i) for f, i, _ in queries.replicas_page(store, request.scan, request.after, PAGE)]
        keys += page
        after = tables.place(*page[-1]) if len(page) == PAGE else None
    found = tuple((key, queries.copies(store, *key)) for key in dict.fromkeys(keys))
    return Reply(request, after, found)
