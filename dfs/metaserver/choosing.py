"""The nodes for the chunks of one request, and what they are promised meanwhile.

The views of the nodes are made once a request, and each choice counts in the next.  What was chosen is held against the
nodes' space and streams until their next beat tells, or until the command's answer shows that it was not taken: then it
is given back at once, so that retries of an operation use up nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from attrs import evolve

from dfs.metaserver.placement import NodeView, Site, has_room
from dfs.metaserver.roster import Roster
from dfs.protocol.messages import Placement
from dfs.protocol.values import MAX_CHUNK_SIZE

Nodes = tuple[int, ...]


class Choice:
    """:param draw: numbers in [0, 1)."""

    def __init__(self, roster: Roster, views: Iterable[NodeView], draw: Callable[[], float]) -> None:
        self._roster = roster
        self._views = {view.number: view for view in sorted(views, key=lambda view: view.number)}
        self._draw = draw
        self._given: list[tuple[int, Nodes, int]] = []
        self._site, self._need = Site(), -1

    def chunks(self, first: int, count: int, replication: int, chunk_size: int, size: int | None) -> tuple[Nodes, ...]:
        """Nodes for ``count`` chunks from index ``first``, each drawn for itself; ``size`` of the file, where known."""
        return tuple(
            self.chunk(index, replication, _length(index, chunk_size, size)) for index in range(first, first + count)
        )

    def chunk(self, index: int, replication: int, length: int, avoid: Collection[int] = ()) -> Nodes:
        """Nodes for one chunk of ``length`` bytes."""
        if length != self._need:
            self._need = length
            self._site = Site(view for view in self._views.values() if has_room(view, length))
        nodes = self._site.draw(replication, avoid, self._draw)
        for number in nodes:
            former = self._views[number]
            view = evolve(former, free=max(0, former.free - length), streams=former.streams + 1)
            self._views[number] = view
            if has_room(view, length):
                self._site.put(view)
            else:
                self._site.drop(number)
        self._roster.promise(nodes, length)
        self._given.append((index, nodes, length))
        return nodes

    def answered(self, placements: Iterable[Placement]) -> None:
        """The command was answered with these: whatever was chosen and is not among them is given back."""
        taken = {(each.index, *(target.node for target in each.targets)) for each in placements}
        for index, nodes, length in self._given:
            if (index, *nodes) not in taken:
                self._roster.withdraw(nodes, length)
        self._given.clear()


def _length(index: int, chunk_size: int, size: int | None) -> int:
    length = min(chunk_size, MAX_CHUNK_SIZE)
    return length if size is None else max(0, min(length, size - index * chunk_size))
