"""Faults drawn from a seed, one after the other and overlapping, each with its end.

Kinds: processes killed, crashed (power), stopped by SIGTERM, all metadata servers at once; pairs cut off in
one or both directions, whole hosts isolated, connections reset, slow links; slow disks, full disks, failing syncs;
wall clocks that step and monotonic clocks that drift.

Bounds: no disk is lost for good and no byte rots, so everything acknowledged stays readable once all is healed;
a majority of the metadata servers is up most of the time, so that there is something to test.

Each fault is a numbered decision that draws from a generator of its own, what follows from it later too.  So a run
can leave decisions out (``keep``) without changing what the others draw: that is how a failing run is made smaller
(a shrinker's work).  A new kind of fault draws from ``self._dice``, ends by :meth:`Faults._later`, tells what it does
by :meth:`Faults._note`, and need not care.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container

from attrs import frozen

from dfs.disk.errors import DiskError
from dfs.simulation.cluster import SimulatedCluster
from dfs.simulation.dice import Dice
from dfs.simulation.host import SimulatedHost
from dfs.simulation.nodes import SimulatedNode

NEVER_DOWN_AT_ONCE = 2
"""Chunk servers that are down at most, of those that there are, so that writes go on now and then."""


@frozen
class Mix:
    """How often (weights) which kind comes."""

    kill_meta: float = 3.0
    kill_leader: float = 3.0
    kill_chunk: float = 4.0
    kill_all_meta: float = 0.3
    cut_pair: float = 3.0
    isolate: float = 2.0
    reset: float = 2.0
    lost_answers: float = 2.0
    slow_link: float = 2.0
    slow_disk: float = 2.0
    full_disk: float = 1.0
    failed_sync: float = 1.0
    step_clock: float = 1.0


@frozen
class Decision:
    """Something that a fault did: ``number`` is the decision's, ``time`` the world's in seconds."""

    number: int
    time: float
    what: str

    def __str__(self) -> str:
        return f"{self.number}: {self.time:.3f} {self.what}"


class Faults:
    """:ivar counts: how often each kind came.
    :ivar schedule: what was done, in order; a decision may do several things, or nothing.
    :param keep: numbers of the decisions that are carried out; None is all.
    """

    def __init__(self, cluster: SimulatedCluster, mix: Mix | None = None, keep: Container[int] | None = None) -> None:
        self.counts: Counter[str] = Counter()
        self.schedule: list[Decision] = []
        self._cluster = cluster
        self._world = cluster.world
        self._keep = keep
        self._number = 0
        self._dice = self._dice_of(0)
        mix = mix if mix is not None else Mix()
        self._kinds: list[tuple[Callable[[], None], float]] = [
            (getattr(self, f"_{kind}"), getattr(mix, kind)) for kind in Mix.__annotations__
        ]
        self._active = False
        self._broken: dict[str, None] = {}

    async def run(self, seconds: float) -> None:
        """Faults for so long; those that last longer are ended by :meth:`heal`."""
        self._active = True
        end = self._world.clock.now + seconds
        number = 0
        while self._world.clock.now < end:
            dice = self._dice_of(number)
            await self._cluster.sleep(dice.between(0.1, 1.5))
            if self._keep is None or number in self._keep:
                self._deciding(number, dice, dice.weighted(self._kinds))
            number += 1

    def heal(self) -> None:
        """Everything works again from now on; what is down is started."""
        self._active = False
        self._world.note("heal everything")
        network = self._world.network
        network.heal()
        network.restore()
        for host in self._world.hosts.values():
            host.disk.recover()
            host.disk.slowness = 1.0
            host.disk.capacity = 1 << 40
            host.clock_rate = 1.0
        for name in list(self._broken):
            self._replace(self._cluster.nodes[name])
        for node in self._cluster.nodes.values():
            node.start()

    def _dice_of(self, number: int) -> Dice:
        return Dice(self._world.random(f"fault {number}"))

    def _deciding(self, number: int, dice: Dice, act: Callable[[], None]) -> None:
        """Do something that follows from a decision, with its dice."""
        self._number, self._dice = number, dice
        act()

    # One kind each.

    def _note(self, kind: str, what: str) -> None:
        self.counts[kind] += 1
        self.schedule.append(Decision(self._number, self._world.clock.now, f"{kind} {what}"))
        self._world.note(f"fault {kind} {what}")

    def _later(self, low: float, high: float, end: Callable[[], None]) -> None:
        """End a fault later, unless everything is healed before."""

        number, dice = self._number, self._dice

        def ended() -> None:
            if self._active:
                self._deciding(number, dice, end)

        self._world.clock.callLater(dice.between(low, high), ended)

    def _start(self, node: SimulatedNode) -> None:
        """Start it, unless its disk is broken: then that comes first."""
        if node.name not in self._broken:
            node.start()

    def _down(self, node: SimulatedNode) -> None:
        """It goes down in one of three ways and comes back."""
        how = self._dice.weighted([("kill", 4.0), ("crash", 4.0), ("stop", 2.0)])
        self._note(how, node.name)
        if how == "stop":
            self._world.note(f"SIGTERM {node.name}")
            node.stop().addErrback(lambda failure: self._world.note(str(failure.value)))  # type: ignore[unused-awaitable]
        elif how == "kill":
            node.kill()
        else:
            node.crash()
        node.host.clock_rate = self._dice.pick([0.95, 1.0, 1.0, 1.05])
        self._later(0.2, 6.0, lambda: self._start(node))

    def _kill_meta(self) -> None:
        up = [node for node in self._cluster.meta.values() if node.up]
        if len(up) > len(self._cluster.meta) // 2 + 1:
            self._down(self._dice.pick(up))

    def _kill_leader(self) -> None:
        leader = self._cluster.leader()
        if leader is not None:
            self._down(leader)

    def _kill_chunk(self) -> None:
        nodes = list(self._cluster.chunks.values())
        up = [node for node in nodes if node.up]
        if len(up) > max(1, len(nodes) - NEVER_DOWN_AT_ONCE):
            self._down(self._dice.pick(up))

    def _kill_all_meta(self) -> None:
        for node in self._cluster.meta.values():
            if node.up:
                self._down(node)

    def _pair(self) -> tuple[str, str]:
        names = list(self._world.hosts)
        one = self._dice.pick(names)
        return one, self._dice.pick([name for name in names if name != one])

    def _cut_pair(self) -> None:
        one, other = self._pair()
        both = self._dice.chance(0.6)
        self._note("partition" if both else "one-way partition", f"{one} {other}")
        self._world.partition(one, other, both)
        self._later(0.3, 6.0, lambda: self._heal(one, other))

    def _heal(self, one: str, other: str) -> None:
        self._world.network.heal(self._world.hosts[one].ip, self._world.hosts[other].ip)

    def _isolate(self) -> None:
        leader = self._cluster.leader()
        if leader is not None and self._dice.chance(0.5):
            name = leader.name
        else:
            name = self._dice.pick(list(self._cluster.nodes))
        self._note("isolation", name)
        self._world.isolate(name)
        self._later(0.5, 6.0, lambda: self._join(name))

    def _join(self, name: str) -> None:
        for other in self._world.hosts:
            if other != name:
                self._heal(name, other)

    def _reset(self) -> None:
        one, other = self._pair()
        self._note("reset", f"{one} {other}")
        self._world.network.reset(self._world.hosts[one].ip, self._world.hosts[other].ip)

    def _lost_answers(self) -> None:
        """For a while a client's connections to metadata break before most answers come (S26)."""
        clients = [client.host for client in self._cluster.clients]
        if not clients:
            return
        client = self._dice.pick(clients)
        self._note("lost answers", client.name)
        for node in self._cluster.meta.values():
            self._world.network.slow(node.host.ip, client.ip, 0.02)
        self._break(client, 2 + self._dice.below(30))

    def _break(self, client: SimulatedHost, left: int) -> None:
        for node in self._cluster.meta.values():
            self._world.network.reset(node.host.ip, client.ip)
            if not left:
                self._world.network.restore(node.host.ip, client.ip)
        if left:
            self._later(0.02, 0.2, lambda: self._break(client, left - 1))

    def _slow_link(self) -> None:
        one, other = self._pair()
        latency = self._dice.pick([0.02, 0.1, 0.4])
        bandwidth = self._dice.pick([0.0, 200e3, 2e6])
        self._note("slow link", f"{one} {other} {latency} {bandwidth}")
        source, target = self._world.hosts[one].ip, self._world.hosts[other].ip
        self._world.network.slow(source, target, latency, bandwidth)
        self._later(0.5, 8.0, lambda: self._world.network.restore(source, target))

    def _slow_disk(self) -> None:
        node = self._dice.pick(list(self._cluster.nodes.values()))
        node.host.disk.slowness = self._dice.pick([10.0, 100.0, 1000.0])
        self._note("slow disk", f"{node.name} {node.host.disk.slowness}")
        self._later(0.3, 4.0, lambda: setattr(node.host.disk, "slowness", 1.0))

    def _full_disk(self) -> None:
        disk = self._dice.pick(list(self._cluster.nodes.values())).host.disk
        disk.capacity = disk.used + self._dice.pick([0, 1000, 100_000])
        self._note("full disk", str(disk.capacity))
        self._later(0.5, 5.0, lambda: setattr(disk, "capacity", 1 << 40))

    def _failed_sync(self) -> None:
        """One sync fails; a chunk server takes no writes after it, a metadata server ends.  What its kernel has in
        memory is not on the disk and never will be, so the machine is started anew, not the process only."""
        node = self._dice.pick(list(self._cluster.nodes.values()))
        self._note("failed sync", node.name)
        node.host.disk.inject("sync", error=DiskError)
        self._broken[node.name] = None
        self._later(1.0, 5.0, lambda: self._replace(node))

    def _replace(self, node: SimulatedNode) -> None:
        """Somebody has replaced the cable."""
        self._broken.pop(node.name, None)
        node.host.disk.recover()
        node.crash()
        node.start()

    def _step_clock(self) -> None:
        host = self._world.hosts[self._dice.pick(list(self._world.hosts))]
        host.wall_offset += self._dice.pick([-86400.0, -1.0, 5.0, 1e6])
        self._note("clock step", host.name)
