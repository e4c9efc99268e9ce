"""Requests, answers and messages over one connection."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from dfs.protocol.errors import (
    BY_CODE,
    BadRequest,
    Busy,
    Cancelled,
    DeadlinePassed,
    Disconnected,
    Forbidden,
    InternalError,
    NotLeader,
    UnknownRequest,
)
from dfs.protocol.failures import decode_error, encode_error
from dfs.protocol.interfaces import IConnection, IService
from dfs.protocol.limits import MAX_INCOMING, MAX_ONE_WAY_BUFFER, MAX_OUTGOING, MAX_SENTENCE
from dfs.protocol.messages import AddReplicas, Lease, Registered, RenewLease, VerifyChunk
from dfs.protocol.test.nodes import ASK, KEY, Room, Service, identity, put_request
from dfs.protocol.values import FileId, Generation, NodeNumber, Purpose, Role


class RequestTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.room = Room()
        self.service = self.room.service
        self.connection = self.room.dial()

    def test_provides(self) -> None:
        """Connection and service provide their interfaces."""
        verifyObject(IConnection, self.connection)
        verifyObject(IService, self.service)

    def test_answer(self) -> None:
        """A request is answered, and both sides know who the other is."""
        self.assertEqual(self.room.until(self.connection.call(ASK, 5)), Lease(7))
        self.assertEqual(self.service.events, [("connected", "chunk-1", True), ("request", "RenewLease")])
        self.assertEqual(self.connection.peer.name, "meta-1")
        self.assertEqual((self.connection.cluster, self.connection.cluster_time_ms), (b"c" * 16, 4711))

    def test_many_at_once(self) -> None:
        """Answers find their requests in whatever order they come."""
        pending: dict[int, Deferred[Any]] = {}

        def hold(request: RenewLease) -> Deferred[Any]:
            pending[request.epoch] = Deferred()
            return pending[request.epoch]

        self.service.answer = hold
        calls = [self.connection.call(RenewLease(FileId(1), epoch), 5) for epoch in range(20)]
        self.room.until(lambda: len(pending) == 20)
        for epoch in reversed(range(20)):
            pending[epoch].callback(Lease(epoch))
        self.assertEqual([self.room.until(call) for call in calls], [Lease(epoch) for epoch in range(20)])

    def test_both_ways(self) -> None:
        """The listening side may ask too, of a peer that has a service."""
        mine = Service()
        self.room.dial(service=mine)
        self.assertEqual(self.room.until(self.service.connections[-1].call(ASK, 5)), Lease(7))
        self.assertRaises(UnknownRequest, self.room.until, self.service.connections[0].call(ASK, 5))

    def test_errors_travel(self) -> None:
        """An error arrives as its class, with sentence, hint, nodes and leader."""
        self.service.answer = lambda _: fail(NotLeader("not me", "ask b", ("a", "b"), "b:7000"))
        error = self.failure_of(self.connection.call(ASK, 5), NotLeader)
        told = (error.message, error.hint, error.nodes, error.leader)
        self.assertEqual(told, ("not me", "ask b", ("a", "b"), "b:7000"))

    def failure_of(self, call: Deferred[Any], expected: Any) -> Any:
        """The error that a call fails with."""
        return self.assertRaises(expected, self.room.until, call)

    def test_every_error_travels(self) -> None:
        """Each class of the tree comes back as itself, and a code of a newer peer as InternalError (S39)."""
        for code, cls in BY_CODE.items():
            self.assertIs(type(decode_error(code, encode_error(cls("x")))), cls)
        self.assertIs(type(decode_error(9999, encode_error(BadRequest("x")))), InternalError)

    def test_long_sentences_are_cut(self) -> None:
        """An error that is too long is cut, not lost."""
        error = decode_error(2, encode_error(BadRequest("ä" * 9000, "h" * 9000, ("n" * 999,) * 999, "l" * 999)))
        self.assertEqual(len(error.message.encode()), MAX_SENTENCE)
        self.assertEqual(len(error.nodes), 64)

    def test_bugs_stay_at_home(self) -> None:
        """An unforeseen exception is logged where it happened; the peer learns only that."""
        self.service.answer = lambda _: fail(ValueError("secret"))
        error = self.failure_of(self.connection.call(ASK, 5), InternalError)
        self.assertNotIn("secret", str(error))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_deadline(self) -> None:
        """Without an answer in time the caller gets DeadlinePassed and the service's work is cancelled."""
        gone: list[Any] = []
        self.service.answer = lambda _: Deferred(gone.append)
        self.failure_of(self.connection.call(ASK, 2), DeadlinePassed)
        self.room.run(1)
        self.assertEqual(len(gone), 1)

    def test_deadline_when_the_cancel_is_lost(self) -> None:
        """The deadline rides in the request: a node gives up by itself when its caller is out of reach."""
        gone: list[Any] = []
        self.service.answer = lambda _: Deferred(gone.append)
        call = self.connection.call(ASK, 2)
        self.room.run(0.5)
        self.room.world.partition("here", "there")
        self.room.run(3)
        self.assertEqual(len(gone), 1)
        self.failureResultOf(call, DeadlinePassed)

    def test_cancel(self) -> None:
        """Cancelling a call tells the other side to stop, and the connection goes on."""
        gone: list[Any] = []
        self.service.answer = lambda _: Deferred(gone.append)
        call = self.connection.call(ASK, 60)
        self.room.run(0.5)
        call.cancel()
        self.failureResultOf(call, Cancelled)
        self.room.run(0.5)
        self.assertEqual(len(gone), 1)
        self.service.answer = Lease(1)
        self.assertEqual(self.room.until(self.connection.call(ASK, 5)), Lease(1))

    def test_cancelled_by_the_service(self) -> None:
        """A service whose own work was cancelled answers Cancelled, not a bug."""
        self.service.answer = lambda _: fail(CancelledError())
        self.failure_of(self.connection.call(ASK, 5), Cancelled)

    def test_disconnect_while_waiting(self) -> None:
        """What waits when the connection ends fails with Disconnected; the service's work is cancelled."""
        gone: list[Any] = []
        self.service.answer = lambda _: Deferred(gone.append)
        call = self.connection.call(ASK, 60)
        closed = self.connection.when_closed()
        self.room.run(0.5)
        self.service.connections[0].abort()
        self.failure_of(call, Disconnected)
        self.assertEqual(len(gone), 1)
        self.assertIsInstance(self.successResultOf(closed), Disconnected)
        self.assertEqual(self.service.events[-1], ("disconnected", "chunk-1"))
        self.failureResultOf(self.connection.call(ASK, 5), Disconnected)

    def test_close_writes_what_is_queued(self) -> None:
        """close() loses nothing that was asked before."""
        call = self.connection.call(ASK, 5)
        self.connection.close()
        self.room.run()
        self.failureResultOf(call, Disconnected)
        self.assertIn(("request", "RenewLease"), self.service.events)

    def test_wrong_answer(self) -> None:
        """An answer of a class that does not answer the request fails it and ends the connection."""
        self.service.answer = Registered(NodeNumber(1), 1, 1, False)
        self.failure_of(self.connection.call(ASK, 5), BadRequest)
        self.room.until(self.connection.when_closed())

    def test_answer_beyond_its_limits(self) -> None:
        """An answer that cannot be encoded reaches the caller as an error, never as silence."""
        self.service.answer = Lease(2**40)
        self.failure_of(self.connection.call(ASK, 5), InternalError)

    def test_no_timer_is_left(self) -> None:
        """An ended connection leaves nothing behind on the clock."""
        self.room.until(self.connection.call(ASK, 5))
        self.connection.close()
        self.room.run(15)
        self.assertEqual(self.room.here.reactor.getDelayedCalls(), [])
        self.assertEqual(self.room.there.reactor.getDelayedCalls(), [])


class PermissionTests(SynchronousTestCase):
    def test_roles(self) -> None:
        """A client may not ask what only nodes may; the service never sees it."""
        room = Room()
        client = room.dial(identity(Role.CLIENT, "client", key=b""))
        call = client.call(VerifyChunk(FileId(1), 0, Generation(1)), 5)
        self.assertRaises(Forbidden, room.until, call)
        self.assertEqual(room.until(client.call(ASK, 5)), Lease(7))
        self.assertEqual(room.service.events, [("connected", "client", False), ("request", "RenewLease")])

    def test_purposes(self) -> None:
        """Even a proven chunk server asks metadata nothing on a BULK connection, which it may have opened at somebody
        else's word, and streams nothing on a CONTROL connection (S43)."""
        room = Room()
        call = room.dial(purpose=Purpose.BULK).call(AddReplicas(()), 5)
        self.assertRaises(Forbidden, room.until, call)
        self.assertRaises(Forbidden, room.until, room.dial().call(put_request(), 5))
        self.assertFalse([event for event in room.service.events if "connected" not in event])

    def test_claimed_name(self) -> None:
        """A peer that proved nothing is not trusted, whatever it calls itself."""
        room = Room()
        client = room.dial(identity(Role.CLIENT, "meta-1", key=b""))
        self.assertFalse(room.service.connections[0].peer.trusted)
        self.assertFalse(client.peer.trusted)


class LimitTests(SynchronousTestCase):
    def test_incoming(self) -> None:
        """Above the limit of requests in progress a connection is not read until some end (S43)."""
        room = Room()
        connection = room.dial()
        waiting: list[Deferred[Any]] = []

        def hold(request: object) -> Deferred[Any]:
            waiting.append(Deferred())
            return waiting[-1]

        room.service.answer = hold
        calls = [connection.call(ASK, 60) for _ in range(MAX_INCOMING + 50)]
        room.run(5)
        self.assertEqual(len(waiting), MAX_INCOMING)
        for each in waiting[:100]:
            each.callback(Lease(1))
        room.run(5)
        self.assertEqual(len(waiting), MAX_INCOMING + 50)
        for each in waiting[100:]:
            each.callback(Lease(1))
        for call in calls:
            self.assertEqual(room.until(call), Lease(1))

    def test_outgoing(self) -> None:
        """Nobody can pile up calls without end on one connection."""
        room = Room()
        connection = room.dial()
        room.service.answer = lambda _: Deferred()
        calls = [connection.call(ASK, 1) for _ in range(MAX_OUTGOING)]
        self.failureResultOf(connection.call(ASK, 1), Busy)
        room.run(3)
        for call in calls:
            self.failureResultOf(call, DeadlinePassed)

    def test_answers_that_nobody_takes(self) -> None:
        """A peer that asks and does not read the answers is not read either, so they do not pile up (S43)."""
        room = Room()
        connection = room.dial()
        room.service.answer = lambda _: fail(BadRequest("x" * 2000))
        connection._port.pause("test")
        server: Any = room.service.connections[0]
        calls = []
        for _ in range(40):
            calls += [connection.call(ASK, 600) for _ in range(20)]
            room.run(0.1)
        self.assertLess(server._port.unsent, 1 << 20)
        self.assertLess(len([event for event in room.service.events if event[0] == "request"]), 700)
        connection.abort()
        room.run()
        for call in calls:
            self.failureResultOf(call, Disconnected)


class OneWayTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.room = Room()
        self.connection = self.room.dial(identity(Role.META, "meta-2"), Purpose.RAFT)

    def test_messages(self) -> None:
        """One-way messages arrive in order, as they were."""
        for payload in (b"one", b"", b"x" * 100_000):
            self.connection.send(payload)
        self.room.run()
        self.assertEqual(
            self.room.service.events[1:], [("message", b"one"), ("message", b""), ("message", b"x" * 100_000)]
        )

    def test_bounded(self) -> None:
        """Messages for a peer out of reach are dropped above a bound, and counted."""
        self.room.world.partition("here", "there")
        for _ in range(200):
            self.connection.send(bytes(100_000))
            self.room.run(0.01)
        self.assertLess(self.connection._port.unsent, MAX_ONE_WAY_BUFFER + 200_000)
        self.assertGreater(self.connection.dropped, 100)

    def test_not_for_others(self) -> None:
        """A one-way message on a connection that is not for them ends it (S43)."""
        other = self.room.dial(identity(Role.CHUNK, "chunk-1", KEY), Purpose.CONTROL)
        other.send(b"vote for me")
        error = self.room.until(other.when_closed())
        self.assertIsInstance(error, BadRequest)
        self.assertNotIn(("message", b"vote for me"), self.room.service.events)


class SilenceTests(SynchronousTestCase):
    def test_half_open(self) -> None:
        """A peer that is gone without a word is found within a minute on both sides (S43)."""
        room = Room()
        connection = room.dial()
        room.run(100)
        self.assertEqual(len(room.factory.connections), 1)
        room.world.partition("here", "there")
        room.run(45)
        self.assertEqual(len(room.factory.connections), 0)
        self.assertIsInstance(self.successResultOf(connection.when_closed()), Disconnected)

    def test_idle_is_not_silent(self) -> None:
        """An idle control connection stays open for as long as both sides live."""
        room = Room()
        connection = room.dial()
        room.run(3600)
        self.assertEqual(room.until(connection.call(ASK, 5)), Lease(7))

    def test_idle_bulk_is_closed(self) -> None:
        """A bulk connection that nobody uses is closed by the listener after a while."""
        room = Room()
        room.dial(purpose=Purpose.BULK)
        room.run(200)
        self.assertEqual(len(room.bulk.connections), 0)
