"""Cut-through puts: what is forwarded, who sets the pace, who is waited for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from dfs.chunkserver.child import PENDING_HIGH
from dfs.chunkserver.put import GRACE, HIGH, PATIENCE, Put, Surroundings
from dfs.chunkserver.store import ChunkStore
from dfs.chunkserver.test.fakes import (
    REF,
    InlineThreads,
    blocks_of,
    content_of,
    fake_runtime,
    faulty,
    formatted,
    opened,
    sha256_of,
)
from dfs.chunkserver.test.streams import FakeConnection, FakeIncoming, FakePool, FakePut
from dfs.chunkserver.test.test_tree import targets
from dfs.disk.errors import DiskFull
from dfs.disk.real import RealDisk
from dfs.protocol.errors import (
    Cancelled,
    DeadlinePassed,
    DFSError,
    Disconnected,
    NoSpace,
    QuorumFailed,
    ReplicaCorrupt,
    StaleGeneration,
)
from dfs.protocol.interfaces import IBlockSink
from dfs.protocol.messages import ChunkCommit, ChunkWritten, PutChunk
from dfs.protocol.values import BLOCK, Grant, GrantKind

CONTENT = content_of(5 * BLOCK + 77)
GRANT = Grant(GrantKind.PUT, REF.file_id, REF.index, REF.generation, 0, 0, b"m" * 32)


class PutCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.disk = faulty(RealDisk())
        self.clock = Clock()
        self.threads = InlineThreads()
        self.runtime = fake_runtime(self.clock, self.threads)
        self.root = self.mktemp()
        self.layout = formatted(self.disk, self.root)
        self.store: ChunkStore = self.successResultOf(
            Deferred.fromCoroutine(opened(self.runtime, self.disk, self.root))
        )
        self.pool = FakePool()
        self.events: list[tuple[str, ChunkCommit]] = []
        self.commit_error: DFSError | None = None
        self.stream = FakeIncoming()

    async def commit(self, commit: ChunkCommit) -> None:
        self.events.append(("commit", commit))
        if self.commit_error is not None:
            raise self.commit_error

    async def finish_all(self, commits: Sequence[ChunkCommit]) -> list[DFSError | bool]:
        raise AssertionError("a single chunk is committed alone")

    def put(self, *parents: int, quorum: int = 2, commit: bool = True) -> Put:
        """A put to nodes n1 (us), n2, ... with these parents."""
        around = Surroundings(
            self.runtime,
            "n1",
            self.store,
            self.pool,
            self.commit,
            lambda late: self.events.append(("add", late)),
            self.finish_all,
        )
        request = PutChunk(*REF_FIELDS, None, 8 << 20, targets(*parents), 0, quorum, commit, GRANT)
        return Put(around, request, self.stream)

    def send(self, put: Put, content: bytes = CONTENT) -> None:
        for block in blocks_of(content):
            put.block_received(block)
        put.end_received(len(content), sha256_of(content))

    def child(self, number: int) -> FakePut:
        return self.pool.put_at(f"h:{number}")

    def replicas(self) -> list[str]:
        return RealDisk().list_folder(self.layout.folder(REF))

    def written(self, put: Put) -> ChunkWritten:
        answer = self.successResultOf(put.answer)
        assert isinstance(answer, ChunkWritten)
        return answer


REF_FIELDS = (REF.file_id, REF.index, REF.generation)


class ForwardTests(PutCase):
    def test_star(self) -> None:
        """Every child gets each block when it comes; the answer waits for all, and names all (S05)."""
        put = self.put(0, 0, 0)
        verifyObject(IBlockSink, put)
        blocks = blocks_of(CONTENT)
        put.block_received(blocks[0])
        for number in (2, 3):
            self.assertEqual(self.child(number).blocks, blocks[:1])
            self.assertEqual(self.child(number).request.targets, targets(0, 0, 0))
            self.assertEqual(self.child(number).request.position, number - 1)
            self.assertFalse(self.child(number).request.commit)
        for block in blocks[1:]:
            put.block_received(block)
        put.end_received(len(CONTENT), sha256_of(CONTENT))
        self.child(2).finish(5)
        self.assertNoResult(put.answer)
        self.child(3).finish(6)
        answer = self.written(put)
        self.assertEqual([(one.node, one.number) for one in answer.replicas], [(1, 1), (2, 5), (3, 6)])
        self.assertEqual(answer.dropped, ())
        ((_, commit),) = self.events
        self.assertEqual((commit.sha256, commit.replicas), (sha256_of(CONTENT), answer.replicas))
        self.successResultOf(put.finished)
        self.assertEqual(sorted(self.pool.released), ["h:2", "h:3"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_chain(self) -> None:
        """In a chain the one child gets the whole tree, which the grant covers, and its own place in it."""
        put = self.put(0, 0, 1, quorum=3)
        request = self.child(2).request
        self.assertEqual((request.targets, request.position, request.quorum), (targets(0, 0, 1), 1, 3))
        self.send(put)
        self.child(2).finish()
        self.assertEqual(len(self.written(put).replicas), 3)

    def test_no_answer_before_own_replica(self) -> None:
        """Children that are durable first do not make an answer: ours must be too (S05)."""
        self.threads.held = True
        put = self.put(0, 0, 0)
        self.send(put)
        self.child(2).finish()
        self.child(3).finish()
        self.assertNoResult(put.answer)
        self.assertEqual(self.events, [])
        while self.threads.waiting:
            self.threads.release()
        self.assertEqual(len(self.written(put).replicas), 3)

    def test_not_primary(self) -> None:
        """A child answers its parent and commits nothing."""
        put = self.put(0, quorum=1, commit=False)
        self.send(put)
        self.assertEqual(len(self.written(put).replicas), 1)
        self.assertEqual(self.events, [])

    def test_slow_connection(self) -> None:
        """Blocks wait for a child's connection up to a bound, then the sender does."""
        self.pool.slow["h:2"] = opening = Deferred[Any]()
        put = self.put(0, 0)
        blocks = blocks_of(content_of(PENDING_HIGH))
        for block in blocks:
            self.assertFalse(self.stream.paused)
            put.block_received(block)
        self.assertTrue(self.stream.paused)
        connection: Any = FakeConnection()
        self.pool.connections["h:2"] = connection
        opening.callback(connection)
        self.assertFalse(self.stream.paused)
        self.assertEqual(self.child(2).blocks, blocks)
        put.end_received(PENDING_HIGH, sha256_of(content_of(PENDING_HIGH)))
        self.child(2).finish()
        self.assertEqual(len(self.written(put).replicas), 2)


class FlowTests(PutCase):
    def test_stalled_child_bounds_memory(self) -> None:
        """A stalled child pauses the sender; what is buffered never exceeds the high-water mark and one receive
        buffer, whatever the chunk's size."""
        put = self.put(0, 0, 0, quorum=3)
        blocks = blocks_of(content_of(8 << 20))
        peak = sent = 0
        stalled = self.child(3)
        for block in blocks:
            if self.stream.paused:
                break
            put.block_received(block)
            sent += 1
            peak = max(peak, put.buffered)
            if sent == 8:
                stalled.stall()
        self.assertEqual(sent, 8)
        self.assertLessEqual(sum(block.length for block in stalled.blocks), 8 * BLOCK)
        self.assertLessEqual(peak, HIGH)
        stalled.drain()
        self.assertFalse(self.stream.paused)

    def test_slow_disk_bounds_memory(self) -> None:
        """A slow disk pauses the sender at the high-water mark; it goes on once the disk has caught up (S23)."""
        self.threads.held = True
        put = self.put(0, quorum=1)
        content = content_of(8 << 20)
        peak = 0
        waiting = blocks_of(content)
        while waiting or self.threads.waiting:
            while waiting and not self.stream.paused:
                put.block_received(waiting.pop(0))
                peak = max(peak, put.buffered)
            self.threads.release()
        put.end_received(len(content), sha256_of(content))
        while self.threads.waiting:
            self.threads.release()
        self.assertGreater(peak, HIGH)
        self.assertLessEqual(peak, HIGH + BLOCK)
        self.assertEqual(self.written(put).length, len(content))

    def test_straggler_is_dropped(self) -> None:
        """A child beyond the quorum that makes no progress for five seconds is cut off and named (S22, S23)."""
        put = self.put(0, 0, 0)
        blocks = blocks_of(CONTENT)
        put.block_received(blocks[0])
        self.child(3).stall()
        self.assertTrue(self.stream.paused)
        self.clock.pump([1.0] * int(GRACE))
        self.assertTrue(self.stream.paused)
        self.clock.pump([1.0, 1.0])
        self.assertFalse(self.stream.paused)
        self.assertIsInstance(self.child(3).aborted, DeadlinePassed)
        self.assertTrue(self.pool.connections["h:3"].aborted)
        for block in blocks[1:]:
            put.block_received(block)
        put.end_received(len(CONTENT), sha256_of(CONTENT))
        self.child(2).finish()
        self.assertEqual(self.written(put).dropped, ("n3",))

    def test_never_below_the_quorum(self) -> None:
        """A stalled child that the quorum needs is waited for, and in the end the put fails (S05)."""
        put = self.put(0, 0)
        put.block_received(blocks_of(CONTENT)[0])
        self.child(2).stall()
        self.clock.pump([1.0] * int(PATIENCE))
        self.assertNoResult(put.answer)
        self.clock.pump([1.0, 1.0])
        error = self.failureResultOf(put.answer, QuorumFailed).value
        self.assertEqual(error.nodes, ("n2",))
        self.assertEqual(self.replicas(), [])
        self.assertFalse(self.stream.paused)

    def test_late_replica_is_added(self) -> None:
        """A child that is durable only after the commit is told to metadata then."""
        put = self.put(0, 0, 0)
        self.send(put)
        self.child(2).finish()
        self.assertNoResult(put.answer)
        self.clock.pump([1.0] * int(GRACE + 2))
        self.assertEqual(self.written(put).dropped, ("n3",))
        self.assertIsNone(self.child(3).aborted)
        self.child(3).finish(9)
        self.assertEqual([name for name, _ in self.events], ["commit", "add"])
        self.assertEqual([(one.node, one.number) for one in self.events[1][1].replicas], [(3, 9)])
        self.successResultOf(put.finished)

    def test_silent_sender(self) -> None:
        """A sender that stops in the middle does not hold the put for ever (S43)."""
        put = self.put(0, quorum=1)
        put.block_received(blocks_of(CONTENT)[0])
        self.clock.pump([1.0] * int(PATIENCE + 2))
        self.failureResultOf(put.answer, DeadlinePassed)
        self.assertEqual(self.replicas(), [])
        self.successResultOf(put.finished)


class FailureTests(PutCase):
    def test_quorum_failed(self) -> None:
        """Children lost below the quorum: the error names them, and everyone is told to forget the chunk (S21)."""
        put = self.put(0, 0, 0, quorum=3)
        put.block_received(blocks_of(CONTENT)[0])
        self.child(2).fail(Disconnected("gone"))
        error = self.failureResultOf(put.answer, QuorumFailed).value
        self.assertEqual(error.nodes, ("n2",))
        self.assertIsInstance(self.child(3).aborted, QuorumFailed)
        self.assertEqual(self.replicas(), [])
        self.successResultOf(put.finished)

    def test_child_lost_above_the_quorum(self) -> None:
        """One child lost above the quorum: the chunk is written, degraded, and the child is named."""
        put = self.put(0, 0, 0)
        put.block_received(blocks_of(CONTENT)[0])
        self.child(3).fail(NoSpace("full"))
        for block in blocks_of(CONTENT)[1:]:
            put.block_received(block)
        put.end_received(len(CONTENT), sha256_of(CONTENT))
        self.child(2).finish()
        answer = self.written(put)
        self.assertEqual((len(answer.replicas), answer.dropped), (2, ("n3",)))

    def test_own_disk_full(self) -> None:
        """Our disk fills up in the middle: the sender hears NoSpace with our name, the children forget (S21)."""
        put = self.put(0, 0, 0)
        blocks = blocks_of(CONTENT)
        put.block_received(blocks[0])
        self.disk.fail("pwrite", DiskFull("/x", "no space", 28))
        put.block_received(blocks[1])
        self.assertEqual(self.failureResultOf(put.answer, NoSpace).value.nodes, ("chunk-1",))
        self.assertIsInstance(self.child(2).aborted, NoSpace)
        self.assertEqual(self.replicas(), [])

    def test_corrupt_sender(self) -> None:
        """A chunk whose SHA-256 is not the sender's becomes no replica here (S07)."""
        put = self.put(0, quorum=1)
        for block in blocks_of(CONTENT):
            put.block_received(block)
        put.end_received(len(CONTENT), b"x" * 32)
        self.failureResultOf(put.answer, ReplicaCorrupt)
        self.assertEqual(self.replicas(), [])
        self.assertEqual(self.events, [])

    def test_sender_gone(self) -> None:
        """The sender's connection ends in the middle: nothing half is left anywhere (S09)."""
        put = self.put(0, 0)
        put.block_received(blocks_of(CONTENT)[0])
        put.stream_failed(Disconnected("gone"))
        self.failureResultOf(put.answer, Disconnected)
        self.assertIsInstance(self.child(2).aborted, Disconnected)
        self.assertEqual(self.replicas(), [])
        self.successResultOf(put.finished)

    def test_cancelled_during_a_write(self) -> None:
        """A put given up while a thread writes cleans up only when the thread is done."""
        put = self.put(0, quorum=1)
        self.threads.held = True
        put.block_received(blocks_of(CONTENT)[0])
        put.answer.cancel()
        self.failureResultOf(put.answer, Cancelled)
        self.assertNoResult(put.finished)
        while self.threads.waiting:
            self.threads.release()
        self.successResultOf(put.finished)
        self.assertEqual(self.replicas(), [])

    def test_commit_refused(self) -> None:
        """Metadata refuses the commit: the sender hears why, and no success (S36)."""
        self.commit_error = StaleGeneration("placed anew")
        put = self.put(0, quorum=1)
        self.send(put)
        self.failureResultOf(put.answer, StaleGeneration)

    def test_retry(self) -> None:
        """The same chunk sent again is answered with the same replica (S08)."""
        first = self.put(0, quorum=1)
        self.send(first)
        self.stream = FakeIncoming()
        second = self.put(0, quorum=1)
        self.send(second)
        self.assertEqual(self.written(first), self.written(second))
        self.assertEqual(len(self.replicas()), 1)

    def test_wrong_answer_of_a_child(self) -> None:
        """A child that wrote other bytes does not count."""
        put = self.put(0, 0)
        self.send(put)
        child = self.child(2)
        child.ended = (len(CONTENT), b"z" * 32)
        child.finish()
        self.failureResultOf(put.answer, QuorumFailed)
