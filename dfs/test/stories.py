"""What tests of scripted scenarios share."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from dfs.simulation.scenarios import SCENARIOS
from dfs.simulation.stage import play

SEED = 1


class ScenarioCase(SynchronousTestCase):
    """Plays scenarios: `dfs sim --scenario S24` plays the same."""

    def play(self, line: str, name: str, segments: bool = True) -> None:
        """Play one scenario of a line; no violation may be found.  ``segments``: False gives each replica a file."""
        (scenario,) = [scenario for scenario in SCENARIOS[line] if scenario.name == name]
        if not segments:
            scenario = evolve(scenario, settings=evolve(scenario.settings, segments=False))
        result = play(scenario, SEED)
        self.flushLoggedErrors()  # what is a defect among them is a violation
        self.assertEqual(result.violations, (), f"repeat it: dfs sim --scenario {line} --seed {SEED}")
