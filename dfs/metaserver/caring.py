"""A leader looks after nodes that are to be away, to be emptied or to be forgotten, and after the balance.

Every step is one bounded command, judged anew when it is applied; a round that finds nothing due reads nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dfs.metaserver import eventlog, queries, tables
from dfs.metaserver.answers import Changed
from dfs.metaserver.balancing import Balance, Load
from dfs.metaserver.commands_moving import (
    MAX_MOVES,
    EndMaintenance,
    ForgetNode,
    ForgetReplicas,
    NodeDrained,
    Place,
)
from dfs.metaserver.reading import Known
from dfs.metaserver.records import Standing
from dfs.metaserver.records_moving import Balancing, CareRecord, Wish
from dfs.protocol.values import NodeState

if TYPE_CHECKING:
    from dfs.metaserver.leading import LeaderTerm

WALK_AGAIN = 10.0  # seconds after a walk over a node that is to be forgotten left something
MAX_UNTRIMMED = 32  # chunks that were copied for the balance and wait for their trim
EVEN_SECONDS = 5.0  # between two walks over what is on full nodes


class Caring:
    """:param term: the leadership that it is a duty of."""

    def __init__(self, term: LeaderTerm) -> None:
        self._term = term
        self._seams = term.seams
        self._walks: dict[int, bytes] = {}
        self._next_walk: dict[int, float] = {}
        self._care = CareRecord()
        self._known = Known(term.seams.reader, eventlog.care)
        self._next_evening = 0.0

    async def round(self) -> bool:
        """See dfs.metaserver.duty."""
        self._care = await self._known.look()
        self._weigh()
        more = False
        for number in self._seams.roster.numbers():
            if not self._term.active:
                return False
            more |= await self._look_after(number)
        for node, since in self._term.repair.planner.drains.clean():
            await self._seams.proposer.propose(NodeDrained(node, since), Changed)
        return more

    async def _look_after(self, number: int) -> bool:
        entry = self._seams.roster.entry(number)
        if entry is None:
            return False
        if entry.record.standing == Standing.MAINTENANCE and entry.life.until_ms <= self._term.now_ms():
            await self._seams.proposer.propose(EndMaintenance(number, True), Changed)
        is_out = entry.record.standing in (Standing.DRAINED, Standing.DEAD)
        if entry.life.wish == Wish.REMOVE and is_out and self._seams.seconds() >= self._next_walk.get(number, 0.0):
            return await self._forget_some(number)
        return False

    async def _forget_some(self, number: int) -> bool:
        """A page of what is recorded at the node; the node itself with the last of it.  True: there is more to do."""
        after = self._walks.get(number, b"")
        page = await self._seams.reader.look(queries.replicas_page, number, after, MAX_MOVES)
        if not page:
            self._walks.pop(number, None)
            if after == b"":
                return (await self._seams.proposer.propose(ForgetNode(number), Changed)).count == 0
            self._next_walk[number] = self._seams.seconds() + WALK_AGAIN
            return False
        places = tuple(Place(file_id, index) for file_id, index, _ in page)
        count = (await self._seams.proposer.propose(ForgetReplicas(number, places), Changed)).count
        if count < len(places):  # what is left is passed over, and looked at again by another walk
            self._walks[number] = tables.place(*page[-1][:2])
        return True

    def _weigh(self) -> None:
        """Keep the planner's view of the balance, while that is wished, and while what was copied for it is trimmed."""
        planner, now = self._term.repair.planner, self._seams.seconds()
        is_on = self._care.balancing == Balancing.ON and self._term.trims.trimmer.busy() < MAX_UNTRIMMED
        planner.balance = self.weighed(self._care.threshold) if is_on else None
        if is_on and now >= self._next_evening:
            self._next_evening = now + EVEN_SECONDS
            planner.even_out()

    def weighed(self, threshold: int) -> Balance:
        """The balance as it is now."""
        roster, loads = self._seams.roster, []
        for number in roster.numbers():
            entry = roster.entry(number)
            if entry is not None and self._term.state(number) is NodeState.ALIVE:
                loads.append(Load(number, entry.total, entry.record.bytes))
        return Balance(loads, threshold)

    @property
    def care(self) -> CareRecord:
        """As last read."""
        return self._care
