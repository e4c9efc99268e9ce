"""Requests to real metadata servers in a simulated world: who answers, and what survives."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from dfs.metaserver.test.cluster import Cluster, Meta
from dfs.protocol import messages as m
from dfs.protocol.errors import (
    BadRequest,
    DeadlinePassed,
    Disconnected,
    FileExists,
    FileNotFound,
    Forbidden,
    NotLeader,
    Unavailable,
    UploadGone,
)
from dfs.protocol.interfaces import IService
from dfs.protocol.labels import label_evidence
from dfs.protocol.trust import Spread
from dfs.protocol.values import CHUNK_SIZE, FileId, Generation, Label


class ServiceTests(SynchronousTestCase):
    """One cluster a test; virtual time."""

    def cluster(self, chunks: int = 0, seed: int = 1) -> Cluster:
        cluster = Cluster(seed)
        cluster.start(chunks)
        self.addCleanup(cluster.stop)
        return cluster

    def followers(self, cluster: Cluster) -> list[Meta]:
        leader = cluster.leader()
        return [meta for meta in cluster.metas if meta is not leader]

    def test_provides_the_service(self) -> None:
        """What the listening port is given is an IService."""
        cluster = self.cluster()
        self.assertTrue(verifyObject(IService, cluster.metas[0].server._service))

    def test_followers_name_the_leader(self) -> None:
        """A node that does not lead refuses reads and writes, with the leader's address as the hint."""
        cluster = self.cluster()
        leader = cluster.leader()
        for follower in self.followers(cluster):
            for request in (
                m.GetFile("a", None),
                m.ListFiles("", b"", 10),
                m.CreateUpload(cluster.operation(), "a", 0, CHUNK_SIZE, 3, 0),
            ):
                error = self.assertRaises(NotLeader, cluster.ask, follower, request)
                self.assertEqual(error.leader, leader.address)

    def test_strangers_do_not_speak_as_chunk_servers(self) -> None:
        """Whoever has not proven the key neither registers, beats, nor commits."""
        cluster = self.cluster()
        commit = m.ChunkCommit(FileId(1), 0, Generation(1), 1, bytes(32), ())
        for request in (m.CommitChunks((commit,)), m.AddReplicas((commit,))):
            self.assertRaises(Forbidden, cluster.ask, cluster.leader(), request)

    def test_an_upload_from_begin_to_end(self) -> None:
        """Create, commit the chunk, commit the file, read, list, delete: by raw requests."""
        cluster = self.cluster(3)
        granted = cluster.create("a/b")
        placement = granted.placements[0]
        self.assertEqual((len(placement.targets), placement.quorum, granted.degraded), (3, 2, False))
        self.assertIsNotNone(placement.grant)
        self.assertRaises(FileNotFound, cluster.done, m.GetFile("a/b", None), m.FileInfo)
        self.assertIs(cluster.commit_chunk(granted.file_id, placement), m.CommitOutcome.COMMITTED)
        file = cluster.finish(granted)
        self.assertEqual(cluster.done(m.GetFile("a/b", None), m.FileInfo), file)
        self.assertEqual(cluster.done(m.ListFiles("a/", b"", 10), m.FilePage).files, (file,))
        self.assertEqual(len(cluster.replicas(file)), 3)
        request = m.CreateUpload(cluster.operation(), "a/b", 0, CHUNK_SIZE, 3, 0)
        self.assertRaises(FileExists, cluster.done, request, m.UploadGranted)
        deleted = cluster.done(m.DeleteFile(cluster.operation(), "a/b", None), m.FileInfo)
        self.assertEqual(deleted, file)
        self.assertRaises(FileNotFound, cluster.done, m.GetFile("a/b", None), m.FileInfo)

    def test_placements_carry_grants_that_chunk_servers_accept(self) -> None:
        """The grant of a placement is signed with the cluster's key for that very chunk and generation,
        for just its targets and the file's own label."""
        cluster = self.cluster(3)
        granted = cluster.create("a")
        placement = granted.placements[0]
        term = cluster.leader().term
        assert term is not None
        keys = term.seams.keys
        assert placement.grant is not None
        now_ms = cluster.leader().server.cluster_time_ms()
        spread = Spread(placement.targets, placement.quorum)
        said = (placement.grant, placement.grant.kind, granted.file_id)
        keys.check(*said, 0, placement.generation, now_ms, spread)
        error = self.assertRaises(Forbidden, keys.check, *said, 1, placement.generation, now_ms, spread)
        self.assertIn("another operation or chunk", error.message)
        self.assertEqual(placement.grant.evidence, label_evidence(Label("a", granted.size, granted.chunk_size, 3)))
        fewer = Spread(placement.targets[:1], placement.quorum)
        self.assertRaises(Forbidden, keys.check, *said, 0, placement.generation, now_ms, fewer)

    def test_no_stale_read_and_no_write_behind_a_partition(self) -> None:
        """S25: a leader that is cut off answers no read and no write; the new one does."""
        cluster = self.cluster(3)
        cluster.store("a")
        old = cluster.leader()
        for meta in cluster.metas:
            if meta is not old:
                cluster.world.partition(old.name, meta.name)
        deposed = cluster.asking(old, m.GetFile("a", None), 20.0)
        write = cluster.asking(old, m.DeleteFile(cluster.operation(), "a", None), 20.0)
        new = cluster.leader(others=(old,))
        self.assertEqual(cluster.ask(new, m.GetFile("a", None)).name, "a")
        self.assertRaises((NotLeader, Unavailable), cluster.world.run_until, deposed)
        self.assertRaises((NotLeader, Unavailable, DeadlinePassed), cluster.world.run_until, write)
        self.assertEqual(cluster.ask(new, m.GetFile("a", None)).name, "a")

    def test_the_same_operation_takes_effect_once(self) -> None:
        """S26: create, commit and delete whose answers were lost are answered the same when sent again, also by the
        next leader."""
        cluster = self.cluster(4)
        create = m.CreateUpload(cluster.operation(), "a", CHUNK_SIZE, CHUNK_SIZE, 3, 1)
        first = cluster.done(create, m.UploadGranted)
        again = cluster.done(create, m.UploadGranted)
        self.assertEqual((again.file_id, again.epoch), (first.file_id, first.epoch))
        self.assertEqual(again.placements[0].generation, first.placements[0].generation)
        cluster.commit_chunk(first.file_id, first.placements[0])
        delete = m.DeleteFile(cluster.operation(), None, cluster.finish(first).file_id)
        deleted = cluster.done(delete, m.FileInfo)
        old = cluster.leader()
        old.host.kill()
        cluster.leader(others=(old,))
        self.assertEqual(cluster.done(delete, m.FileInfo), deleted)
        self.assertEqual(cluster.done(create, m.UploadGranted).file_id, first.file_id)
        self.assertEqual(cluster.status().files, 0)

    def test_a_lost_answer_in_a_change_of_leaders(self) -> None:
        """S24, S26: the operation takes effect, its answer is lost with the leader; sent again to the next one it has
        taken effect once."""
        for seed in (1, 2, 3):
            cluster = self.cluster(3, seed)
            old = cluster.leader()
            cluster.ask(old, m.GetStatus())
            create = m.CreateUpload(cluster.operation(), "a", CHUNK_SIZE, CHUNK_SIZE, 3, 1)
            cluster.world.partition(old.name, "client", both=False)
            lost = cluster.asking(old, create)
            cluster.world.run(0.2)
            old.host.kill()
            self.assertRaises((Disconnected, DeadlinePassed), cluster.world.run_until, lost)
            cluster.world.heal()
            granted = cluster.done(create, m.UploadGranted)
            self.assertEqual(cluster.done(create, m.UploadGranted).file_id, granted.file_id)
            self.assertEqual(granted.file_id & 0xFFFF, 1, "only one file id was drawn")

    def test_nothing_is_served_before_the_noop(self) -> None:
        """S29: a node that has won the election answers NotLeader or Unavailable until its no-op is applied and its
        tables are loaded, and what it serves then includes everything acknowledged before."""
        cluster = self.cluster(3)
        cluster.store("a")
        old = cluster.leader()
        old.host.kill()
        others = [meta for meta in cluster.metas if meta is not old]
        answers: list[object] = []
        while not any(isinstance(answer, m.FileInfo) for answer in answers):
            for meta in others:
                try:
                    answers.append(cluster.ask(meta, m.GetFile("a", None)))
                except (NotLeader, Unavailable) as error:
                    answers.append(error)
            cluster.world.run(0.02)
        self.assertTrue(any(isinstance(answer, NotLeader) for answer in answers))

    def test_reads_after_a_change_of_leaders(self) -> None:
        """R47: what was acknowledged by one leader is read from the next."""
        cluster = self.cluster(3)
        names = []
        for number in range(3):
            names.append(f"f{number}")
            cluster.store(names[-1])
            leader = cluster.leader()
            cluster.world.isolate(leader.name)
            new = cluster.leader(others=(leader,))
            page = cluster.ask(new, m.ListFiles("", b"", 10))
            self.assertEqual([file.name for file in page.files], names)
            cluster.world.heal()
            cluster.world.run(1.0)

    def test_status_needs_no_leader(self) -> None:
        """A node that is alone answers GetStatus at once, with what it knew last and no leader."""
        cluster = self.cluster(3)
        cluster.store("a")
        cluster.world.run(2.0)
        last = cluster.leader()
        for meta in cluster.metas:
            if meta is not last:
                meta.host.kill()
        cluster.world.run(3.0)
        began = cluster.world.clock.now
        status = cluster.status(last)
        self.assertLess(cluster.world.clock.now - began, 0.5)
        self.assertEqual((status.leader, status.files, len(status.chunk_servers)), (None, 1, 3))

    def test_replicas_of_the_tables_agree(self) -> None:
        """S38: at the same index every member has the same state hash."""
        cluster = self.cluster(3)
        for number in range(5):
            cluster.store(f"f{number}")
        cluster.world.run(0.5)
        hashes: dict[int, set[bytes]] = {}
        for _ in range(20):
            cluster.world.run(0.3)
            for meta in cluster.metas:
                status = cluster.status(meta)
                hashes.setdefault(status.applied, set()).add(status.state_hash)
        self.assertTrue(all(len(found) == 1 for found in hashes.values()), hashes)

    def test_a_report_of_corruption_makes_the_node_look(self) -> None:
        """S11: a client's report becomes an order to re-read, at the node and for the generation that it names."""
        cluster = self.cluster(3)
        file = cluster.store("a")
        page = cluster.done(m.ListChunks(file.file_id, 0, 1), m.ChunkPage)
        node = page.chunks[0].replicas[0].node
        report = m.ReportCorrupt(file.file_id, 0, page.chunks[0].generation, node)
        for _ in range(3):
            cluster.done(report, m.Done)
        cluster.world.run(3.0)
        self.assertEqual([job.kind for job in cluster.chunk(node).jobs], [m.JobKind.VERIFY])
        self.assertEqual(len(cluster.replicas(file)), 3, "a report alone removes nothing")

    def test_malformed_requests(self) -> None:
        """A request beyond a limit is refused with a sentence, and the connection serves on."""
        cluster = self.cluster()
        leader = cluster.leader()
        for request in (m.ListFiles("", b"", 0), m.GetFile(None, None), m.GetFile("a", FileId(1))):
            self.assertRaises(BadRequest, cluster.ask, leader, request)
        self.assertRaises(UploadGone, cluster.ask, leader, m.AllocateChunks(cluster.operation(), FileId(9), 1, 0, 1))
