"""Several processes that run seeds, told in the order of the seeds."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterable
from contextlib import closing
from itertools import count

from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

from dfs.simulation.plan import Result
from dfs.simulation.run import Run, Say
from dfs.simulation.workers import WorkerFailed, run_in_order


@frozen
class FakeRun(Run):
    """A run that needs no simulation; ``path`` is a FIFO for the kinds that meet there."""

    path: str = ""
    kind: str = ""

    def results(self, write_trace: Say | None = None) -> list[Result]:
        if self.kind == "waits":
            with open(self.path, "rb") as fifo:
                fifo.read()
        elif self.kind == "wakes":
            with open(self.path, "wb"):
                pass
        elif self.kind == "breaks":
            raise ZeroDivisionError("deep inside")
        elif self.kind == "dies":
            os._exit(3)
        return [Result(self.seed, str(os.getpid()), 1.0, 1.0, 1, {}, {}, ())]


class WorkersTests(SynchronousTestCase):
    """run_in_order"""

    def told(self, runs: Iterable[Run], jobs: int = 2) -> list[Result]:
        return [result for _, results in run_in_order(runs, jobs) for result in results]

    def tearDown(self) -> None:
        self.assertEqual(multiprocessing.active_children(), [], "a worker outlived its runs")

    def test_in_order_whoever_is_faster(self) -> None:
        """Runs go on at the same time, and a slow one is told before those that came after it."""
        path = self.mktemp()
        os.mkfifo(path)
        runs = [FakeRun(0, path=path, kind="waits"), FakeRun(1), FakeRun(2), FakeRun(3, path=path, kind="wakes")]
        results = self.told(runs)
        self.assertEqual([result.seed for result in results], [0, 1, 2, 3])
        self.assertEqual(len({result.trace for result in results}), 2)

    def test_one_job_is_this_process(self) -> None:
        """With one job there is no other process."""
        results = self.told([FakeRun(0), FakeRun(1)], jobs=1)
        self.assertEqual({result.trace for result in results}, {str(os.getpid())})

    def test_no_end(self) -> None:
        """Of runs without end as many are told as are asked for, and the workers end then."""
        seeds = []
        with closing(run_in_order((FakeRun(seed) for seed in count(5)), 2)) as results:
            for run, _ in results:
                seeds.append(run.seed)
                if len(seeds) == 20:
                    break
        self.assertEqual(seeds, list(range(5, 25)))

    def test_a_run_that_breaks(self) -> None:
        """An error of the simulator itself is raised here, with its place and the run's command."""
        error = self.assertRaises(WorkerFailed, self.told, [FakeRun(0), FakeRun(1, kind="breaks")])
        self.assertIn("dfs sim --seed 1", str(error))
        self.assertIn("deep inside", str(error))

    def test_a_worker_that_dies(self) -> None:
        """A worker that is gone is an error, not a run that is waited for."""
        error = self.assertRaises(WorkerFailed, self.told, [FakeRun(0), FakeRun(1, kind="dies")])
        self.assertIn("dfs sim --seed 1", str(error))
