"""`dfs sim`: what is refused, what is printed, how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from dfs.cli.errors import UsageError
from dfs.cli.options import parse
from dfs.cli.sim import asked_for
from dfs.simulation.run import Run
from dfs.test.pieces import ROOT

PATIENCE = 60.0
"""Real seconds, for a machine with much else to do."""


class AskedTests(SynchronousTestCase):
    """From words to runs."""

    def runs(self, *words: str, limit: int = 5) -> list[Run]:
        asked = asked_for(parse(["sim", *words]))
        return [run for _, run in zip(range(limit), asked.runs, strict=False)]

    def test_runs(self) -> None:
        """Seeds in their order; with hours, from the first on without end; a cut run by itself."""
        self.assertEqual(self.runs(), [Run(0)])
        self.assertEqual(self.runs("--seeds", "2..4", "--scenario", "S24"), [Run(seed, "S24") for seed in (2, 3, 4)])
        self.assertEqual(self.runs("--seeds", "2..3", "--hours", "1"), [Run(seed) for seed in (2, 3, 4, 5, 6)])
        cut = Run(7, keep=frozenset({3, 17}), clients=1, seconds=2.5)
        self.assertEqual(self.runs("--seed", "7", "--keep", "3,17", "--clients", "1", "--phase", "2.5"), [cut])

    def test_refused(self) -> None:
        """What makes no sense is refused with a sentence."""
        for words in (
            ["--seed", "x"],
            ["--scenario", "S99"],
            ["--hours", "0"],
            ["--hours", "x"],
            ["--jobs", "0"],
            ["--keep", "x"],
            ["--keep", "1", "--seeds", "1..2"],
            ["--clients", "1", "--scenario", "S24"],
            ["--phase", "1", "--hours", "1"],
            ["--shrink", "--scenario", "S24"],
            ["--trace", "t", "--jobs", "2"],
        ):
            self.assertRaises(UsageError, lambda words=words: asked_for(parse(["sim", *words])))


class InterruptTests(SynchronousTestCase):
    """Ctrl-C."""

    def check(self, jobs: int) -> None:
        command = [sys.executable, "-m", "dfs.cli.main", "sim", "--hours", "1000", "--jobs", str(jobs)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with subprocess.Popen(
            command, cwd=ROOT, env=environment, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as running:
            assert running.stdout is not None and running.stderr is not None
            self.assertIn(b"seed 0", running.stdout.readline())
            os.killpg(running.pid, signal.SIGINT)
            # Both pipes end when the last process that holds them has: no worker is left.
            _, told = running.communicate(timeout=PATIENCE)
            self.assertEqual(running.returncode, 130, told)
        self.assertIn(b"interrupted", told)
        self.assertNotIn(b"Traceback", told)

    def test_one_process(self) -> None:
        """An interrupt in the middle of a run ends it at once, with a word and exit code 130."""
        self.check(1)

    def test_workers(self) -> None:
        """With workers too, and none is left."""
        self.check(2)
