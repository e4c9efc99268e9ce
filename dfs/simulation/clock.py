"""Virtual time: a heap of calls, each run when nothing earlier is left.

``twisted.internet.task.Clock`` sorts its list at every call and gives 11,000
events/s with 500 calls pending; this heap gives over 500,000 whatever is pending.

More than half of all calls are due at once (a turn of a reactor, a socket that became ready): they wait in a queue
beside the heap, in which all are due now, since time does not move while it holds any.

Invariants:

- time never goes back, and is exactly a call's time while it runs;
- calls of equal time run in the order of their scheduling (a sequence number breaks ties), so a run is
  the same whatever the hash seed;
- cancelling and rescheduling leave a stale entry (found by its sequence number) and heap and queue are rebuilt when
  more than half of the heap's length is stale;
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

NO_KEYWORDS: dict[str, Any] = {}
"""Of calls without keyword arguments."""


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
        self._heap: list[tuple[float, int, HeapCall]] = []
        self._at_once: deque[tuple[int, HeapCall]] = deque()
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
            heappush(self._heap, (time, sequence, call))
        elif delay == 0:
            self._at_once.append((sequence, call))
        else:
            raise ValueError(f"a delay of {delay} s is in the past")
        return call

    def call_at(self, time: float, function: Callable[..., Any], *args: Any) -> HeapCall:
        """Have the world's call made at exactly ``time`` (a delay would be rounded), not before now."""
        self._sequence = sequence = self._sequence + 1
        time = max(time, self.now)
        call = HeapCall(self, self, time, function, args, NO_KEYWORDS, sequence)
        heappush(self._heap, (time, sequence, call))
        return call

    def pending(self, owner: Owner | None = None) -> list[HeapCall]:
        """Calls that are to come, in order; of one owner or of all."""
        entries = [*self._heap, *((self.now, sequence, call) for sequence, call in self._at_once)]
        return [
            call
            for _, sequence, call in sorted(entries, key=lambda entry: entry[:2])
            if call.sequence == sequence and call.owner.running and (owner is None or call.owner is owner)
        ]

    def forget(self, call: HeapCall) -> None:
        """For HeapCall: its entry is stale."""
        call.sequence = 0
        self._stale += 1
        if self._stale > FEW and self._stale * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].sequence == entry[1] and entry[2].owner.running]
            heapify(self._heap)
            self._at_once = deque(entry for entry in self._at_once if entry[1].sequence == entry[0])
            self._stale = 0

    def move(self, call: HeapCall, time: float) -> None:
        """For HeapCall: it is to run at another time, not before now."""
        self.forget(call)
        call.time = max(time, self.now)
        call.sequence = self._sequence = self._sequence + 1
        heappush(self._heap, (call.time, call.sequence, call))

    def next_time(self) -> float | None:
        """When the next call is due; None when none is left."""
        call = self._take(inf)
        if call is None:
            return None
        # It stays the first of all: nothing can be due before it.
        if call.time <= self.now:
            self._at_once.appendleft((call.sequence, call))
        else:
            heappush(self._heap, (call.time, call.sequence, call))
        return call.time

    def step(self) -> bool:
        """Run the next call, moving time to it; False when none is left."""
        call = self._take(inf)
        if call is None:
            return False
        self._make(call)
        return True

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
        while (call := self._take(time)) is not None:
            self._make(call)
        if time > self.now:
            self.now = time

    def run_until_true(self, condition: Callable[[], Any], time: float) -> bool:
        """Run calls due at or before ``time`` until a condition, asked before each, is true; whether it became true."""
        while not condition():
            call = self._take(time)
            if call is None:
                return False
            self._make(call)
        return True

    def _take(self, limit: float) -> HeapCall | None:
        """Take the first call that is to run at or before ``limit``; stale ones and those of dead owners are gone."""
        while True:
            heap, at_once = self._heap, self._at_once
            if at_once and (not heap or heap[0][0] > self.now or heap[0][1] > at_once[0][0]):
                if self.now > limit:
                    return None
                sequence, call = at_once.popleft()
            elif heap and heap[0][0] <= limit:
                _, sequence, call = heappop(heap)
            else:
                return None
            if call.sequence != sequence:
                self._stale -= 1
            elif call.owner.running:
                return call

    def _make(self, call: HeapCall) -> None:
        """Run a call that was taken."""
        self.now = call.time
        self.events += 1
        call.state = "called"
        function = call.function
        assert function is not None
        try:
            if call.keywords:
                function(*call.arguments, **call.keywords)
            else:
                function(*call.arguments)
        except Exception:  # noqa: BLE001 - as a reactor does: one call's error is not the next one's
            _log.failure("a call failed at {now:.6f}", now=self.now)
