"""``python -m dfs.simulation.consensus --seeds 0..100 [--json] [--first] [--story]``: runs of the consensus laboratory.

The exit code is 1 where a run finds a violation; each violation is told with the command that repeats it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from dfs.simulation.consensus.group import run_seed
from dfs.simulation.plan import Result
from dfs.simulation.run import Say, closing, parse_seeds, summary, writer

COMMAND = "python -m dfs.simulation.consensus"


def main(arguments: Sequence[str] | None = None) -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--seeds", "--seed", type=parse_seeds, default=range(1), help="7 or 0..100")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    parser.add_argument("--first", action="store_true", help="end at the first violation")
    parser.add_argument("--story", action="store_true", help="every event of each run, on stderr")
    options = parser.parse_args(arguments)
    out, err = writer(sys.stdout), writer(sys.stderr)
    results: list[Result] = []
    violations: list[dict[str, Any]] = []
    for seed in options.seeds:
        result = run_seed(seed, err if options.story else None)
        results.append(result)
        violations += _told(result, err if options.json else out)
        if violations and options.first:
            break
    total = summary(results, violations)
    out(json.dumps(total) if options.json else closing(total))
    return 1 if violations else 0


def _told(result: Result, say: Say) -> list[dict[str, Any]]:
    found = []
    for violation in result.violations:
        command = f"{COMMAND} --seed {result.seed}"
        say(f"seed {result.seed}: VIOLATION {violation}\n  repeat it: {command}")
        found.append({"seed": result.seed, "violation": violation, "command": command})
    return found


if __name__ == "__main__":
    sys.exit(main())
