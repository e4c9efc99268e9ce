"""Several coroutines at once, ended together."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, DeferredList, gatherResults
from twisted.python.failure import Failure

T = TypeVar("T")


async def gather(coroutines: Iterable[Coroutine[Deferred[Any], Any, T]]) -> list[T]:
    """Run all; their results in order.  At the first failure, or when cancelled, the others are cancelled and
    waited for, so that nothing goes on behind the caller's back; then that first failure is raised."""
    running = [Deferred.fromCoroutine(each) for each in coroutines]
    everything = gatherResults(running, consumeErrors=True)
    try:
        return await everything
    except BaseException as reason:
        for each in running:
            each.cancel()
        await DeferredList(running, consumeErrors=True)
        first = getattr(reason, "subFailure", None)
        if isinstance(first, Failure) and first.value is not None:
            raise first.value from None
        raise


def pause(reactor: Any, seconds: float) -> Deferred[None]:
    """A Deferred that fires after ``seconds``; cancelling it stops the timer."""
    waiting: Deferred[None] = Deferred(lambda _: call.cancel())
    call = reactor.callLater(seconds, waiting.callback, None)
    return waiting


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
            waiter: Deferred[None] = Deferred(self._forget)
            self._waiting.append(waiter)
            await waiter

    def _forget(self, waiter: Deferred[None]) -> None:
        if waiter in self._waiting:
            self._waiting.remove(waiter)
