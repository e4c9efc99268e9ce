"""``dfs sim``: whole clusters on virtual time, by seed or by scenario.

It needs no cluster, no network and no disk; a violation prints the command that repeats it, exit code 1.
"""

from __future__ import annotations

import argparse
import sys

from dfs.cli.errors import UsageError
from dfs.simulation.run import Run, check_scenario, forget_logs, parse_seeds, run_and_tell, writer


def sim(options: argparse.Namespace) -> int:
    """The exit code.  Raises UsageError."""
    try:
        scenario = check_scenario(options.scenario or "")
        seeds = parse_seeds(options.seeds)
    except ValueError as error:
        raise UsageError(str(error)) from error
    forget_logs()
    runs = [Run(seed, scenario) for seed in seeds]
    return run_and_tell(runs, options.json, writer(sys.stdout), writer(sys.stderr))
