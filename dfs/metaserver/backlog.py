"""Chunks that wait for a copy, in the order of need, found by the nodes that could be their source.

A chunk waits in a queue of each node that holds it: whoever looks for work for an idle source never walks over the
chunks of a busy one (S13), and finds nothing at once where nothing can be done.  Each entry was counted as it was when
it was last looked at; sums are kept, never computed by a walk.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Iterator

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
class Waits:
    """A chunk that waits, with ``live`` copies, and how urgent that is."""

    chunk: ChunkCopies
    live: int
    urgency: int


TOGETHER = 64  # nodes that take turns, so that a short plan need not look at all
ALL = 0  # beside the numbers of nodes: the queues of all chunks


_Queues = dict[int, OrderedDict[Key, None]]  # by urgency


class Backlog:
    """An urgency is that of dfs.metaserver.mover: the smaller, the sooner.

    :param most: entries; when it is full, the less urgent make way for the more urgent.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._entries: dict[Key, Waits] = {}
        self._all: _Queues = {}
        self._of_source: dict[int, _Queues] = {}
        self._sources: dict[int, dict[int, None]] = {}  # by urgency, the nodes where a chunk of it waits
        self.tally = Tally()

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: Key) -> bool:
        return key in self._entries

    def put(self, key: Key, chunk: ChunkCopies, live: int, urgency: int) -> Waits | None:
        """Let the chunk, which is not here, wait.  Whatever does not for want of room: it, or another one."""
        evicted = None
        if len(self._entries) >= self._most:
            worst = max(each for each, queue in self._all.items() if queue)
            if worst <= urgency:
                return Waits(chunk, live, urgency)
            last = next(reversed(self._all[worst]))
            evicted = self._entries[last]
            self.drop(last)
        self._entries[key] = Waits(chunk, live, urgency)
        self.tally.count(chunk, live)
        for node, queues in self._queues(chunk):
            queue = queues.get(urgency)
            if queue is None:
                queue = queues[urgency] = OrderedDict()
                self._sources.setdefault(urgency, {})[node] = None
            queue[key] = None
        return evicted

    def room(self, urgency: int) -> int:
        """How many chunks of this urgency it could take: the less urgent make way."""
        return self._most - sum(len(queue) for each, queue in self._all.items() if each <= urgency)

    def most_urgent(self) -> int | None:
        """The urgency of what waits and is most urgent; None where nothing waits."""
        return min((urgency for urgency, queue in self._all.items() if queue), default=None)

    def drop(self, key: Key) -> bool:
        """It waits no more; whether it did."""
        entry = self._entries.pop(key, None)
        if entry is None:
            return False
        self.tally.count(entry.chunk, entry.live, -1)
        for node, queues in self._queues(entry.chunk):
            queue = queues[entry.urgency]
            del queue[key]
            if not queue:
                del queues[entry.urgency]
                del self._sources[entry.urgency][node]
        return True

    def postpone(self, key: Key) -> None:
        """It cannot go now: others of its urgency are tried before it is tried again."""
        entry = self._entries.get(key)
        if entry is not None:
            for _, queues in self._queues(entry.chunk):
                queues[entry.urgency].move_to_end(key)

    def _queues(self, chunk: ChunkCopies) -> list[tuple[int, _Queues]]:
        found, of_source = [(ALL, self._all)], self._of_source
        for node in dict.fromkeys(chunk.nodes + chunk.retired):
            queues = of_source.get(node)
            if queues is None:
                queues = of_source[node] = {}
            found.append((node, queues))
        return found

    def candidates(
        self, idle: Collection[int], draw: Callable[[], float], most: int, upto: int | None = None
    ) -> Iterator[tuple[Key, ChunkCopies, int]]:
        """Chunks that a node of ``idle`` holds, which may shrink meanwhile, and their urgency as counted; most urgent
        first, and among equals the nodes take turns, some of them from a place that is drawn, each with the chunk that
        waited longest there.

        Whoever takes one drops or postpones it.

        :param most: chunks, at each urgency.
        :param upto: nothing that is less urgent; None: all.
        """
        for urgency in sorted(self._all):
            if upto is not None and urgency > upto:
                break
            sources = self._sources[urgency]
            few, many = (idle, sources) if len(idle) <= len(sources) else (sources, idle)
            nodes = tuple(few)
            first, left = int(draw() * len(nodes)), most
            nodes = nodes[first:] + nodes[:first]
            for at in range(0, len(nodes), TOGETHER):
                turns = deque((node, 0) for node in nodes[at : at + TOGETHER] if node in many)
                while turns and left:
                    node, tried = turns.popleft()
                    queue = self._of_source[node].get(urgency)
                    if queue and node in idle and tried < len(queue):
                        left -= 1
                        key = next(iter(queue))
                        before = len(queue)
                        yield key, self._entries[key].chunk, urgency
                        turns.append((node, tried + (len(queue) == before)))
