"""Who waits for leadership to move (R58)."""

from __future__ import annotations

from attrs import define, field
from twisted.internet.defer import Deferred

from dfs.raft.core import RaftCore
from dfs.raft.core.types import Role
from dfs.raft.errors import RaftError, Stopped, TransferFailed

PATIENCE = 2
"""Election time-outs after which nobody waits any longer: one for the transfer, one for the election."""


@define(eq=False)
class _Waiter:
    target: str
    term: int
    ticks: int
    answer: Deferred[str]


@define(eq=False)
class Handover:
    """Each waiter fires once, within ``PATIENCE`` election time-outs."""

    _core: RaftCore
    _election_ticks: int
    _waiting: list[_Waiter] = field(factory=list)

    def wait(self, target: str) -> Deferred[str]:
        """Fires with ``target`` once it leads in a later term."""
        waiter = _Waiter(target, self._core.term, 0, Deferred(lambda _: self._waiting.remove(waiter)))
        self._waiting.append(waiter)
        return waiter.answer

    def look(self, ticks: int = 0) -> None:
        """Something changed, or time went by."""
        for waiter in list(self._waiting):
            waiter.ticks += ticks
            outcome = self._outcome(waiter)
            if outcome is not None:
                self._waiting.remove(waiter)
                if isinstance(outcome, str):
                    waiter.answer.callback(outcome)
                else:
                    waiter.answer.errback(outcome)

    def _outcome(self, waiter: _Waiter) -> str | RaftError | None:
        core = self._core
        if core.term > waiter.term and core.leader == waiter.target:
            return waiter.target
        if core.term == waiter.term and core.role is Role.LEADER:
            return None if core.transferee is not None else TransferFailed(f"{waiter.target} did not take over in time")
        if core.term > waiter.term and core.leader is not None:
            return TransferFailed(f"{core.leader} leads, not {waiter.target}")
        if waiter.ticks > PATIENCE * self._election_ticks:
            return TransferFailed("no new leader is known yet")
        return None

    def stop(self) -> None:
        """The node stops."""
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            waiter.answer.errback(Stopped("the node is stopping"))
