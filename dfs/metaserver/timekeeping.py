"""Cluster time goes on while nothing else is proposed, and the reckoning follows what was applied (S34)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dfs.metaserver import queries
from dfs.metaserver.answers import Changed
from dfs.metaserver.commands import AdvanceTime
from dfs.metaserver.reading import Known

if TYPE_CHECKING:
    from dfs.metaserver.leading import LeaderTerm

QUIET_MS = 2_000
"""Applied time may lie so far behind the reckoning before an entry is spent on it."""


class Timekeeping:
    """:param term: the leadership that it is a duty of."""

    def __init__(self, term: LeaderTerm) -> None:
        self._term = term
        self._head = Known(term.seams.reader, queries.head)

    async def round(self) -> bool:
        """See dfs.metaserver.duty."""
        term = self._term
        head = await self._head.look()
        if head is not None:
            term.clock.applied(head.time_ms, term.seams.seconds())
            if term.now_ms() - head.time_ms >= QUIET_MS:
                await term.seams.proposer.propose(AdvanceTime(), Changed)
        return False
