"""Uploads that nobody holds any more end by a command, long after their lease lapsed (S40)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dfs.metaserver.answers import Changed
from dfs.metaserver.commands import ExpireUpload

if TYPE_CHECKING:
    from dfs.metaserver.leading import LeaderTerm

MOST = 100  # in one round


class Expiring:
    """:param term: the leadership that it is a duty of."""

    def __init__(self, term: LeaderTerm) -> None:
        self._term = term

    async def round(self) -> bool:
        """See dfs.metaserver.duty."""
        term = self._term
        due = term.leases.expired(term.now_ms(), MOST)
        for file_id, epoch in due:
            await term.seams.proposer.propose(ExpireUpload(file_id, epoch), Changed)
            if not term.active:
                return False
            term.leases.ended(file_id)
        return len(due) == MOST
