"""Writers: placements, leases, re-placement, deletion of what is half done."""

from __future__ import annotations

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from dfs.metaserver import commands
from dfs.metaserver.clustertime import ClusterClock
from dfs.metaserver.config import MetaConfig
from dfs.metaserver.expiring import Expiring
from dfs.metaserver.judging import Judging
from dfs.metaserver.test.cluster import Cluster
from dfs.protocol import messages as m
from dfs.protocol.errors import FileExists, StaleEpoch, Unavailable, UploadGone
from dfs.protocol.values import CHUNK_SIZE, file_digest


def short_ttl(config: MetaConfig) -> MetaConfig:
    return evolve(config, lease=2.0, upload_ttl=5.0)


class UploadingTests(SynchronousTestCase):
    """One cluster a test; virtual time."""

    def cluster(self, chunks: int, short: bool = False) -> Cluster:
        cluster = Cluster(1, short_ttl) if short else Cluster(1)
        cluster.start(chunks)
        self.addCleanup(cluster.stop)
        return cluster

    def test_too_few_chunk_servers(self) -> None:
        """Below the write quorum an upload is Unavailable with a sentence that says what is missing."""
        cluster = self.cluster(1)
        request = m.CreateUpload(cluster.operation(), "a", CHUNK_SIZE, CHUNK_SIZE, 3, 1)
        error = self.assertRaises(Unavailable, cluster.ask, cluster.leader(), request)
        self.assertIn("write quorum is 2", error.message)

    def test_degraded(self) -> None:
        """With the quorum but not the replication an upload is accepted and says degraded."""
        cluster = self.cluster(2)
        granted = cluster.create("a")
        self.assertTrue(granted.degraded)
        self.assertEqual(len(granted.placements[0].targets), 2)

    def test_chunks_spread(self) -> None:
        """Not every chunk of a file goes to the same three nodes, and none goes twice to one."""
        cluster = self.cluster(6)
        granted = cluster.create("a", 20 * CHUNK_SIZE, 20)
        places = [tuple(sorted(target.name for target in p.targets)) for p in granted.placements]
        self.assertEqual(len(places), 20)
        self.assertTrue(all(len(set(place)) == 3 for place in places))
        self.assertGreater(len(set(places)), 3)

    def test_small_files_take_little_room(self) -> None:
        """Between two beats thousands of small files find room: each counts its own length, and a retry of a remembered
        operation nothing (S21, S26)."""
        cluster = self.cluster(3)
        term = cluster.leader().term
        assert term is not None
        small = m.CreateUpload(cluster.operation(), "small", 4096, CHUNK_SIZE, 3, 1)
        before = {view.number: view for view in term.repair.views()}
        for _ in range(5):
            cluster.done(small, m.UploadGranted)
        for view in term.repair.views():
            self.assertEqual(before[view.number].free - view.free, 4096)
            self.assertEqual(view.streams - before[view.number].streams, 1)

    def test_refused_upload_takes_no_room(self) -> None:
        """What was chosen for a command that was refused is given back."""
        cluster = self.cluster(3)
        cluster.store("a")
        cluster.world.run(4.0)
        term = cluster.leader().term
        assert term is not None
        before = term.repair.views()
        again = m.CreateUpload(cluster.operation(), "a", CHUNK_SIZE, CHUNK_SIZE, 3, 1)
        self.assertRaises(FileExists, cluster.ask, cluster.leader(), again)
        self.assertEqual(term.repair.views(), before)

    def test_suspects_get_nothing(self) -> None:
        """A node that is silent gets no chunk while others suffice."""
        cluster = self.cluster(5)
        silent = cluster.chunks[0]
        silent.silent = True
        cluster.world.run(4.0)
        granted = cluster.create("a", 10 * CHUNK_SIZE, 10)
        self.assertNotIn(silent.name, {target.name for p in granted.placements for target in p.targets})

    def test_replacing_avoids_what_failed(self) -> None:
        """A chunk whose write failed is placed under a new generation without the node that failed; asked again, the
        answer is the same."""
        cluster = self.cluster(4)
        granted = cluster.create("a")
        first = granted.placements[0]
        failed = first.targets[0].name
        request = m.ReplaceChunk(cluster.operation(), granted.file_id, 1, 0, first.generation, (failed,))
        second = cluster.done(request, m.Placements).placements[0]
        self.assertGreater(second.generation, first.generation)
        self.assertNotIn(failed, [target.name for target in second.targets])
        again = cluster.done(request, m.Placements).placements[0]
        self.assertEqual((again.generation, again.targets), (second.generation, second.targets))
        stale = cluster.commit_chunk(granted.file_id, first)
        self.assertIs(stale, m.CommitOutcome.STALE)

    def test_stall_expires_nothing(self) -> None:
        """An upload whose time-out passed while the leader stood still lives on: applied time counts (S34, S40)."""
        cluster = self.cluster(3, short=True)
        granted = cluster.create("a")
        term = cluster.leader().term
        assert term is not None
        term.clock = ClusterClock(term.now_ms() + 60_000, term.seams.seconds())
        _ = Deferred.fromCoroutine(Expiring(term).round())
        cluster.world.run(0.3)
        cluster.done(m.RenewLease(granted.file_id, granted.epoch), m.Lease)

    def test_own_stall_kills_nobody(self) -> None:
        """A leader that stood still for longer than the time-out declares nobody dead for it (S02)."""
        cluster = self.cluster(3)
        term = cluster.leader().term
        assert term is not None
        judging = Judging(term, 0.5)
        self.successResultOf(Deferred.fromCoroutine(judging.round()))
        judging._next = term.seams.seconds() - 1000.0  # as if it had been due that long ago
        for node in term.liveness._nodes.values():
            node.heard -= 1000.0
        self.successResultOf(Deferred.fromCoroutine(judging.round()))
        self.assertEqual(term.liveness.newly_dead(term.seams.seconds()), ())

    def test_a_lease_outlives_its_leader(self) -> None:
        """A new leader grants every upload a full term, and renews it; a fenced writer is told (S40)."""
        cluster = self.cluster(3, short=True)
        granted = cluster.create("a")
        old = cluster.leader()
        old.host.kill()
        cluster.leader(others=(old,))
        renewed = cluster.done(m.RenewLease(granted.file_id, granted.epoch), m.Lease)
        self.assertEqual(renewed.lease_ms, 2000)
        resumed = cluster.done(m.ResumeUpload(cluster.operation(), granted.file_id, 1), m.UploadGranted)
        self.assertEqual(resumed.epoch, granted.epoch + 1)
        self.assertRaises(StaleEpoch, cluster.ask, cluster.leader(), m.RenewLease(granted.file_id, granted.epoch))

    def test_an_abandoned_upload_expires(self) -> None:
        """S15, S40: an upload that nobody renews ends after its time to live, a renewed one does not."""
        cluster = self.cluster(3, short=True)
        abandoned, kept = cluster.create("a"), cluster.create("b")
        for _ in range(10):
            cluster.world.run(1.0)
            cluster.done(m.RenewLease(kept.file_id, kept.epoch), m.Lease)
        renew = m.RenewLease(abandoned.file_id, abandoned.epoch)
        self.assertRaises(UploadGone, cluster.ask, cluster.leader(), renew)

    def test_an_upload_that_nobody_was_told_of_expires(self) -> None:
        """S15, S40: an upload that was begun while its writer's connection broke, so that nobody answered, ends too; so
        does one that was taken over in the same way."""
        cluster = self.cluster(3, short=True)
        term = cluster.leader().term
        assert term is not None
        propose = term.seams.proposer.propose
        begin = commands.CreateUpload(
            operation=cluster.operation(),
            name="a",
            size=0,
            chunk_size=CHUNK_SIZE,
            replication=3,
            quorum=2,
            placements=(),
            wall_ms=1,
        )
        unheard = cluster.world.run_until(Deferred.fromCoroutine(propose(begin, m.UploadGranted)))
        resumed = cluster.create("b")
        take_over = commands.ResumeUpload(cluster.operation(), resumed.file_id, ())
        cluster.world.run_until(Deferred.fromCoroutine(propose(take_over, m.UploadGranted)))
        machine = term.seams.machine
        self.assertEqual(machine.head.uploads, 2)
        assert unheard is not None
        cluster.world.run(12.0)
        self.assertEqual(machine.head.uploads, 0)
        self.assertEqual(len(term.leases), 0)

    def test_committed_uploads_leave_the_table_of_leases(self) -> None:
        """Nothing is proposed for an upload that was committed: its lease is gone, whoever hears of what first."""
        cluster = self.cluster(3, short=True)
        granted = cluster.create("a", 0)
        commit = m.CommitFile(cluster.operation(), granted.file_id, granted.epoch, 0, 0, file_digest(b""))
        cluster.done(commit, m.FileInfo)
        cluster.world.run(1.0)
        term = cluster.leader().term
        assert term is not None
        self.assertEqual(len(term.leases), 0)

    def test_deleting_an_upload(self) -> None:
        """S36: an upload in progress is deleted by its id; its writer is told, and commits nothing more."""
        cluster = self.cluster(3)
        granted = cluster.create("a", 2 * CHUNK_SIZE, 2)
        cluster.commit_chunk(granted.file_id, granted.placements[0])
        deleted = cluster.done(m.DeleteFile(cluster.operation(), None, granted.file_id), m.FileInfo)
        self.assertEqual((deleted.name, deleted.count, deleted.size), ("a", 1, CHUNK_SIZE))
        outcome = cluster.commit_chunk(granted.file_id, granted.placements[1])
        self.assertIs(outcome, m.CommitOutcome.GONE)
        renew = m.RenewLease(granted.file_id, granted.epoch)
        self.assertRaises(UploadGone, cluster.ask, cluster.leader(), renew)
