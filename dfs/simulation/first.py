"""Seeds, or every scenario, up to the first violation: ``python -m dfs.simulation.first --seeds 0..99``.

What a hunt for a planted bug runs.  One JSON document on stdout: ``runs`` that were made, the ``violation`` that ended
them ("" if none did), ``wall_seconds``.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from dfs.simulation.plan import Result
from dfs.simulation.run import parse_seeds, prepare
from dfs.simulation.scenarios import ALL
from dfs.simulation.stage import play
from dfs.simulation.workload import run_seed

SEED = 1
"""Of the scenarios."""


def runs(seeds: Sequence[int], scenarios: bool) -> Iterator[Callable[[], Result]]:
    """What is to be run, in order."""
    if scenarios:
        for scenario in ALL:
            yield lambda scenario=scenario: play(scenario, SEED)  # type: ignore[misc]
    else:
        for seed in seeds:
            yield lambda seed=seed: run_seed(seed)  # type: ignore[misc]


def until_first(work: Iterator[Callable[[], Result]]) -> dict[str, Any]:
    """Run them up to the first violation."""
    began, count = time.perf_counter(), 0
    violation = ""
    for run in work:
        count += 1
        result = run()
        if result.violations:
            violation = result.violations[0]
            break
    return {"runs": count, "violation": violation, "wall_seconds": round(time.perf_counter() - began, 1)}


def main(arguments: Sequence[str] | None = None) -> int:
    """``python -m dfs.simulation.first``; the exit code is 1 if there was a violation."""
    parser = argparse.ArgumentParser(prog="python -m dfs.simulation.first", description=__doc__)
    parser.add_argument("--seeds", type=parse_seeds, default=range(100), help="7 or 0..20")
    parser.add_argument("--scenarios", action="store_true", help="the scripted stories instead of seeds")
    options = parser.parse_args(arguments)
    prepare()
    found = until_first(runs(options.seeds, options.scenarios))
    sys.stdout.write(json.dumps(found) + "\n")
    return 1 if found["violation"] else 0


if __name__ == "__main__":
    sys.exit(main())
