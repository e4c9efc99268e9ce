"""What a run is named by, and what is told of runs."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from dfs.simulation.plan import Result
from dfs.simulation.report import TOLD, Totals, lines
from dfs.simulation.run import Run, check_scenario, parse_keep, parse_seeds
from dfs.simulation.swarm import plan_of


def result(seed: int, *violations: str) -> Result:
    """What a run might have done."""
    return Result(seed, f"trace{seed}", 60.0, 0.5, 10, {"kill": 1}, {"upload done": 2}, violations)


class RunTests(SynchronousTestCase):
    """Words on the command line, and back."""

    def test_seeds(self) -> None:
        """One seed or a range with both ends; anything else is refused with a sentence."""
        self.assertEqual(list(parse_seeds("7")), [7])
        self.assertEqual(list(parse_seeds("2..4")), [2, 3, 4])
        for text in ("", "x", "3..1", "-1", "1..x"):
            self.assertRaises(ValueError, parse_seeds, text)

    def test_keep(self) -> None:
        """Faults are kept by number, or none of them; anything else is refused with a sentence."""
        self.assertEqual(parse_keep("3,17,3"), {3, 17})
        self.assertEqual(parse_keep("none"), frozenset())
        for text in ("", "3,", "x", "3 17"):
            self.assertRaises(ValueError, parse_keep, text)

    def test_scenarios(self) -> None:
        """A scenario is named by its line; an unknown one is refused, naming those that there are."""
        self.assertEqual(check_scenario("S24"), "S24")
        error = self.assertRaises(ValueError, check_scenario, "S99")
        self.assertIn("S24", str(error))

    def test_command(self) -> None:
        """The command that repeats a run names all that it was cut to."""
        self.assertEqual(Run(3).command, "dfs sim --seed 3")
        self.assertEqual(Run(4, "S24").command, "dfs sim --seed 4 --scenario S24")
        cut = Run(3, keep=frozenset({17, 3}), clients=1, seconds=2.5)
        self.assertEqual(cut.command, "dfs sim --seed 3 --keep 3,17 --clients 1 --phase 2.5")
        self.assertEqual(evolve(cut, keep=frozenset()).command, "dfs sim --seed 3 --keep none --clients 1 --phase 2.5")

    def test_plan(self) -> None:
        """A cut changes what it says and nothing else of what the seed draws."""
        self.assertEqual(Run(3).plan, plan_of(3))
        cut = Run(3, keep=frozenset({1}), clients=0, seconds=2.5).plan
        self.assertEqual(cut, evolve(plan_of(3), keep=frozenset({1}), clients=0, seconds=2.5))


class ReportTests(SynchronousTestCase):
    """Lines and documents."""

    def test_a_failing_run_prints_what_repeats_it(self) -> None:
        """A violation is told with the one command that repeats it."""
        told = lines(Run(4, "S24"), result(4, "two leaders"))
        self.assertIn("  VIOLATION two leaders", told)
        self.assertEqual(told[-1], "  repeat it: dfs sim --seed 4 --scenario S24")

    def test_a_good_run(self) -> None:
        """A run without a violation is one line, and the last lines sum up."""
        (line,) = lines(Run(1), result(1))
        self.assertIn("seed 1: 60.0 virtual s", line)
        totals = Totals()
        for seed in (1, 2):
            totals.add(result(seed), "")
        self.assertEqual(totals.closing()[0], "faults: kill 2")
        self.assertIn("2 runs: 0.03 virtual hours in 1.0 s (120 times faster", totals.closing()[1])

    def test_document(self) -> None:
        """The document has the fields that scripts rely on."""
        totals = Totals()
        totals.add(result(1), "dfs sim --seed 1")
        totals.add(result(2, "lost"), "dfs sim --seed 2")
        document = totals.document()
        trace = document.pop("trace")
        self.assertEqual(len(trace), 64)
        self.assertEqual(
            document,
            {
                "seeds": 2,
                "virtual_seconds": 120.0,
                "wall_seconds": 1.0,
                "events": 20,
                "faults": {"kill": 2},
                "operations": {"upload done": 4},
                "violations": [{"seed": 2, "violation": "lost", "command": "dfs sim --seed 2"}],
            },
        )

    def test_violations_are_bounded(self) -> None:
        """A long run full of violations counts all and keeps the first."""
        totals = Totals()
        for seed in range(TOLD):
            totals.add(result(seed, "one", "two"), "")
        self.assertEqual(totals.violated, 2 * TOLD)
        self.assertEqual(len(totals.document()["violations"]), TOLD)
