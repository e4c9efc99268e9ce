"""Which kind of fault comes when, and the end of them all."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from functools import partial

from dfs.simulation.cluster import SimulatedCluster
from dfs.simulation.faults import disks, links, operators, processes, upkeep
from dfs.simulation.faults.atlas import Atlas
from dfs.simulation.faults.disks import HUGE, put_back, replace
from dfs.simulation.faults.ground import Ground
from dfs.simulation.faults.operators import Operator
from dfs.simulation.faults.upkeep import Upkeep

Mix = Mapping[str, float]
"""How often (weights) which kind comes; those that are not named never do."""

USUAL: Mix = {
    kind: weight
    for table in (processes.KINDS, links.KINDS, disks.KINDS, operators.KINDS, upkeep.KINDS)
    for kind, (_, weight) in table.items()
}
"""Every kind, as often as it usually comes."""

KINDS = tuple(USUAL)

TAKING = ("rot", "misdirected")
"""Kinds that take copies away by themselves."""


class Faults:
    """:param keep: numbers of the decisions that are carried out; None is all.
    :param pace: seconds between two of them, at least and at most.
    """

    def __init__(
        self,
        cluster: SimulatedCluster,
        mix: Mix = USUAL,
        keep: Container[int] | None = None,
        pace: tuple[float, float] = (0.1, 1.5),
    ) -> None:
        self.ground = Ground(cluster)
        self.atlas = Atlas(cluster)
        self.operator = Operator(self.ground)
        self.upkeep = Upkeep(self.ground, self.operator, not any(mix.get(kind) for kind in TAKING))
        self._keep = keep
        self._pace = pace
        self._kinds: list[tuple[Callable[[], None], float]] = [
            (self._kind(name), weight) for name, weight in mix.items() if weight
        ]

    def _kind(self, name: str) -> Callable[[], None]:
        if name in disks.KINDS:
            return partial(disks.KINDS[name][0], self.ground, self.atlas)
        if name in operators.KINDS:
            return partial(operators.KINDS[name][0], self.ground, self.operator)
        if name in upkeep.KINDS:
            return partial(upkeep.KINDS[name][0], self.ground, self.upkeep)
        table = processes.KINDS if name in processes.KINDS else links.KINDS
        return partial(table[name][0], self.ground)

    async def run(self, seconds: float) -> None:
        """Faults for so long; those that last longer are ended by :meth:`heal`."""
        ground = self.ground
        ground.active = True
        end = ground.world.clock.now + seconds
        number = 0
        while ground.world.clock.now < end:
            dice = ground.dice_of(number)
            await ground.cluster.sleep(dice.between(*self._pace))
            if self._kinds and (self._keep is None or number in self._keep):
                ground.deciding(number, dice, dice.weighted(self._kinds))
            number += 1

    def heal(self) -> None:
        """Everything works again from now on; what is down is started."""
        ground = self.ground
        ground.active = False
        ground.world.note("heal everything")
        network = ground.world.network
        network.heal()
        network.restore()
        network.refusing.clear()
        for host in ground.world.hosts.values():
            host.disk.recover()
            host.disk.crash_at(None)
            host.disk.slowness = 1.0
            host.disk.capacity = HUGE
            host.clock_rate = 1.0
        for name in list(ground.broken):
            replace(ground, ground.cluster.nodes[name])
        for spot in list(self.atlas.spots.values()):
            put_back(ground, self.atlas, spot)
        for node in ground.cluster.nodes.values():
            ground.start(node)
