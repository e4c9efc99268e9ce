"""The client's smaller parts, each alone."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from itertools import count
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface.verify import verifyObject

from dfs.client.blocking import BlockingClient
from dfs.client.concurrency import at_most, cancellable, gather
from dfs.client.errors import LocalFileError
from dfs.client.progress import Meter, Progress
from dfs.client.receiving import HIGH_WATER, Expected, MemoryPlace, PlaceSink
from dfs.client.sending import GateProducer, Sending
from dfs.client.session import Session
from dfs.client.sources import READ, BufferedBody, ISource, PathSource, from_file_object, from_iterator
from dfs.client.test.fake_servers import FakeConnection
from dfs.client.test.fakes import CHUNK, FakeCluster, sample
from dfs.protocol import messages as m
from dfs.protocol.blocks import cut_blocks
from dfs.protocol.errors import Cancelled, DFSError, ReplicaCorrupt
from dfs.protocol.interfaces import IBlockSink
from dfs.protocol.values import FileId, Generation, Grant, GrantKind, NodeNumber, Target


class ConcurrencyTests(SynchronousTestCase):
    """Waiting, together and until given up."""

    def test_first_failure_ends_the_others(self) -> None:
        """The first failure cancels the others and is what is raised, once they have ended."""
        clock = Clock()
        never: Deferred[None] = Deferred()
        ended: list[str] = []

        async def wait() -> None:
            try:
                await never
            except CancelledError:
                ended.append("cancelled")
                raise

        async def break_down() -> None:
            raise ValueError("first")

        together = Deferred.fromCoroutine(gather(clock, [wait(), break_down()]))
        clock.advance(0)
        self.failureResultOf(together, ValueError)
        self.assertEqual(ended, ["cancelled"])

    def test_own_cancel_is_told_from_a_peers(self) -> None:
        """Our giving up is CancelledError though the inner one says Cancelled; a Cancelled that is told stays one."""
        inner: Deferred[None] = Deferred(lambda waiting: waiting.errback(Cancelled("the caller gave up")))
        waiting = cancellable(inner)
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.failureResultOf(cancellable(fail(Cancelled("the node goes down"))), Cancelled)

    def test_late_results_are_let_go_of(self) -> None:
        """What comes after the waiting was given up goes to whoever lets go of it."""
        unwanted: list[int] = []
        inner: Deferred[int] = Deferred(lambda waiting: waiting.callback(7))
        waiting = cancellable(inner, unwanted.append)
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.assertEqual(unwanted, [7])

    def test_at_most(self) -> None:
        """Work is waited for, but not longer than told; then it is cancelled."""
        clock = Clock()
        work: Deferred[None] = Deferred()
        waiting = Deferred.fromCoroutine(at_most(clock, 2.0, work))
        clock.advance(1.9)
        self.assertNoResult(waiting)
        clock.advance(0.2)
        self.successResultOf(waiting)
        self.assertTrue(work.called)
        self.successResultOf(Deferred.fromCoroutine(at_most(clock, 2.0, succeed(None))))
        self.assertEqual(clock.getDelayedCalls(), [])


class SessionTests(SynchronousTestCase):
    """Operations (R44)."""

    def test_floor(self) -> None:
        """The floor is the lowest number that still waits for its answer (R44)."""
        session = Session(lambda length: bytes(length), lambda: 5)
        with session.operation() as first:
            with session.operation() as second:
                self.assertEqual((first.sequence, first.floor, second.sequence, second.floor), (1, 1, 2, 1))
        with session.operation() as third:
            self.assertEqual((third.sequence, third.floor), (3, 3))
        self.assertEqual(first.session, (5).to_bytes(8, "big") + bytes(8))

    def test_held_up_operation_blocks_nothing(self) -> None:
        """However many operations pass one that is held up, no session has more answers above its floor than
        metadata remembers, and sessions are used again (R44)."""
        births = count(1)
        session = Session(lambda length: next(births).to_bytes(length, "big"), lambda: 5)
        issued = set()
        with session.operation() as waits:
            for _ in range(1000):
                with session.operation() as operation:
                    issued.add(operation.session)
                    self.assertLess(operation.sequence - operation.floor, 64)
        self.assertEqual((len(issued), waits.session in issued), (2, True))
        with session.operation() as later:
            self.assertEqual(later.session, waits.session)

    def test_end_of_an_old_sessions_operation(self) -> None:
        """An operation that outlives its session does not raise the floor of the next one (R44)."""
        session = Session(lambda length: bytes(length), lambda: 5)
        with session.operation():
            session.expire()
            with session.operation() as waits:
                self.assertEqual(waits.sequence, 1)
                with session.operation() as other:
                    self.assertEqual(other.floor, 1)


class SourceTests(SynchronousTestCase):
    """Bytes cut into chunks."""

    def setUp(self) -> None:
        self.cluster = FakeCluster()
        self.threads = self.cluster.host.runtime.threads

    def bodies(self, source: Any) -> bytes:
        async def read() -> bytes:
            pieces: list[bytes] = []
            while (body := await source.next_body()) is not None:
                starts = range(0, body.length, READ)
                pieces += [bytes(body.read(at, min(READ, body.length - at))) for at in starts]
            return b"".join(pieces)

        return self.cluster.run(read())

    def test_cuts(self) -> None:
        """However a stream's pieces are cut, its chunks are the same bytes (S45)."""
        data = sample(3 * READ + 5)

        async def pieces(lengths: tuple[int, ...]) -> AsyncIterator[bytes]:
            at = 0
            while at < len(data):
                for length in lengths:
                    yield data[at : at + length]
                    at += length

        for lengths in ((READ,), (READ - 1,), (1 << 16, 3), (len(data),), (0, 700_000)):
            source = from_iterator(pieces(lengths), 2 * READ)
            self.assertTrue(verifyObject(ISource, source))
            self.assertEqual(self.bodies(source), data, lengths)
            self.assertEqual(source.size, len(data))

    def test_body_read_across_its_segments(self) -> None:
        """A body that is held in segments is read at any offset."""
        data = sample(2 * READ + 9)
        body = BufferedBody(0, len(data), tuple(data[at : at + READ] for at in range(0, len(data), READ)), True)
        for offset in (0, 1, READ - 1, READ, 2 * READ, 2 * READ + 8):
            for length in (1, READ, READ + 2, len(data)):
                wanted = min(length, len(data) - offset)
                self.assertEqual(bytes(body.read(offset, wanted)), data[offset : offset + wanted])

    def test_streams_that_give_no_bytes(self) -> None:
        """A non-blocking stream without data is not the end of the file, and text is no bytes."""

        class NotReady(io.RawIOBase):
            def read(self, length: int = -1) -> bytes | None:
                return None

        for file in (NotReady(), io.StringIO("text")):
            source = from_file_object(file, self.threads, CHUNK)  # type: ignore[arg-type]
            self.assertRaises(LocalFileError, self.cluster.run, source.next_body())

    def test_what_only_looks_empty(self) -> None:
        """Something of length 0 that gives bytes (a pipe, a file of the kernel) is not stored as an empty file."""
        self.cluster.write_file("/pipe", b"x")
        disk = self.cluster.host.disk
        stat = disk.stat("/pipe")

        class Looks:
            """A disk on which it seems empty."""

            open = disk.open

            def stat(self, path: str) -> Any:
                return type(stat)(0, stat.modified, False)

        source = PathSource(Looks(), self.threads, "/pipe", CHUNK)  # type: ignore[arg-type]
        self.assertRaises(LocalFileError, self.cluster.run, source.open())


class RecordingStream:
    """A stream that notes what its reader does."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def pause(self) -> None:
        self.events.append("pause")

    def resume(self) -> None:
        self.events.append("resume")

    def refuse(self, error: DFSError) -> None:
        self.events.append("refuse")


class SinkTests(SynchronousTestCase):
    """A replica's blocks on their way to a place."""

    def setUp(self) -> None:
        self.cluster = FakeCluster()
        self.stream = RecordingStream()

    def sink(self, data: bytes) -> PlaceSink:
        self.place = MemoryPlace(0, len(data))
        expected = Expected("chunk-1", 0, len(data), len(data), b"")
        sink = PlaceSink(self.cluster.host.runtime.threads, self.place, expected)
        sink.attach(self.stream)  # type: ignore[arg-type]
        return sink

    def test_interface(self) -> None:
        """It is a sink as the protocol wants it."""
        self.assertTrue(verifyObject(IBlockSink, self.sink(b"x")))

    def test_flow(self) -> None:
        """A stream that is ahead of the threads is paused at the high-water mark and resumed once half is written."""
        data = sample(2 * HIGH_WATER)
        sink = self.sink(data)
        for block in cut_blocks(memoryview(data), 0):
            sink.block_received(block)
        self.assertEqual(self.stream.events[0], "pause")
        self.cluster.world.run(1.0)
        self.assertEqual(self.stream.events[-1], "resume")
        sink.end_received(len(data), b"")
        self.cluster.run(sink.finished())
        self.assertEqual(bytes(self.place.data), data)

    def test_bad_checksum(self) -> None:
        """A block whose CRC is wrong refuses the stream and is not kept (S11)."""
        data = sample(CHUNK)
        sink = self.sink(data)
        (block,) = cut_blocks(memoryview(data), 0)
        sink.block_received(type(block)(0, CHUNK, (block.crcs[0] ^ 1,), block.pieces))
        sink.end_received(CHUNK, b"")
        self.assertRaises(ReplicaCorrupt, self.cluster.run, sink.finished())
        self.assertEqual(bytes(self.place.data), bytes(CHUNK))

    def test_out_of_order_and_too_few(self) -> None:
        """Blocks out of order, and an end that comes too early, are corruption (S11)."""
        data = sample(8 * CHUNK)
        half = len(data) // 2
        (first,), (second,) = cut_blocks(memoryview(data)[:half], 0), cut_blocks(memoryview(data)[half:], half)
        sink = self.sink(data)
        sink.block_received(second)
        self.assertRaises(ReplicaCorrupt, self.cluster.run, sink.finished())
        self.assertEqual(self.stream.events, ["refuse"])
        sink = self.sink(data)
        sink.block_received(first)
        sink.end_received(len(data), b"")
        self.assertRaises(ReplicaCorrupt, self.cluster.run, sink.finished())

    def test_nothing_is_written_after_it_was_given_up(self) -> None:
        """A cancelled reader comes back when the thread has let go of the place, and the stream is refused (S48)."""
        data = sample(8 * CHUNK)
        sink = self.sink(data)
        finished = Deferred.fromCoroutine(sink.finished())
        for block in cut_blocks(memoryview(data), 0):
            sink.block_received(block)
        sink.end_received(len(data), b"")
        finished.cancel()
        self.cluster.world.run(0.1)
        self.failureResultOf(finished, CancelledError)
        before = bytes(self.place.data)
        self.cluster.world.run(1.0)
        self.assertEqual(bytes(self.place.data), before)


class SendingTests(SynchronousTestCase):
    """A body on its way to its primary."""

    def test_flow(self) -> None:
        """While the transport is full no more than one batch is read ahead; it goes on when it drains."""
        cluster = FakeCluster()
        server = cluster.servers["chunk-1"]
        connection = FakeConnection(server)
        data = sample(4 * READ)
        body = BufferedBody(0, len(data), tuple(data[at : at + READ] for at in range(0, len(data), READ)), True)
        grant = Grant(GrantKind.PUT, FileId(1), 0, Generation(1), 10**12, 0, bytes(32))
        target = Target(NodeNumber(1), "chunk-1", "chunk-1:1")
        request = m.PutChunk(FileId(1), 0, Generation(1), len(data), len(data), (target,), 0, 1, True, grant)
        cluster.run(cluster.client.upload(_one(data), "name", chunk_size=4 * READ, replication=1))
        moved: list[int] = []
        sending = Sending(connection, request, body, cluster.host.runtime.threads, 1.0, moved.append)  # type: ignore[arg-type]
        sending._gate.shut()
        running = Deferred.fromCoroutine(sending.run())
        cluster.world.run(1.0)
        self.assertEqual(sum(moved), READ)
        GateProducer(sending._gate).resumeProducing()
        cluster.world.run(1.0)
        self.assertEqual(self.successResultOf(running).length, len(data))
        self.assertEqual(sum(moved), len(data))


async def _one(data: bytes) -> AsyncIterator[bytes]:
    yield data


class MeterTests(SynchronousTestCase):
    """How far a transfer is."""

    def test_progress(self) -> None:
        """Done, rate and time to go; bytes found done do not count towards the rate; a retry takes its bytes back."""
        clock = Clock()
        seen: list[Progress] = []
        meter = Meter(clock.seconds, 1000, seen.append)
        meter.skip(200)
        clock.advance(1.0)
        meter.advance(400)
        self.assertEqual(seen[-1], Progress(600, 1000, 400.0, 1.0))
        meter.advance(-400)
        self.assertEqual(seen[-1].done, 200)


class BlockingTests(TestCase):
    """The facade for scripts."""

    def test_calls_wait_on_another_thread(self) -> None:
        """A call runs on the reactor's thread and returns its result, or raises what it raised."""
        from twisted.internet import reactor

        class Fake:
            async def stat(self, name: str) -> str:
                if name == "bad":
                    raise ValueError(name)
                return f"stat of {name}"

        client = BlockingClient(reactor, Fake())  # type: ignore[arg-type]

        def script() -> None:
            self.assertEqual(client.stat("a"), "stat of a")
            self.assertRaises(ValueError, client.stat, "bad")

        return deferToThread(script)  # type: ignore[return-value]

    def test_not_on_the_reactors_thread(self) -> None:
        """On the reactor's own thread it says so instead of waiting for itself for ever."""
        from twisted.internet import reactor

        client = BlockingClient(reactor, None)  # type: ignore[arg-type]
        self.assertRaises(RuntimeError, client.stat, "a")
