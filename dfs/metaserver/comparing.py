"""The leader's look at the others' state: equal entries must have made equal tables (S38)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.logger import Logger

from dfs.kv.interfaces import IKeyValueStore
from dfs.metaserver.checkpoints import KEPT, compare
from dfs.protocol.errors import DFSError
from dfs.protocol.messages import Checkpoints, GetCheckpoints

if TYPE_CHECKING:
    from dfs.metaserver.leading import LeaderTerm

_log = Logger()

INTERVAL = 5.0
"""Seconds between comparisons."""

ALARM = "state hash"


class Comparing:
    """:param term: the leadership that it is a duty of."""

    def __init__(self, term: LeaderTerm) -> None:
        self._term = term
        self._seams = term.seams

    async def round(self) -> bool:
        """See dfs.metaserver.duty."""
        seams = self._seams
        me = seams.config.node
        seen = {me: await seams.reader.look(self._own)}

        async def one(member: str) -> None:
            try:
                answer = await seams.neighbours.ask(member, GetCheckpoints(), Checkpoints)
            except (DFSError, CancelledError):
                return  # it is down or of an older version, or this leadership ends: there is nothing to compare
            seen[member] = {each.index: each.state_hash for each in answer.checkpoints}

        others = [member for member in seams.members if member != me]
        asked = await DeferredList([Deferred.fromCoroutine(one(member)) for member in others], consumeErrors=True)
        for succeeded, result in asked:
            if not succeeded:
                _log.failure("asking for a member's state hashes failed", result)
        self._term.check()
        difference, compared = compare(seen)
        if difference is not None:
            seams.alarms.set(ALARM, difference.sentence(), critical=True)
        elif set(compared) >= set(seams.members):
            seams.alarms.clear(ALARM)
        return False

    def _own(self, _store: IKeyValueStore) -> dict[int, bytes]:
        """On the lane."""
        return self._seams.machine.checkpoints.latest(KEPT)
