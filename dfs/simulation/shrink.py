"""Making a failing run smaller: fewer faults, a shorter time, fewer clients, and it still fails in the same way.

A run is decided by its seed; what can be left out of it without changing the rest are numbered faults (``keep``, see
:mod:`dfs.simulation.faults`), whole clients, and the end of the phase with faults.  The faults are cut by delta
debugging (Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", 2002): halves first, then ever
smaller parts, until no single one can go.

What is left out does change what happens afterwards, so a smaller run may fail for another reason.  It counts only
where one of its violations is of the same kind: the same sentence but for numbers, names and quotations.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TypeVar

from attrs import evolve

from dfs.simulation.plan import Result
from dfs.simulation.run import Run

T = TypeVar("T")

TRIES = 400
"""Runs that a shrinking may take."""

KIND_LENGTH = 60
"""Characters of a violation that make its kind: what follows is the story of one run."""

_CHANGING = re.compile(r"'[^']*'|\[[^\]]*\]|\{[^}]*\}|\b[0-9a-f]{6,}\b|\d+(\.\d+)?")


def kind_of(violation: str) -> str:
    """What stays the same when the same thing goes wrong in another run."""
    return _CHANGING.sub("#", violation)[:KIND_LENGTH]


def ddmin(items: Sequence[T], fails: Callable[[Sequence[T]], bool]) -> list[T]:
    """A part of ``items``, in order, for which ``fails`` holds and of which no single item can be left out.

    ``fails`` holds for the whole.
    """
    left = list(items)
    pieces = 2
    while left:
        length = -(-len(left) // pieces)
        for start in range(0, len(left), length):
            rest = left[:start] + left[start + length :]
            if fails(rest):
                left, pieces = rest, max(pieces - 1, 2)
                break
        else:
            if length == 1:
                break
            pieces = min(pieces * 2, len(left))
    return left


class Shrinker:
    """:param run: it fails; ``first`` is how.
    :param say: told of each run that is smaller and still fails.
    :param live: runs a run.
    :ivar best: the smallest that failed so far; ``result`` is how.
    :ivar tries: runs so far.
    """

    def __init__(
        self, run: Run, first: Result, say: Callable[[str], None], live: Callable[[Run], list[Result]] = Run.results
    ) -> None:
        self.best = run
        self.result = first
        self.tries = 0
        self._kinds = {kind_of(violation) for violation in first.violations}
        self._say = say
        self._live = live

    def shrink(self) -> Run:
        """The smallest run that was found."""
        self._cut_faults()
        self._shorten()
        self._cut_clients()
        self._cut_faults()
        return self.best

    def _cut_faults(self) -> None:
        numbers = sorted({decision.number for decision in self.result.schedule})
        ddmin(numbers, lambda some: self._fails(evolve(self.best, keep=frozenset(some))))

    def _shorten(self) -> None:
        """End the phase with faults soon after the last of them."""
        last = max((decision.time for decision in self.result.schedule), default=0.0)
        for seconds in (1.0, 2.0, 4.0, last / 2, last, last + 1.0):
            cut = evolve(self.best, seconds=round(seconds, 3))
            if seconds < self.best.plan.seconds and self._fails(cut):
                return

    def _cut_clients(self) -> None:
        for clients in range(self.best.plan.clients):
            if self._fails(evolve(self.best, clients=clients)):
                return

    def _fails(self, run: Run) -> bool:
        """Whether it still fails in the same way; it is the best then."""
        if self.tries >= TRIES:
            return False
        self.tries += 1
        for result in self._live(run):
            if self._kinds & {kind_of(violation) for violation in result.violations}:
                self.best, self.result = run, result
                self._say(f"  smaller: {len(result.schedule)} events of faults, {result.virtual_seconds:.1f} virtual s")
                return True
        return False


def told(shrinker: Shrinker) -> list[str]:
    """The smallest schedule and what repeats it."""
    return [
        f"after {shrinker.tries} runs this is left of it:",
        *(f"  fault {decision}" for decision in shrinker.result.schedule),
        *(f"  VIOLATION {violation}" for violation in shrinker.result.violations),
        f"  repeat it: {shrinker.best.command}",
    ]
