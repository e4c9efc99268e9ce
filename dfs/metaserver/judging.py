"""Silence becomes a verdict: suspect in this leader's opinion, dead by a command."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.logger import Logger

from dfs.metaserver.answers import Changed
from dfs.metaserver.commands import NodeDied
from dfs.protocol.values import NodeState

if TYPE_CHECKING:
    from dfs.metaserver.leading import LeaderTerm

_log = Logger()


class Judging:
    """:param term: the leadership that it is a duty of."""

    def __init__(self, term: LeaderTerm) -> None:
        self._term = term
        self._seams = term.seams
        self._states: dict[int, NodeState] = {}

    async def round(self) -> bool:
        """See dfs.metaserver.duty."""
        term = self._term
        for number in self._seams.roster.numbers():
            if term.state(number) is not self._states.get(number):
                self.changed(number)
        for number in term.liveness.newly_dead(self._seams.seconds()):
            await self._seams.proposer.propose(NodeDied(number), Changed)
            if not term.active:
                return False
            term.liveness.known(number, True, self._seams.seconds())
            self.changed(number)
        return False

    def changed(self, number: int) -> None:
        """Its state may be another now: tell the planner, and whoever reads the log."""
        term, entry = self._term, self._seams.roster.entry(number)
        if entry is None:
            return
        state, former = term.state(number), self._states.get(number)
        self._states[number] = state
        term.repair.planner.node(self._seams.roster.view(number, state))
        if former is not None and state is not former:
            _log.info("{node} is {state} now", node=entry.record.name, state=state.name.lower())
        if state is NodeState.DEAD and former is not NodeState.DEAD:
            term.orders.dropped(number)
            term.repair_duty.nudge()
