"""Who waits for a change of the membership, and who wants to hear that this member was removed."""

from __future__ import annotations

from attrs import define, field
from twisted.internet.defer import Deferred

from dfs.raft.core.types import ChangeTaken, Refusal
from dfs.raft.errors import (
    ChangeInProgress,
    ChangeRefused,
    NameUsedBefore,
    NotCaughtUp,
    OutcomeUnknown,
    TooManyMembers,
    UnknownMember,
    WouldLoseQuorum,
)
from dfs.raft.membership import Configuration

REFUSALS: dict[Refusal, type[ChangeRefused]] = {
    Refusal.CHANGE_IN_PROGRESS: ChangeInProgress,
    Refusal.NOT_CAUGHT_UP: NotCaughtUp,
    Refusal.WOULD_LOSE_QUORUM: WouldLoseQuorum,
    Refusal.UNKNOWN_MEMBER: UnknownMember,
    Refusal.NAME_USED_BEFORE: NameUsedBefore,
    Refusal.TOO_MANY_MEMBERS: TooManyMembers,
}


@define(eq=False)
class _Waiter:
    taken: ChangeTaken
    answer: Deferred[Configuration]


@define(eq=False)
class Changes:
    """Changes that were appended, here or before, until their entry is committed; each fires once (R62)."""

    _waiting: list[_Waiter] = field(factory=list)

    def wait(self, taken: ChangeTaken) -> Deferred[Configuration]:
        """Fires with the configuration when the entry of ``taken`` was applied."""
        waiter = _Waiter(taken, Deferred(lambda _: self._waiting.remove(waiter)))
        self._waiting.append(waiter)
        return waiter.answer

    def applied(self, index: int, term: int) -> None:
        """The entry at ``index``, of ``term``, is committed and applied."""
        for waiter in self._take(index, index):
            if waiter.taken.term == term:
                waiter.answer.callback(waiter.taken.configuration)
            else:
                waiter.answer.errback(OutcomeUnknown("another leader's entry took its place"))

    def unknown(self, first: int, last: int, reason: str) -> None:
        """Entries ``first`` to ``last`` will not be followed any further here."""
        for waiter in self._take(first, last):
            waiter.answer.errback(OutcomeUnknown(reason))

    def deposed(self, commit_index: int) -> None:
        """This member leads no more: what is not committed, its own or a former leader's, is unknown (R10)."""
        self.unknown(commit_index + 1, self._last(), "leadership went away before it was committed")

    def stop(self) -> None:
        """All end as unknown."""
        self.unknown(0, self._last(), "the node stopped before the outcome was known")

    def _last(self) -> int:
        return max((one.taken.index for one in self._waiting), default=0)

    def _take(self, first: int, last: int) -> list[_Waiter]:
        found = [waiter for waiter in self._waiting if first <= waiter.taken.index <= last]
        self._waiting = [waiter for waiter in self._waiting if waiter not in found]
        return found


@define(eq=False)
class Removal:
    """Whether this member knows that it was removed, and who waits for that (R57)."""

    known: bool = False
    _waiting: list[Deferred[None]] = field(factory=list)

    def wait(self) -> Deferred[None]:
        """Fires when it is known."""
        answer: Deferred[None] = Deferred(lambda _: self._waiting.remove(answer))
        self._waiting.append(answer)
        self._tell()
        return answer

    def learned(self) -> None:
        """It is known from now on."""
        self.known = True
        self._tell()

    def _tell(self) -> None:
        if self.known:
            waiting, self._waiting = self._waiting, []
            for answer in waiting:
                answer.callback(None)
