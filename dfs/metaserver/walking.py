"""Walks over tables for chunks that need a copy: each page is read once, and once more for what found no room.

Of the chunks that are short only a window is held in memory (dfs.metaserver.backlog).  A walk over the replicas of a
node that died goes to its end all the same, for the most urgent chunks are to be known first (S13); of those that find
no room in the window only the first place of each walk is kept, for each urgency.  Once the window has room for the
most urgent ones of these, that walk is gone over again from there, a page at a time, as far as there is room.  So the
work is in proportion to what is short, and the memory is not.  Pure, leader-local.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping

from attrs import define, field

from dfs.metaserver.backlog import Tally, Waits
from dfs.metaserver.mover import LEAVING, Need
from dfs.metaserver.placement import NodeView
from dfs.metaserver.queries import ChunkCopies
from dfs.metaserver.scanning import PAGE, SHORT_SCAN, Key, Request
from dfs.metaserver.tables import place
from dfs.protocol.values import NodeState

WIDTH = 12  # bytes of a place


def just_before(key: Key) -> bytes:
    """The place after which the chunk is the next one; b"" where it is the first of all."""
    number = int.from_bytes(place(*key), "big")
    return (number - 1).to_bytes(WIDTH, "big") if number else b""


def _is_walked(view: NodeView) -> bool:
    return view.state is NodeState.DEAD or view.state in LEAVING


@define
class Walks:
    """``window`` is the size of the backlog; ``first`` are walks that were not ended yet, by name (see
    dfs.metaserver.scanning), and where they go on; they take turns."""

    window: int
    first: OrderedDict[int, bytes] = field(factory=OrderedDict)
    _again: dict[int, dict[int, bytes]] = field(factory=dict)  # by urgency, then by walk
    _beyond: dict[int, Tally] = field(factory=dict)
    _is_filling: bool = False

    def missed(self, waits: Waits, nodes: Mapping[int, NodeView]) -> None:
        """The chunk found no room: the walks over the nodes that it misses would find it; what only lies badly is found
        by the sweep."""
        chunk, urgency = waits.chunk, waits.urgency
        if urgency > Need.LEAVING:
            return
        walks = [node for node in chunk.nodes if node in nodes and _is_walked(nodes[node])]
        if len(chunk.nodes) < chunk.wanted:
            walks.append(SHORT_SCAN)
        places = self._again.setdefault(urgency, {})
        here = just_before((chunk.file_id, chunk.index))
        for walk in walks:
            places[walk] = min(here, places.get(walk, here))
        self._beyond.setdefault(urgency, Tally()).count(chunk, waits.live)
        self._settle(urgency)

    def found(self, urgency: int, chunk: ChunkCopies, live: int) -> None:
        """One that had found no room is met again."""
        tally = self._beyond.get(urgency)
        if tally is not None and tally.chunks > 0:
            tally.count(chunk, live, -1)

    def ended(self, walk: int) -> None:
        """Its node is alive, or gone: there is nothing to find there.  Idempotent."""
        self.first.pop(walk, None)
        for urgency in list(self._again):
            self._again[urgency].pop(walk, None)
            self._settle(urgency)

    def _settle(self, urgency: int) -> None:
        if not self._again[urgency]:
            del self._again[urgency]
            self._beyond.pop(urgency, None)  # the sum of what was met twice is put right

    def again(self) -> int | None:
        """The urgency of the most urgent chunks that are not in the window; None where all are."""
        return min(self._again, default=None)

    def next(self, chunks: tuple[Key, ...], room: Callable[[int], int] | None) -> Request | None:
        """What to read: a page of a walk, and ``chunks``.

        :param room: how many chunks of an urgency the window can take; None: no walk is to be gone over again now.
        """
        walk = next(iter(self.first), None)
        if walk is not None:
            return Request(walk, self.first[walk], chunks)
        urgency = self.again()
        if urgency is not None and room is not None and self._has_room(room(urgency)):
            walk, after = next(iter(self._again[urgency].items()))
            return Request(walk, after, chunks, urgency)
        return Request(None, b"", chunks) if chunks else None

    def _has_room(self, room: int) -> bool:
        """From when half of the window is free, as long as a page finds room."""
        least = min(PAGE, self.window // 2) if self._is_filling else self.window // 2
        self._is_filling = room > 0 and room >= least
        return self._is_filling

    def turned(self, request: Request, after: bytes | None) -> bool:
        """A page was read, and the next one is after ``after``, None: it was the last.  Whether the walk stands where
        it was asked for."""
        walk, urgency = request.scan, request.again
        places = self.first if urgency is None else self._again.get(urgency, {})
        if walk is None or places.get(walk) != request.after:
            return False
        del places[walk]
        if after is not None:
            places[walk] = after  # at the end of the queue: walks take turns
        if urgency is not None:
            self._settle(urgency)
        return True

    def beyond(self) -> list[Tally]:
        """The sums of what is not in the window; somewhat more where a chunk is met by several walks."""
        return list(self._beyond.values())

    def is_over(self) -> bool:
        """Whether no chunk is to be found by a walk."""
        return not (self.first or self._again)
