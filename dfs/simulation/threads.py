"""Threads that run on virtual time, in an order that the seed draws.

A call takes effect at one instant (its function runs without interruption), after a drawn
wait for the disk, and its result is delivered when the disk's costs and a drawn scheduling
delay have passed: a crash between may find nothing done, or all done and nobody told.  Calls
of a lane start, run and answer one after the other; calls of the pool overlap, and answer in
the order that the draws give.

What was asked of a host that went down is neither run nor answered.  SimulatedCrash
raised by a call takes the host down in the middle of it.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail, gatherResults
from twisted.python.failure import Failure
from zope.interface import implementer

from dfs.runtime.errors import ThreadsStopped
from dfs.runtime.interfaces import ILane, IThreads
from dfs.simulation.disk import SimulatedCrash, SimulatedDisk
from dfs.simulation.reactor import SimulatedReactor

POOL_THREADS = 8
SWITCH = 0.00005
"""Seconds at most until a thread gets its turn, and until its result gets the reactor's."""

_Call = tuple[Callable[..., Any], tuple[Any, ...], "Deferred[Any]"]


@implementer(ILane)
class SimulatedCrew:
    """A queue and ``size`` simulated threads that serve it."""

    def __init__(self, name: str, size: int, threads: SimulatedThreads) -> None:
        self.name = name
        self.depth = 0
        self._threads = threads
        self._idle = size
        self._size = size
        self._calls: deque[_Call] = deque()
        self._stopping = False
        self._waiters: list[Deferred[None]] = []

    @property
    def ended(self) -> bool:
        """Stopped, with nothing queued or running."""
        return self._stopping and not self.depth

    def run(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        if self._stopping:
            return fail(ThreadsStopped(self.name))
        done: Deferred[Any] = Deferred()
        self.depth += 1
        self._calls.append((function, arguments, done))
        self._start()
        return done

    def stop(self) -> Deferred[None]:
        self._stopping = True
        waiter: Deferred[None] = Deferred()
        self._waiters.append(waiter)
        if self.ended:
            self._threads.later(0.0, self._tell_ended)
        return waiter

    def _start(self) -> None:
        if self._idle and self._calls:
            self._idle -= 1
            self._threads.later(self._threads.wait(), self._execute, *self._calls.popleft())

    def _execute(self, function: Callable[..., Any], arguments: tuple[Any, ...], done: Deferred[Any]) -> None:
        try:
            result = function(*arguments)
        except SimulatedCrash as crash:
            self._threads.crashed(crash)
            return
        except BaseException:  # noqa: BLE001 - whatever the call raises is its caller's
            result = Failure()
        self._threads.later(self._threads.rest(), self._deliver, done, result)

    def _deliver(self, done: Deferred[Any], result: Any) -> None:
        self._idle += 1
        self.depth -= 1
        self._start()
        done.callback(result)  # a Failure makes it an errback
        if self.ended:
            self._tell_ended()

    def _tell_ended(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.callback(None)


@implementer(IThreads)
class SimulatedThreads:
    """The threads of one process.

    :param crashed: called with a SimulatedCrash that a call raised; takes the host down.
    """

    def __init__(
        self,
        reactor: SimulatedReactor,
        random: random.Random,
        disk: SimulatedDisk,
        crashed: Callable[[SimulatedCrash], None],
        size: int = POOL_THREADS,
    ) -> None:
        self.crashed = crashed
        self.later = reactor.post
        self._cost = disk.take_cost
        self._disk = disk
        self._draw = random.random
        self._pool = SimulatedCrew("pool", size, self)
        self._lanes: list[SimulatedCrew] = []
        self._stopped = False

    def wait(self) -> float:
        """Seconds until a thread gets its turn, and then until the disk gets to what it asks, up to a sync's time: a
        crash may come before it."""
        disk, draw = self._disk, self._draw
        return draw() * SWITCH + draw() * disk.costs.sync * disk.slowness

    def rest(self) -> float:
        """Seconds that the disk takes for what was just done, and then until the reactor gets its turn."""
        return self._cost() + self._draw() * SWITCH

    def run(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        return self._pool.run(function, *arguments)

    def lane(self, name: str) -> SimulatedCrew:
        if self._stopped:
            raise ThreadsStopped(name)
        self._lanes = [lane for lane in self._lanes if not lane.ended]
        lane = SimulatedCrew(name, 1, self)
        self._lanes.append(lane)
        return lane

    def stop(self) -> Deferred[None]:
        self._stopped = True
        ended = gatherResults([crew.stop() for crew in (self._pool, *self._lanes)])
        return ended.addCallback(lambda _: None)
