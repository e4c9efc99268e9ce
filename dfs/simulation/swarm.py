"""What a seed draws: the size of its cluster, its limits, its faults and its work.

Every run with all kinds of faults at their usual rates hides what only a part of them, or one alone, would show: a
leader that is killed every second never compacts its log.  So each seed draws a subset (Groce et al., "Swarm Testing",
ISSTA 2012), and limits so small that what is rare in production happens all the time.
"""

from __future__ import annotations

from attrs import evolve

from dfs.simulation.cluster import ClusterSettings
from dfs.simulation.dice import Dice
from dfs.simulation.faults import KINDS, USUAL, Mix
from dfs.simulation.host import World
from dfs.simulation.plan import ACTS, Plan

ROUND_TRIPS = 20.0
"""An election time-out is at least so many times the latency of a link, of which up to four make a round trip: an
election takes two, and is never over where they take longer than the time-out (Raft thesis 3.9)."""


def plan_of(seed: int) -> Plan:
    """The run that a seed draws."""
    dice = Dice(World(seed).random("plan"))
    settings = draw_settings(dice)
    plan = Plan(
        settings,
        clients=1 + dice.below(4),
        seconds=dice.pick([8.0, 12.0, 20.0]),
        mix=draw_mix(dice),
        pace=dice.pick([(0.02, 0.3), (0.1, 1.5), (0.1, 1.5), (1.0, 4.0)]),
        acts=draw_acts(dice),
        shared=dice.pick([0.1, 0.3, 0.8]),
        names=dice.pick([1, 4, 12]),
        think=dice.pick([0.05, 0.6, 0.6]),
        small=dice.chance(0.25),
        any_member=dice.pick([0.0, 0.0, 0.5, 1.0]),
        latency=min(dice.pick([0.0003, 0.0003, 0.003, 0.02]), settings.election_ticks * settings.tick / ROUND_TRIPS),
    )
    return evolve(plan, settings=evolve(settings, segments=dice.chance(0.5)))


def draw_settings(dice: Dice) -> ClusterSettings:
    """A cluster: usually one of three metadata servers, often with a log of a few entries."""
    short = dice.chance(0.5)
    return ClusterSettings(
        meta_nodes=dice.weighted([(1, 1.0), (3, 6.0), (5, 2.0)]),
        chunk_servers=3 + dice.below(5),
        trailing_entries=1 + dice.below(10) if short else 10_000,
        sync_interval=dice.pick([0.1, 0.5, 2.0]) if short else 2.0,
        segment_length=dice.pick([4096, 16384]) if short else 1 << 20,
        append_window=dice.pick([1, 2, 8]),
        append_length=dice.pick([1, 256 << 10]),
        tick=dice.pick([0.02, 0.05, 0.05, 0.1]),
        election_ticks=dice.pick([5, 10, 10]),
        heartbeat_interval=dice.pick([0.2, 0.5, 1.0]),
        lease=dice.pick([3.0, 6.0]),
        upload_ttl=dice.pick([8.0, 15.0]),
        chunk_size=dice.pick([64 << 10, 64 << 10, 256 << 10]),
    )


def draw_mix(dice: Dice) -> Mix:
    """Now and then no fault at all or one kind only; usually half of the kinds, each more or less often."""
    how = dice.weighted([("none", 0.5), ("one", 2.0), ("some", 6.0), ("all", 1.5)])
    if how == "none":
        return {}
    if how == "one":
        return {dice.pick(KINDS): 1.0}
    if how == "all":
        return USUAL
    return {kind: weight * dice.pick([0.3, 1.0, 3.0]) for kind, weight in USUAL.items() if dice.chance(0.5)}


def draw_acts(dice: Dice) -> dict[str, float]:
    """More of this and less of that; always some uploads."""
    acts = {act: weight * dice.pick([0.0, 0.5, 1.0, 2.0]) for act, weight in ACTS.items()}
    return {**acts, "upload": max(acts["upload"], ACTS["upload"] / 2)}
