"""One thing to run, by seed or by scenario, whole or cut smaller; what it takes to name it and to repeat it.

``dfs sim`` is the command; :mod:`dfs.simulation.workers` runs many, :mod:`dfs.simulation.report` tells of them and
:mod:`dfs.simulation.shrink` makes a failing one smaller.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

from attrs import evolve, frozen
from twisted.logger import ILogObserver, globalLogBeginner
from zope.interface import provider

from dfs.simulation.plan import Plan, Result
from dfs.simulation.scenarios import SCENARIOS
from dfs.simulation.stage import play
from dfs.simulation.swarm import plan_of
from dfs.simulation.workload import run_plan

Say = Callable[[str], None]

NO_FAULT = "none"


@frozen
class Run:
    """A scenario by its line (``S24``) with a seed, or the workload of a seed.

    :ivar keep: numbers of the faults that are carried out; None is all.
    :ivar clients, seconds: in place of what the seed draws for the number of clients and the time of the faults.
    """

    seed: int
    scenario: str = ""
    keep: frozenset[int] | None = None
    clients: int | None = None
    seconds: float | None = None

    @property
    def command(self) -> str:
        """What repeats it."""
        words = f"dfs sim --seed {self.seed}"
        if self.scenario:
            words += f" --scenario {self.scenario}"
        if self.keep is not None:
            words += f" --keep {','.join(map(str, sorted(self.keep))) or NO_FAULT}"
        if self.clients is not None:
            words += f" --clients {self.clients}"
        if self.seconds is not None:
            words += f" --phase {self.seconds:g}"
        return words

    @property
    def plan(self) -> Plan:
        """What the seed draws, cut."""
        drawn = plan_of(self.seed)
        return evolve(
            drawn,
            keep=self.keep,
            clients=drawn.clients if self.clients is None else self.clients,
            seconds=drawn.seconds if self.seconds is None else self.seconds,
        )

    def results(self, write_trace: Say | None = None) -> list[Result]:
        """Run it: a line may have several scenarios.  ``write_trace`` gets the trace in pieces of text."""
        if not self.scenario:
            return [run_plan(self.seed, self.plan, write_trace)]
        return [play(scenario, self.seed, write_trace) for scenario in SCENARIOS[self.scenario]]


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


def parse_keep(text: str) -> frozenset[int]:
    """``3,17,21``, or ``none``.  Raises ValueError with a sentence."""
    try:
        return frozenset(int(number) for number in text.split(",")) if text != NO_FAULT else frozenset()
    except ValueError:
        raise ValueError(f"{text!r} is no list of faults by number like 3,17,21, nor {NO_FAULT!r}") from None


def check_scenario(name: str) -> str:
    """Raises ValueError with a sentence."""
    if name and name not in SCENARIOS:
        raise ValueError(f"there is no scenario {name!r}; there are {', '.join(sorted(SCENARIOS))}")
    return name


GARBAGE = (20_000, 20, 20)
"""Thresholds of the collector: hardly anything that a run makes is a cycle, so it looks less often than it usually
does; the cycles of a run are gone at the next one's beginning, where it is asked to look (:mod:`.logs`)."""


def prepare() -> None:
    """For a process that does nothing but run: nobody wants to read the rooms' log, and what was loaded until now
    stays, so the collector of garbage need never look at it again."""
    globalLogBeginner.beginLoggingTo([forget], redirectStandardIO=False, discardBuffer=True)
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GARBAGE)


@provider(ILogObserver)
def forget(event: Any) -> None:
    """Nobody reads it."""


def writer(stream: Any) -> Say:
    """Writes lines to a stream at once."""

    def say(line: str) -> None:
        stream.write(f"{line}\n")
        stream.flush()

    return say
