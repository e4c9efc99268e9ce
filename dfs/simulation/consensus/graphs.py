"""Connectivity: a group over every directed link graph (R09).

Wherever some member can talk in both directions with a majority and the logs were equal at the cut, a stable leader
must be there within TIME_OUTS election time-outs, from then on no term may grow, and a proposal must commit.
Whoever led before and can go on leads on: nobody who does not hear it may unseat it (R08).
Pre-vote, check-quorum and sticky votes together give that; with any one of them off some graph of three nodes
has members that unseat leaders for ever, or a deposed leader that is listened to for ever.

With unequal logs there may be no possible leader: the member that is well connected may lack a committed entry.
Then the group must be safe, and live within TIME_OUTS election time-outs of the heal.

``python -m dfs.simulation.consensus.graphs`` tries every graph of 3 nodes and a sample of those of 5, ``--all`` every
class of those of 5, each from the founding and led by each of its members at the cut.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

from attrs import evolve, frozen

from dfs.raft.core import CoreHalted, Role
from dfs.simulation.consensus.agenda import TICK
from dfs.simulation.consensus.checks import Violated
from dfs.simulation.consensus.digraphs import able, classes, links
from dfs.simulation.consensus.group import Group
from dfs.simulation.consensus.plan import NAMES, Load, Plan
from dfs.simulation.run import writer

TIME_OUTS = 5
STRIDE = 240
"""Of the classes of 5 nodes the sample takes every so-manieth."""


@frozen
class Cut:
    """One thing to try.

    :ivar led: who leads at the cut: a number; -1 for nobody, as at the founding; -2 after a past of unequal logs.
    """

    nodes: int
    mask: int
    led: int = -1
    seed: int = 0

    @property
    def plan(self) -> Plan:
        """No client and no other trouble."""
        return Plan(members=self.nodes, load=Load(clients=0), drift=2)


@frozen
class Verdict:
    """What came of it: ``settled`` is the tick after the cut (or heal) from which nothing changed any more."""

    cut: Cut
    settled: int
    violation: str = ""


UNEQUAL = -2


def examine(cut: Cut) -> Verdict:
    """Try one graph."""
    group = Group(cut.seed * 1_000_003 + cut.mask, cut.plan)
    try:
        if cut.led == UNEQUAL:
            return Verdict(cut, _with_unequal_logs(group, cut))
        if cut.led >= 0:
            group.members[NAMES[cut.led]].do("campaign")
            _run(group, 10)
            if _leaders(group) != [NAMES[cut.led]]:
                raise Violated(f"{NAMES[cut.led]} campaigned alone and does not lead")
        _cut(group, cut)
        capable = {NAMES[node] for node in able(cut.nodes, cut.mask)}
        led = {(name, group.members[name].up.term) for name in _leaders(group) if name in capable}
        settled = _settle(group, capable)
        unseated = led - {(name, group.members[name].up.term) for name in _leaders(group)}
        if unseated:
            raise Violated(f"{sorted(unseated)} could have gone on to lead")
        return Verdict(cut, settled)
    except (Violated, CoreHalted) as error:
        return Verdict(cut, 0, str(error))


def _run(group: Group, ticks: int) -> None:
    group.agenda.run_until(group.agenda.now + ticks * TICK)


def _leaders(group: Group) -> list[str]:
    return [name for name, member in group.members.items() if member.up.role is Role.LEADER]


def _cut(group: Group, cut: Cut) -> None:
    there = {(NAMES[i], NAMES[j]) for i, j in links(cut.nodes, cut.mask)}
    group.network.cut = {(a, b) for a in group.members for b in group.members if a != b and (a, b) not in there}


def _settle(group: Group, capable: set[str]) -> int:
    """Wait for a leader among the capable, see it stay, see a proposal commit; ticks until all was still."""
    limit = TIME_OUTS * group.plan.time_out
    still, last = 0, _standing(group)
    for tick in range(1, 2 * limit + 1):
        _run(group, 1)
        now = _standing(group)
        if now != last:
            still, last = tick, now
        if tick == limit:
            leading = [name for name in _leaders(group) if name in capable]
            if len(leading) != 1:
                raise Violated(f"after {limit} ticks {leading or 'nobody'} leads, able are {sorted(capable)}")
            before = group.checker.last_committed
            group.members[leading[0]].propose(b"-:1:fresh", None, 0)
    if still > limit:
        raise Violated(f"terms or leaders still change {still} ticks after the cut")
    if group.checker.last_committed <= before:
        raise Violated("a proposal does not commit")
    return still


def _standing(group: Group) -> list[tuple[int, bool]]:
    return [(member.up.term, member.up.role is Role.LEADER) for member in group.members.values()]


def _with_unequal_logs(group: Group, cut: Cut) -> int:
    """Proposals under changing cuts, then the graph, then the heal."""
    draw = group.chance.random
    for number in range(12):
        group.network.cut = {(a, b) for a in NAMES[: cut.nodes] for b in NAMES[: cut.nodes] if draw() < 0.35}
        _run(group, int(draw() * 30))
        for name in _leaders(group):
            group.members[name].propose(b"-:%d:" % number, None, 0)
    _cut(group, cut)
    _run(group, TIME_OUTS * group.plan.time_out)
    group.network.heal()
    return _settle(group, set(group.members))


def cuts(full: bool, seeds: int = 1) -> Iterable[Cut]:
    """All of three nodes, and all classes of five or every STRIDE-th of them; only those with somebody able."""
    for seed in range(seeds):
        for mask in range(64):
            yield from _variants(Cut(3, mask, seed=seed))
        for mask in classes(5)[:: 1 if full else STRIDE]:
            yield from _variants(Cut(5, mask, seed=seed))


def _variants(cut: Cut) -> Iterable[Cut]:
    if able(cut.nodes, cut.mask):
        for led in range(-1, cut.nodes):
            yield evolve(cut, led=led)
    yield evolve(cut, led=UNEQUAL)


def summary(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """All together; ``settled`` is the worst, in ticks, for each count of nodes."""
    worst: dict[str, int] = {}
    for verdict in verdicts:
        name = str(verdict.cut.nodes)
        worst[name] = max(worst.get(name, 0), verdict.settled)
    return {
        "graphs": len({(verdict.cut.nodes, verdict.cut.mask) for verdict in verdicts}),
        "runs": len(verdicts),
        "settled": worst,
        "violations": [
            {"nodes": v.cut.nodes, "mask": v.cut.mask, "led": v.cut.led, "seed": v.cut.seed, "violation": v.violation}
            for v in verdicts
            if v.violation
        ],
    }


def parse_part(text: str) -> tuple[int, int]:
    """``3/20`` as (3, 20).  Raises ValueError."""
    part, _, parts = text.partition("/")
    number, count = int(part), int(parts)
    if not 0 <= number < count:
        raise ValueError(f"{text!r} is no part: 0/{count} to {count - 1}/{count}")
    return number, count


def main(arguments: Sequence[str] | None = None) -> int:
    """See the module; the exit code is 1 where a graph fails."""
    parser = argparse.ArgumentParser(prog="python -m dfs.simulation.consensus.graphs", description=__doc__)
    parser.add_argument("--all", action="store_true", help="every class of graphs of five nodes, not a sample")
    parser.add_argument("--seeds", type=int, default=1, help="how often each is tried, with other timers")
    parser.add_argument("--part", type=parse_part, default=(0, 1), help="I/N: the I-th of N parts, from 0 on")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    options = parser.parse_args(arguments)
    say = writer(sys.stdout)
    part, parts = options.part
    total = summary([examine(cut) for cut in islice(cuts(options.all, options.seeds), part, None, parts)])
    if options.json:
        say(json.dumps(total))
    else:
        for violation in total["violations"]:
            say(f"VIOLATION {violation}")
        say(
            f"{total['graphs']} graphs, {total['runs']} runs, settled after at most {total['settled']} ticks, "
            f"{len(total['violations'])} violations"
        )
    return 1 if total["violations"] else 0


if __name__ == "__main__":
    sys.exit(main())
