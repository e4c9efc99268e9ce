"""Whole chunk servers in a simulated world, spoken to over the real protocol."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from dfs.chunkserver.errors import RefusedStart
from dfs.chunkserver.layout import Layout
from dfs.chunkserver.node import ChunkServer
from dfs.chunkserver.test.fakes import blocks_of, content_of, sha256_of
from dfs.chunkserver.test.world import CLUSTER, DATA, NOW_MS, Cluster, chunk
from dfs.protocol import messages as m
from dfs.protocol.errors import (
    BadRequest,
    DFSError,
    DiskFailed,
    Forbidden,
    ReplicaCorrupt,
    ReplicaNotFound,
    Unavailable,
)
from dfs.protocol.trust import Spread
from dfs.protocol.values import BLOCK, HISTORY_SHIFT, PIECE, Generation, GrantKind, Purpose

CONTENT = content_of(4 * BLOCK + 3 * PIECE + 17)


class GetTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.cluster = Cluster(1)

    def test_ranges(self) -> None:
        """Ranges at every boundary come with the whole pieces around them, and only those (S45)."""
        self.cluster.put(chunk(1), CONTENT, self.cluster.targets(1), quorum=1)
        size = len(CONTENT)
        edges = (0, 1, PIECE - 1, PIECE, PIECE + 1, BLOCK, 4 * BLOCK, size - 1, size)
        for start in edges:
            for end in edges:
                if start <= end:
                    _, got = self.cluster.get(1, chunk(1), start, end - start)
                    first = start // PIECE * PIECE
                    last = min(size, -(-end // PIECE) * PIECE) if end > start else first
                    self.assertEqual(bytes(got.content), CONTENT[first : max(first, last)], (start, end))
        with self.assertRaises(BadRequest):
            self.cluster.get(1, chunk(1), size, 1)

    def test_empty_chunk(self) -> None:
        """An empty chunk has a head and no blocks (S45)."""
        self.cluster.put(chunk(1), b"", self.cluster.targets(1), quorum=1)
        head, got = self.cluster.get(1, chunk(1), 0, 0)
        self.assertEqual((head.length, got.blocks), (0, []))

    def test_not_there(self) -> None:
        """Another generation of a chunk that is held is not served in its place."""
        self.cluster.put(chunk(1), CONTENT, self.cluster.targets(1), quorum=1)
        with self.assertRaises(ReplicaNotFound):
            self.cluster.get(1, chunk(1, generation=2), 0, 1)

    def test_corrupt(self) -> None:
        """A rotten piece is never sent: the reader hears ReplicaCorrupt, metadata too, the replica is aside (S11)."""
        self.cluster.put(chunk(1), CONTENT, self.cluster.targets(1), quorum=1)
        path = Layout(DATA, CLUSTER).path(chunk(1))
        self.cluster.world.hosts["chunk-1"].disk.flip_bits(path, 4 * BLOCK + 5)
        with self.assertRaises(ReplicaCorrupt):
            self.cluster.get(1, chunk(1), 0, len(CONTENT))
        self.assertFalse(self.cluster.holds(1, chunk(1)))
        self.cluster.world.run(1.0)
        reports = [one for one in self.cluster.meta.heard if isinstance(one, m.ReportDamage)]
        self.assertEqual([(one.node, one.kind, one.offset) for one in reports], [(1, m.DamageKind.CORRUPT, 4 * BLOCK)])
        self.flushLoggedErrors()

    def test_verify(self) -> None:
        """VerifyChunk re-reads the replica and answers with its hash."""
        self.cluster.put(chunk(1), CONTENT, self.cluster.targets(1), quorum=1)
        connection = self.cluster.dial(1, Purpose.CONTROL, trusted=True)
        answer = self.cluster.world.run_until(connection.call(m.VerifyChunk(1, 0, 1), 5.0))  # type: ignore[arg-type]
        self.assertEqual(answer, m.Verified(len(CONTENT), sha256_of(CONTENT)))

    def test_stranger_bytes(self) -> None:
        """A peer that talks nonsense loses its connection; others are served (S43)."""
        self.cluster.put(chunk(1), CONTENT, self.cluster.targets(1), quorum=1)
        with self.assertRaises(DFSError):
            self.cluster.world.run_until(self.cluster.dial(1, Purpose.CONTROL).call(m.GetStatus(), 5.0))
        _, got = self.cluster.get(1, chunk(1), 0, 1)
        self.assertEqual(len(got.content), PIECE)


class JobTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.cluster = Cluster(2)
        self.cluster.put(chunk(1), CONTENT, self.cluster.targets(1), quorum=1)

    def order(
        self, kind: m.JobKind, sha256: bytes = sha256_of(CONTENT), grant: Any = None, number: int = 1
    ) -> m.JobResult:
        """Give node 1 a job and wait for its result."""
        ref = chunk(1)
        targets = self.cluster.targets(2) if kind == m.JobKind.COPY else ()
        if grant is None and kind == m.JobKind.COPY:
            grant = self.cluster.grant(ref, GrantKind.COPY, spread=Spread(targets, 1))
        before = len(self.cluster.meta.results)
        self.cluster.meta.jobs.append(
            m.Job(number, kind, ref.file_id, ref.index, ref.generation, len(CONTENT), sha256, targets, grant)
        )
        self.cluster.world.run_until(lambda: len(self.cluster.meta.results) > before)
        return self.cluster.meta.results[-1]

    def test_copy(self) -> None:
        """A copy arrives whole under the same generation; the result names the target and its number (S12)."""
        result = self.order(m.JobKind.COPY)
        self.assertEqual((result.code, result.node), (0, 2))
        store = self.cluster.servers[2].store
        assert store is not None
        held = store.index.get(chunk(1))
        assert held is not None
        self.assertEqual((held.sha256, held.number), (sha256_of(CONTENT), result.number))
        _, got = self.cluster.get(2, chunk(1), 0, len(CONTENT))
        self.assertEqual(bytes(got.content), CONTENT)

    def test_corrupt_source(self) -> None:
        """A source that rotted is never copied: the job fails, the target has nothing, the source is aside (S07)."""
        path = Layout(DATA, CLUSTER).path(chunk(1))
        self.cluster.world.hosts["chunk-1"].disk.flip_bits(path, 3 * BLOCK)
        result = self.order(m.JobKind.COPY)
        self.assertEqual(result.code, ReplicaCorrupt.code)
        self.cluster.world.run(1.0)
        self.assertFalse(self.cluster.holds(1, chunk(1)) or self.cluster.holds(2, chunk(1)))
        self.flushLoggedErrors()

    def test_source_that_is_not_what_was_committed(self) -> None:
        """A source whose bytes agree with its own footer but not with metadata is never copied (S07)."""
        result = self.order(m.JobKind.COPY, sha256=b"c" * 32)
        self.assertEqual(result.code, ReplicaCorrupt.code)
        self.assertFalse(self.cluster.holds(2, chunk(1)))
        self.flushLoggedErrors()

    def test_target_down(self) -> None:
        """A copy whose target is down ends with an error, and the next order is done (S12)."""
        self.cluster.world.hosts["chunk-2"].kill()
        self.assertNotEqual(self.order(m.JobKind.COPY).code, 0)
        self.cluster.world.hosts["chunk-2"].restart()
        self.cluster.world.run_until(self.cluster.start(2).ready)
        self.cluster.world.run_until(lambda: self.cluster.servers[2].clock.known)
        self.assertEqual(self.order(m.JobKind.COPY, number=2).code, 0)

    def test_target_hangs(self) -> None:
        """A copy to a node whose disk hangs ends with an error and gives its place back (S12, S23)."""
        self.cluster.world.hosts["chunk-2"].disk.slowness = 3600 / 0.0004
        self.assertEqual(self.order(m.JobKind.COPY).code, DiskFailed.code)
        jobs = self.cluster.servers[1]._jobs
        assert jobs is not None
        self.cluster.world.run_until(lambda: not jobs.active)

    def test_delete(self) -> None:
        """Garbage goes on metadata's signed word, and again is success; without it nothing goes (S15)."""
        self.assertEqual(self.order(m.JobKind.DELETE).code, Forbidden.code)
        wrong = self.cluster.grant(chunk(2), GrantKind.DELETE)
        self.assertEqual(self.order(m.JobKind.DELETE, grant=wrong, number=2).code, Forbidden.code)
        unsaid = self.cluster.keys.sign(GrantKind.DELETE, *_fields(chunk(1)), NOW_MS * 2, 0)
        self.assertEqual(self.order(m.JobKind.DELETE, grant=unsaid, number=3).code, Forbidden.code)
        self.assertTrue(self.cluster.holds(1, chunk(1)))
        right = self.cluster.grant(chunk(1), GrantKind.DELETE)
        for number in (4, 5):
            self.assertEqual(self.order(m.JobKind.DELETE, grant=right, number=number).code, 0)
            self.assertFalse(self.cluster.holds(1, chunk(1)))

    def test_delete_spares_other_histories(self) -> None:
        """An order reaches the generations of its history up to its own: later ones and bytes that a former history
        stored under the same file id and index stay, and an order for generation 0 is refused (S16)."""
        bound = Generation((7 << HISTORY_SHIFT) + 5)
        former = chunk(1)
        early, late = evolve(former, generation=Generation(bound - 2)), evolve(former, generation=Generation(bound + 1))
        for ref in (early, late):
            self.cluster.put(ref, CONTENT, self.cluster.targets(1), quorum=1)
        for number, generation in ((1, bound), (2, Generation(0))):
            grant = self.cluster.grant(evolve(former, generation=generation), GrantKind.DELETE)
            job = m.Job(
                number, m.JobKind.DELETE, former.file_id, former.index, generation, 0, bytes(32), (), grant
            )
            self.cluster.meta.jobs.append(job)
            self.cluster.world.run(2.0)
        self.assertEqual([result.code for result in self.cluster.meta.results], [0, Forbidden.code])
        self.assertEqual([self.cluster.holds(1, ref) for ref in (former, early, late)], [True, False, True])

    def test_verify(self) -> None:
        """A verify order finds rot (S11)."""
        self.assertEqual(self.order(m.JobKind.VERIFY).code, 0)
        self.cluster.world.hosts["chunk-1"].disk.flip_bits(Layout(DATA, CLUSTER).path(chunk(1)), 1)
        self.assertEqual(self.order(m.JobKind.VERIFY, number=2).code, ReplicaCorrupt.code)
        self.flushLoggedErrors()

    def test_verify_names_its_number(self) -> None:
        """What was not found was not there as of a number: a replica of a later number is not meant (S06)."""
        store = self.cluster.servers[1].store
        assert store is not None
        self.cluster.world.run_until(Deferred.fromCoroutine(store.delete(chunk(1))))
        absent = self.order(m.JobKind.VERIFY)
        self.assertEqual((absent.code, absent.number), (ReplicaNotFound.code, store.number))
        self.cluster.put(chunk(1), CONTENT, self.cluster.targets(1), quorum=1)
        self.assertLess(absent.number, store.number)

    def test_results_wait_for_a_leader(self) -> None:
        """A result is sent again until a node that leads has taken it (S12)."""
        ref = chunk(1)
        self.cluster.meta.jobs.append(
            m.Job(7, m.JobKind.VERIFY, ref.file_id, ref.index, ref.generation, 0, sha256_of(CONTENT), (), None)
        )
        self.cluster.world.run_until(lambda: 7 in self.cluster.servers[1]._jobs.running)  # type: ignore[union-attr]
        self.cluster.meta.leads = False
        self.cluster.world.run(5.0)
        self.assertEqual(self.cluster.meta.results, [])
        self.cluster.meta.leads = True
        self.cluster.world.run(2.0)
        self.assertEqual([result.job for result in self.cluster.meta.results], [7])
        self.cluster.world.run(5.0)
        self.assertEqual(len(self.cluster.meta.results), 1)


def _fields(ref: Any) -> tuple[Any, int, Any]:
    return ref.file_id, ref.index, ref.generation


class ReportTests(SynchronousTestCase):
    def test_registers_and_beats(self) -> None:
        """The first word is Register; beats follow at the told interval with real space and counts."""
        cluster = Cluster(1)
        cluster.put(chunk(1), CONTENT, cluster.targets(1), quorum=1)
        cluster.meta.heard.clear()
        cluster.world.run(5.0)
        beats = [one for one in cluster.meta.heard if isinstance(one, m.Heartbeat)]
        self.assertIn(len(beats), (4, 5, 6))
        self.assertEqual((beats[-1].clients, beats[-1].client_rate), (0, 0))
        disk = cluster.world.hosts["chunk-1"].disk
        self.assertEqual(
            (beats[-1].node, beats[-1].chunks, beats[-1].used, beats[-1].free, beats[-1].number),
            (1, 1, len(CONTENT), disk.capacity - disk.used, 1),
        )

    def test_inventory(self) -> None:
        """A full inventory lists every replica, as of a number at or above each (S06)."""
        cluster = Cluster(1)
        for number in range(5):
            cluster.put(chunk(9, number), content_of(10, number), cluster.targets(1), quorum=1)
        cluster.meta.inventory = True
        cluster.world.hosts["chunk-1"].restart()
        cluster.start(1)
        cluster.world.run_until(lambda: cluster.meta.held.get(1))
        pages = [one for one in cluster.meta.heard if isinstance(one, m.Inventory)]
        self.assertEqual([one.index for page in pages for one in page.replicas], list(range(5)))
        self.assertEqual((pages[0].after, pages[-1].upto), (b"\0" * 12, b"\xff" * 12))
        self.assertTrue(all(one.number <= page.number for page in pages for one in page.replicas))

    def test_comes_back(self) -> None:
        """A server that was killed registers anew under the same incarnation and another boot."""
        cluster = Cluster(1)
        cluster.world.hosts["chunk-1"].kill()
        cluster.world.hosts["chunk-1"].restart()
        cluster.world.run_until(cluster.start(1).ready)
        cluster.world.run(3.0)
        first, *_, last = [one for one in cluster.meta.heard if isinstance(one, m.Register)]
        self.assertEqual(first.incarnation, last.incarnation)
        self.assertNotEqual(first.boot, last.boot)


class LifeTests(SynchronousTestCase):
    def test_stop_and_start(self) -> None:
        """A stop ends what it listens on and gives the folder back; the next start finds everything (S04)."""
        cluster = Cluster(1)
        cluster.put(chunk(1), CONTENT, cluster.targets(1), quorum=1)
        cluster.world.run_until(cluster.servers[1].stopService())
        self.assertEqual(cluster.world.hosts["chunk-1"].disk.locks, {})
        cluster.world.run_until(cluster.start(1).ready)
        self.assertTrue(cluster.holds(1, chunk(1)))

    def test_stop_with_a_stalled_put(self) -> None:
        """A stop waits for transfers in progress, but not for ever; nothing half is left at the next start (S04)."""
        cluster = Cluster(1)
        put = cluster.open(cluster.request(chunk(1), cluster.targets(1), quorum=1))
        put.write(blocks_of(CONTENT)[0])
        cluster.world.run(0.5)
        before = cluster.world.clock.now
        cluster.world.run_until(cluster.servers[1].stopService())
        self.assertLess(cluster.world.clock.now - before, 11.0)
        with self.assertRaises(DFSError):
            cluster.world.run_until(put.answer)
        cluster.world.run(1.0)
        cluster.world.run_until(cluster.start(1).ready)
        folder = Layout(DATA, CLUSTER).folder(chunk(1))
        self.assertEqual(cluster.world.hosts["chunk-1"].disk.list_folder(folder), [])

    def again(self, cluster: Cluster) -> tuple[ChunkServer, list[str]]:
        """Server 1 once more, after it was stopped, and what it says when it cannot go on."""
        former = cluster.servers[1]
        cluster.world.run_until(former.stopService())
        cluster.world.run(1.0)
        cluster.meta.heard.clear()
        told: list[str] = []
        server = ChunkServer(former.config, former.runtime, former.disk, told.append)
        server.startService()
        cluster.world.run_until(server.ready)
        return server, told

    def test_refused_registration_ends_it(self) -> None:
        """A server that metadata refuses for good says why, once, and asks no more (S19)."""
        cluster = Cluster(1)
        cluster.meta.refusal = Forbidden("the folder is in use at h:1", "stop one of the two")
        server, told = self.again(cluster)
        cluster.world.run(20.0)
        self.assertEqual(told, ["chunk-1 stops: the folder is in use at h:1; stop one of the two"])
        self.assertEqual([type(one) for one in cluster.meta.heard], [m.Register])
        cluster.world.run_until(server.stopService())

    def test_wrong_key(self) -> None:
        """A new server with another cluster's key is turned away by metadata, says so and ends; one that registered
        waits for metadata to be mended."""
        cluster = Cluster(1)
        first, told = cluster.servers[1], list[str]()
        config = evolve(first.config, data="/srv/other", listen="tcp:7001", key=b"x" * 32)
        server = ChunkServer(config, first.runtime, first.disk, told.append)
        server.startService()
        cluster.world.run_until(lambda: bool(told))
        self.assertIn("--key-file", told[0])
        cluster.world.run_until(server.stopService())
        server, told = self.again(cluster)
        cluster.world.run_until(lambda: server.clock.known)
        cluster.world.hosts["meta-1"].kill()
        cluster.world.hosts["meta-1"].restart()
        cluster.start_metadata(b"x" * 32)
        cluster.world.run(30.0)
        self.assertEqual(told, [])
        cluster.world.run_until(server.stopService())

    def test_registration_is_asked_again(self) -> None:
        """A registration that cannot be had now is asked for again, and the server beats in the end (S02)."""
        cluster = Cluster(1)
        cluster.meta.refusal = Unavailable("too early")
        server, told = self.again(cluster)
        cluster.world.run(5.0)
        cluster.meta.refusal = None
        cluster.world.run_until(lambda: any(isinstance(one, m.Heartbeat) for one in cluster.meta.heard))
        self.assertEqual(told, [])
        cluster.world.run_until(server.stopService())

    def test_slow_disk_still_reports(self) -> None:
        """A disk so slow that every thread waits for it does not silence the server (S23)."""
        cluster = Cluster(1)
        puts = []
        cluster.world.hosts["chunk-1"].disk.slowness = 30 / 0.0004
        for number in range(12):
            put = cluster.open(cluster.request(chunk(number), cluster.targets(1), quorum=1))
            put.write(blocks_of(b"x")[0])
            put.end(1, sha256_of(b"x"))
            puts.append(put.answer)
        cluster.world.run(2.0)
        cluster.meta.heard.clear()
        cluster.world.run(10.0)
        self.assertGreater(len([one for one in cluster.meta.heard if isinstance(one, m.Heartbeat)]), 7)

    def test_second_on_one_folder(self) -> None:
        """A second server on a folder in use does not start and says why (S19)."""
        cluster = Cluster(1)
        first = cluster.servers[1]
        told: list[str] = []
        second = ChunkServer(first.config, first.runtime, first.disk, told.append)
        second.startService()
        with self.assertRaises(RefusedStart):
            cluster.world.run_until(second.ready)
        self.assertIn("in use", told[0])
        self.flushLoggedErrors()

    def test_port_in_use(self) -> None:
        """A port in use refuses the start with a sentence, and the folder is free again after the stop."""
        cluster = Cluster(1)
        first = cluster.servers[1]

        second = ChunkServer(evolve(first.config, data="/srv/other"), first.runtime, first.disk)
        second.startService()
        with self.assertRaises(RefusedStart):
            cluster.world.run_until(second.ready)
        cluster.world.run_until(second.stopService())
        self.assertNotIn("/srv/other/lock", cluster.world.hosts["chunk-1"].disk.locks)
        self.flushLoggedErrors()
