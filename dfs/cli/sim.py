"""``dfs sim``: whole clusters on virtual time, by seed or by scenario.

It needs no cluster, no network and no disk; a violation prints the command that repeats it, exit code 1.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from itertools import count
from typing import Any

from attrs import frozen

from dfs.cli.errors import UsageError
from dfs.simulation.plan import Result
from dfs.simulation.report import Totals, lines
from dfs.simulation.run import Run, Say, check_scenario, parse_keep, parse_seeds, prepare, writer
from dfs.simulation.shrink import Shrinker, told
from dfs.simulation.workers import end_all, run_in_order

INTERRUPTED = 130


@frozen
class Asked:
    """What is to be run.  ``runs`` has no end where ``hours`` is given."""

    runs: Iterator[Run]
    hours: float
    jobs: int
    trace: str
    shrink: bool

    @property
    def enough(self) -> float:
        """Virtual seconds after which no further run begins to count."""
        return self.hours * 3600.0 or float("inf")


def asked_for(options: argparse.Namespace) -> Asked:
    """Raises UsageError."""
    try:
        scenario = check_scenario(options.scenario or "")
        seeds = parse_seeds(options.seeds)
        keep = None if options.keep is None else parse_keep(options.keep)
    except ValueError as error:
        raise UsageError(str(error)) from error
    is_cut = keep is not None or options.clients is not None or options.phase is not None
    if is_cut and (len(seeds) > 1 or scenario or options.hours):
        raise UsageError("--keep, --clients and --phase cut the run of one --seed")
    if options.shrink and scenario:
        raise UsageError("a scenario is as small as its author made it: --shrink is for seeds")
    if options.trace and options.jobs > 1:
        raise UsageError("--trace is written by one process: leave --jobs out")
    runs = (
        Run(seed, scenario, keep, options.clients, options.phase)
        for seed in (count(seeds[0]) if options.hours else seeds)
    )
    return Asked(runs, options.hours or 0.0, options.jobs, options.trace or "", options.shrink)


def sim(options: argparse.Namespace) -> int:
    """The exit code.  Raises UsageError."""
    asked = asked_for(options)
    out, say = writer(sys.stdout), writer(sys.stderr if options.json else sys.stdout)
    prepare()
    totals = Totals()
    began = time.perf_counter()
    with ExitStack() as stack:
        stack.callback(signal.signal, signal.SIGINT, signal.signal(signal.SIGINT, _interrupted))
        write_trace = None
        if asked.trace:
            write_trace = stack.enter_context(_open_trace(asked.trace)).write
        failed = _live(asked, totals, say, write_trace)
        wall = time.perf_counter() - began
        document = totals.document(wall)
        if options.shrink and failed is not None:
            document["smaller"] = _shrink(*failed, say)
    for line in [json.dumps(document)] if options.json else totals.closing(wall):
        out(line)
    return 1 if totals.violated else 0


def _live(asked: Asked, totals: Totals, say: Say, write_trace: Say | None) -> tuple[Run, Result] | None:
    """Run all and tell of each; the first run that failed, and how."""
    failed = None
    with closing(run_in_order(asked.runs, asked.jobs, write_trace)) as results:
        for run, found in results:
            for result in found:
                totals.add(result, run.command)
                for line in lines(run, result):
                    say(line)
                if result.violations and failed is None:
                    failed = run, result
            if totals.virtual_seconds >= asked.enough:
                break
    return failed


def _shrink(run: Run, result: Result, say: Say) -> str:
    """Make a failing run smaller and tell it; the command that repeats the smallest."""
    say(f"looking for a smaller run that fails like seed {run.seed}")
    shrinker = Shrinker(run, result, say)
    smallest = shrinker.shrink()
    for line in told(shrinker):
        say(line)
    return smallest.command


def _open_trace(path: str) -> Any:
    try:
        return open(path, "w", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error


def _interrupted(number: int, frame: Any) -> None:
    """At once: an exception would end in the errors of a simulated program, or wherever the interpreter cannot let one
    out, and a run has nothing to clean up but its workers.

    Nothing is written through the streams, for the signal may have come in the middle of such a write, and Python
    refuses a second one within it; each line that was told is flushed already.
    """
    end_all()
    os.write(2, b"dfs: interrupted\n")
    os._exit(INTERRUPTED)
