"""Processes that are killed, lose power, are stopped or paused; clocks that step and drift."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from twisted.internet.defer import Deferred

from dfs.protocol.interfaces import SPOKEN
from dfs.simulation.faults.ground import Ground
from dfs.simulation.nodes import SimulatedNode

NEVER_DOWN_AT_ONCE = 2
"""Chunk servers that are down at most, of those that there are, so that writes go on now and then."""

RELEASES = (1, 2, 3)
"""The highest version of the protocol that each release speaks; all speak the lowest, too."""


def down(ground: Ground, node: SimulatedNode) -> None:
    """It goes down in one of three ways and comes back."""
    how = ground.dice.weighted([("kill", 4.0), ("crash", 4.0), ("stop", 2.0)])
    ground.note(how, node.name)
    if how == "stop" and not node.host.paused:
        ground.world.note(f"SIGTERM {node.name}")
        node.stop().addErrback(lambda failure: ground.world.note(str(failure.value)))  # type: ignore[unused-awaitable]
    elif how == "crash":
        node.crash()
    else:
        node.kill()
    node.host.clock_rate = ground.dice.pick([0.95, 1.0, 1.0, 1.05])
    if node.host.clock_rate != 1.0:
        ground.note("clock drift", f"{node.name} {node.host.clock_rate}")
    ground.later(0.2, 6.0, lambda: ground.start(node))


def kill_meta(ground: Ground) -> None:
    """A metadata server, while a majority stays up."""
    up = [node for node in ground.cluster.meta.values() if node.up]
    if len(up) > len(ground.cluster.meta) // 2 + 1:
        down(ground, ground.dice.pick(up))


def kill_leader(ground: Ground) -> None:
    """Whoever leads."""
    leader = ground.cluster.leader()
    if leader is not None:
        down(ground, leader)


def kill_chunk(ground: Ground) -> None:
    """A chunk server, while enough stay up."""
    nodes = list(ground.cluster.chunks.values())
    up = [node for node in nodes if node.up]
    if len(up) > max(1, len(nodes) - NEVER_DOWN_AT_ONCE):
        down(ground, ground.dice.pick(up))


def kill_all_meta(ground: Ground) -> None:
    """Every metadata server at once (S27)."""
    for node in ground.cluster.meta.values():
        if node.up:
            down(ground, node)


def power_cut(ground: Ground) -> None:
    """Every server loses power at once (S01, S27)."""
    ground.note("power cut of the room", "")
    for node in ground.cluster.nodes.values():
        node.crash()
        ground.later(0.2, 4.0, partial(ground.start, node))


def crash_at(ground: Ground) -> None:
    """Power goes in the middle of some operation of a disk: what was asked of it before is done, the rest is not."""
    node = ground.any_node()
    if node.up:
        count = 1 + ground.dice.below(60)
        ground.note("crash at an operation", f"{node.name} {count}")
        node.host.disk.crash_at(count)
        node.host.on_down.append(ground.bound(lambda: ground.later(0.2, 4.0, partial(ground.start, node))))


def pause(ground: Ground) -> None:
    """SIGSTOP and SIGCONT, of the leader half of the time."""
    leader = ground.cluster.leader()
    node = leader if leader is not None and ground.dice.chance(0.5) else ground.any_node()
    if node.up and not node.stopping:
        seconds = ground.dice.pick([0.1, 0.5, 1.0, 2.5, 5.0])
        ground.note("pause", f"{node.name} {seconds}")
        node.host.pause(seconds)


def rolling_restart(ground: Ground) -> None:
    """Every server is stopped by SIGTERM and started again, one after the other."""
    roll(ground, "rolling restart", None)


def rolling_upgrade(ground: Ground) -> None:
    """The same, with a release that speaks other versions of the protocol; it may be given up on the way, so that old
    and new go on beside each other, or taken back by a later one (S39)."""
    highest = ground.dice.pick([version for version in RELEASES if version != ground.highest])
    ground.highest = highest
    roll(ground, "rolling upgrade", (SPOKEN[0], highest))


def roll(ground: Ground, kind: str, versions: tuple[int, int] | None) -> None:
    """Restart one server after the other, in a drawn order where it is an upgrade."""
    ground.note(kind, "" if versions is None else f"to {versions}")
    Deferred.fromCoroutine(_roll(ground, versions)).addErrback(  # type: ignore[unused-awaitable]
        lambda failure: ground.world.note(f"{kind}: {failure.value}")
    )


async def _roll(ground: Ground, versions: tuple[int, int] | None) -> None:
    dice = ground.dice
    nodes = list(ground.cluster.nodes.values())
    count = len(nodes)
    if versions is not None:
        nodes = dice.shuffled(nodes)
        count = dice.pick([count, count, 1 + dice.below(count)])
    for node in nodes[:count]:
        if not ground.active:
            return
        if versions is not None:
            ground.cluster.versions[node.name] = versions
        if node.up and not node.stopping and not node.host.paused:
            await node.stop()
            await ground.cluster.sleep(dice.between(0.05, 0.3))
            if ground.active:
                ground.start(node)
                await ground.cluster.sleep(dice.between(0.3, 1.5))


def step_clock(ground: Ground) -> None:
    """A wall clock leaps (S34)."""
    host = ground.world.hosts[ground.dice.pick(list(ground.world.hosts))]
    host.wall_offset += ground.dice.pick([-86400.0, -3600.0, -1.0, 5.0, 3600.0, 1e6])
    ground.note("clock step", host.name)


Kind = Callable[[Ground], None]

KINDS: dict[str, tuple[Kind, float]] = {
    "kill_meta": (kill_meta, 3.0),
    "kill_leader": (kill_leader, 3.0),
    "kill_chunk": (kill_chunk, 4.0),
    "kill_all_meta": (kill_all_meta, 0.3),
    "power_cut": (power_cut, 0.2),
    "crash_at": (crash_at, 2.0),
    "pause": (pause, 2.0),
    "rolling_restart": (rolling_restart, 0.3),
    "rolling_upgrade": (rolling_upgrade, 0.3),
    "step_clock": (step_clock, 1.0),
}
"""Each kind with its usual weight."""
