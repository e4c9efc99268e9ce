"""What is told of runs."""

from __future__ import annotations

import json

from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

from dfs.simulation.plan import Result
from dfs.simulation.run import Run, check_scenario, parse_seeds, run_and_tell


@frozen
class FakeRun(Run):
    """A run whose result is known."""

    violations: tuple[str, ...] = ()

    def results(self) -> list[Result]:
        return [Result(self.seed, f"trace{self.seed}", 60.0, 0.5, 10, {"kill": 1}, {"upload done": 2}, self.violations)]


class RunTests(SynchronousTestCase):
    """Lines, documents and exit codes."""

    def setUp(self) -> None:
        self.out: list[str] = []
        self.err: list[str] = []

    def run_and_tell(self, *runs: Run, as_json: bool = False) -> int:
        return run_and_tell(runs, as_json, self.out.append, self.err.append)

    def test_seeds(self) -> None:
        """One seed or a range with both ends; anything else is refused with a sentence."""
        self.assertEqual(list(parse_seeds("7")), [7])
        self.assertEqual(list(parse_seeds("2..4")), [2, 3, 4])
        for text in ("", "x", "3..1", "-1", "1..x"):
            self.assertRaises(ValueError, parse_seeds, text)

    def test_scenarios(self) -> None:
        """A scenario is named by its line; an unknown one is refused, naming those that there are."""
        self.assertEqual(check_scenario("S24"), "S24")
        error = self.assertRaises(ValueError, check_scenario, "S99")
        self.assertIn("S24", str(error))

    def test_a_failing_run_prints_what_repeats_it(self) -> None:
        """A violation is told with the one command that repeats it, and the exit code is 1."""
        self.assertEqual(self.run_and_tell(FakeRun(3), FakeRun(4, "S24", ("two leaders",))), 1)
        told = "\n".join(self.out)
        self.assertIn("VIOLATION two leaders", told)
        self.assertIn("dfs sim --seed 4 --scenario S24", told)
        self.assertNotIn("--seed 3", told)

    def test_a_good_run(self) -> None:
        """Without a violation the exit code is 0 and the last line sums up."""
        self.assertEqual(self.run_and_tell(FakeRun(1), FakeRun(2)), 0)
        self.assertIn("2 runs: 0.03 virtual hours", self.out[-1])

    def test_document(self) -> None:
        """With --json there is one document on stdout, with the fields that scripts rely on."""
        self.run_and_tell(FakeRun(1), FakeRun(2, "", ("lost",)), as_json=True)
        (line,) = self.out
        document = json.loads(line)
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
