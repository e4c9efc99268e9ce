"""Whether one order of operations explains all their outcomes.

An operation is an interval and what it does to a state.  A history is right if the operations can be put in an order
that respects the intervals and in which each outcome follows from the state before it (Herlihy and Wing, 1990).  The
search is Wing and Gong's (1993), depth first, with a memory of visited (set of what is done, state) pairs as Lowe
(2017) and Porcupine have it.  What makes it fast enough to look at every run:

- histories are cut by name before they come here, which is enough, for linearizability is local;
- the set of what is done is a prefix and a bit mask behind it: only what overlaps is ever looked at;
- a look that fits is taken at once: no order that puts it later explains more;
- one whose outcome nobody knows is tried last, and not at all where it changes nothing.

The budget is counted in steps, not in seconds, so that the verdict is the same on every machine.
"""

from __future__ import annotations

import enum
from collections.abc import Hashable, Iterable, Sequence
from typing import Protocol, TypeVar

S = TypeVar("S", bound=Hashable)
STEPS = 300_000
"""Steps after which a search is given up: a fraction of a second."""


class Interval(Protocol[S]):
    """An operation.

    ``began`` and ``ended`` are positions in one order of all beginnings and ends; ``ended`` None: its outcome is not
    known, and it may have taken effect at any time after it began, or never.
    """

    @property
    def began(self) -> int: ...

    @property
    def ended(self) -> int | None: ...

    @property
    def is_look(self) -> bool:
        """It changes no state, whatever the state is."""

    def after(self, state: S) -> tuple[bool, S]:
        """Whether the outcome fits ``state``, and the state that it leaves."""


class Verdict(enum.Enum):
    """What a search says."""

    RIGHT = "right"
    WRONG = "wrong"
    UNDECIDED = "undecided"


def explain(operations: Iterable[Interval[S]], initial: S, budget: int = STEPS) -> Verdict:
    """Whether some order explains every outcome; UNDECIDED after ``budget`` steps."""
    pending = sorted(operations, key=lambda operation: operation.began)
    required = sum(operation.ended is not None for operation in pending)
    seen: set[tuple[int, int, S]] = set()
    stack: list[tuple[int, int, S, int]] = [(0, 0, initial, required)]
    steps = 0
    while stack:
        prefix, mask, state, left = stack.pop()
        if not left:
            return Verdict.RIGHT
        if (prefix, mask, state) in seen:
            continue
        seen.add((prefix, mask, state))
        eligible = may_come_next(pending, prefix, mask)
        steps += len(eligible)
        if steps > budget:
            return Verdict.UNDECIDED
        for position, after, known in choices(pending, eligible, state):
            stack.append((*with_done(prefix, mask, position), after, left - known))
    return Verdict.WRONG


def choices(pending: Sequence[Interval[S]], eligible: Iterable[int], state: S) -> list[tuple[int, S, bool]]:
    """(position, state behind it, whether its outcome is known) of what is worth a try, the best last."""
    known: list[tuple[int, S, bool]] = []
    unknown: list[tuple[int, S, bool]] = []
    for position in eligible:
        operation = pending[position]
        fits, after = operation.after(state)
        if not fits:
            continue
        if operation.ended is not None:
            if operation.is_look:
                return [(position, state, True)]
            known.append((position, after, True))
        elif after != state:
            unknown.append((position, after, False))
    return unknown + known


def may_come_next(pending: Sequence[Interval[S]], prefix: int, mask: int) -> list[int]:
    """Positions of operations that may come next: nothing that is left ended before they began."""
    found: list[int] = []
    first_end: int | None = None
    for position in range(prefix, len(pending)):
        if mask >> position - prefix & 1:
            continue
        operation = pending[position]
        if first_end is not None and operation.began > first_end:
            break
        found.append(position)
        if operation.ended is not None and (first_end is None or operation.ended < first_end):
            first_end = operation.ended
    return [position for position in found if first_end is None or pending[position].began < first_end]


def with_done(prefix: int, mask: int, position: int) -> tuple[int, int]:
    """The set of what is done, and one more."""
    mask |= 1 << position - prefix
    while mask & 1:
        prefix, mask = prefix + 1, mask >> 1
    return prefix, mask
