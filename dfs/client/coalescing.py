"""Many callers, few requests: what is asked for while a request is in flight leaves together with the next one.

Nobody waits for a timer: what one turn of the reactor asks for leaves at its end, if fewer than ``at_once`` requests
are in flight; else it leaves when one of these ends.  So a lone caller waits for nobody, and a hundred callers share.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Hashable, Sequence
from typing import Any, Generic, TypeVar

from attrs import define
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from dfs.protocol.errors import Busy

Part = TypeVar("Part")
Outcome = TypeVar("Outcome")

WAITING = 10_000
"""Parts that may wait; above it Busy."""


@define(eq=False)
class _Waiting(Generic[Part, Outcome]):
    part: Part
    done: Deferred[Outcome]


class Coalescer(Generic[Part, Outcome]):
    """:param send: does a batch, with an outcome for each part in order; what it raises each part's caller is told.
    :param key: parts travel together where their keys are equal.
    :param weigh: bytes of a part, of which ``heaviest`` fit in one batch, and ``most`` parts.
    """

    def __init__(
        self,
        reactor: Any,
        send: Callable[[Sequence[Part]], Coroutine[Deferred[Any], Any, Sequence[Outcome]]],
        key: Callable[[Part], Hashable],
        weigh: Callable[[Part], int],
        most: int,
        heaviest: int,
        at_once: int = 1,
    ) -> None:
        self._reactor, self._send, self._key, self._weigh = reactor, send, key, weigh
        self._most, self._heaviest, self._at_once = most, heaviest, at_once
        self._waiting: deque[_Waiting[Part, Outcome]] = deque()
        self._due = False
        self._running: dict[int, Deferred[None]] = {}
        self._last = 0
        self.batches = 0
        """Requests made so far."""

    def add(self, part: Part) -> Deferred[Outcome]:
        """The part's outcome.  Raises Busy.  Cancelling gives it up; what has left goes on without its caller."""
        if len(self._waiting) >= WAITING:
            raise Busy("too many small files wait to be sent")
        waiting: _Waiting[Part, Outcome] = _Waiting(part, Deferred(lambda _: self._leave(waiting)))
        self._waiting.append(waiting)
        if not self._due:
            self._due = True
            self._reactor.callLater(0, self._flush)
        return waiting.done

    def _leave(self, waiting: _Waiting[Part, Outcome]) -> None:
        if waiting in self._waiting:
            self._waiting.remove(waiting)

    def _flush(self) -> None:
        self._due = False
        while self._waiting and len(self._running) < self._at_once:
            self._last += 1
            self.batches += 1
            number = self._last
            running = Deferred.fromCoroutine(self._run(self._next()))
            self._running[number] = running
            running.addBoth(self._ended, number)  # type: ignore[unused-awaitable]

    def _ended(self, _: object, number: int) -> None:
        del self._running[number]
        if not self._due and self._waiting:
            self._due = True
            self._reactor.callLater(0, self._flush)

    def _next(self) -> list[_Waiting[Part, Outcome]]:
        """The oldest part, and what may travel with it."""
        key = self._key(self._waiting[0].part)
        taken: list[_Waiting[Part, Outcome]] = []
        left: deque[_Waiting[Part, Outcome]] = deque()
        weight = 0
        while self._waiting and len(taken) < self._most:
            each = self._waiting.popleft()
            weight += self._weigh(each.part)
            if taken and (weight > self._heaviest or self._key(each.part) != key):
                weight -= self._weigh(each.part)
                left.append(each)
            else:
                taken.append(each)
        self._waiting.extendleft(reversed(left))
        return taken

    async def _run(self, batch: list[_Waiting[Part, Outcome]]) -> None:
        try:
            outcomes = await self._send([each.part for each in batch])
        except (Exception, CancelledError) as error:  # noqa: BLE001 - whatever it is, each caller is told
            for each in batch:
                if not each.done.called:
                    each.done.errback(Failure(error))
            return
        for each, outcome in zip(batch, outcomes, strict=True):
            if not each.done.called:  # else its caller gave up
                each.done.callback(outcome)
