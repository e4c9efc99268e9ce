"""The laboratory's time: a heap of what happens when, in whole virtual milliseconds.

Whole numbers and an insertion number make the order of events the same everywhere.  Nothing is ever taken back: an
event that concerns a process that is gone finds that out by itself, from the number of the life it was meant for.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

TICK = 50
"""Milliseconds of one tick, as in production."""


MOST_EVENTS = 500_000
"""More in one run are a storm: a run of 20 virtual seconds has some thousands."""


class Storm(Exception):
    """Something goes on as fast as it can, for ever."""


class Agenda:
    """See the module.

    :ivar now: virtual milliseconds since the beginning.
    :ivar events: how many have happened.
    """

    def __init__(self) -> None:
        self.now = 0
        self.events = 0
        self._heap: list[tuple[int, int, Callable[[Any], None], Any]] = []
        self._scheduled = 0

    def after(self, delay: int, act: Callable[[Any], None], subject: Any) -> None:
        """Call ``act(subject)`` in ``delay`` milliseconds, after all that is due then already."""
        self._scheduled += 1
        heappush(self._heap, (self.now + delay, self._scheduled, act, subject))

    def run_until(self, moment: int) -> None:
        """Let everything happen that is due up to ``moment``."""
        heap, pop, left = self._heap, heappop, MOST_EVENTS - self.events
        try:
            while heap and heap[0][0] <= moment:
                self.now, _, act, subject = pop(heap)
                left -= 1
                if left < 0:
                    raise Storm(f"more than {MOST_EVENTS} events by {self.now} ms")
                act(subject)
        finally:
            self.events = MOST_EVENTS - left
        self.now = moment
