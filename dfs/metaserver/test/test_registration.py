"""Who may be which chunk server."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from dfs.metaserver import proposing
from dfs.metaserver.commands import Command, RegisterNode, encode_command
from dfs.metaserver.test.cluster import Chunk, Cluster
from dfs.protocol.values import NodeNumber, NodeState


class RegistrationTests(SynchronousTestCase):
    """One cluster a test; suspect after 3 s of virtual time."""

    def cluster(self, chunks: int) -> Cluster:
        cluster = Cluster()
        cluster.start(chunks)
        self.addCleanup(cluster.stop)
        return cluster

    def clone(self, cluster: Cluster, of: Chunk) -> Chunk:
        """The same folder, run by another process on another host."""
        clone = Chunk(cluster, 9)
        clone.name, clone.incarnation, clone.boot = of.name, of.incarnation, b"another process!"
        clone.start()
        return clone

    def test_a_clone_is_refused(self) -> None:
        """S19: a folder copied to another host and started there is refused and told, while the first one lives."""
        cluster = self.cluster(2)
        original = cluster.chunks[0]
        clone = self.clone(cluster, original)
        cluster.world.run(8.0)
        self.assertEqual(clone.node, 0)
        self.assertIn("was started at", clone.refused[0].message)
        self.assertEqual(original.refused, [])
        status = cluster.status()
        self.assertIn(original.address, {server.address for server in status.chunk_servers})
        self.assertIn("was started at", " ".join(status.alarms))

    def test_a_node_that_moved_is_let_in(self) -> None:
        """A folder that moved to another host for good is the same node, once the former process is silent."""
        cluster = self.cluster(2)
        original = cluster.chunks[0]
        file = cluster.store("a", durable=2)
        original.silent = True
        moved = self.clone(cluster, original)
        moved.number = original.number
        cluster.world.run(8.0)
        self.assertEqual(moved.node, original.node)
        self.assertEqual(moved.refused, [])
        self.assertEqual(cluster.status().alarms, ())
        server = next(server for server in cluster.status().chunk_servers if server.name == original.name)
        self.assertEqual((server.address, server.state), (moved.address, NodeState.ALIVE))
        self.assertEqual(cluster.replicas(file)[original.name], "ALIVE")

    def test_a_folder_put_back_is_not_let_in(self) -> None:
        """S06, R35: a folder whose numbers are below what was recorded of it is refused with an alarm, and the replicas
        that it may not hold any more are made elsewhere."""
        cluster = self.cluster(4)
        file = cluster.store("a")
        chunk = cluster.chunk(next(iter(cluster.replicas(file))))
        recorded, chunk.number = chunk.number, 5
        chunk.silent = True
        cluster.world.run(0.5)
        chunk.boot, chunk.node, chunk.silent = b"started again...", NodeNumber(0), False
        cluster.world.run(15.0)
        self.assertIn("older copy", " ".join(cluster.status().alarms))
        alive = [name for name, state in cluster.replicas(file).items() if state == "ALIVE"]
        self.assertEqual(len(alive), 3)
        self.assertNotIn(chunk.name, alive)
        chunk.number = recorded
        cluster.world.run(2.0)
        self.assertEqual(cluster.replicas(file)[chunk.name], "ALIVE")
        self.assertEqual(cluster.status().alarms, ())

    def test_two_processes_at_one_address(self) -> None:
        """S19: a beat of a process that another one followed under the same folder is refused, with an alarm."""
        cluster = self.cluster(2)
        former = cluster.chunks[0]
        clone = Chunk(cluster, 9)
        clone.name, clone.incarnation, clone.boot = former.name, former.incarnation, b"another process!"
        clone.address = former.address
        clone.start()
        cluster.world.run(3.0)
        self.assertIn("two processes", former.refused[0].message)
        self.assertIn("two processes", " ".join(cluster.status().alarms))

    def test_the_same_registration_is_no_entry(self) -> None:
        """A node that registers again as it is recorded costs no entry of the log; a new leader asks each to."""
        cluster = self.cluster(3)
        old = cluster.leader()
        old.host.kill()
        new = cluster.leader(others=(old,))
        proposed: list[Command] = []

        def encode(time_ms: int, command: Command) -> bytes:
            proposed.append(command)
            return encode_command(time_ms, command)

        self.patch(proposing, "encode_command", encode)
        cluster.world.run(1.5)
        term = new.term
        assert term is not None
        self.assertEqual({term.state(number) for number in term.seams.roster.numbers()}, {NodeState.ALIVE})
        self.assertEqual([command for command in proposed if isinstance(command, RegisterNode)], [])
