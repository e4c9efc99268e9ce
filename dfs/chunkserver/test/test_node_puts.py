"""Puts through whole chunk servers in a simulated world, over the real protocol."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.internet.interfaces import IPushProducer
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from dfs.chunkserver.layout import Layout
from dfs.chunkserver.put import HIGH, PATIENCE
from dfs.chunkserver.test.fakes import blocks_of, content_of, sha256_of
from dfs.chunkserver.test.world import CLUSTER, DATA, NOW_MS, Cluster, chunk
from dfs.disk.errors import DiskFull
from dfs.protocol import messages as m
from dfs.protocol.errors import (
    BadRequest,
    Busy,
    DFSError,
    DiskFailed,
    Forbidden,
    NoSpace,
    QuorumFailed,
    StaleGeneration,
    UploadGone,
    WrongCluster,
)
from dfs.protocol.interfaces import IService
from dfs.protocol.trust import Spread
from dfs.protocol.values import BLOCK, PIECE, GrantKind

CONTENT = content_of(4 * BLOCK + 3 * PIECE + 17)


class PutTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.cluster = Cluster(3)

    def test_star_and_chain(self) -> None:
        """A chunk put through a star or a chain is on all three disks, committed once, and reads back (S05)."""
        for number, chain in enumerate((False, True), 1):
            ref = chunk(number)
            written = self.cluster.put(ref, CONTENT, self.cluster.targets(1, 2, 3, chain=chain))
            self.assertEqual({one.node for one in written.replicas}, {1, 2, 3})
            for server in (1, 2, 3):
                head, got = self.cluster.get(server, ref, 0, len(CONTENT))
                self.assertEqual((head.length, head.sha256), (len(CONTENT), sha256_of(CONTENT)))
                self.assertEqual(bytes(got.content), CONTENT)
        self.assertEqual([commit.file_id for commit in self.cluster.meta.commits], [1, 2])

    def test_survives_a_power_cut_of_all(self) -> None:
        """Right after the answer every server loses power; all replicas are there afterwards (S01, S05)."""
        self.cluster.put(chunk(1), CONTENT, self.cluster.targets(1, 2, 3))
        for number in (1, 2, 3):
            self.cluster.world.hosts[f"chunk-{number}"].crash()
        for number in (1, 2, 3):
            self.cluster.world.hosts[f"chunk-{number}"].restart()
            self.cluster.world.run_until(self.cluster.start(number).ready)
            _, got = self.cluster.get(number, chunk(1), 0, len(CONTENT))
            self.assertEqual(bytes(got.content), CONTENT)

    def test_cut_through(self) -> None:
        """A child has bytes on its disk before the primary has the whole chunk."""
        put = self.cluster.open(self.cluster.request(chunk(1), self.cluster.targets(1, 2)))
        for block in blocks_of(CONTENT)[:-1]:
            put.write(block)
        disk = self.cluster.world.hosts["chunk-2"].disk
        self.cluster.world.run(1.0)
        self.assertGreaterEqual(disk.used, 4 * BLOCK)
        put.end(0, b"")
        with self.assertRaises(DFSError):
            self.cluster.world.run_until(put.answer)

    def test_bad_grants(self) -> None:
        """Without metadata's valid grant for exactly this chunk nothing is written."""
        ref, spread = chunk(1), Spread(self.cluster.targets(1), 1)
        other, expired = (
            self.cluster.grant(chunk(2), spread=spread),
            self.cluster.grant(ref, expires_ms=NOW_MS - 1, spread=spread),
        )
        kinds = [self.cluster.grant(ref, kind, spread=spread) for kind in (GrantKind.DELETE, GrantKind.COPY)]
        good = self.cluster.request(ref, self.cluster.targets(1), 1)
        for grant in [other, expired, *kinds]:
            request = evolve(good, grant=grant)
            with self.assertRaises(Forbidden):
                self.cluster.world.run_until(self.cluster.open(request).answer)

    def test_other_targets(self) -> None:
        """A grant is good for just the targets and the quorum that metadata chose: nobody else makes a chunk server
        dial an address (S43)."""
        good = self.cluster.request(chunk(1), self.cluster.targets(1, 2), quorum=1)
        child = evolve(good.targets[1], address=f"{self.cluster.client.ip}:9")
        wrong = [
            evolve(good, targets=(good.targets[0], child)),
            evolve(good, targets=good.targets[:1]),
            evolve(good, targets=(*good.targets, *self.cluster.targets(3))),
            evolve(good, quorum=2),
            evolve(good, commit=False),
        ]
        for request in wrong:
            with self.assertRaises(Forbidden):
                self.cluster.world.run_until(self.cluster.open(request).answer)
        with self.assertRaises(BadRequest):
            self.cluster.world.run_until(self.cluster.open(evolve(good, position=2)).answer)

    def test_wrong_target(self) -> None:
        """A put that is meant for another node is refused."""
        request = self.cluster.request(chunk(1), self.cluster.targets(2), quorum=1)
        with self.assertRaises(WrongCluster):
            self.cluster.world.run_until(self.cluster.dial(1).open_put(request, 5.0).answer)

    def test_limit(self) -> None:
        """More bytes than the limit are refused, and nothing is left."""
        put = self.cluster.open(self.cluster.request(chunk(1), self.cluster.targets(1), quorum=1, limit=PIECE))
        for block in blocks_of(CONTENT):
            put.write(block)
        with self.assertRaises(BadRequest):
            self.cluster.world.run_until(put.answer)
        self.assertFalse(self.cluster.holds(1, chunk(1)))

    def test_outcomes(self) -> None:
        """What metadata says of the commit reaches the writer (S36)."""
        for number, (outcome, error) in enumerate(
            [(m.CommitOutcome.STALE, StaleGeneration), (m.CommitOutcome.GONE, UploadGone)], 1
        ):
            self.cluster.meta.outcome = outcome
            with self.assertRaises(error):
                self.cluster.put(chunk(number), CONTENT, self.cluster.targets(1, 2))

    def test_dead_child(self) -> None:
        """One of three targets is down: the chunk is written at two and the third is named; two down: QuorumFailed."""
        self.cluster.world.hosts["chunk-3"].kill()
        written = self.cluster.put(chunk(1), CONTENT, self.cluster.targets(1, 2, 3))
        self.assertEqual((len(written.replicas), written.dropped), (2, ("chunk-3",)))
        self.cluster.world.hosts["chunk-2"].kill()
        with self.assertRaises(QuorumFailed) as caught:
            self.cluster.put(chunk(2), CONTENT, self.cluster.targets(1, 2, 3))
        self.assertEqual(sorted(caught.exception.nodes), ["chunk-2", "chunk-3"])

    def test_full_child(self) -> None:
        """A child whose disk is full is named; the others have the chunk (S21)."""
        full = self.cluster.world.hosts["chunk-2"].disk
        full.capacity = full.used + BLOCK
        written = self.cluster.put(chunk(1), CONTENT, self.cluster.targets(1, 2, 3))
        self.assertEqual(written.dropped, ("chunk-2",))
        self.assertLessEqual(full.used, full.capacity - BLOCK)

    def test_full_primary(self) -> None:
        """A primary whose disk is full says so with its name, and nobody keeps anything (S21)."""
        full = self.cluster.world.hosts["chunk-1"].disk
        full.inject("pwrite", error=DiskFull, number=28, count=None)
        with self.assertRaises(NoSpace) as caught:
            self.cluster.put(chunk(1), CONTENT, self.cluster.targets(1, 2, 3))
        self.assertEqual(caught.exception.nodes, ("chunk-1",))
        self.cluster.world.run(2.0)
        self.assertFalse(any(self.cluster.holds(number, chunk(1)) for number in (1, 2, 3)))

    def test_slow_fsync_beyond_the_quorum(self) -> None:
        """A disk that takes ten seconds for a sync delays a put by the grace time, not more, and its replica is
        added when it is durable (S23)."""
        slow = self.cluster.world.hosts["chunk-3"].disk
        slow.slowness = 10 / 0.0004
        before = self.cluster.world.clock.now
        written = self.cluster.put(chunk(1), content_of(100), self.cluster.targets(1, 2, 3))
        self.assertEqual(written.dropped, ("chunk-3",))
        self.assertLess(self.cluster.world.clock.now - before, 8.0)

    def test_hung_primary(self) -> None:
        """A primary whose disk hangs fails the put with its own name, gives the slot back, and takes no more while
        a thread hangs (S12, S23)."""
        self.cluster.world.hosts["chunk-1"].disk.slowness = 3600 / 0.0004
        before = self.cluster.world.clock.now
        with self.assertRaises(DiskFailed) as caught:
            self.cluster.put(chunk(1), CONTENT, self.cluster.targets(1, 2, 3))
        self.assertEqual(caught.exception.nodes, ("chunk-1",))
        self.assertLess(self.cluster.world.clock.now - before, PATIENCE + 5.0)
        service = self.cluster.servers[1].service
        assert service is not None
        self.assertEqual(service.streams, 0)
        with self.assertRaises(Busy):
            self.cluster.put(chunk(2), CONTENT, self.cluster.targets(1, 2, 3))

    def test_stalled_child_bounds_memory(self) -> None:
        """A child that takes nothing: the sender is paused, what the primary holds stays within its bound, and the
        child is dropped in the end (S22, S23)."""
        world = self.cluster.world
        put = self.cluster.open(self.cluster.request(chunk(1), self.cluster.targets(1, 2, 3), limit=64 << 20))
        content = content_of(32 << 20)
        blocks = blocks_of(content)
        flow = Flow()
        put.register_producer(flow)
        service: Any = self.cluster.servers[1].service
        world.run(0.1)
        world.partition("chunk-1", "chunk-3")
        peak = 0
        began = world.clock.now
        while blocks:
            while blocks and not flow.paused:
                put.write(blocks.pop(0))
            world.run(0.01)
            (one,) = service._puts or [None]
            if one is not None:
                unsent = sum(child._put.buffered for child in one._children.values() if child._put is not None)
                peak = max(peak, one.buffered + unsent)
            self.assertLess(world.clock.now - began, 60.0)
        put.end(len(content), sha256_of(content))
        written: Any = world.run_until(put.answer, 60.0)
        self.assertEqual(written.dropped, ("chunk-3",))
        self.assertLess(peak, HIGH + (2 + 2 * 2) * (1 << 20))

    def test_concurrent_puts_of_one_chunk(self) -> None:
        """Two clients send the same chunk at once: both are answered, one replica is on each disk (S08)."""
        request = self.cluster.request(chunk(1), self.cluster.targets(1, 2))
        puts = [self.cluster.open(request) for _ in range(2)]
        for block in blocks_of(CONTENT):
            for put in puts:
                put.write(block)
        for put in puts:
            put.end(len(CONTENT), sha256_of(CONTENT))
        answers = [self.cluster.world.run_until(put.answer) for put in puts]
        self.assertEqual(answers[0], answers[1])
        folder = Layout(DATA, CLUSTER).folder(chunk(1))
        for number in (1, 2):
            self.assertEqual(len(self.cluster.world.hosts[f"chunk-{number}"].disk.list_folder(folder)), 1)

    def test_interfaces(self) -> None:
        """The service provides what connections call."""
        verifyObject(IService, self.cluster.servers[1].service)


@implementer(IPushProducer)
class Flow:
    """A producer that only remembers."""

    paused = False

    def pauseProducing(self) -> None:
        self.paused = True

    def resumeProducing(self) -> None:
        self.paused = False

    def stopProducing(self) -> None:
        self.paused = False
