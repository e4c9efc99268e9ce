"""A node's life: starts, refusals, crashes, the end."""

from __future__ import annotations

from attrs import evolve
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory
from twisted.trial.unittest import SynchronousTestCase

from dfs.disk.errors import Locked
from dfs.kv.errors import StoreFailed
from dfs.kv.interfaces import Batch
from dfs.metaserver.node import MetaServer
from dfs.metaserver.test.cluster import KEY, PORT, Cluster
from dfs.protocol import messages as m
from dfs.protocol.errors import DFSError
from dfs.raft.errors import StorageCorrupt, WrongCluster


class LifeTests(SynchronousTestCase):
    """Virtual time; what a host's disk keeps is what was synced."""

    def cluster(self, chunks: int = 0, seed: int = 1) -> Cluster:
        cluster = Cluster(seed)
        cluster.start(chunks)
        self.addCleanup(cluster.stop)
        return cluster

    def test_all_are_killed_and_restarted(self) -> None:
        """S27: after kill -9 of every metadata node at once, and after a power cut, every acknowledged operation is
        there and new ones get new ids."""
        cluster = self.cluster(3)
        files = [cluster.store("a")]
        for down in ("kill", "crash"):
            for meta in cluster.metas:
                getattr(meta.host, down)()
            for meta in cluster.metas:
                meta.restart()
            cluster.leader()
            cluster.world.run(3.0)
            page = cluster.done(m.ListFiles("", b"", 100), m.FilePage)
            self.assertEqual(list(page.files), files)
            self.assertEqual(len(cluster.replicas(files[0])), 3)
            files.append(cluster.store(f"after {down}"))
        self.assertEqual(len({file.file_id for file in files}), 3)

    def test_one_after_the_other_restarts(self) -> None:
        """A rolling restart loses nothing, and each one catches up to the same state (S38)."""
        cluster = self.cluster(3)
        for number, meta in enumerate(cluster.metas):
            cluster.store(f"f{number}")
            cluster.world.run_until(meta.server.stopService())
            cluster.store(f"g{number}")
            meta.restart()
            cluster.world.run_until(meta.server.ready)
        cluster.world.run(2.0)
        self.assertEqual({cluster.status(meta).files for meta in cluster.metas}, {6})

    def test_a_busy_port_refuses_the_start(self) -> None:
        """A start whose port is in use fails with a sentence, and leaves nothing locked."""
        cluster = Cluster()
        meta = cluster.metas[0]
        port = meta.host.reactor.listenTCP(PORT, Factory())
        meta.start()
        self.assertRaises(CannotListenError, cluster.world.run_until, meta.server.ready)
        self.assertIn("choose another --listen", meta.fatal[0])
        cluster.world.run_until(port.stopListening())
        meta.start()
        cluster.world.run_until(meta.server.ready)
        cluster.world.run_until(meta.server.stopService())

    def test_a_second_process_on_the_folder(self) -> None:
        """S19: a second server on a folder in use refuses to start, and the first goes on."""
        cluster = self.cluster()
        meta = cluster.metas[0]
        second = MetaServer(evolve(meta.config(), listen="tcp:7001"), meta.host.runtime, meta.host.disk)
        second.startService()
        self.assertRaises(Locked, cluster.world.run_until, second.ready)
        cluster.world.run_until(second.stopService())
        self.assertEqual(cluster.status(meta).node, meta.name)

    def test_another_clusters_key(self) -> None:
        """S28: a folder that belongs to another cluster is refused, whatever the flags say."""
        cluster = self.cluster()
        meta = cluster.metas[0]
        cluster.world.run_until(meta.server.stopService())
        meta.host.restart()
        other = MetaServer(
            evolve(meta.config(), cluster_key=KEY[::-1]), meta.host.runtime, meta.host.disk, meta.fatal.append
        )
        other.startService()
        self.assertRaises(WrongCluster, cluster.world.run_until, other.ready)
        self.assertIn("belong", meta.fatal[0])
        cluster.world.run_until(other.stopService())
        meta.restart()
        cluster.world.run_until(meta.server.ready)

    def test_another_members_folder(self) -> None:
        """S28: a member started on another member's folder is refused with a sentence that names both."""
        cluster = self.cluster()
        meta = cluster.metas[0]
        cluster.world.run_until(meta.server.stopService())
        meta.host.restart()
        other = MetaServer(evolve(meta.config(), node="meta-2"), meta.host.runtime, meta.host.disk, meta.fatal.append)
        other.startService()
        self.assertRaises(WrongCluster, cluster.world.run_until, other.ready)
        self.assertIn("meta-1", meta.fatal[0])
        cluster.world.run_until(other.stopService())
        meta.restart()
        cluster.world.run_until(meta.server.ready)

    def test_other_members(self) -> None:
        """S28: a member started with other peers than it was founded with founds nothing; the sentence names them."""
        cluster = self.cluster()
        meta = cluster.metas[0]
        cluster.world.run_until(meta.server.stopService())
        meta.host.restart()
        alone = evolve(meta.config(), peers={"meta-1": meta.address})
        other = MetaServer(alone, meta.host.runtime, meta.host.disk, meta.fatal.append)
        other.startService()
        self.assertRaises(WrongCluster, cluster.world.run_until, other.ready)
        self.assertIn("meta-1, meta-2, meta-3", meta.fatal[0])
        self.assertIn("--peers", meta.fatal[0])
        cluster.world.run_until(other.stopService())
        meta.restart()
        cluster.world.run_until(meta.server.ready)

    def test_a_failed_store_ends_the_node(self) -> None:
        """S31: when the tables cannot be written the node says so once, serves nothing more, and the others go on."""
        cluster = self.cluster(3)
        leader = cluster.leader()
        machine = leader.server._machine
        assert machine is not None

        def fail(batch: Batch) -> None:
            raise StoreFailed("the disk said no")

        self.patch(machine.store, "apply", fail)
        lost = cluster.asking(leader, m.DeleteFile(cluster.operation(), "nothing", None))
        cluster.world.run(1.0)
        self.assertEqual(len(leader.fatal), 1)
        self.assertIn("the disk said no; check the disk", leader.fatal[0])
        self.assertRaises(DFSError, cluster.world.run_until, lost)
        self.flushLoggedErrors(StoreFailed)
        new = cluster.leader(others=(leader,))
        self.assertEqual(cluster.ask(new, m.ListFiles("", b"", 1)).files, ())

    def test_a_wiped_member_is_not_listened_to(self) -> None:
        """R35, S28: a member that comes back without its folder has another incarnation: the others do not speak with
        it, so it cannot vote a second time in a term."""
        cluster = self.cluster()
        cluster.world.run(5.0)  # every member is pinned
        victim = next(meta for meta in cluster.metas if meta is not cluster.leader())
        cluster.world.run_until(victim.server.stopService())
        victim.host.disk.remove_tree("/data")
        victim.restart()
        cluster.world.run_until(victim.server.ready)
        cluster.world.run(5.0)
        self.assertEqual(cluster.status(victim).applied, 0)
        self.assertEqual(cluster.status(victim).leader, None)
        self.assertTrue(cluster.leader(others=(victim,)))

    def test_a_lost_vote_is_told(self) -> None:
        """R04: a member whose Raft folder is gone beside kept tables has forgotten its votes: it never starts."""
        cluster = self.cluster()
        cluster.world.run(5.0)  # every member is pinned
        victim = next(meta for meta in cluster.metas if meta is not cluster.leader())
        cluster.world.run_until(victim.server.stopService())
        victim.host.disk.remove_tree("/data/raft")
        victim.restart()
        with self.assertRaises(StorageCorrupt):
            cluster.world.run_until(victim.server.ready)
        self.assertTrue(cluster.leader(others=(victim,)))
        self.flushLoggedErrors()

    def test_cluster_time_goes_on_across_leaders(self) -> None:
        """S34: cluster time advances while nothing is proposed, and never goes back at a change of leaders."""
        cluster = self.cluster()
        first = cluster.leader().server.cluster_time_ms()
        cluster.world.run(10.0)
        second = cluster.leader().server.cluster_time_ms()
        self.assertLess(abs(second - first - 10_000), 200)
        old = cluster.leader()
        old.host.kill()
        new = cluster.leader(others=(old,))
        self.assertGreaterEqual(new.server.cluster_time_ms(), second - 4_000)
        before = new.server.cluster_time_ms()
        cluster.world.run(5.0)
        self.assertGreaterEqual(new.server.cluster_time_ms(), before + 4_000)
