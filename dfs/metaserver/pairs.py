"""Which chunk servers do not reach one another though both reach us (S22).  Pure, leader-local.

One failed copy may have any cause; a pair is named when copies from the one to the other failed for want of a
connection several times and none got through meanwhile.
"""

from __future__ import annotations

from attrs import define

FAILURES = 2
"""Failures one after the other from which on a pair is named."""
FORGET = 900.0
"""Seconds after which a failure counts no more."""
MAX_PAIRS = 1_000
MOST_NAMED = 16


@define
class _Pair:
    failures: int
    last: float


class Pairs:
    """By (source, target), node numbers."""

    def __init__(self) -> None:
        self._pairs: dict[tuple[int, int], _Pair] = {}

    def failed(self, source: int, target: int, now: float) -> None:
        """A copy found no connection, or lost it."""
        if len(self._pairs) >= MAX_PAIRS:
            self._pairs = {key: pair for key, pair in self._pairs.items() if now - pair.last < FORGET}
        pair = self._pairs.get((source, target))
        if pair is not None:
            pair.failures, pair.last = pair.failures + 1, now
        elif len(self._pairs) < MAX_PAIRS:
            self._pairs[source, target] = _Pair(1, now)

    def succeeded(self, source: int, target: int) -> None:
        """They reach one another; idempotent."""
        self._pairs.pop((source, target), None)

    def forget(self, node: int) -> None:
        """It is dead or removed: that nobody reaches it is no news."""
        for key in [key for key in self._pairs if node in key]:
            del self._pairs[key]

    def named(self, now: float) -> list[tuple[int, int]]:
        """Pairs that an operator should hear of, at most MOST_NAMED."""
        found = [
            key for key, pair in self._pairs.items() if pair.failures >= FAILURES and now - pair.last < FORGET
        ]  # fmt: skip
        return sorted(found)[:MOST_NAMED]
