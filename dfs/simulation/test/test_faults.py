"""Numbered faults: what is left out does not change what the others draw."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from dfs.simulation.cluster import ClusterSettings, SimulatedCluster
from dfs.simulation.faults import Decision, Faults
from dfs.simulation.host import World

SLOWNESS = {"slow_link": 1.0, "slow_disk": 1.0, "step_clock": 1.0}
"""Kinds that draw without a look at what is up."""


def schedule(keep: frozenset[int] | None) -> list[Decision]:
    """What half a minute of faults did to hosts on which nothing runs."""
    world = World(5)
    faults = Faults(SimulatedCluster(world, ClusterSettings()), SLOWNESS, keep)
    world.run_until(Deferred.fromCoroutine(faults.run(30.0)))
    return faults.ground.schedule


class NumberedFaultsTests(SynchronousTestCase):
    """The hook of the shrinker."""

    def test_what_is_kept_is_the_same(self) -> None:
        """A run that leaves decisions out carries out the others as before: same times, hosts and strengths."""
        everything = schedule(None)
        self.assertGreater(len(everything), 20)
        some = frozenset(decision.number for decision in everything[::3])
        self.assertEqual(schedule(some), [decision for decision in everything if decision.number in some])

    def test_nothing_is_kept(self) -> None:
        """Keeping nothing is a run without faults."""
        self.assertEqual(schedule(frozenset()), [])
