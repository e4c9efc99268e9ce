"""Choices from a seed that are the same on every machine: made of ``random()`` and ``getrandbits()`` only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import Random
from typing import TypeVar

T = TypeVar("T")


class Dice:
    """One purpose's choices.  :param random: seeded for it."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def chance(self, share: float) -> bool:
        """True in ``share`` of all cases."""
        return self._random.random() < share

    def between(self, low: float, high: float) -> float:
        """Evenly from low to high."""
        return low + (high - low) * self._random.random()

    def below(self, count: int) -> int:
        """A whole number from 0 to ``count - 1``."""
        return min(count - 1, int(self._random.random() * count))

    def pick(self, choices: Sequence[T]) -> T:
        """One of them."""
        return choices[self.below(len(choices))]

    def weighted(self, choices: Sequence[tuple[T, float]]) -> T:
        """One of them, each as often as its weight says."""
        left = self._random.random() * sum(weight for _, weight in choices)
        for choice, weight in choices:
            left -= weight
            if left < 0:
                return choice
        return choices[-1][0]

    def shuffled(self, things: Iterable[T]) -> list[T]:
        """All of them, in any order."""
        left, order = list(things), []
        while left:
            order.append(left.pop(self.below(len(left))))
        return order

    def content(self, length: int) -> bytes:
        """So many random bytes."""
        return self._random.getrandbits(8 * length).to_bytes(length, "big") if length else b""
