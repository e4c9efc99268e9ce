"""Readers that take a byte now and then, many readers of one address, and disks that do not answer."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from dfs.chunkserver import get
from dfs.chunkserver.damage import SLOW
from dfs.chunkserver.get import Gets
from dfs.chunkserver.sending import SLOWEST, Sender
from dfs.chunkserver.test.fakes import REF, content_of, fake_runtime
from dfs.chunkserver.test.storecase import StoreCase
from dfs.chunkserver.test.world import Cluster, chunk
from dfs.protocol import messages as m
from dfs.protocol.errors import Busy, DeadlinePassed, DFSError, InternalError
from dfs.protocol.interfaces import Block
from dfs.protocol.values import BLOCK, ChunkRef, FileId, Generation

CONTENT = content_of(8 * BLOCK)
SMALL = ChunkRef(FileId(8), 0, Generation(1))
ASKED = m.GetChunk(REF.file_id, REF.index, REF.generation, 0, len(CONTENT))


class SlowStream:
    """A stream whose transport is full after a block, and drains when a test says so."""

    def __init__(self) -> None:
        self.producer: Any = None
        self.blocks = 0
        self.ended = False
        self.error: DFSError | None = None

    def register_producer(self, producer: Any) -> None:
        self.producer = producer

    def unregister_producer(self) -> None:
        pass

    def write(self, block: Block) -> None:
        self.blocks += 1
        self.producer.pauseProducing()

    def drain(self) -> None:
        self.producer.resumeProducing()

    def end(self, length: int, sha256: bytes) -> None:
        self.ended = True

    def abort(self, error: DFSError) -> None:
        self.error = error


class ReaderTests(StoreCase):
    def setUp(self) -> None:
        super().setUp()
        self.clock = Clock()
        self.runtime = fake_runtime(self.clock, self.threads)
        self.store = self.reopened()
        self.put(content=CONTENT)
        self.gets = Gets(self.clock, self.store)

    def open(self, host: str = "10.0.0.1") -> SlowStream:
        """A read in progress."""
        stream: Any = SlowStream()
        self.successResultOf(Deferred.fromCoroutine(self.gets.open(ASKED, stream, host)))
        self.clock.advance(0)
        return stream  # type: ignore[no-any-return]

    def test_no_progress(self) -> None:
        """S43: a reader that does not drain its buffer in time loses its place; one that does keeps it, however long
        the whole takes."""
        slow, steady = self.open(), self.open()
        for _ in range(3):
            self.clock.advance(SLOWEST / 2)
            steady.drain()
        self.assertIsInstance(slow.error, DeadlinePassed)
        self.assertEqual((steady.error, len(self.gets)), (None, 1))
        while not steady.ended:
            self.clock.advance(SLOWEST / 2)
            steady.drain()
        self.assertEqual((steady.blocks, len(self.gets)), (8, 0))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_one_address(self) -> None:
        """S43: one address has not all places; others are served, and a place that is given back counts again."""
        self.patch(get, "MOST_A_HOST", 3)
        mine = [self.open() for _ in range(3)]
        failing = Deferred.fromCoroutine(self.gets.open(ASKED, mine[0], "10.0.0.1"))  # type: ignore[arg-type]
        self.failureResultOf(failing, Busy)
        other = self.open("10.0.0.2")
        mine[0].producer.stopProducing()
        mine.append(self.open())
        for stream in (*mine[1:], other):
            stream.producer.stopProducing()
        self.assertEqual((len(self.gets), dict(self.gets._hosts)), (0, {}))


    def test_defect(self) -> None:
        """A defect of ours ends a read and gives its place back, one of many chunks too."""

        async def break_down(sender: Sender) -> None:
            raise ValueError("a defect")

        self.put(SMALL, b"few")
        self.patch(Sender, "run", break_down)
        stream: Any = SlowStream()
        many = m.GetChunks((m.WantedChunk(SMALL.file_id, SMALL.index, SMALL.generation),))
        self.successResultOf(Deferred.fromCoroutine(self.gets.open_many(many, stream, "10.0.0.1")))
        self.clock.advance(0)
        self.assertIsInstance(stream.error, InternalError)
        self.assertIsInstance(self.open().error, InternalError)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 2)
        self.assertEqual((len(self.gets), dict(self.gets._hosts)), (0, {}))


class TrafficTests(SynchronousTestCase):
    def test_told_in_beats(self) -> None:
        """Beats tell how many transfers are clients' and at what rate; copies for repair do not count."""
        cluster = Cluster(1)
        cluster.put(chunk(1), CONTENT, cluster.targets(1), quorum=1)
        stalled = cluster.open(cluster.request(chunk(2), cluster.targets(1), quorum=1))
        cluster.world.run(5.0)
        beats = [one for one in cluster.meta.heard if isinstance(one, m.Heartbeat)]
        self.assertEqual(max(beat.clients for beat in beats), 1)
        self.assertGreater(max(beat.client_rate for beat in beats), len(CONTENT) // 10)
        stalled.abort(Busy("enough"))
        self.failureResultOf(stalled.answer, Busy)
        cluster.world.run(6.0)
        last = [one for one in cluster.meta.heard if isinstance(one, m.Heartbeat)][-1]
        self.assertEqual((last.clients, last.client_rate), (0, 0))


class SlowDiskTests(SynchronousTestCase):
    def test_says_so(self) -> None:
        """S23: a disk that does not answer is told of in time, and that it answers again too."""
        cluster = Cluster(1)
        cluster.put(chunk(1), CONTENT, cluster.targets(1), quorum=1)
        disk = cluster.world.hosts["chunk-1"].disk
        disk.slowness = 60 / 0.0004
        store = cluster.servers[1].store
        assert store is not None
        deleting = Deferred.fromCoroutine(store.delete(chunk(1)))
        cluster.world.run(SLOW + 5.0)
        told = [one.trouble for one in cluster.meta.heard if isinstance(one, m.ReportHealth)]
        self.assertIn("has not answered", told[-1])
        disk.slowness = 1.0
        cluster.world.run_until(deleting, 300.0)
        cluster.world.run(70.0)
        told = [one.trouble for one in cluster.meta.heard if isinstance(one, m.ReportHealth)]
        self.assertEqual((told[0], told[-1]), ("", ""))
