"""Who is asked for `dfs status`, in a simulated cluster."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from dfs.cli.status import status
from dfs.simulation.cluster import SimulatedCluster
from dfs.simulation.host import World


class StatusTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World(1)
        self.cluster = SimulatedCluster(self.world)
        self.cluster.start()
        self.cluster.run(self.cluster.wait_ready())
        self.reader = self.world.host("reader")

    def roles(self, address: str) -> list[str]:
        """The roles shown when this address alone is given."""
        document = self.world.run_until(status(self.reader.runtime, [address]))
        assert document is not None
        return sorted(member["role"] for member in document["meta"])

    def test_one_address_is_enough(self) -> None:
        """Members that were not given, but are named by the one that was, are asked too: only what is down is
        unreachable."""
        leader = self.cluster.leader()
        assert leader is not None
        given, other = (node for node in self.cluster.meta.values() if node is not leader)
        address = self.cluster.peers[given.host.name]
        self.assertEqual(self.roles(address), ["follower", "follower", "leader"])
        other.kill()
        self.assertEqual(self.roles(address), ["follower", "leader", "unreachable"])
