"""Chunks that wait for a copy, in the order of need, found by the nodes that could be their source.

A chunk waits in a queue of each node that holds it: whoever looks for work for an idle source never walks over the
chunks of a busy one (S13), and finds nothing at once where nothing can be done.  Each entry was counted as it was when
it was last looked at; sums are kept, never computed by a walk.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from itertools import chain, islice

from attrs import define, frozen

from dfs.metaserver.queries import ChunkCopies
from dfs.metaserver.scanning import Key


@define
class Tally:
    """Sums of chunks that lack copies: ``single`` ones have one live copy, ``lost`` ones none.  What only lies badly
    lacks nothing."""

    chunks: int = 0
    bytes: int = 0
    single: int = 0
    lost: int = 0

    def count(self, chunk: ChunkCopies, live: int, by: int = 1) -> None:
        """A chunk with ``live`` copies more, or (``by`` = -1) less."""
        if live >= chunk.wanted:
            return
        self.chunks += by
        self.bytes += by * chunk.length * max(0, chunk.wanted - live)
        self.single += by * (live == 1)
        self.lost += by * (live == 0)


@frozen
class _Entry:
    chunk: ChunkCopies
    live: int
    urgency: int
    since: int  # a count of entries, for the order among equals


_Queues = dict[int, OrderedDict[Key, None]]  # by urgency


class Backlog:
    """An urgency is that of dfs.metaserver.mover: the smaller, the sooner.

    :param most: entries; when it is full, the less urgent make way for the more urgent.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._entries: dict[Key, _Entry] = {}
        self._all: _Queues = {}
        self._of_source: dict[int, _Queues] = {}
        self._count = 0
        self.tally = Tally()

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: Key) -> bool:
        return key in self._entries

    def put(self, key: Key, chunk: ChunkCopies, live: int, urgency: int) -> bool:
        """Let the chunk, which is not here, wait.  False where for want of room it, or another one, does not."""
        has_room = len(self._entries) < self._most
        if not has_room:
            worst = max(each for each, queue in self._all.items() if queue)
            if worst <= urgency:
                return False
            self.drop(next(reversed(self._all[worst])))
        self._count += 1
        self._entries[key] = _Entry(chunk, live, urgency, self._count)
        self.tally.count(chunk, live)
        for queues in self._queues(chunk):
            queues.setdefault(urgency, OrderedDict())[key] = None
        return has_room

    def most_urgent(self) -> int | None:
        """The urgency of what waits and is most urgent; None where nothing waits."""
        return min((urgency for urgency, queue in self._all.items() if queue), default=None)

    def drop(self, key: Key) -> None:
        """It waits no more; idempotent."""
        entry = self._entries.pop(key, None)
        if entry is None:
            return
        self.tally.count(entry.chunk, entry.live, -1)
        for queues in self._queues(entry.chunk):
            queue = queues[entry.urgency]
            del queue[key]
            if not queue:
                del queues[entry.urgency]

    def _queues(self, chunk: ChunkCopies) -> list[_Queues]:
        holders = dict.fromkeys(chunk.nodes + chunk.retired)
        return [self._all, *(self._of_source.setdefault(node, {}) for node in holders)]

    def candidates(self, sources: Collection[int], each: int) -> list[tuple[Key, ChunkCopies, int]]:
        """Chunks that one of ``sources`` holds, and their urgency as counted: most urgent first, among equals
        the one that waited longest; at most ``each`` of one source."""
        found: dict[Key, _Entry] = {}
        for source in sources:
            queues = self._of_source.get(source)
            if queues:
                keys = chain.from_iterable(queues[urgency] for urgency in sorted(queues))
                for key in islice(keys, each):
                    found[key] = self._entries[key]
        ordered = sorted(found.items(), key=lambda item: (item[1].urgency, item[1].since))
        return [(key, entry.chunk, entry.urgency) for key, entry in ordered]
