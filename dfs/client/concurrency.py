"""Several coroutines at once, ended together; waiting that can be given up."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, DeferredList, DeferredLock, gatherResults
from twisted.python.failure import Failure

T = TypeVar("T")


async def gather(reactor: Any, coroutines: Iterable[Coroutine[Deferred[Any], Any, T]]) -> list[T]:
    """Run all; their results in order.  At the first failure, or when cancelled, the others are cancelled and
    waited for, so that nothing goes on behind the caller's back; then that first failure is raised.

    One that fails may do so within another's call (a lock or a connection passed on), and a coroutine that runs cannot
    be cancelled: so the reactor has a turn in between.
    """
    running = [Deferred.fromCoroutine(each) for each in coroutines]
    everything = gatherResults(running, consumeErrors=True)
    try:
        return await everything
    except Exception as reason:
        try:
            await pause(reactor, 0.0)
        finally:
            for each in running:
                each.cancel()
        await DeferredList(running, consumeErrors=True)
        first = getattr(reason, "subFailure", None)
        if isinstance(first, Failure) and first.value is not None:
            raise first.value from None
        raise


async def locked(lock: DeferredLock, work: Callable[[], Coroutine[Deferred[Any], Any, T]]) -> T:
    """Do this while holding the lock.  A coroutine that is dropped (its program died) passes the lock to nobody."""
    await lock.acquire()
    try:
        result = await work()
    except Exception:
        lock.release()
        raise
    lock.release()
    return result


def cancellable(inner: Deferred[T], unwanted: Callable[[T], object] = lambda _: None) -> Deferred[T]:
    """``inner``, to be awaited: who cancels the waiting sees CancelledError at once, whatever ``inner`` makes of it.

    So our own giving up is never mistaken for a Cancelled that a peer told, which may be tried again.  A result
    that comes too late goes to ``unwanted``, to be let go of.
    """
    given_up: list[bool] = []

    def cancel(outer: Deferred[T]) -> None:
        given_up.append(True)
        inner.cancel()

    def fire(result: T | Failure) -> None:
        if not given_up:
            waiting.callback(result)  # a Failure makes it an errback
        elif not isinstance(result, Failure):
            unwanted(result)

    waiting: Deferred[T] = Deferred(cancel)
    inner.addBoth(fire)  # type: ignore[unused-awaitable]  # its result goes to `waiting`
    return waiting


def pause(reactor: Any, seconds: float) -> Deferred[None]:
    """A Deferred that fires after ``seconds``; cancelling it stops the timer."""
    waiting: Deferred[None] = Deferred(lambda _: call.cancel())
    call = reactor.callLater(seconds, waiting.callback, None)
    return waiting


async def at_most(reactor: Any, seconds: float, work: Deferred[Any]) -> None:
    """Wait for the end of ``work``, good or bad, but not longer; then cancel it."""
    ended: Deferred[None] = Deferred()

    def end(_: object) -> None:
        if not ended.called:
            ended.callback(None)

    late = reactor.callLater(seconds, end, None)
    work.addBoth(end)  # type: ignore[unused-awaitable]  # `ended` tells
    try:
        await ended
    finally:
        if late.active():
            late.cancel()
        work.cancel()


class Gate:
    """Open or shut: coroutines wait until it is open.  The producer side of a transport's flow control."""

    def __init__(self) -> None:
        self._waiting: list[Deferred[None]] = []
        self.is_open = True

    def shut(self) -> None:
        self.is_open = False

    def open(self) -> None:
        self.is_open = True
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(None)

    async def passed(self) -> None:
        """Wait until it is open."""
        while not self.is_open:
            waiter: Deferred[None] = Deferred(self._waiting.remove)
            self._waiting.append(waiter)
            await waiter
