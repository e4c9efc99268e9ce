"""Who waits for what: each proposal's and each read's Deferred fires exactly once (R62)."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush

from attrs import define
from twisted.internet.defer import Deferred

from dfs.raft.core.types import Proposed, ReadState, Refusal
from dfs.raft.errors import Busy, NotLeader, OutcomeUnknown, RaftError, Stopped


def refusal_error(refusal: Refusal, leader: str | None) -> RaftError:
    """The error of a refused proposal or read: nothing was appended."""
    if refusal is Refusal.BUSY:
        return Busy("too much is waiting to be committed; try again soon")
    return NotLeader(leader)


@define(eq=False)
class _Waiter:
    payload: bytes
    answer: Deferred[bytes]
    term: int = 0
    done: bool = False


class Proposals:
    """Proposals from ``add`` to their answer.  ``queued`` ones are not in the log yet.

    A caller that cancels gives up the answer, not the command.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._queued_length = 0
        self._queued: list[_Waiter] = []
        self._appended: dict[int, _Waiter] = {}

    def __len__(self) -> int:
        return len(self._queued) + len(self._appended)

    def add(self, payload: bytes) -> Deferred[bytes]:
        """Queue one for the next turn; Busy beyond the limit of queued bytes (R25)."""
        if self._queued_length + len(payload) > self._limit:
            raise Busy("too much is waiting to be proposed; try again soon")
        waiter = _Waiter(payload, Deferred(lambda _: setattr(waiter, "done", True)))
        self._queued.append(waiter)
        self._queued_length += len(payload)
        return waiter.answer

    def propose(self, propose: Callable[[list[bytes]], Proposed]) -> None:
        """Give all that are queued to the core at once."""
        if not self._queued:
            return
        queued, self._queued, self._queued_length = self._queued, [], 0
        proposed = propose([waiter.payload for waiter in queued])
        for position, waiter in enumerate(queued[: proposed.accepted]):
            waiter.payload = b""
            waiter.term = proposed.term
            index = proposed.first_index + position
            assert index not in self._appended, index
            self._appended[index] = waiter
        for waiter in queued[proposed.accepted :]:
            assert proposed.refusal is not None
            _fail(waiter, refusal_error(proposed.refusal, proposed.leader))

    def applied(self, index: int, term: int, answer: bytes) -> None:
        """The entry at ``index`` was applied; if another than the one proposed here, that one's end is unknown."""
        waiter = self._appended.pop(index, None)
        if waiter is None or waiter.done:
            return
        if waiter.term != term:
            _fail(waiter, OutcomeUnknown("another leader's entry took its place"))
            return
        waiter.done = True
        waiter.answer.callback(answer)

    def unknown(self, first: int, last: int, reason: str) -> None:
        """Entries ``first`` to ``last`` will not be followed any further here (R10, R46)."""
        indexes = [index for index in self._appended if first <= index <= last]
        for index in sorted(indexes):
            _fail(self._appended.pop(index), OutcomeUnknown(reason))

    def stop(self) -> None:
        """Queued ones are refused, appended ones are unknown."""
        queued, self._queued, self._queued_length = self._queued, [], 0
        for waiter in queued:
            _fail(waiter, Stopped("the node is stopping; nothing was appended"))
        if self._appended:
            self.unknown(min(self._appended), max(self._appended), "the node stopped before the outcome was known")


def _fail(waiter: _Waiter, error: RaftError) -> None:
    if not waiter.done:
        waiter.done = True
        waiter.answer.errback(error)


class Reads:
    """Reads from their request over the quorum's confirmation to the state machine's catching up (R47).

    :param patience: ticks that a confirmed read waits on a member that does not lead (R62).
    """

    def __init__(self, patience: int) -> None:
        self._patience = patience
        self._now = self._last = 0
        self._asked: dict[int, Deferred[int]] = {}
        self._confirmed: list[tuple[int, int, int, Deferred[int]]] = []  # index, number, last tick, answer

    def add(self, ask: Callable[[int], Refusal | None], leader: Callable[[], str | None]) -> Deferred[int]:
        """Begin one; raises what it is refused with."""
        self._last += 1
        number = self._last
        refusal = ask(number)
        if refusal is not None:
            raise refusal_error(refusal, leader())
        answer: Deferred[int] = Deferred(lambda _: self._forget(number))
        self._asked[number] = answer
        return answer

    def confirmed(self, read: ReadState, applied: int) -> None:
        """A quorum confirmed it; it waits until ``read.index`` is applied."""
        answer = self._asked.pop(read.id, None)
        if answer is not None:
            heappush(self._confirmed, (read.index, read.id, self._now + self._patience, answer))
            self.applied(applied)

    def applied(self, index: int) -> None:
        """The state machine is at ``index``."""
        while self._confirmed and self._confirmed[0][0] <= index:
            answer = heappop(self._confirmed)[-1]
            if not answer.called:
                answer.callback(index)

    def tick(self, ticks: int, leads: bool, leader: str | None) -> None:
        """Time went by: a follower may never get what a read waits for, so the read ends; a leader has it all."""
        self._now += ticks
        if leads:
            return
        late = [one for one in self._confirmed if one[2] <= self._now]
        if not late:
            return
        self._confirmed = [one for one in self._confirmed if one[2] > self._now]
        heapify(self._confirmed)
        for *_, answer in late:
            if not answer.called:
                answer.errback(NotLeader(leader))

    def lost(self, number: int, leader: str | None) -> None:
        """Leadership went away before it was confirmed."""
        answer = self._asked.pop(number, None)
        if answer is not None:
            answer.errback(NotLeader(leader))

    def stop(self) -> None:
        """All end: nothing was confirmed to them."""
        waiting = [*self._asked.values(), *(one[-1] for one in self._confirmed)]
        self._asked.clear()
        self._confirmed.clear()
        for answer in waiting:
            if not answer.called:
                answer.errback(Stopped("the node is stopping"))

    def _forget(self, number: int) -> None:
        self._asked.pop(number, None)
