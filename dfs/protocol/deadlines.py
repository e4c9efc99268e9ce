"""The deadlines of the requests of one connection, on one timer.

A timer for each request would be made and cancelled with each, which costs more than most answers.  So there is one,
set for the earliest deadline: what is over by then is gone from the table, and when it fires it is set anew
for the earliest that is left.  Most deadlines of a connection lie equally far ahead, so it fires once in that time.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime


class Deadlines:
    """:param expired: called with the request id and the seconds that it had, once, at its deadline."""

    def __init__(self, reactor: IReactorTime, expired: Callable[[int, float], None]) -> None:
        self._reactor = reactor
        self._expired = expired
        self._due: dict[int, tuple[float, float]] = {}  # when, and how many seconds it had
        self._timer: IDelayedCall | None = None
        self._set_for = 0.0

    def __len__(self) -> int:
        return len(self._due)

    def begin(self, request_id: int, seconds: float) -> None:
        """``expired`` is called in ``seconds``, unless it is ended before."""
        due = self._reactor.seconds() + seconds
        self._due[request_id] = (due, seconds)
        self._wake(due, seconds)

    def _wake(self, due: float, seconds: float) -> None:
        """Look at ``due``, which is in ``seconds``, at the latest."""
        if self._timer is None:
            self._set_for = due
            self._timer = self._reactor.callLater(seconds, self._look)
        elif due < self._set_for:
            self._set_for = due
            self._timer.reset(seconds)

    def end(self, request_id: int) -> None:
        """It is over (idempotent); the timer stays, for the next one."""
        self._due.pop(request_id, None)

    def stop(self) -> None:
        """None is called any more."""
        self._due.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        now = self._reactor.seconds()
        late = [(request_id, seconds) for request_id, (due, seconds) in self._due.items() if due <= now]
        for request_id, seconds in late:
            if self._due.pop(request_id, None) is not None:  # else one that expired ended it
                self._expired(request_id, seconds)
        if self._due:  # the timer may run already, for a later one: that expired request began it
            earliest = min(due for due, _ in self._due.values())
            self._wake(earliest, max(earliest - now, 0.0))
