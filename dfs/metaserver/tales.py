"""What the mover did, summed up for the replicated log of events: a line for each kind, node and reason now and then,
not one for each chunk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dfs.metaserver.answers import Changed
from dfs.metaserver.commands_moving import NoteEvent
from dfs.protocol.messages import EventKind

if TYPE_CHECKING:
    from dfs.metaserver.leading import LeaderTerm

MAX_TALES = 1_000
"""Kinds, nodes and reasons that are summed up apart; more are not told until the next round."""

_Key = tuple[EventKind, int, str]


class Tales:
    """For one leadership; what is not told when it ends is forgotten with it."""

    def __init__(self) -> None:
        self._sums: dict[_Key, tuple[int, int]] = {}

    def add(self, kind: EventKind, node: int, length: int, why: str) -> None:
        """One chunk of ``length`` bytes."""
        key = (kind, node, why)
        if key in self._sums or len(self._sums) < MAX_TALES:
            count, total = self._sums.get(key, (0, 0))
            self._sums[key] = (count + 1, total + length)

    async def round(self, term: LeaderTerm) -> bool:
        """See dfs.metaserver.duty: tell it all."""
        sums, self._sums = self._sums, {}
        for (kind, node, why), (count, total) in sums.items():
            await term.seams.proposer.propose(NoteEvent(int(kind), node, count, total, why), Changed)
        return False
