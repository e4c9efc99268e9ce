"""How long to wait before the next try: exponential, with full jitter.

Full jitter (a uniform draw from nothing to the bound) spreads a crowd of
callers best: Brooker, "Exponential Backoff And Jitter", AWS, 2015.  Twisted's own
policy for ClientService draws from the global ``random``, which no seed decides.
"""

from __future__ import annotations

import random
from collections.abc import Callable

FIRST = 0.1
LIMIT = 10.0


def full_jitter(
    random: random.Random, first: float = FIRST, limit: float = LIMIT, factor: float = 2.0
) -> Callable[[int], float]:
    """A policy: the seconds to wait after ``attempt`` failures (an int from 0 on).

    The bound of the draw is ``first * factor ** attempt``, at most ``limit``.  It fits ClientService's
    ``retryPolicy``.  Only ``random.random()`` is used.
    """

    def delay(attempt: int) -> float:
        bound = first
        for _ in range(attempt):
            bound *= factor
            if bound >= limit:
                break
        return random.random() * min(bound, limit)

    return delay


class Backoff:
    """One caller's count of failures in a row."""

    def __init__(self, policy: Callable[[int], float]) -> None:
        self._policy = policy
        self.failures = 0

    def next_delay(self) -> float:
        """A try failed: the seconds to wait before the next."""
        delay = self._policy(self.failures)
        self.failures += 1
        return delay

    def reset(self) -> None:
        """A try succeeded."""
        self.failures = 0
