"""Real threads behind :class:`dfs.runtime.interfaces.IThreads`.

A *crew* is a queue and the threads that take from it.  A lane is a crew of one,
the pool a crew of several.  Threads start at the first call, not at construction,
because twistd forks between making a service and starting it.

**Completions travel in batches.**  ``callFromThread`` writes to the reactor's
wake-up pipe, a system call with both threads fighting for the interpreter lock.  So
a thread appends its result to a shared list and wakes the reactor only when the
list was empty: under load one wake-up carries many results.  Since one list
serves all and one thread serves a lane, the order within a lane is kept.

Queues have no bound of their own: whoever asks bounds what it asks for and
looks at ``depth``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from twisted.internet.defer import Deferred, fail, gatherResults
from twisted.internet.interfaces import IReactorFromThreads
from twisted.python.failure import Failure
from zope.interface import implementer

from dfs.runtime.errors import ThreadsStopped
from dfs.runtime.interfaces import ILane, IThreads

POOL_THREADS = 8
"""Threads of the pool: they wait for the disk or hash with the interpreter lock released."""

_Call = tuple[Callable[..., Any], tuple[Any, ...], "Deferred[Any]"]


class Completions:
    """Results on their way from all threads to the reactor thread, in batches."""

    def __init__(self, reactor: IReactorFromThreads) -> None:
        self._reactor = reactor
        self._lock = threading.Lock()
        self._waiting: list[tuple[Callable[[Any], None], Any]] = []
        self.wakeups = 0

    def add(self, deliver: Callable[[Any], None], result: Any) -> None:
        """From any thread: have ``deliver(result)`` called on the reactor thread, in order."""
        with self._lock:
            self._waiting.append((deliver, result))
            if len(self._waiting) > 1:
                return
            self.wakeups += 1
        self._reactor.callFromThread(self._drain)

    def _drain(self) -> None:
        with self._lock:
            batch, self._waiting = self._waiting, []
        for deliver, result in batch:
            deliver(result)


@implementer(ILane)
class Crew:
    """A queue and at most ``size`` threads that serve it.  Used on the reactor thread only."""

    def __init__(self, name: str, size: int, completions: Completions) -> None:
        self.name = name
        self._size = size
        self._completions = completions
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._pending = 0
        self._ended = 0
        self._stopping = False
        self._waiters: list[Deferred[None]] = []

    @property
    def depth(self) -> int:
        return self._pending

    def run(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        if self._stopping:
            return fail(ThreadsStopped(self.name))
        done: Deferred[Any] = Deferred()
        self._pending += 1
        if len(self._threads) < min(self._size, self._pending):
            self._start_thread()
        self._calls.put((function, arguments, done))
        return done

    @property
    def ended(self) -> bool:
        """Stopped, with every thread gone."""
        return self._stopping and self._ended == len(self._threads)

    def stop(self) -> Deferred[None]:
        if not self._stopping:
            self._stopping = True
            for _ in self._threads:
                self._calls.put(None)
        waiter: Deferred[None] = Deferred()
        self._waiters.append(waiter)
        self._tell_ended()
        return waiter

    def _start_thread(self) -> None:
        # A daemon thread, so that a process which dies of an error is not held back by an idle lane.
        thread = threading.Thread(target=self._work, name=f"{self.name}-{len(self._threads)}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _work(self) -> None:
        """The body of each thread: calls, one after the other, until told to end."""
        take, add = self._calls.get, self._completions.add
        while (call := take()) is not None:
            function, arguments, done = call
            try:
                result = function(*arguments)
            except BaseException:  # noqa: BLE001 - whatever the call raises is its caller's
                result = Failure()
            add(self._completed, (done, result))
            del call, function, arguments, done, result  # an idle thread must not keep a chunk alive
        add(self._thread_ended, threading.current_thread())

    def _completed(self, completion: tuple[Deferred[Any], Any]) -> None:
        done, result = completion
        self._pending -= 1
        done.callback(result)  # a Failure makes it an errback

    def _thread_ended(self, thread: threading.Thread) -> None:
        thread.join()
        self._ended += 1
        self._tell_ended()

    def _tell_ended(self) -> None:
        if self.ended:
            waiters, self._waiters = self._waiters, []
            for waiter in waiters:
                waiter.callback(None)


@implementer(IThreads)
class PoolThreads:
    """The threads of one process: a pool, and lanes as they are asked for."""

    def __init__(self, reactor: IReactorFromThreads, size: int = POOL_THREADS) -> None:
        self.completions = Completions(reactor)
        self._pool = Crew("pool", size, self.completions)
        self._lanes: list[Crew] = []
        self._stopped = False

    def run(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        return self._pool.run(function, *arguments)

    def lane(self, name: str) -> Crew:
        if self._stopped:
            raise ThreadsStopped(name)
        self._lanes = [lane for lane in self._lanes if not lane.ended]
        lane = Crew(name, 1, self.completions)
        self._lanes.append(lane)
        return lane

    def stop(self) -> Deferred[None]:
        self._stopped = True
        ended = gatherResults([crew.stop() for crew in (self._pool, *self._lanes)])
        return ended.addCallback(lambda _: None)
