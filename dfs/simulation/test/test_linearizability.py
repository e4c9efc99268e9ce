"""The search for an order: held to a search that tries every order, and bounded."""

from __future__ import annotations

from itertools import permutations
from random import Random

from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

from dfs.simulation.linearizability import Verdict, explain


@frozen
class Write:
    """Or, with ``is_look``, a read of that value."""

    began: int
    ended: int | None
    value: int
    is_look: bool

    def after(self, state: int) -> tuple[bool, int]:
        return (state == self.value, state) if self.is_look else (True, self.value)


def by_hand(operations: list[Write]) -> bool:
    """Every order of every subset that leaves out only what is not known to have ended."""
    unknown = [operation for operation in operations if operation.ended is None]
    for mask in range(1 << len(unknown)):
        kept = [each for each in operations if each not in unknown or mask >> unknown.index(each) & 1]
        for order in permutations(kept):
            if any(
                later.ended is not None and later.ended < earlier.began
                for place, earlier in enumerate(order)
                for later in order[place:]
            ):
                continue
            state, fits = 0, True
            for operation in order:
                fits, state = operation.after(state)
                if not fits:
                    break
            if fits:
                return True
    return False


class ExplainTests(SynchronousTestCase):
    """Registers of small numbers."""

    def test_as_by_hand(self) -> None:
        """On random histories of up to six operations the verdict is that of trying every order."""
        random, wrong = Random(3), 0
        for _ in range(300):
            operations = []
            for _ in range(1 + int(random.random() * 6)):
                began = int(random.random() * 1000)
                ended = None if random.random() < 0.2 else began + 1 + int(random.random() * 500)
                reads = ended is not None and random.random() < 0.6
                operations.append(Write(began, ended, int(random.random() * 3), reads))
            expected = Verdict.RIGHT if by_hand(operations) else Verdict.WRONG
            wrong += expected is Verdict.WRONG
            self.assertIs(explain(operations, 0), expected, str(operations))
        self.assertGreater(wrong, 50)

    def test_budget(self) -> None:
        """A search that takes too long ends undecided, after the same number of steps each time."""
        operations = [Write(number, 1000 + number, number + 1, False) for number in range(14)]
        impossible = [*operations, Write(3000, 3001, 99, True)]
        self.assertIs(explain(impossible, 0, budget=2000), Verdict.UNDECIDED)
        self.assertIs(explain(impossible[-5:], 0), Verdict.WRONG)

    def test_long_histories_are_cheap(self) -> None:
        """Ten thousand operations one after the other take a few steps each."""
        operations = [Write(4 * n + k, 4 * n + k + 1, n, k == 2) for n in range(5000) for k in (0, 2)]
        self.assertIs(explain(operations, 0, budget=30_000), Verdict.RIGHT)
