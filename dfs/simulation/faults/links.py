"""Links that are cut, one way or both, between two or between groups; broken connections; slow and narrow links."""

from __future__ import annotations

from collections.abc import Callable

from dfs.simulation.cluster import PORT
from dfs.simulation.faults.ground import Ground
from dfs.simulation.host import SimulatedHost


def _heal(ground: Ground, one: str, other: str) -> None:
    ground.world.network.heal(ground.ip(one), ground.ip(other))


def cut_pair(ground: Ground) -> None:
    """Two machines do not hear one another, or one of them does not hear the other."""
    one, other = ground.pair()
    both = ground.dice.chance(0.6)
    ground.note("partition" if both else "one-way partition", f"{one} {other}")
    ground.world.partition(one, other, both)
    ground.later(0.3, 6.0, lambda: _heal(ground, one, other))


def cut_meta(ground: Ground) -> None:
    """One direction between two metadata servers, where it matters most (S35)."""
    names = list(ground.cluster.meta)
    if len(names) > 1:
        one = ground.dice.pick(names)
        other = ground.dice.pick([name for name in names if name != one])
        ground.note("one-way partition", f"{one} {other}")
        ground.world.partition(one, other, both=False)
        ground.later(0.3, 6.0, lambda: _heal(ground, one, other))


def split(ground: Ground) -> None:
    """The machines fall into two groups; a machine may belong to both and hear everybody."""
    sides = {name: ground.dice.weighted([("left", 4.0), ("right", 4.0), ("both", 1.0)]) for name in ground.world.hosts}
    cut = [
        (one, other)
        for one, side in sides.items()
        for other, far in sides.items()
        if side == "left" and far == "right"
    ]
    ground.note("partial partition" if "both" in sides.values() else "split", f"{len(cut)} pairs")
    for one, other in cut:
        ground.world.partition(one, other)
    ground.later(0.5, 6.0, lambda: _heal_all(ground, cut))


def _heal_all(ground: Ground, pairs: list[tuple[str, str]]) -> None:
    for one, other in pairs:
        _heal(ground, one, other)


def isolate(ground: Ground) -> None:
    """A server is cut off from everybody; the leader, half of the time."""
    leader = ground.cluster.leader()
    if leader is not None and ground.dice.chance(0.5):
        name = leader.name
    else:
        name = ground.dice.pick(list(ground.cluster.nodes))
    ground.note("isolation", name)
    ground.world.isolate(name)
    ground.later(0.5, 6.0, lambda: _join(ground, name))


def _join(ground: Ground, name: str) -> None:
    for other in ground.world.hosts:
        if other != name:
            _heal(ground, name, other)


def reset(ground: Ground) -> None:
    """Every connection between two machines breaks."""
    one, other = ground.pair()
    ground.note("reset", f"{one} {other}")
    ground.world.network.reset(ground.ip(one), ground.ip(other))


def refuse(ground: Ground) -> None:
    """A server's port refuses new connections for a while, and the present ones break."""
    node = ground.any_node()
    ground.note("refused connections", node.name)
    network, address = ground.world.network, (node.host.ip, PORT)
    network.refusing.add(address)
    for host in ground.world.hosts.values():
        network.reset(node.host.ip, host.ip)
    ground.later(0.2, 3.0, lambda: network.refusing.discard(address))


def lost_answers(ground: Ground) -> None:
    """For a while a client's connections to metadata break before most answers come (S26)."""
    clients = [client.host for client in ground.cluster.clients]
    if not clients:
        return
    client = ground.dice.pick(clients)
    ground.note("lost answers", client.name)
    for node in ground.cluster.meta.values():
        ground.world.network.slow(node.host.ip, client.ip, 0.02)
    _break(ground, client, 2 + ground.dice.below(30))


def _break(ground: Ground, client: SimulatedHost, left: int) -> None:
    for node in ground.cluster.meta.values():
        ground.world.network.reset(node.host.ip, client.ip)
        if not left:
            ground.world.network.restore(node.host.ip, client.ip)
    if left:
        ground.later(0.02, 0.2, lambda: _break(ground, client, left - 1))


def slow_link(ground: Ground) -> None:
    """One direction between two machines takes its time, and lets little through."""
    one, other = ground.pair()
    latency = ground.dice.pick([0.02, 0.1, 0.4])
    bandwidth = ground.dice.pick([0.0, 200e3, 2e6])
    ground.note("slow link", f"{one} {other} {latency} {bandwidth}")
    source, target = ground.ip(one), ground.ip(other)
    ground.world.network.slow(source, target, latency, bandwidth)
    ground.later(0.5, 8.0, lambda: ground.world.network.restore(source, target))


def narrow(ground: Ground) -> None:
    """All that a machine sends and is sent goes through little bandwidth."""
    name = ground.dice.pick(list(ground.world.hosts))
    bandwidth = ground.dice.pick([100e3, 1e6, 5e6])
    ground.note("limited bandwidth", f"{name} {bandwidth}")
    network, here = ground.world.network, ground.ip(name)
    for host in ground.world.hosts.values():
        if host.ip != here:
            network.slow(here, host.ip, network.latency, bandwidth)
            network.slow(host.ip, here, network.latency, bandwidth)
    ground.later(0.5, 8.0, lambda: _widen(ground, here))


def _widen(ground: Ground, here: str) -> None:
    for host in ground.world.hosts.values():
        if host.ip != here:
            ground.world.network.restore(here, host.ip)
            ground.world.network.restore(host.ip, here)


Kind = Callable[[Ground], None]

KINDS: dict[str, tuple[Kind, float]] = {
    "cut_pair": (cut_pair, 3.0),
    "cut_meta": (cut_meta, 1.0),
    "split": (split, 1.0),
    "isolate": (isolate, 2.0),
    "reset": (reset, 2.0),
    "refuse": (refuse, 0.7),
    "lost_answers": (lost_answers, 4.0),
    "slow_link": (slow_link, 2.0),
    "narrow": (narrow, 1.0),
}
"""Each kind with its usual weight."""
