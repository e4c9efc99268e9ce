"""How long nothing is written when the leader goes: killed, told to hand over, stopped in order.

    python -m bench.failover [--rounds 20] [--writers 4] [--json FILE]

Several writers make empty files (two durable log entries each) one after the other on a cluster of three metadata nodes
of this machine.  For a kill -9 the time is that from the signal to the first acknowledgement of a write that began
after it.  For a planned change it is the longest time without any acknowledgement around it, beside that of ordinary
work.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from itertools import pairwise
from statistics import median
from typing import Any

from twisted.internet.defer import Deferred

from bench.local import LocalCluster
from bench.metadata import run_on_reactor
from dfs.client.api import Client, ClientOptions, connect
from dfs.client.concurrency import pause

AROUND = 1.0
"""Seconds before and after a planned change that are looked at."""

LIMIT = 30.0


class Writers:
    """:ivar writes: (began, acknowledged) of each write, by the performance counter."""

    def __init__(self, client: Client, count: int) -> None:
        self.writes: list[tuple[float, float]] = []
        self._client, self._going = client, True
        self._running = [Deferred.fromCoroutine(self._write(number)) for number in range(count)]

    async def _write(self, writer: int) -> None:
        number = 0
        while self._going:
            began = time.perf_counter()
            await self._client.upload(io.BytesIO(b""), f"failover/{os.getpid()}/{writer}/{number}", parallel=1)
            self.writes.append((began, time.perf_counter()))
            number += 1

    async def stop(self) -> None:
        """Raises what a write raised."""
        self._going = False
        for running in self._running:
            await running

    def first_after(self, moment: float) -> float | None:
        """Seconds from a moment to the first acknowledgement of a write that began after it."""
        later = [ended for began, ended in self.writes if began >= moment]
        return min(later) - moment if later else None

    def longest_pause(self, first: float, last: float) -> float:
        """Seconds without an acknowledgement, between two moments."""
        ends = sorted(ended for _, ended in self.writes if first <= ended <= last)
        return max(later - earlier for earlier, later in pairwise([first, *ends, last]))


class Trial:
    """One cluster, its writers, and what is done to its leader."""

    def __init__(self, cluster: LocalCluster, client: Client, reactor: Any, writers: Writers) -> None:
        self.cluster, self.client, self.reactor, self.writers = cluster, client, reactor, writers

    async def leader(self) -> tuple[str, int]:
        """Name and pid."""
        found = await self.client.membership.members()
        pids = {node["name"]: node["pid"] for node in self.cluster.nodes()}
        name = str(found.leader)
        return name, int(pids[name])

    async def again(self, name: str) -> None:
        """It runs, and has caught up."""
        self.cluster.dfs("cluster", "restart", name)
        await self.client.membership.caught_up(name)
        await pause(self.reactor, AROUND)

    async def kill(self) -> float:
        """kill -9 of the leader to the next acknowledged write."""
        name, pid = await self.leader()
        await pause(self.reactor, AROUND)
        killed = time.perf_counter()
        os.kill(pid, signal.SIGKILL)
        while (found := self.writers.first_after(killed)) is None:
            if time.perf_counter() > killed + LIMIT:
                raise AssertionError(f"no write was acknowledged for {LIMIT:.0f} s")
            await pause(self.reactor, 0.01)
        await self.again(name)
        return found

    async def transfer(self) -> float:
        """`dfs meta transfer-leader`."""
        return await self._planned(lambda: self.client.membership.transfer())

    async def stop(self) -> float:
        """SIGTERM of the leader."""
        name, pid = await self.leader()

        async def terminate() -> None:
            os.kill(pid, signal.SIGTERM)

        found = await self._planned(terminate)
        await self.again(name)
        return found

    async def usual(self) -> float:
        """Nothing."""

        async def nothing() -> None:
            await pause(self.reactor, 0.1)

        return await self._planned(nothing)

    async def _planned(self, change: Callable[[], Awaitable[object]]) -> float:
        await pause(self.reactor, AROUND)
        began = time.perf_counter()
        await change()
        await pause(self.reactor, AROUND)
        return self.writers.longest_pause(began - AROUND / 2, time.perf_counter())


def summary(times: list[float]) -> dict[str, Any]:
    """In seconds."""
    return {"median_s": median(times), "worst_s": max(times), "all_s": times}


def run(rounds: int, writers: int) -> dict[str, Any]:
    """All of it on one cluster, the kinds in turn."""
    with LocalCluster() as cluster:

        async def work(reactor: Any) -> dict[str, Any]:
            options = ClientOptions(patience=LIMIT, state_folder=os.path.join(cluster.folder, "state"))
            times: dict[str, list[float]] = {"usual": [], "transfer": [], "stop": [], "kill": []}
            async with connect(cluster.meta(), reactor, options=options) as client:
                writing = Writers(client, writers)
                trial = Trial(cluster, client, reactor, writing)
                for _ in range(rounds):
                    for kind, measured in times.items():
                        measured.append(await getattr(trial, kind)())
                await writing.stop()
                return {kind: summary(measured) for kind, measured in times.items()} | {"writes": len(writing.writes)}

        result: dict[str, Any] = run_on_reactor(work)
        return result


def main() -> int:
    """0 unless a write failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--writers", type=int, default=4)
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    found = {"cpus": os.cpu_count(), "command": " ".join(sys.argv), **run(options.rounds, options.writers)}
    labels = {
        "usual": "longest pause between acknowledged writes, nothing done",
        "transfer": "the same around a transfer of leadership",
        "stop": "the same around a SIGTERM of the leader",
        "kill": "kill -9 of the leader to the next acknowledged write",
    }
    for kind, label in labels.items():
        part = found[kind]
        print(f"  {label:56} median {1000 * part['median_s']:6.0f} ms, worst {1000 * part['worst_s']:6.0f} ms")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(found, file, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
