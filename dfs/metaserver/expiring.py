"""Uploads that nobody holds any more end by a command, long after their lease lapsed (S40).

Time here is what was applied: the reckoning of a leader that stood still leaps when it wakes, the applied time does not
(S34), so nothing expires of a stall before its writer could speak.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dfs.metaserver import queries
from dfs.metaserver.answers import Changed
from dfs.metaserver.commands import ExpireUpload
from dfs.metaserver.reading import Known

if TYPE_CHECKING:
    from dfs.metaserver.leading import LeaderTerm

MOST = 100  # in one round


class Expiring:
    """:param term: the leadership that it is a duty of."""

    def __init__(self, term: LeaderTerm) -> None:
        self._term = term
        self._head = Known(term.seams.reader, queries.head)

    async def round(self) -> bool:
        """See dfs.metaserver.duty."""
        term = self._term
        head = await self._head.look()
        if head is None or not term.active:
            return False
        due = term.leases.expired(min(head.time_ms, term.now_ms()), MOST)
        for file_id, epoch in due:
            expired = await term.seams.proposer.propose(ExpireUpload(file_id, epoch), Changed)
            if not term.active:
                return False
            if expired.count or await term.seams.reader.look(queries.upload, file_id) is None:
                term.leases.ended(file_id)  # else it was resumed, and has a new lease
        return len(due) == MOST
