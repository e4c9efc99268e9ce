"""Smaller runs that fail in the same way."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from dfs.simulation.faults import Decision
from dfs.simulation.plan import Result
from dfs.simulation.run import Run
from dfs.simulation.shrink import TRIES, Shrinker, ddmin, kind_of, told


class DdminTests(SynchronousTestCase):
    """Delta debugging."""

    def test_finds_what_it_takes(self) -> None:
        """Whatever part of a list makes it fail, that part is left, with few questions."""
        random = Random(1)
        for _ in range(50):
            items = list(range(1 + int(random.random() * 60)))
            guilty = {item for item in items if random.random() < 0.1}
            questions: list[Sequence[int]] = []

            def fails(some: Sequence[int], guilty: set[int] = guilty, asked: list[Sequence[int]] = questions) -> bool:
                asked.append(some)
                return guilty <= set(some)

            self.assertEqual(ddmin(items, fails), sorted(guilty))
            self.assertLess(len(questions), 20 + 40 * len(guilty))

    def test_one_of_several(self) -> None:
        """Where any of several does, one is left."""
        self.assertEqual(len(ddmin(list(range(20)), lambda some: bool({3, 11} & set(some)))), 1)


class Life:
    """Runs that fail with faults 3 and 17 as long as a client is there, until a second after the latter."""

    def __init__(self, violation: str = "12.3 meta-1 and meta-2 lead term 7") -> None:
        self.runs = 0
        self.violation = violation

    def live(self, run: Run) -> list[Result]:
        self.runs += 1
        carried = [number for number in range(20) if run.keep is None or number in run.keep]
        fails = {3, 17} <= set(carried) and run.plan.clients >= 1 and run.plan.seconds > 5.5
        schedule = tuple(Decision(number, 0.3 * number, "kill meta-1") for number in carried)
        violation = self.violation if fails else "something else"
        return [Result(run.seed, "", 10.0, 0.1, 1, {}, {}, (violation,), schedule)]


class ShrinkerTests(SynchronousTestCase):
    """Shrinker"""

    def shrink(self, life: Life, run: Run) -> Shrinker:
        shrinker = Shrinker(run, life.live(run)[0], lambda line: None, life.live)
        shrinker.shrink()
        return shrinker

    def test_faults_time_and_clients(self) -> None:
        """What is not needed goes: faults, the end of the phase, clients; the command that repeats it is told."""
        run = Run(2, clients=3, seconds=20.0)
        shrinker = self.shrink(Life(), run)
        self.assertEqual(shrinker.best, Run(2, keep=frozenset({3, 17}), clients=1, seconds=6.1))
        listing = told(shrinker)
        self.assertIn("  fault 3: 0.900 kill meta-1", listing)
        self.assertEqual(listing[-1], "  repeat it: dfs sim --seed 2 --keep 3,17 --clients 1 --phase 6.1")

    def test_another_failure_does_not_count(self) -> None:
        """A smaller run that fails for another reason is not what was looked for."""
        life = Life()
        first = Result(2, "", 10.0, 0.1, 1, {}, {}, ("no such thing happens again",), life.live(Run(2))[0].schedule)
        shrinker = Shrinker(Run(2), first, lambda line: None, life.live)
        self.assertEqual(shrinker.shrink(), Run(2))
        self.assertLessEqual(life.runs, TRIES + 1)

    def test_kinds(self) -> None:
        """Numbers, names in quotes and lists do not make another kind of violation; other words do."""
        one = kind_of("90 s after the heal: chunk 3 of file ab12cd34 (generation 2) is recorded on ['chunk-1']")
        self.assertEqual(one, kind_of("90 s after the heal: chunk 0 of file 77aa00 (generation 11) is recorded on []"))
        self.assertNotEqual(one, kind_of("90 s after the heal: there is no leader"))
