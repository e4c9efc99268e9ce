"""How fast the simulators are: virtual seconds in a second of this process's CPU time, and where the events come from.

    python -m bench.simspeed [--only cluster|idle|raft] [--seeds 0..2] [--seconds 120] [--counts] [--json FILE]

Three reference workloads:

- ``cluster``: 3 metadata and 5 chunk servers with production's times of Raft and of heartbeats, 4 clients that upload,
  download, list, stat and delete with pauses of up to 2.5 seconds (about 3 operations a virtual second in all, files of
  up to six chunks of 64 KiB), a fault of any kind each 5 to 15 seconds, every checker, the settling and the judgement;
- ``idle``: the same servers and checkers, no client, no fault;
- ``raft``: :mod:`dfs.simulation.consensus`, forty runs as its seeds draw them for each seed that is asked for.

Only CPU time of this process counts, so other work on the machine disturbs little.  ``--counts`` runs each seed once
more and tells which calls the heap made: how many in a virtual second, and what one costs.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dfs.simulation.clock import HeapCall, HeapClock
from dfs.simulation.cluster import ClusterSettings
from dfs.simulation.consensus import group
from dfs.simulation.plan import Plan, Result
from dfs.simulation.run import parse_seeds, prepare
from dfs.simulation.workload import run_plan

SERVERS = ClusterSettings(
    chunk_servers=5,
    heartbeat_interval=3.0,
    suspect_after=10.0,
    dead_after=30.0,
    lease=10.0,
    upload_ttl=30.0,
    settle_after=10.0,
)
"""As production has them, but for what must end within the settling (leases, uploads, trimming)."""

RAFT_RUNS = 40
SHOWN = 30
"""Lines of the table of calls."""


def cluster_plan(seconds: float) -> Plan:
    """The reference workload."""
    return Plan(SERVERS, clients=4, seconds=seconds, pace=(5.0, 15.0), think=2.5, names=12)


def idle_plan(seconds: float) -> Plan:
    """Servers with nothing to do."""
    return Plan(SERVERS, clients=0, seconds=seconds, mix={})


def run_raft(seed: int) -> list[Result]:
    """Raft alone."""
    return [group.run_seed(seed * RAFT_RUNS + number) for number in range(RAFT_RUNS)]


class Calls:
    """Counts the heap's calls by what is called, with their time."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.seconds: dict[str, float] = defaultdict(float)
        self._kept = HeapClock.post, HeapClock.post_at, HeapCall.make

    def __enter__(self) -> Calls:
        """Every posted call is wrapped, and every other one where it is made."""

        posted, posted_at, made = self._kept

        def post(clock: HeapClock, owner: Any, delay: float, function: Callable[..., Any], *arguments: Any) -> None:
            posted(clock, owner, delay, self._posted, function, arguments)

        def post_at(clock: HeapClock, time: float, function: Callable[..., Any], *arguments: Any) -> None:
            posted_at(clock, time, self._posted, function, arguments)

        def make(call: HeapCall) -> None:
            self._timed(call.function, made, call)

        HeapClock.post, HeapClock.post_at, HeapCall.make = post, post_at, make  # type: ignore[method-assign,assignment]
        return self

    def __exit__(self, *error: object) -> None:
        HeapClock.post, HeapClock.post_at, HeapCall.make = self._kept  # type: ignore[method-assign]

    def _posted(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self._timed(function, function, *arguments)

    def _timed(self, named: Any, function: Callable[..., Any], *arguments: Any) -> None:
        name = getattr(named, "__qualname__", None) or type(named).__qualname__
        began = time.perf_counter()
        function(*arguments)
        self.seconds[name] += time.perf_counter() - began
        self.counts[name] += 1

    def show(self, virtual: float) -> None:
        """The table, those that cost most first."""
        print(f"  {'call':50} {'in a virtual s':>14} {'us each':>8} {'us in a virtual s':>18}")
        for name, seconds in sorted(self.seconds.items(), key=lambda item: -item[1])[:SHOWN]:
            count = self.counts[name]
            print(f"  {name:50} {count / virtual:14.2f} {seconds / count * 1e6:8.1f} {seconds / virtual * 1e6:18.0f}")


def measure(run: Callable[[int], list[Result]], seeds: range) -> dict[str, Any]:
    """Run the seeds and add up."""
    virtual = cpu = 0.0
    events = operations = violations = 0
    for seed in seeds:
        began = time.process_time()
        results = run(seed)
        cpu += time.process_time() - began
        for result in results:
            virtual += result.virtual_seconds
            events += result.events
            operations += result.operations.get("metadata requests in order", 0)
            violations += len(result.violations)
    return {
        "virtual_seconds": round(virtual, 1),
        "cpu_seconds": round(cpu, 2),
        "times_real_time": round(virtual / cpu, 1),
        "events_a_virtual_second": round(events / virtual, 1),
        "cpu_microseconds_an_event": round(cpu / events * 1e6, 1),
        "metadata_requests": operations,
        "violations": violations,
    }


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("cluster", "idle", "raft"))
    parser.add_argument("--seeds", type=parse_seeds, default=range(3), help="7 or 0..2")
    parser.add_argument("--seconds", type=float, default=120.0, help="virtual, of the phase with work and faults")
    parser.add_argument("--counts", action="store_true", help="which calls the heap made")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    prepare()
    cluster, idle = cluster_plan(options.seconds), idle_plan(options.seconds)
    runs: dict[str, Callable[[int], list[Result]]] = {
        "cluster": lambda seed: [run_plan(seed, cluster)],
        "idle": lambda seed: [run_plan(seed, idle)],
        "raft": run_raft,
    }
    found = {}
    for name, run in runs.items():
        if options.only in (None, name):
            found[name] = part = measure(run, options.seeds)
            print(
                f"{name:8} {part['times_real_time']:7.1f} times real time: {part['virtual_seconds']:g} virtual s in"
                f" {part['cpu_seconds']:g} s of CPU, {part['events_a_virtual_second']:g} events a virtual s of"
                f" {part['cpu_microseconds_an_event']:g} us, {part['violations']} violations",
                flush=True,
            )
            if options.counts and name != "raft":
                with Calls() as calls:
                    part = measure(run, options.seeds)
                calls.show(part["virtual_seconds"])
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return 1 if any(part["violations"] for part in found.values()) else 0


if __name__ == "__main__":
    raise SystemExit(main())
