"""Virtual time: a heap of calls, each run when nothing earlier is left.

``twisted.internet.task.Clock`` sorts its list at every call and gives 11,000
events/s with 500 calls pending; this heap gives over 500,000 whatever is pending.

More than half of all calls are due at once (a turn of a reactor, a socket that became ready): they wait in a queue
beside the heap, in which all are due now, since time does not move while it holds any.  What nobody will cancel or
move is posted: it costs a tuple and no HeapCall.

Invariants:

- time never goes back, and is exactly a call's time while it runs;
- calls of equal time run in the order of their scheduling (a sequence number breaks ties), so a run is
  the same whatever the hash seed;
- cancelling and rescheduling leave a stale entry (found by its sequence number) and heap and queue are rebuilt, in
  place, when more than half of the heap's length is stale;
- a call of an owner that is no longer ``running`` is dropped, not run: that is how a host's crash silences it.

What a call raises is logged as by a real reactor, and the clock goes on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from math import inf
from typing import Any, Protocol

from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

_log = Logger()

FEW = 512
"""A heap below this length is not worth a rebuild."""


Entry = tuple[float, int, "Owner", Callable[..., Any] | None, Any]
"""Time, sequence number, owner; then a function and its arguments, or None and the HeapCall that has them."""


class Owner(Protocol):
    """Whose call it is: a host with a clock of its own pace, or the world itself."""

    running: bool
    rate: float

    def seconds(self) -> float: ...


@implementer(IDelayedCall)
class HeapCall:
    """One scheduled call.  ``time`` is the world's; ``getTime`` tells it by the owner's clock."""

    __slots__ = ("_clock", "arguments", "function", "keywords", "owner", "sequence", "state", "time")

    def __init__(
        self,
        clock: HeapClock,
        owner: Owner,
        time: float,
        function: Callable[..., Any],
        arguments: tuple[Any, ...],
        keywords: dict[str, Any],
        sequence: int,
    ) -> None:
        self._clock = clock
        self.owner = owner
        self.time = time
        self.function: Callable[..., Any] | None = function
        self.arguments = arguments
        self.keywords = keywords
        self.sequence = sequence
        self.state = "pending"

    def getTime(self) -> float:
        return self.owner.seconds() + (self.time - self._clock.now) * self.owner.rate

    def cancel(self) -> None:
        self._check_pending()
        self.state = "cancelled"
        self.function = None
        self.arguments = ()
        self._clock.forget(self)

    def delay(self, secondsLater: float) -> None:
        self._check_pending()
        self._clock.move(self, self.time + secondsLater / self.owner.rate)

    def reset(self, secondsFromNow: float) -> None:
        self._check_pending()
        self._clock.move(self, self._clock.now + secondsFromNow / self.owner.rate)

    def active(self) -> bool:
        return self.state == "pending"

    def make(self) -> None:
        """For the clock: it is due."""
        self.state = "called"
        function = self.function
        assert function is not None
        if self.keywords:
            function(*self.arguments, **self.keywords)
        else:
            function(*self.arguments)

    def _check_pending(self) -> None:
        if self.state == "cancelled":
            raise AlreadyCancelled
        if self.state == "called":
            raise AlreadyCalled


@implementer(IReactorTime)
class HeapClock:
    """The world's time.  ``now`` is seconds since the world began.

    :ivar events: how many calls have run.
    """

    running = True
    rate = 1.0

    def __init__(self) -> None:
        self.now = 0.0
        self.events = 0
        self._heap: list[Entry] = []
        self._at_once: deque[Entry] = deque()
        self._sequence = 0
        self._stale = 0

    def seconds(self) -> float:
        return self.now

    def callLater(self, delay: float, callable: Callable[..., Any], *args: Any, **kwargs: Any) -> HeapCall:
        return self.schedule(self, delay, callable, args, kwargs)

    def getDelayedCalls(self) -> list[HeapCall]:
        return self.pending()

    def schedule(
        self, owner: Owner, delay: float, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> HeapCall:
        """Have ``owner``'s call made after ``delay`` seconds of the world, at least 0."""
        self._sequence = sequence = self._sequence + 1
        time = self.now + delay
        call = HeapCall(self, owner, time, function, args, kwargs, sequence)
        if delay > 0:
            heappush(self._heap, (time, sequence, owner, None, call))
        else:
            self._put((time, sequence, owner, None, call), delay)
        return call

    def post(self, owner: Owner, delay: float, function: Callable[..., Any], *args: Any) -> None:
        """As ``schedule``, for what nobody cancels or moves."""
        self._sequence = sequence = self._sequence + 1
        if delay > 0:
            heappush(self._heap, (self.now + delay, sequence, owner, function, args))
        else:
            self._put((self.now, sequence, owner, function, args), delay)

    def post_at(self, time: float, function: Callable[..., Any], *args: Any) -> None:
        """Have the world's call made at exactly ``time`` (a delay would be rounded), not before now."""
        self._sequence = sequence = self._sequence + 1
        heappush(self._heap, (max(time, self.now), sequence, self, function, args))

    def _put(self, entry: Entry, delay: float) -> None:
        if delay > 0:
            heappush(self._heap, entry)
        elif delay == 0:
            self._at_once.append(entry)
        else:
            raise ValueError(f"a delay of {delay} s is in the past")

    def pending(self, owner: Owner | None = None) -> list[HeapCall]:
        """Calls that are to come and can be cancelled, in order; of one owner or of all."""
        return [
            entry[4]
            for entry in sorted([*self._heap, *self._at_once], key=_place)
            if entry[3] is None and _lives(entry) and (owner is None or entry[2] is owner)
        ]

    def hold(self, owner: Owner, end: float) -> None:
        """Have no call of an owner's made before ``end``; those that were due keep their order."""
        mine = sorted((entry for entry in [*self._heap, *self._at_once] if entry[2] is owner), key=_place)
        early = [entry for entry in mine if entry[0] < end and _lives(entry)]
        posted = {entry[1] for entry in early if entry[3] is not None}
        self._keep(lambda entry: entry[1] not in posted)
        for _, _, _, function, what in early:
            if function is None:
                self.move(what, end)
            else:
                self.post(owner, end - self.now, function, *what)

    def forget(self, call: HeapCall) -> None:
        """For HeapCall: its entry is stale."""
        call.sequence = 0
        self._stale += 1
        if self._stale > FEW and self._stale * 2 > len(self._heap):
            self._keep(_lives)
            self._stale = 0

    def _keep(self, wanted: Callable[[Entry], bool]) -> None:
        """Rebuild heap and queue, which stay the same objects, for a loop may be at them."""
        self._heap[:] = [entry for entry in self._heap if wanted(entry)]
        heapify(self._heap)
        at_once = [entry for entry in self._at_once if wanted(entry)]
        self._at_once.clear()
        self._at_once.extend(at_once)

    def move(self, call: HeapCall, time: float) -> None:
        """For HeapCall: it is to run at another time, not before now."""
        self.forget(call)
        call.time = max(time, self.now)
        call.sequence = self._sequence = self._sequence + 1
        heappush(self._heap, (call.time, call.sequence, call.owner, None, call))

    def next_time(self) -> float | None:
        """When the next call is due; None when none is left."""
        while True:
            heap, at_once = self._heap, self._at_once
            if not heap and not at_once:
                return None
            entry = min(heap[0], at_once[0], key=_place) if heap and at_once else (at_once or heap)[0]
            if _lives(entry):
                return entry[0]
            self._stale -= entry[3] is None and entry[4].sequence != entry[1]
            if at_once and entry is at_once[0]:
                at_once.popleft()
            else:
                heappop(heap)

    def step(self) -> bool:
        """Run the next call, moving time to it; False when none is left."""
        before = self.events
        self.run_until_true(lambda: self.events > before, inf)
        return self.events > before

    def advance_to_next(self) -> bool:
        """Move to the next call's time and run all calls due then; False when none is left."""
        time = self.next_time()
        if time is None:
            return False
        self.run_until(time)
        return True

    def advance(self, seconds: float) -> None:
        """Run all calls of the next ``seconds``."""
        self.run_until(self.now + seconds)

    def run_until(self, time: float) -> None:
        """Run all calls due at or before ``time``, also those made meanwhile; then it is ``time``."""
        self.run_until_true(_never, time)
        if time > self.now:
            self.now = time

    def run_until_true(self, condition: Callable[[], Any], limit: float) -> bool:
        """Run calls due at or before ``limit`` until a condition, asked before each, is true; whether it became so."""
        heap, at_once = self._heap, self._at_once
        while not condition():
            while True:  # to the next that is to run: stale ones and those of dead owners are gone
                if at_once and (not heap or heap[0][0] > self.now or heap[0][1] > at_once[0][1]):
                    if self.now > limit:
                        return False
                    entry = at_once.popleft()
                elif heap and heap[0][0] <= limit:
                    entry = heappop(heap)
                else:
                    return False
                time, sequence, owner, function, what = entry
                if function is None and what.sequence != sequence:
                    self._stale -= 1
                elif owner.running:
                    break
            self.now = time
            self.events += 1
            try:
                if function is not None:
                    function(*what)
                else:
                    what.make()
            except Exception:  # noqa: BLE001 - as a reactor does: one call's error is not the next one's
                _log.failure("a call failed at {now:.6f}", now=self.now)
        return True


def _never() -> bool:
    return False


def _place(entry: Entry) -> tuple[float, int]:
    return entry[:2]


def _lives(entry: Entry) -> bool:
    """Whether it is to run."""
    return entry[2].running and (entry[3] is not None or entry[4].sequence == entry[1])
