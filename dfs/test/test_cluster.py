"""The whole cluster in one process, on virtual time, by seeds: `dfs sim --seed N` repeats each."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from dfs.simulation.cluster import SimulatedCluster
from dfs.simulation.host import World
from dfs.simulation.plan import Plan
from dfs.simulation.promise import Promise
from dfs.simulation.report import Totals
from dfs.simulation.workload import run_plan, run_seed
from dfs.test.pieces import ROOT

SEEDS = 20


class SkeletonTests(SynchronousTestCase):
    """The shortest story."""

    def test_upload_lose_two_download(self) -> None:
        """A file is uploaded, the leader and a chunk server are killed, and it comes back byte for byte (S24)."""
        world = World(1)
        cluster = SimulatedCluster(world)
        promise = Promise(cluster)
        content = world.random("content").getrandbits(8 * 300_001).to_bytes(300_001, "big")

        async def story() -> bytes:
            cluster.start()
            promise.watch()
            await cluster.wait_ready()
            client = cluster.client()
            await client.upload(content, "a/b")
            (await cluster.wait_leader()).kill()
            cluster.chunks["chunk-1"].kill()
            found = await client.download("a/b")
            cluster.start()
            await promise.settled(60.0)
            return found

        self.assertEqual(world.run_until(Deferred.fromCoroutine(story()), 200.0), content)
        self.assertEqual(promise.violations, [])


class SeedTests(SynchronousTestCase):
    """Clients and faults drawn from seeds; everything acknowledged is kept, and all is well again in time."""

    def check(self, first: int) -> None:
        done = 0
        for seed in range(first, first + SEEDS // 4):
            result = run_seed(seed)
            self.flushLoggedErrors()  # what is a defect among them is a violation
            self.assertEqual(result.violations, (), f"repeat it: dfs sim --seed {seed}")
            done += result.operations.get("upload done", 0)
        self.assertGreater(done, 20, "these seeds show nothing")

    def test_first_seeds(self) -> None:
        """The promise is kept under faults drawn from seeds 0 to 4."""
        self.check(0)

    def test_second_seeds(self) -> None:
        """The promise is kept under faults drawn from seeds 5 to 9."""
        self.check(5)

    def test_third_seeds(self) -> None:
        """The promise is kept under faults drawn from seeds 10 to 14."""
        self.check(10)

    def test_fourth_seeds(self) -> None:
        """The promise is kept under faults drawn from seeds 15 to 19."""
        self.check(15)


class DeterminismTests(SynchronousTestCase):
    """One seed decides everything."""

    def command(self, hash_seed: int, *words: str) -> dict[str, Any]:
        """What `dfs sim --json` prints in a process of its own."""
        environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "dfs.cli.main", "sim", "--json", *words]
        printed = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, cwd=ROOT)
        document: dict[str, Any] = json.loads(printed.stdout)
        return document

    def test_same_trace(self) -> None:
        """The same seeds give the same traces in this process, in another, and in workers, whatever the hash seed."""
        here = Totals()
        for seed in range(3):
            here.add(run_seed(seed), "")
        self.flushLoggedErrors()
        trace = here.document()["trace"]
        self.assertEqual(self.command(1, "--seeds", "0..2")["trace"], trace)
        self.assertEqual(self.command(77, "--seeds", "0..2", "--jobs", "2")["trace"], trace)

    def test_written_trace(self) -> None:
        """A trace that is written to a file is the whole of what its digest is of."""
        path = os.path.abspath(self.mktemp())
        document = self.command(5, "--seed", "0", "--phase", "1", "--keep", "none", "--trace", path)
        with open(path, "rb") as written:
            digest = hashlib.sha256(written.read()).hexdigest()
        self.assertEqual(document["trace"], hashlib.sha256(digest.encode()).hexdigest())

    def test_other_seeds_differ(self) -> None:
        """Another seed gives another trace of the same plan."""
        plan = Plan(clients=1, seconds=0.5)
        self.assertNotEqual(run_plan(1, plan).trace, run_plan(2, plan).trace)
