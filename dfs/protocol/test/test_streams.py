"""Streams of blocks: order, refusal, flow control, time-outs."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from dfs.protocol.errors import (
    BadRequest,
    Busy,
    Cancelled,
    DeadlinePassed,
    DFSError,
    Disconnected,
    Forbidden,
    InternalError,
    NoSpace,
    QuorumFailed,
    ReplicaNotFound,
)
from dfs.protocol.interfaces import IIncomingStream, IOutgoingStream, IPut
from dfs.protocol.limits import ANSWER_TIMEOUT, BULK_BUFFER, MAX_BLOCK_BODY
from dfs.protocol.messages import ChunkHead
from dfs.protocol.test.nodes import ASK, Room, Sink, Source, blocks, get_request, identity, put_request, written
from dfs.protocol.values import BLOCK, Purpose, Role

LONG = 64 * BLOCK  # 16 MiB


class StreamCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.room = Room()
        self.service = self.room.service
        self.connection = self.room.dial(purpose=Purpose.BULK)
        self.sink = self.service.sink

    def failure_of(self, waiting: Deferred[Any], expected: type[DFSError]) -> Any:
        """The error that it fails with."""
        return self.assertRaises(expected, self.room.until, waiting)

    def put(self, length: int, timeout: float = 30.0) -> tuple[Any, Source]:
        """A put that a source feeds."""
        put = self.connection.open_put(put_request(), timeout)
        source = Source(put, length)
        source.start()
        return put, source

    def assert_usable(self) -> None:
        """The connection still serves: a request and another whole put."""
        self.failure_of(self.connection.call(ASK, 5), Forbidden)  # an answer of its own, and nothing else ends
        self.service.put_answer = Deferred()
        self.service.sink = Sink(self.service.events)
        put, _ = self.put(BLOCK + 1)
        self.room.until(lambda: self.service.sink.length == BLOCK + 1)
        self.room.run(0.1)
        self.service.put_answer.callback(written(BLOCK + 1))
        self.assertEqual(self.room.until(put.answer), written(BLOCK + 1))
        self.assertFalse(self.connection.streaming)
        self.assertFalse(self.service.connections[0].streaming)


class PutTests(StreamCase):
    def test_whole(self) -> None:
        """A chunk arrives whole, its end comes last, and the answer comes back."""
        put, source = self.put(LONG)
        verifyObject(IPut, put)
        self.room.until(lambda: self.service.events[-1] == ("end", LONG, LONG, bytes(32)))
        verifyObject(IIncomingStream, self.sink.stream)
        self.assertTrue(self.connection.streaming)
        self.service.put_answer.callback(written(LONG))
        self.assertEqual(self.room.until(put.answer), written(LONG))
        self.assertFalse(source.stopped)
        self.assert_usable()

    def test_empty(self) -> None:
        """An empty chunk is an end without blocks (S45)."""
        put = self.connection.open_put(put_request(0), 30)
        put.end(0, bytes(32))
        self.room.until(lambda: ("end", 0, 0, bytes(32)) in self.service.events)
        self.service.put_answer.callback(written(0))
        self.assertEqual(self.room.until(put.answer), written(0))

    def test_early_failure(self) -> None:
        """A service that fails before all was sent stops the sender; the rest is skipped; the connection goes on."""
        self.service.put_answer = Deferred()
        put, source = self.put(LONG)
        self.room.until(lambda: self.sink.length > 2 * BLOCK)
        self.service.put_answer.errback(NoSpace("full", nodes=("chunk-2",)))
        error = self.failure_of(put.answer, NoSpace)
        self.assertEqual(error.nodes, ("chunk-2",))
        self.assertTrue(source.stopped)
        self.assertTrue(source.left)
        self.assertEqual(self.service.events[-1], ("stream failed", "NoSpace"))
        self.assert_usable()

    def test_refused(self) -> None:
        """A refused stream tells the sender why and gives its sink no more calls."""
        put, source = self.put(LONG)
        self.room.until(lambda: self.sink.length > 0)
        assert self.sink.stream is not None
        self.sink.stream.refuse(Forbidden("no grant"))
        seen = list(self.service.events)
        self.failure_of(put.answer, Forbidden)
        self.assertEqual(self.service.events, seen)
        self.service.put_answer.errback(QuorumFailed("too late to matter"))
        self.assertTrue(source.stopped)
        self.assert_usable()

    def test_refused_at_once(self) -> None:
        """A service that raises when a put is opened refuses it; DFSErrors reach the sender as they are."""

        def refuse(*arguments: object) -> Any:
            raise Busy("enough")

        self.patch(self.service, "put_opened", refuse)
        put, _ = self.put(LONG)
        self.failure_of(put.answer, Busy)

    def test_sender_gives_up(self) -> None:
        """A sender that aborts tells the sink why, and the connection goes on."""
        put = self.connection.open_put(put_request(), 30)
        for block in blocks(3 * BLOCK):
            put.write(block)
        put.abort(QuorumFailed("gave up"))
        self.failureResultOf(put.answer, QuorumFailed)
        put.write(blocks(1)[0])
        put.end(1, bytes(32))
        self.room.until(lambda: ("stream failed", "QuorumFailed") in self.service.events)
        self.assertEqual(self.sink.length, 3 * BLOCK)
        self.service.put_answer.errback(InternalError("nobody hears"))
        self.assert_usable()

    def test_cancelled(self) -> None:
        """Cancelling the answer gives the put up."""
        put, source = self.put(LONG)
        put.answer.cancel()
        self.failureResultOf(put.answer, Cancelled)
        self.assertTrue(source.stopped)
        self.room.until(lambda: ("stream failed", "Cancelled") in self.service.events)

    def test_connection_lost(self) -> None:
        """When the connection ends both ends of the stream are told."""
        put, source = self.put(LONG)
        self.room.until(lambda: self.sink.length > 0)
        self.connection.abort()
        self.failure_of(put.answer, Disconnected)
        self.assertTrue(source.stopped)
        self.room.until(lambda: ("stream failed", "Disconnected") in self.service.events)

    def test_answered_too_early(self) -> None:
        """A service that answers before the end came has made a mistake, which is not taken for success."""
        put = self.connection.open_put(put_request(), 30)
        put.write(blocks(1)[0])
        self.room.until(lambda: self.sink.length > 0)
        self.service.put_answer.callback(written(1))
        self.failure_of(put.answer, InternalError)

    def test_what_became_whole_goes_on(self) -> None:
        """A put whose end came is not cancelled when the sender's connection ends: it may still become durable."""
        gone: list[Any] = []
        self.service.put_answer = Deferred(gone.append)
        self.put(BLOCK)[0].answer.addErrback(lambda failure: failure.trap(Disconnected))
        self.room.until(lambda: any(event[0] == "end" for event in self.service.events))
        self.connection.abort()
        self.room.run()
        self.assertEqual(gone, [])

    def test_one_at_a_time(self) -> None:
        """A second stream on a connection, or one on a control connection, fails at once and harms nothing."""
        first, _ = self.put(BLOCK)
        second = self.connection.open_put(put_request(), 30)
        self.failureResultOf(second.answer, BadRequest)
        self.failureResultOf(self.connection.open_get(get_request(), self.sink, 30), BadRequest)
        self.room.until(lambda: self.sink.length == BLOCK)
        self.room.run(0.1)
        self.service.put_answer.callback(written(BLOCK))
        self.room.until(first.answer)
        control = self.room.dial()
        self.failureResultOf(control.open_put(put_request(), 30).answer, BadRequest)

    def test_closed_connection(self) -> None:
        """A stream on a connection that has ended fails at once."""
        self.service.connections[0].abort()
        self.room.until(self.connection.when_closed())
        self.failureResultOf(self.connection.open_put(put_request(), 30).answer, Disconnected)
        self.failureResultOf(self.connection.open_get(get_request(), self.sink, 30), Disconnected)
        self.assertEqual(self.room.here.reactor.getDelayedCalls(), [])

    def test_requests_beside_a_stream(self) -> None:
        """Requests are answered while a stream runs."""
        put, _ = self.put(LONG)
        self.failure_of(self.connection.call(ASK, 5), Forbidden)  # an answer of its own, and nothing else ends
        self.connection.abort()
        self.failure_of(put.answer, Disconnected)


class FlowTests(StreamCase):
    def test_stalled_replica(self) -> None:
        """A sink that pauses holds the sender at the high-water mark: buffers stay bounded on both sides."""
        self.sink.pause_at = 2 * BLOCK
        put, source = self.put(LONG, timeout=60)
        self.room.run(20)
        self.assertLess(source.peak, BULK_BUFFER + MAX_BLOCK_BODY + 1000)
        self.assertTrue(source.left, "the sender was not paused")
        self.assertLess(self.sink.length, 2 * BLOCK + 1)
        server: Any = self.service.connections[0]
        self.assertLess(server._decoder.buffered, 2 * BULK_BUFFER)
        assert self.sink.stream is not None
        self.sink.pause_at = None
        self.sink.stream.resume()
        self.room.until(lambda: self.service.events[-1] == ("end", LONG, LONG, bytes(32)))
        self.service.put_answer.callback(written(LONG))
        self.assertEqual(self.room.until(put.answer), written(LONG))

    def test_pause_is_prompt(self) -> None:
        """After pause no block is delivered before resume, however many have been received."""
        self.sink.pause_at = 1
        self.put(LONG, timeout=60)[0].answer.addErrback(lambda failure: failure.trap(Disconnected))
        self.room.run(5)
        self.assertEqual(self.sink.length, BLOCK)
        self.connection.abort()
        self.room.run()

    def test_stalled_replica_is_given_up(self) -> None:
        """A sender whose bytes nobody takes gives up after its time, not before."""
        self.sink.pause_at = 1
        put, _ = self.put(LONG, timeout=8)
        self.room.run(6)
        self.assertNoResult(put.answer)
        self.room.run(8)
        self.failureResultOf(put.answer, DeadlinePassed)

    def test_no_answer(self) -> None:
        """A peer that took all and never answers is given up after ANSWER_TIMEOUT or the caller's own longer time,
        whatever PINGs pass meanwhile; not before, however short the caller's time is (S12, S23)."""
        for timeout, due in ((10.0, ANSWER_TIMEOUT), (90.0, 90.0)):
            self.connection = self.room.dial(purpose=Purpose.BULK)
            put, _ = self.put(BLOCK, timeout)
            self.room.run(due - 1)
            self.assertNoResult(put.answer)
            self.room.run(due / 4 + 2)
            self.failureResultOf(put.answer, DeadlinePassed)

    def test_slow_source(self) -> None:
        """A sender that has nothing to send yet is not given up by itself, but by a receiver that waits in vain."""
        put = self.connection.open_put(put_request(), 8)
        put.write(blocks(1)[0])
        self.room.run(6)
        self.assertNoResult(put.answer)
        self.room.run(8)
        self.failureResultOf(put.answer, DeadlinePassed)
        self.assertIn(("stream failed", "DeadlinePassed"), self.service.events)

    def test_own_pause_is_no_stall(self) -> None:
        """A receiver that has paused does not blame the sender."""
        self.sink.pause_at = 1
        put = self.connection.open_put(put_request(), 4)
        for block in blocks(2 * BLOCK):
            put.write(block)
        self.room.run(3)
        self.assertNotIn(("stream failed", "DeadlinePassed"), self.service.events)

    def test_paused_is_not_silent(self) -> None:
        """A paused connection whose peer lives is not taken for dead, on either side."""
        self.sink.pause_at = 1
        put, _ = self.put(LONG, timeout=500)
        self.room.run(200)
        self.assertNoResult(put.answer)
        assert self.sink.stream is not None
        self.sink.pause_at = None
        self.sink.stream.resume()
        self.room.until(lambda: self.service.events[-1] == ("end", LONG, LONG, bytes(32)))
        self.connection.abort()
        self.failure_of(put.answer, Disconnected)


class GetTests(StreamCase):
    def get(self, timeout: float = 30.0) -> tuple[Sink, Any, list[Any]]:
        """A get whose head came: (sink, stream, events of the sink)."""
        events: list[Any] = []
        sink = Sink(events)
        head, sink.stream = self.room.until(self.connection.open_get(get_request(), sink, timeout))
        self.assertEqual(head, ChunkHead(1, bytes(32)))
        verifyObject(IOutgoingStream, self.service.outgoing)
        return sink, sink.stream, events

    def test_whole(self) -> None:
        """A range arrives after its head, whole, and then its end."""
        _, _, events = self.get()
        assert self.service.outgoing is not None
        Source(self.service.outgoing, LONG).start()
        self.room.until(lambda: events)
        self.assertEqual(events, [("end", LONG, LONG, bytes(32))])
        self.assertFalse(self.connection.streaming)
        self.assert_usable()

    def test_not_found(self) -> None:
        """A replica that is not there is an error before any block."""
        self.service.head = fail(ReplicaNotFound("gone"))
        self.failure_of(self.connection.open_get(get_request(), self.sink, 30), ReplicaNotFound)
        self.assertFalse(self.connection.streaming)
        self.assert_usable()

    def test_wrong_head(self) -> None:
        """A service that answers a get with something else has made a mistake, which the reader learns."""
        self.service.head = fail(ValueError("oops"))
        self.failure_of(self.connection.open_get(get_request(), self.sink, 30), InternalError)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_sender_aborts(self) -> None:
        """A sender that meets a bad block says so, and the reader's sink learns it."""
        _, _, events = self.get()
        assert self.service.outgoing is not None
        self.service.outgoing.write(blocks(1)[0])
        self.service.outgoing.abort(NoSpace("of a kind"))
        self.room.until(lambda: events)
        self.assertEqual(events, [("stream failed", "NoSpace")])
        self.assert_usable()

    def test_reader_refuses(self) -> None:
        """A reader that has enough stops the sender; what is on its way is skipped."""
        sink, stream, events = self.get()
        assert self.service.outgoing is not None
        source = Source(self.service.outgoing, LONG)
        source.start()
        self.room.until(lambda: sink.length > 0)
        stream.refuse(Cancelled("enough"))
        length = sink.length
        self.room.until(lambda: source.stopped)
        self.room.run()
        self.assertEqual((sink.length, events), (length, []))
        self.assert_usable()

    def test_cancelled_before_the_head(self) -> None:
        """Cancelling a get that has no head yet frees the connection on both sides."""
        gone: list[Any] = []
        self.service.head = Deferred(gone.append)
        asked = self.connection.open_get(get_request(), self.sink, 30)
        self.room.run(0.5)
        self.assertTrue(self.connection.streaming)
        asked.cancel()
        self.failureResultOf(asked, Cancelled)
        self.room.run(0.5)
        self.assertEqual(len(gone), 1)
        self.assert_usable()

    def test_no_progress(self) -> None:
        """A reader gives a sender up that says nothing for its time."""
        _, _, events = self.get(timeout=4)
        self.room.run(10)
        self.assertEqual(events, [("stream failed", "DeadlinePassed")])
        self.assertTrue(self.connection.peer)
        self.assert_usable()

    def test_stalled_reader(self) -> None:
        """A reader that pauses holds the sender at the high-water mark."""
        sink, _, events = self.get(timeout=60)
        sink.pause_at = 1
        assert self.service.outgoing is not None
        source = Source(self.service.outgoing, LONG)
        source.start()
        self.room.run(10)
        self.assertLess(source.peak, BULK_BUFFER + MAX_BLOCK_BODY + 1000)
        self.assertTrue(source.left)
        self.assertEqual(events, [])

    def test_written_before_the_head(self) -> None:
        """A service that writes blocks before it answered the head is told so."""
        self.service.head = Deferred()
        asked = self.connection.open_get(get_request(), self.sink, 30)
        self.room.until(lambda: self.service.outgoing)
        assert self.service.outgoing is not None
        self.assertRaises(RuntimeError, self.service.outgoing.write, blocks(1)[0])
        self.connection.abort()
        self.failure_of(asked, Disconnected)


class OrderTests(StreamCase):
    def test_gap(self) -> None:
        """A block that does not follow the one before ends the connection: its bytes cannot be trusted (S43)."""
        put = self.connection.open_put(put_request(), 30)
        first, _, third = blocks(3 * BLOCK)
        put.write(first)
        put.write(third)
        self.failure_of(put.answer, Disconnected)
        self.assertEqual(self.sink.length, BLOCK)
        self.assertIn(("stream failed", "Disconnected"), self.service.events)

    def test_client_may_stream(self) -> None:
        """A client without a key may open streams: the grant is checked above."""
        connection = self.room.dial(identity(Role.CLIENT, "client", key=b""), Purpose.BULK)
        put = connection.open_put(put_request(), 30)
        put.end(0, bytes(32))
        self.room.until(lambda: ("end", 0, 0, bytes(32)) in self.service.events)
        self.service.put_answer.callback(written(0))
        self.assertEqual(self.room.until(put.answer), written(0))
