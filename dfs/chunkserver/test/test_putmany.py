"""Batches of small chunks: what is durable before what is told, and that each part is judged alone."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from dfs.chunkserver.put import GRACE, PATIENCE, Surroundings
from dfs.chunkserver.putmany import PutMany
from dfs.chunkserver.store import ChunkStore
from dfs.chunkserver.test.fakes import InlineThreads, content_of, fake_runtime, faulty, opened, sha256_of
from dfs.chunkserver.test.packed import PACK
from dfs.chunkserver.test.streams import FakeIncoming, FakePool, FakePut
from dfs.chunkserver.test.test_tree import targets
from dfs.disk.errors import DiskFull, SyncFailed
from dfs.disk.real import RealDisk
from dfs.protocol.blocks import cut_blocks, piece_crc
from dfs.protocol.errors import (
    Cancelled,
    DeadlinePassed,
    DFSError,
    Disconnected,
    DiskFailed,
    NoSpace,
    QuorumFailed,
    ReplicaCorrupt,
    StaleGeneration,
)
from dfs.protocol.interfaces import IBlockSink
from dfs.protocol.messages import (
    ChunkCommit,
    ChunkOutcome,
    ChunksWritten,
    DurableReplica,
    HeldReplica,
    PutChunks,
    Refusal,
    SmallChunk,
)
from dfs.protocol.values import ChunkRef, FileId, Generation

LENGTHS = (10, 65_536, 1, 4096)


class BatchCase(SynchronousTestCase):
    """One batch at node n1, its children made by hand."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.threads = InlineThreads()
        self.disk = faulty(RealDisk())
        self.runtime = fake_runtime(self.clock, self.threads)
        self.store = self.opened(self.mktemp())
        self.store.numbers.settle(self.successResultOf(Deferred.fromCoroutine(self.store.numbers.take())))
        self.pool = FakePool()
        self.commits: list[ChunkCommit] = []
        self.added: list[ChunkCommit] = []
        self.refused: dict[int, DFSError] = {}
        self.answers: dict[PutMany, ChunksWritten] = {}
        self.contents = [content_of(length, number) for number, length in enumerate(LENGTHS)]
        self.disk.calls.clear()

    def opened(self, root: str) -> ChunkStore:
        return self.successResultOf(Deferred.fromCoroutine(opened(self.runtime, self.disk, root, rules=PACK)))

    async def finish_all(self, commits: Sequence[ChunkCommit]) -> list[DFSError | bool]:
        self.commits += commits
        return [self.refused.get(commit.file_id, commit.file_id != 3) for commit in commits]

    async def commit(self, commit: ChunkCommit) -> None:
        raise AssertionError("a batch is committed together")

    def request(self, *parents: int, quorum: int = 2) -> PutChunks:
        chunks = tuple(
            SmallChunk(
                FileId(number + 1), Generation(9), len(content), piece_crc(memoryview(content)), sha256_of(content),
                bytes(32), f"file-{number + 1}",
            )
            for number, content in enumerate(self.contents)
        )  # fmt: skip
        return PutChunks(1 << 16, 3, targets(*parents), 0, quorum, 10**12, chunks)

    def put(self, *parents: int, quorum: int = 2) -> PutMany:
        return self.begin(self.request(*parents, quorum=quorum))

    def begin(self, request: PutChunks) -> PutMany:
        around = Surroundings(
            self.runtime, "n1", self.store, self.pool, self.commit, self.added.append, self.finish_all
        )  # fmt: skip
        put = PutMany(around, request, FakeIncoming())
        verifyObject(IBlockSink, put)
        return put

    def send(self, put: PutMany, *contents: bytes) -> None:
        whole = b"".join(contents or self.contents)
        for block in cut_blocks(memoryview(whole), 0):
            put.block_received(block)
        put.end_received(len(whole), b"")

    def child(self, number: int) -> FakePut:
        return self.pool.put_at(f"h:{number}")

    def finish(self, number: int, refused: Sequence[int] = ()) -> None:
        """The child has all but these."""
        put = self.child(number)
        nodes = [target.node for target in put.request.targets if target.name == f"n{number}"]
        held = ChunkOutcome(tuple(DurableReplica(node, number) for node in nodes), False, None)
        lacks = ChunkOutcome((), False, Refusal(NoSpace.code, "full", ""))
        outcomes = tuple(lacks if at in refused else held for at in range(len(LENGTHS)))
        put.answer.callback(ChunksWritten(outcomes, ()))

    def written(self, put: PutMany) -> ChunksWritten:
        if put not in self.answers:
            answer = self.successResultOf(put.answer)
            assert isinstance(answer, ChunksWritten)
            self.answers[put] = answer
        return self.answers[put]

    def codes(self, put: PutMany) -> list[int]:
        return [0 if each.refusal is None else each.refusal.code for each in self.written(put).outcomes]

    def held(self) -> list[int]:
        """Files of which a replica is listed."""
        refs = [ChunkRef(FileId(number + 1), 0, Generation(9)) for number in range(len(LENGTHS))]
        return [ref.file_id for ref in refs if self.store.index.get(ref) is not None]


class BatchTests(BatchCase):
    def test_star(self) -> None:
        """Every child gets the whole batch while it comes; all are committed together once all have it (S05)."""
        put = self.put(0, 0, 0)
        self.send(put)
        for number in (2, 3):
            child = self.child(number)
            self.assertEqual(b"".join(bytes(p) for b in child.blocks for p in b.pieces), b"".join(self.contents))
            self.assertEqual((child.request.position, child.ended), (number - 1, (sum(LENGTHS), b"")))
        self.finish(2)
        self.assertEqual(self.commits, [])
        self.finish(3)
        self.assertEqual(self.codes(put), [0] * len(LENGTHS))
        self.assertEqual([replica.node for replica in self.written(put).outcomes[0].replicas], [1, 2, 3])
        self.assertEqual([each.finished for each in self.written(put).outcomes], [True, True, False, True])
        self.assertEqual([commit.sha256 for commit in self.commits], [sha256_of(each) for each in self.contents])
        self.successResultOf(put.finished)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_order_of_durability(self) -> None:
        """The batch is written and synced as one before any of it is listed, committed or told (S05, S09)."""
        self.threads.held = True
        put = self.put(0, quorum=1)
        self.send(put)
        while self.threads.waiting:
            self.assertEqual((self.held(), self.commits), ([], []))
            self.threads.release()
        self.assertEqual(self.codes(put), [0] * len(LENGTHS))
        synced = [name for operation, name in self.disk.calls if operation == "sync" and name != "numbers"]
        self.assertLessEqual(len(synced), 2)  # the batch's, and that of a segment's beginning
        self.assertEqual(len(self.commits), len(LENGTHS))

    def test_bytes_come_back(self) -> None:
        """What a batch stored is read whole, also after a restart, one by one or together; footers name the file."""
        put = self.put(0, quorum=1)
        self.send(put)
        refs = [ChunkRef(FileId(number + 1), 0, Generation(9)) for number in range(len(LENGTHS))]
        gone = ChunkRef(FileId(99), 0, Generation(9))
        root = self.store.layout.root
        for store in (self.store, self.opened(root)):
            read = self.successResultOf(Deferred.fromCoroutine(store.get_small([*refs, gone], 1 << 20)))
            self.assertEqual([bytes(each) for each in read[:-1] if isinstance(each, memoryview)], self.contents)
            self.assertIsInstance(read[-1], DFSError)
            reading = self.successResultOf(Deferred.fromCoroutine(store.open_reader(refs[3])))
            assert reading.footer.description is not None
            self.assertEqual(reading.footer.description.label.name, "file-4")
            reading.close()

    def test_bad_part_is_alone(self) -> None:
        """A chunk whose bytes are not its sender's is refused and leaves nothing; the others are stored (S07)."""
        put = self.put(0, quorum=1)
        self.send(put, self.contents[0], self.contents[1], b"?", self.contents[3])
        self.assertEqual(self.codes(put), [0, 0, ReplicaCorrupt.code, 0])
        self.assertEqual((self.held(), [commit.file_id for commit in self.commits]), ([1, 2, 4], [1, 2, 4]))

    def test_no_quorum_for_a_part(self) -> None:
        """A chunk below the write quorum is not acknowledged, whatever became of those beside it (S05)."""
        put = self.put(0, 0, 0, quorum=2)
        self.send(put)
        self.finish(2, refused=[1])
        self.child(3).fail(Disconnected("gone"))
        self.assertEqual(self.codes(put), [0, QuorumFailed.code, 0, 0])
        self.assertEqual([commit.file_id for commit in self.commits], [1, 3, 4])
        self.assertEqual(self.written(put).dropped, ("n3",))

    def test_commit_refuses_a_part(self) -> None:
        """What metadata does not commit is not acknowledged (S36)."""
        self.refused = {2: StaleGeneration("placed anew")}
        put = self.put(0, quorum=1)
        self.send(put)
        self.assertEqual(self.codes(put), [0, StaleGeneration.code, 0, 0])

    def test_said_again(self) -> None:
        """A batch that comes again finds its replicas there and answers the same numbers (S08)."""
        first = self.put(0, quorum=1)
        self.send(first)
        self.disk.calls.clear()
        again = self.put(0, quorum=1)
        self.send(again)
        self.assertEqual(self.written(again), self.written(first))
        self.assertNotIn("pwrite", [operation for operation, _ in self.disk.calls])


class TroubleTests(BatchCase):
    def test_failed_sync(self) -> None:
        """A failed sync fails every chunk of the batch and the store with it; nothing is listed (S31)."""
        self.disk.fail("sync", SyncFailed("f", "io", 5))
        put = self.put(0, quorum=1)
        self.send(put)
        self.assertEqual(self.codes(put), [DiskFailed.code] * len(LENGTHS))
        self.assertEqual((self.held(), self.commits), ([], []))
        self.assertNotEqual(self.store.failure, "")

    def test_full_disk(self) -> None:
        """A full disk refuses the parts and leaves nothing half (S21)."""
        self.disk.fail("pwrite", DiskFull("f", "full", 28))
        put = self.put(0, quorum=1)
        self.send(put)
        self.assertEqual(self.codes(put), [NoSpace.code] * len(LENGTHS))
        self.assertEqual(self.held(), [])

    def test_slow_child_is_left_behind(self) -> None:
        """A child that the quorum does not need is waited for GRACE seconds; what it has later is added (S05)."""
        put = self.put(0, 0, 0, quorum=2)
        self.send(put)
        self.finish(2)
        self.clock.pump([1.0] * int(GRACE - 1))
        self.assertNoResult(put.answer)
        self.clock.pump([1.0] * 3)
        self.assertEqual(self.codes(put), [0] * len(LENGTHS))
        self.assertEqual(self.written(put).dropped, ("n3",))
        self.assertNoResult(put.finished)
        self.finish(3)
        self.assertEqual([add.replicas[0].node for add in self.added], [3] * len(LENGTHS))
        self.successResultOf(put.finished)

    def test_patience_ends(self) -> None:
        """A child that the quorum needs and that never answers is lost after PATIENCE, and the parts with it."""
        put = self.put(0, 0, quorum=2)
        self.send(put)
        self.clock.pump([1.0] * int(PATIENCE + 2))
        self.assertEqual(self.codes(put), [QuorumFailed.code] * len(LENGTHS))
        self.successResultOf(put.finished)

    def test_disk_hangs(self) -> None:
        """A disk that does not answer within PATIENCE fails the batch and does not hold its sender (S23)."""
        self.threads.held = True
        put = self.put(0, quorum=1)
        self.send(put)
        self.clock.pump([1.0] * int(PATIENCE + 2))
        self.failureResultOf(put.answer, DiskFailed)
        self.successResultOf(put.finished)
        self.assertTrue(put.hangs)

    def test_sender_stalls(self) -> None:
        """A sender that sends nothing for PATIENCE loses its place, however long it says it may take (S43)."""
        put = self.put(0, 0, quorum=1)
        put.block_received(cut_blocks(memoryview(self.contents[0]), 0)[0])
        self.clock.pump([1.0] * int(PATIENCE - 1))
        self.assertNoResult(put.answer)
        self.clock.pump([1.0] * 3)
        self.failureResultOf(put.answer, DeadlinePassed)
        self.successResultOf(put.finished)
        self.assertIsNotNone(self.child(2).aborted)

    def test_cut_and_overlong_streams(self) -> None:
        """A batch that ends too early, goes on too long, or is aborted writes nothing anywhere (S09)."""
        for how in ("short", "long", "abort"):
            put = self.put(0, 0, quorum=1)
            whole = b"".join(self.contents)
            if how == "abort":
                put.stream_failed(Cancelled("the sender is gone"))
            else:
                self.send(put, whole[:-1] if how == "short" else whole + b"more")
            self.failureResultOf(put.answer, DFSError)
            self.assertIsNotNone(self.child(2).aborted)
            self.successResultOf(put.finished)
        self.assertEqual((self.held(), self.commits), ([], []))

    def test_held_under_its_number(self) -> None:
        """Each add of a batch has a number of its own, and none stays open (S06)."""
        put = self.put(0, quorum=1)
        self.send(put)
        numbers = [each.replicas[0].number for each in self.written(put).outcomes]
        self.assertEqual(len(set(numbers)), len(LENGTHS))
        self.assertEqual(self.store.number, max(numbers))
        held = self.store.index.get(ChunkRef(FileId(1), 0, Generation(9)))
        self.assertEqual(held, HeldReplica(FileId(1), 0, Generation(9), 10, sha256_of(self.contents[0]), numbers[0]))
