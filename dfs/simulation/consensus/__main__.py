"""``python -m dfs.simulation.consensus --seeds 0..100 [--json] [--first] [--story]``: runs of the consensus laboratory.

The exit code is 1 where a run finds a violation; each violation is told with the command that repeats it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from dfs.simulation.consensus.group import run_seed
from dfs.simulation.report import Totals
from dfs.simulation.run import parse_seeds, prepare, writer

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
    prepare()
    totals = Totals()
    for seed in options.seeds:
        result = run_seed(seed, err if options.story else None)
        command = f"{COMMAND} --seed {seed}"
        totals.add(result, command)
        for violation in result.violations:
            (err if options.json else out)(f"seed {seed}: VIOLATION {violation}\n  repeat it: {command}")
        if totals.violated and options.first:
            break
    out(json.dumps(totals.document()) if options.json else totals.closing()[-1])
    return 1 if totals.violated else 0


if __name__ == "__main__":
    sys.exit(main())
