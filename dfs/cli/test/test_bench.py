"""`dfs bench`: on a simulated cluster, and this machine's own figures."""

from __future__ import annotations

import json
import os
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from dfs.cli.bench import history
from dfs.cli.bench.cluster import MIB, PREFIX, Figure, Run, Wanted, missing_room
from dfs.cli.bench.command import document_of, show
from dfs.cli.bench.machine import Machine, measure
from dfs.client.errors import DFSError
from dfs.disk.real import RealDisk
from dfs.simulation.cluster import ClusterSettings, SimulatedCluster
from dfs.simulation.host import World
from dfs.simulation.run import prepare

SMALL = Wanted(size=300_000, parallel=2, copies=3, files=20, seconds=60.0)
PARTS = ["upload", "download", "small up", "small down", "create", "stat", "delete"]


class ClusterTests(SynchronousTestCase):
    def setUp(self) -> None:
        """A cluster that is ready, and its client."""
        prepare()
        self.cluster = SimulatedCluster(World(1), ClusterSettings())
        self.cluster.start()
        self.cluster.run(self.cluster.wait_ready())
        self.client = self.cluster.client()
        self.files: Any = self.cluster.run(self.client.enter())

    def begin(self, wanted: Wanted) -> Run:
        """A run of this client's."""
        return Run(self.files, self.client.host.runtime, wanted)

    async def a_while(self) -> None:
        """The chunk servers tell of their space with their heartbeats."""
        await self.cluster.sleep(3.0)

    def test_everything_is_measured_and_nothing_is_left(self) -> None:
        """Each part has its figure, in its order, and afterwards no file of the run is there."""
        told: list[str] = []
        run = self.begin(SMALL)
        self.cluster.run(run.measure(told.append))
        self.assertEqual(list(run.figures), PARTS)
        self.assertEqual(told, PARTS)
        self.assertEqual(run.figures["upload"].count, SMALL.size)
        self.assertEqual({run.figures[name].count for name in PARTS[2:]}, {SMALL.files})
        self.assertEqual(self.cluster.run(self.client.names()), [])

    def test_a_part_ends_after_its_time(self) -> None:
        """However slow the cluster is, a part ends: it counts what was done in its time."""
        run = self.begin(Wanted(size=1000, files=1_000_000, seconds=0.5))
        self.cluster.run(run.measure(lambda _: None), timeout=60.0)
        self.assertLess(run.figures["stat"].count, 100_000)
        self.assertGreater(run.figures["stat"].count, 16)
        self.assertEqual(self.cluster.run(self.client.names()), [])

    def test_only_what_was_done_counts(self) -> None:
        """Where time was over before all files were stored, only those that are there are read and deleted, and
        nothing else counts as an operation."""
        run = self.begin(Wanted(size=1000, files=2000, seconds=0.05))
        self.cluster.run(run.measure(lambda _: None), timeout=60.0)
        for stored, used in (("small up", "small down"), ("create", "delete")):
            self.assertLessEqual(run.figures[used].count, run.figures[stored].count)
            self.assertGreater(min(run.figures[used].latencies), 0.0)

    def test_a_failed_run_cleans_up(self) -> None:
        """A run that fails in the middle removes what it made, and says why."""
        run = self.begin(SMALL)

        async def fail(name: str, out: Any, **options: Any) -> Any:
            raise DFSError("no")

        self.patch(self.files, "download", fail)
        self.assertRaises(DFSError, self.cluster.run, run.measure(lambda _: None))
        self.assertEqual(self.cluster.run(self.client.names(PREFIX)), [])

    def test_room(self) -> None:
        """What does not fit is known before a byte is sent (S21)."""
        self.cluster.run(self.a_while())
        missing: Any = self.cluster.run(missing_room(self.files, SMALL))
        self.assertLess(missing, 0)
        status: Any = self.cluster.run(self.files.status())
        free = sum(server.free for server in status.chunk_servers)
        much: Any = self.cluster.run(missing_room(self.files, Wanted(size=free // 3, copies=3)))
        self.assertGreater(much, 0)


class ShowTests(SynchronousTestCase):
    def test_table(self) -> None:
        """The table has every figure, the machine's too, and earlier runs below it."""
        figures = {name: Figure(MIB, 0.5, (0.001, 0.002, 0.003)) for name in PARTS}
        document = document_of(SMALL, Machine(3e9, 0.0005, 2e9, 1e9), figures, "c0")
        json.dumps(document)
        text = show(document, [document])
        for words in ("upload of 293.0 KiB", "2 MiB/s", "p50 2.0 ms", "0.50 ms a sync", "2,861 MiB/s", "earlier"):
            self.assertIn(words, text)


class MachineTests(SynchronousTestCase):
    def test_figures(self) -> None:
        """Each figure of this machine is above 0, and no file stays."""
        folder = self.mktemp()
        os.makedirs(folder)
        found = measure(RealDisk(), os.path.abspath(folder), "x")
        self.assertGreater(min(found.disk, found.sync, found.loopback, found.sha256), 0.0)
        self.assertEqual(os.listdir(folder), [])

    def test_folder_that_takes_nothing(self) -> None:
        """Where nothing can be written the disk's figures are 0, and the others are there."""
        found = measure(RealDisk(), os.path.abspath(self.mktemp()), "x")
        self.assertEqual((found.disk, found.sync), (0.0, 0.0))
        self.assertGreater(found.loopback, 0.0)


class HistoryTests(SynchronousTestCase):
    def test_bounded(self) -> None:
        """The last runs are kept in their order, older ones and broken lines are not."""
        path = os.path.abspath(os.path.join(self.mktemp(), "state", "bench.jsonl"))
        disk = RealDisk()
        self.assertEqual(history.read(disk, path), [])
        for number in range(history.KEPT + 5):
            self.assertEqual(history.add(disk, path, {"number": number}), "")
        with open(path, "ab") as file:
            file.write(b"{broken\n[1]\n")
        found = [run["number"] for run in history.read(disk, path)]
        self.assertEqual(found, list(range(5, history.KEPT + 5)))

    def test_no_place(self) -> None:
        """A history that cannot be kept is told in a sentence."""
        blocked = os.path.abspath(self.mktemp())
        with open(blocked, "wb"):
            pass
        self.assertIn("could not be kept", history.add(RealDisk(), f"{blocked}/state/bench.jsonl", {}))
