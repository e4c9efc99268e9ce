"""Silence becomes a verdict: suspect in this leader's opinion, dead by a command.

A round that comes late by more than GRACE found this process stopped, swapped out or busy: beats lie unread in its
sockets.  The lateness is no node's silence (S02).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.logger import Logger

from dfs.metaserver.answers import Changed
from dfs.metaserver.commands import NodeDied
from dfs.protocol.values import NodeState

if TYPE_CHECKING:
    from dfs.metaserver.leading import LeaderTerm

_log = Logger()

GRACE = 0.5  # seconds that a round may be late


class Judging:
    """:param term: the leadership that it is a duty of.
    :param interval: seconds between rounds.
    """

    def __init__(self, term: LeaderTerm, interval: float) -> None:
        self._term = term
        self._interval = interval
        self._next: float | None = None
        self._seams = term.seams
        self._states: dict[int, NodeState] = {}

    async def round(self) -> bool:
        """See dfs.metaserver.duty."""
        self._allow_lateness()
        try:
            return await self._judge()
        finally:
            self._next = self._seams.seconds() + self._interval

    def _allow_lateness(self) -> None:
        now = self._seams.seconds()
        late = now - self._next if self._next is not None else 0.0
        if late > GRACE:
            _log.warn("this node stood still for {late:.1f} s: that is nobody's silence", late=late)
            self._term.liveness.stood_still(late, now)

    async def _judge(self) -> bool:
        term = self._term
        for number in self._seams.roster.numbers():
            if term.state(number) is not self._states.get(number):
                self.changed(number)
        for number in term.liveness.newly_dead(self._seams.seconds()):
            if term.state(number) is NodeState.MAINTENANCE:
                continue  # its silence was announced
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
        term.repair.planner.node(term.view(number))
        if former is not None and state is not former:
            _log.info("{node} is {state} now", node=entry.record.name, state=state.name.lower())
        if state is NodeState.DEAD and former is not NodeState.DEAD:
            term.orders.dropped(number)
            term.trims.node_died(number)
            term.repair.pairs.forget(number)
            term.repair_duty.nudge()

    def is_anybody_silent(self) -> bool:
        """Whether some node is suspect."""
        return NodeState.SUSPECT in self._states.values()

    def forget(self, number: int) -> None:
        """It was removed."""
        self._states.pop(number, None)
