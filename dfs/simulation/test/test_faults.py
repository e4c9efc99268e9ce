"""Numbered faults: what is left out does not change what the others draw; and how far rot may go."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from dfs.raft.log_format import SECTOR
from dfs.simulation.cluster import DATA, ClusterSettings, SimulatedCluster
from dfs.simulation.faults import Decision, Faults
from dfs.simulation.faults.atlas import CHUNKS, LOG, Atlas
from dfs.simulation.host import World
from dfs.simulation.platter import peek, write_file

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


class AtlasTests(SynchronousTestCase):
    """Rot stays within what can be recovered from."""

    def setUp(self) -> None:
        self.world = World(3)
        self.cluster = SimulatedCluster(self.world, ClusterSettings(meta_nodes=5, chunk_servers=4))
        self.atlas = Atlas(self.cluster)

    def test_one_victim_a_chunk(self) -> None:
        """Of each chunk the copies on one server may rot, and every server is some chunk's victim."""
        path = f"{CHUNKS}/0/0/%064x.1.chunk"
        for node in self.cluster.chunks.values():
            for number in range(40):
                write_file(node.host.disk, path % number, b"x")
        victims = [name for name in self.cluster.chunks for _ in self.atlas.replicas(name)]
        self.assertEqual(len(victims), 40)
        self.assertEqual(set(victims), set(self.cluster.chunks))

    def test_a_minority_of_the_members(self) -> None:
        """R29: at most two of five metadata servers have rotten files at once; one that was put back makes room."""
        spots = []
        for node in self.cluster.meta.values():
            write_file(node.host.disk, f"{DATA}/raft/identity", b"abc")
            if self.atlas.may_spoil(node):
                spots.append(self.atlas.spoil(node, f"{DATA}/raft/identity", 1, b"x"))
                self.atlas.spots[node.name] = spots[-1]
        self.assertEqual(len(spots), 2)
        spots[0].take_back()
        self.assertEqual(peek(spots[0].node.host.disk, spots[0].path), b"abc")
        del self.atlas.spots[spots[0].node.name]
        self.assertTrue(self.atlas.may_spoil(self.cluster.meta["meta-5"]))

    def test_the_last_batch_never_rots(self) -> None:
        """R29: what is behind the last batch of the log, and that batch, are spared: its rot cannot be told from a torn
        write."""
        self.cluster.start()
        self.world.run(3.0)
        node = self.cluster.meta["meta-1"]
        reach = dict(self.atlas.own_files(node))
        (log,) = [path for path in reach if path.startswith(LOG)]
        size = len(peek(node.host.disk, log) or b"")
        self.assertTrue(0 < reach[log] < size)
        node.kill()
        self.atlas.spoil(node, log, SECTOR + 1, b"\xff")
        node.start()
        self.world.run(1.0)
        self.assertIn(log, node.fatal[0])
