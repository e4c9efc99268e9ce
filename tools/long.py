"""Everything that takes too long for `make test`, counted: `make test-long`.

    python tools/long.py [graphs] [exhaustive] [states] [faults] [traces] [hunt] [--states N] [--seeds N]

Stages run one after the other, each a command of its own that can be repeated by hand; what it printed is in
.build/long/.  A line a stage tells what was tried and how long it took; the last line says `N passed, N failed`.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trials import BUILD, ROOT, execute, run_tests

TIMEOUT = 6 * 3600.0  # seconds, one command
LAST_LINE = re.compile(r"(\d+) passed, (\d+) failed")
Count = tuple[int, int, str]
"""Passed, failed, and a word on what was tried."""


def run(name: str, *arguments: str, hash_seed: str = "0") -> tuple[int | None, str]:
    """A Python command to its end: its status, and what it printed."""
    log = BUILD / "long" / f"{name}.txt"
    status = execute(["env", f"PYTHONHASHSEED={hash_seed}", sys.executable, *arguments], log, TIMEOUT)
    return status, log.read_text(encoding="utf-8", errors="replace")


def document(text: str) -> dict[str, Any]:
    """The JSON document that a command printed on one line; {} where it died before."""
    lines = [line for line in text.splitlines() if line.startswith("{")]
    found: dict[str, Any] = json.loads(lines[-1]) if lines else {}
    return found


def graphs(options: argparse.Namespace) -> Count:
    """Every directed graph of three nodes, every class of those of five (R09)."""
    status, text = run("graphs", "-m", "dfs.simulation.consensus.graphs", "--all", "--json")
    found = document(text)
    failed = len(found.get("violations", [])) or int(status != 0)
    return found.get("runs", 0) - failed, failed, f"{found.get('graphs', 0)} connectivity graphs"


def exhaustive(options: argparse.Namespace) -> Count:
    """The small scopes of the core, searched to their end or for a million states each."""
    os.environ["DFS_RAFT_EXPLORE"] = "100"
    try:
        outcomes = run_tests("long-explore", ["dfs.raft.test.test_explore"], TIMEOUT)
    finally:
        del os.environ["DFS_RAFT_EXPLORE"]
    status, text = run("explore", "-m", "dfs.simulation.consensus.explore", "--states", "1000000", "--json")
    scopes = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    failed = sum(line.outcome != "passed" for line in outcomes) + sum(bool(scope["violation"]) for scope in scopes)
    tried = len(outcomes) + len(scopes)
    states = sum(scope["states"] for scope in scopes)
    return tried - failed, failed + int(status not in (0, 1)), f"{tried} scopes of the core, {states:,} states"


def counted(name: str, what: str, *arguments: str) -> Count:
    """A command whose last line says how many passed and failed."""
    status, text = run(name, *arguments)
    lines = LAST_LINE.findall(text)
    passed, failed = (int(word) for word in lines[-1]) if lines else (0, 1)
    return passed, failed or int(status != 0), f"{passed + failed} {what}"


def states(options: argparse.Namespace) -> Count:
    """Crash states of the real stores."""
    return counted("states", "crash states", "-m", "dfs.test.crash", "--count", str(options.states))


def faults(options: argparse.Namespace) -> Count:
    """EIO, ENOSPC and SIGKILL in the place of each call of each store."""
    return counted("faults", "faults in the place of a call", "-m", "dfs.test.crash", "--inject")


def traces(options: argparse.Namespace) -> Count:
    """Seeds of whole clusters twice, in processes with different hash seeds: no violation, and the same trace."""
    seeds = f"0..{options.seeds - 1}"
    command = ["-m", "dfs.cli.main", "sim", "--seeds", seeds, "--jobs", "2", "--json"]
    runs = [document(run(f"traces-{hash_seed}", *command, hash_seed=hash_seed)[1]) for hash_seed in ("1", "2")]
    wrong = sum(len(found.get("violations", ["it died"])) for found in runs)
    equal = runs[0].get("trace", "first") == runs[1].get("trace", "second")
    failed = wrong + (not equal)
    said = "equal traces" if equal else "DIFFERENT traces"
    return max(2 * options.seeds - failed, 0), failed, f"{options.seeds} seeds of whole clusters twice, {said}"


def hunt(options: argparse.Namespace) -> Count:
    """Each planted bug of the core, and those of the system that can be seen from outside, blind."""
    found, failed = 0, 0
    for family in ("core", "system"):
        status, text = run(f"hunt-{family}", "tools/hunt.py", "--family", family)
        rows = [line.split("|")[1:-1] for line in text.splitlines() if line.startswith("| ")][1:]
        missed = sum(all(cell.strip() == "-" for cell in row[1:]) for row in rows)
        found += len(rows) - missed
        failed += missed or int(status != 0)
    return found, failed, f"{found + failed} planted bugs hunted blind"


STAGES: dict[str, Callable[[argparse.Namespace], Count]] = {
    "graphs": graphs,
    "exhaustive": exhaustive,
    "states": states,
    "faults": faults,
    "traces": traces,
    "hunt": hunt,
}


def main() -> int:
    parser = argparse.ArgumentParser(description="Run what takes too long for `make test`.")
    parser.add_argument("stages", nargs="*", help=f"{', '.join(STAGES)}; all by default")
    parser.add_argument("--states", type=int, default=10_000, help="crash states")
    parser.add_argument("--seeds", type=int, default=1000, help="seeds of whole clusters")
    options = parser.parse_args()
    unknown = set(options.stages) - set(STAGES)
    if unknown:
        parser.error(f"unknown stage {', '.join(sorted(unknown))}")
    os.chdir(ROOT)
    Path(BUILD / "long").mkdir(parents=True, exist_ok=True)
    total = [0, 0]
    for name, stage in STAGES.items():
        if options.stages and name not in options.stages:
            continue
        began = time.monotonic()
        passed, failed, what = stage(options)
        total[0] += passed
        total[1] += failed
        print(f"{name}: {what}: {passed} passed, {failed} failed in {time.monotonic() - began:.0f} s", flush=True)
        if failed:
            print(f"  see {BUILD.relative_to(ROOT)}/long/", flush=True)
    print(f"{total[0]} passed, {total[1]} failed", flush=True)
    return 1 if total[1] or not total[0] else 0


if __name__ == "__main__":
    sys.exit(main())
