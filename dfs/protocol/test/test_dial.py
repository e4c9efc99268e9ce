"""Connections come, stay, and are shared: dialling, listening, links, pools."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from dfs.protocol.dial import connect
from dfs.protocol.errors import BadRequest, Cancelled, DeadlinePassed, DFSError, Disconnected, Forbidden, WrongCluster
from dfs.protocol.interfaces import IConnection
from dfs.protocol.link import Link
from dfs.protocol.messages import Lease
from dfs.protocol.pool import BulkPool
from dfs.protocol.test.nodes import ASK, Room, Source, identity, put_request
from dfs.protocol.values import Purpose, Role

CHUNK = identity(Role.CHUNK, "chunk-1")


class ConnectTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.room = Room()

    def connect(self, address: str, **settings: Any) -> Deferred[IConnection]:
        """Dial from the host of the test."""
        return connect(self.room.here.runtime, address, CHUNK, Purpose.CONTROL, **settings)

    def failure_of(self, waiting: Deferred[Any], expected: type[DFSError]) -> Any:
        """The error that it fails with."""
        return self.assertRaises(expected, self.room.until, waiting)

    def test_nobody_listens(self) -> None:
        """A refused connection is Disconnected, with the address in its sentence."""
        error = self.failure_of(self.connect(f"{self.room.there.ip}:9"), Disconnected)
        self.assertIn(f"{self.room.there.ip}:9", error.message)

    def test_no_address(self) -> None:
        """What is no address is refused with a sentence."""
        self.assertIn("nonsense", self.failureResultOf(self.connect("nonsense"), BadRequest).value.message)

    def test_nobody_answers(self) -> None:
        """A host that is out of reach is given up after the time allowed."""
        self.room.world.partition("here", "there")
        self.failure_of(self.connect(self.room.address, timeout=2.0), DeadlinePassed)

    def test_mute_listener(self) -> None:
        """A listener that accepts and says nothing is given up after the time allowed, and let go of."""
        mute = Factory.forProtocol(Protocol)
        self.room.until(TCP4ServerEndpoint(self.room.there.reactor, 7777).listen(mute))
        self.failure_of(self.connect(f"{self.room.there.ip}:7777", timeout=2.0), DeadlinePassed)
        self.room.run()
        self.assertEqual(self.room.here.reactor.getDelayedCalls(), [])

    def test_cancel(self) -> None:
        """A dialling that is cancelled leaves nothing behind, in whatever phase."""
        for wait in (0.0, 0.0001, 0.0005, 0.001, 0.0015, 0.002):
            dialling = self.connect(self.room.address)
            self.room.run(wait)
            if dialling.called:
                self.successResultOf(dialling).abort()
                continue
            dialling.cancel()
            self.failureResultOf(dialling, Cancelled)
        self.room.run(20)
        self.assertEqual(len(self.room.factory.connections), 0)
        self.assertEqual(self.room.here.reactor.getDelayedCalls(), [])

    def test_refused_with_the_reason(self) -> None:
        """The dialer learns why the listener will not have it."""
        dialling = connect(
            self.room.here.runtime, self.room.address, identity(Role.CHUNK, "x", b"y" * 32), Purpose.CONTROL
        )
        self.assertIn("another cluster key", self.failure_of(dialling, Forbidden).message)
        self.failure_of(self.connect(self.room.address, expect="meta-2"), WrongCluster)
        self.room.run()
        self.assertEqual(len(self.room.factory.connections), 0)

    def test_identity_may_change(self) -> None:
        """A listener that learns its cluster later says so from the next connection on."""
        verifyObject(IProtocolFactory, self.room.factory)
        self.room.factory.identity = identity(Role.META, "meta-1", cluster=b"d" * 16)
        self.failure_of(self.connect(self.room.address), WrongCluster)

    def test_stop(self) -> None:
        """A stopped listener closes what is open and takes no more."""
        connection = self.room.dial()
        self.room.factory.stop()
        self.room.until(connection.when_closed())
        self.failure_of(self.connect(self.room.address), Disconnected)


class LinkTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.room = Room()
        self.events: list[Any] = []

    def link(self, who: Any = CHUNK) -> Link:
        """A started link to the node."""
        link = Link(
            self.room.here.runtime,
            self.room.address,
            who,
            Purpose.CONTROL,
            connected=lambda connection: self.events.append("connected"),
            disconnected=lambda error: self.events.append("disconnected"),
            refused=lambda error: self.events.append(type(error).__name__),
        )
        link.startService()
        return link

    def test_connects(self) -> None:
        """A link connects, tells of it, and gives its connection to whoever waits."""
        link = self.link()
        connection = self.room.until(link.when_connected())
        self.assertIs(link.connection, connection)
        self.assertIs(self.successResultOf(link.when_connected()), connection)
        self.assertEqual(self.room.until(connection.call(ASK, 5)), Lease(7))
        self.assertEqual(self.events, ["connected"])

    def test_comes_back(self) -> None:
        """A link that lost its connection has another soon."""
        link = self.link()
        self.room.until(link.when_connected())
        self.room.service.connections[0].abort()
        self.room.until(lambda: link.connection is None)
        self.room.until(link.when_connected())
        self.assertEqual(self.events, ["connected", "disconnected", "connected"])

    def test_waits_for_a_node_that_is_down(self) -> None:
        """A link goes on trying while nobody listens, a bounded number of times."""
        self.room.there.kill()
        link = self.link()
        self.room.run(60)
        self.assertIsNone(link.connection)
        self.assertGreater(len(self.events), 15)
        self.assertLess(len(self.events), 120)

    def test_refused(self) -> None:
        """A link that is refused tells why and tries seldom."""
        self.link(identity(Role.CHUNK, "chunk-1", cluster=b"z" * 16))
        self.room.run(60)
        refusals = self.events.count("WrongCluster")
        self.assertGreater(refusals, 3)
        self.assertLess(refusals, 13)

    def test_stop(self) -> None:
        """A stopped link closes, fails who waits, and never comes back."""
        link = self.link()
        self.room.until(link.when_connected())
        link.stopService()
        self.room.run(30)
        self.assertIsNone(link.connection)
        self.assertEqual(len(self.room.factory.connections), 0)
        self.room.there.kill()
        link.startService()
        waiting = link.when_connected()
        self.room.run(1)
        link.stopService()
        self.failureResultOf(waiting, Disconnected)
        self.room.run(20)
        self.assertEqual(self.room.here.reactor.getDelayedCalls(), [])

    def test_retry_now(self) -> None:
        """Whoever knows that the other side is back need not wait for the back-off."""
        link = self.link(identity(Role.CHUNK, "chunk-1", cluster=b"z" * 16))
        self.room.until(lambda: "WrongCluster" in self.events)
        link.identity = CHUNK
        link.retry_now()
        self.room.run(0.5)
        self.assertIsNotNone(link.connection)


class PoolTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.room = Room()
        self.pool = BulkPool(self.room.here.runtime, CHUNK, per_address=2)

    def acquire(self) -> Deferred[IConnection]:
        """One more connection."""
        return self.pool.acquire(self.room.bulk_address, "chunk-9")

    def test_reuse(self) -> None:
        """A released connection serves the next."""
        first = self.room.until(self.acquire())
        self.assertEqual(first.peer.purpose, Purpose.BULK)
        self.pool.release(first)
        self.assertIs(self.successResultOf(self.acquire()), first)

    def test_limit(self) -> None:
        """Above the limit one waits for a release, in order."""
        first = self.room.until(self.acquire())
        second = self.room.until(self.acquire())
        third, fourth = self.acquire(), self.acquire()
        self.room.run()
        self.assertNoResult(third)
        self.pool.release(second)
        self.assertIs(self.successResultOf(third), second)
        self.assertNoResult(fourth)
        first.abort()
        self.assertIsNot(self.room.until(fourth), first)
        self.assertEqual(len(self.room.bulk.connections), 2)

    def test_lost_while_idle(self) -> None:
        """An idle connection that ended is not handed out."""
        first = self.room.until(self.acquire())
        self.pool.release(first)
        self.room.service.connections[0].abort()
        self.room.run()
        self.assertIsNot(self.room.until(self.acquire()), first)

    def test_busy_is_not_kept(self) -> None:
        """A connection that is released in the middle of a stream is closed: nobody inherits half a chunk."""
        first = self.room.until(self.acquire())
        put = first.open_put(put_request(), 30)
        Source(put, 1).start()
        self.pool.release(first)
        self.assertIsNot(self.room.until(self.acquire()), first)
        self.failureResultOf(put.answer, Disconnected)

    def test_unreachable(self) -> None:
        """A failed dialling frees its place, and those that wait get their own error."""
        self.room.there.kill()
        waiting = [self.acquire() for _ in range(5)]
        self.room.run(10)
        for each in waiting:
            self.failureResultOf(each, Disconnected)
        self.assertEqual(self.pool._places, {})

    def test_cancelled_waiting(self) -> None:
        """A waiter that gave up takes no connection from the next."""
        first = self.room.until(self.acquire())
        self.room.until(self.acquire())
        third, fourth = self.acquire(), self.acquire()
        third.addErrback(lambda failure: None).cancel()
        self.pool.release(first)
        self.assertIs(self.successResultOf(fourth), first)

    def test_cancelled_dialling(self) -> None:
        """A dialling that was cancelled frees its place."""
        for _ in range(5):
            waiting = self.acquire()
            waiting.cancel()
            self.failureResultOf(waiting, Cancelled)
        self.room.until(self.acquire())
        self.room.until(self.acquire())

    def test_stop(self) -> None:
        """Stopping closes everything and fails whoever waits."""
        first = self.room.until(self.acquire())
        self.room.until(self.acquire())
        third = self.acquire()
        stopping = self.pool.stop()
        self.failureResultOf(third, Disconnected)
        self.room.until(stopping)
        self.room.run()
        self.assertEqual(len(self.room.bulk.connections), 0)
        self.pool.release(first)
        self.failureResultOf(self.acquire(), Disconnected)
