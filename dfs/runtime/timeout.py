"""Every remote call has a deadline."""

from __future__ import annotations

from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from dfs.runtime.errors import DeadlineExceeded

T = TypeVar("T")


def deadline(deferred: Deferred[T], seconds: float, clock: IReactorTime, what: str = "the call") -> Deferred[T]:
    """Fail ``deferred`` with DeadlineExceeded unless it fires within ``seconds``; return it.

    At the deadline it is cancelled, so that whatever it stands for can let go of what it holds.  A result
    that comes in spite of the cancellation is passed on.  Cancelling from outside stays CancelledError.
    """

    def timed_out(result: T | Failure, timeout: float) -> T:
        if isinstance(result, Failure):
            raise DeadlineExceeded(what, seconds) from None
        return result

    return deferred.addTimeout(seconds, clock, timed_out)
