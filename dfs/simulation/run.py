"""Runs by seed or by scenario, and what is told of them: ``python -m dfs.simulation.run --seeds 0..20``.

The same as ``dfs sim``.  A run that finds a violation tells the one command that repeats it; the exit code is 1 then.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from attrs import frozen
from twisted.logger import ILogObserver, globalLogBeginner
from zope.interface import provider

from dfs.simulation.plan import Result
from dfs.simulation.scenarios import SCENARIOS
from dfs.simulation.stage import play
from dfs.simulation.workload import run_seed

Say = Callable[[str], None]


@frozen
class Run:
    """One thing to run: a scenario by its line (``S24``) with a seed, or the workload of a seed."""

    seed: int
    scenario: str = ""

    @property
    def command(self) -> str:
        """What repeats it."""
        return f"dfs sim --seed {self.seed}" + (f" --scenario {self.scenario}" if self.scenario else "")

    def results(self) -> list[Result]:
        """Run it: a line may have several scenarios."""
        if not self.scenario:
            return [run_seed(self.seed)]
        return [play(scenario, self.seed) for scenario in SCENARIOS[self.scenario]]


def parse_seeds(text: str) -> range:
    """``7`` or ``0..20``, both ends included.  Raises ValueError with a sentence."""
    first, _, last = text.partition("..")
    try:
        seeds = range(int(first), int(last or first) + 1)
    except ValueError:
        raise ValueError(f"{text!r} is neither a seed nor a range like 0..20") from None
    if not seeds or seeds[0] < 0:
        raise ValueError(f"{text!r} names no seed")
    return seeds


def check_scenario(name: str) -> str:
    """Raises ValueError with a sentence."""
    if name and name not in SCENARIOS:
        raise ValueError(f"there is no scenario {name!r}; there are {', '.join(sorted(SCENARIOS))}")
    return name


def run_all(runs: Iterable[Run], say: Say) -> dict[str, Any]:
    """Run one after the other, telling of each; the summary, as ``--json`` prints it."""
    results: list[Result] = []
    violations: list[dict[str, Any]] = []
    for run in runs:
        for result in run.results():
            results.append(result)
            say(sentence(run, result))
            for violation in result.violations:
                say(f"  VIOLATION {violation}")
                violations.append({"seed": run.seed, "violation": violation, "command": run.command})
            if result.violations:
                say(f"  repeat it: {run.command}")
    return summary(results, violations)


def sentence(run: Run, result: Result) -> str:
    """One line about one run."""
    what = f"seed {run.seed}" + (f" {run.scenario}" if run.scenario else "")
    return (
        f"{what}: {result.virtual_seconds:.1f} virtual s in {result.wall_seconds:.2f} s, {result.events} events, "
        f"{sum(result.faults.values())} faults, {sum(result.operations.values())} operations, "
        f"{len(result.violations)} violations, trace {result.trace[:16]}"
    )


def summary(results: Sequence[Result], violations: list[dict[str, Any]]) -> dict[str, Any]:
    """All runs together; ``trace`` is a hash over the traces in order."""
    faults: Counter[str] = Counter()
    operations: Counter[str] = Counter()
    for result in results:
        faults.update(result.faults)
        operations.update(result.operations)
    return {
        "seeds": len(results),
        "virtual_seconds": round(sum(result.virtual_seconds for result in results), 3),
        "wall_seconds": round(sum(result.wall_seconds for result in results), 3),
        "events": sum(result.events for result in results),
        "faults": dict(sorted(faults.items())),
        "operations": dict(sorted(operations.items())),
        "violations": violations,
        "trace": hashlib.sha256("".join(result.trace for result in results).encode()).hexdigest(),
    }


def closing(total: dict[str, Any]) -> str:
    """The last line for people."""
    virtual, wall = total["virtual_seconds"], total["wall_seconds"]
    return (
        f"{total['seeds']} runs: {virtual / 3600:.2f} virtual hours in {wall:.1f} s ({virtual / max(wall, 0.001):.0f} "
        f"times faster than real time), {sum(total['faults'].values())} faults, "
        f"{sum(total['operations'].values())} operations, {len(total['violations'])} violations"
    )


def run_and_tell(runs: Iterable[Run], as_json: bool, out: Say, err: Say) -> int:
    """Run; with ``as_json`` one document on ``out`` and nothing else there.  The exit code."""
    total = run_all(runs, err if as_json else out)
    out(json.dumps(total) if as_json else closing(total))
    return 1 if total["violations"] else 0


def forget_logs() -> None:
    """The rooms' log is watched by each run; nobody wants to read it."""
    globalLogBeginner.beginLoggingTo([forget], redirectStandardIO=False, discardBuffer=True)


@provider(ILogObserver)
def forget(event: Any) -> None:
    """Nobody reads it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """``python -m dfs.simulation.run``."""
    parser = argparse.ArgumentParser(prog="python -m dfs.simulation.run", description=__doc__)
    parser.add_argument("--seeds", "--seed", type=parse_seeds, default=range(1), help="7 or 0..20")
    parser.add_argument("--scenario", type=check_scenario, default="", help="S24 and the like")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    options = parser.parse_args(arguments)
    forget_logs()
    runs = [Run(seed, options.scenario) for seed in options.seeds]
    return run_and_tell(runs, options.json, writer(sys.stdout), writer(sys.stderr))


def writer(stream: Any) -> Say:
    """Writes lines to a stream at once."""

    def say(line: str) -> None:
        stream.write(f"{line}\n")
        stream.flush()

    return say


if __name__ == "__main__":
    sys.exit(main())
