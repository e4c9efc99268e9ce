"""Finding the leader, and patience."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.trial.unittest import SynchronousTestCase

from dfs.protocol.errors import (
    BadRequest,
    Busy,
    Cancelled,
    DFSError,
    Disconnected,
    FileNotFound,
    Forbidden,
    NotLeader,
    Unavailable,
    WrongCluster,
)
from dfs.protocol.leader import LEARN_INTERVAL, MAX_HINTS, Attempts, LeaderCaller, Route
from dfs.protocol.listen import ServerFactory
from dfs.protocol.messages import GetMembers, GetStatus, Lease, MemberInfo, Members
from dfs.protocol.test.nodes import ASK, CLUSTER, PORT, Service, identity
from dfs.protocol.values import Role
from dfs.simulation.host import World

CLIENT = identity(Role.CLIENT, "client", key=b"", cluster=b"")


def members_of(node: str, addresses: list[str]) -> Members:
    """What a leader says of who belongs."""
    members = tuple(MemberInfo(address, address, True, 1, True, True) for address in addresses)
    return Members(node, node, 1, 1, members)


class CallerCase(SynchronousTestCase):
    """Three metadata nodes, of which meta-1 leads, and a client."""

    def setUp(self) -> None:
        self.world = World(3)
        self.me = self.world.host("me")
        self.nodes = [self.world.host(f"meta-{number}") for number in (1, 2, 3)]
        self.addresses = [f"{node.ip}:{PORT}" for node in self.nodes]
        self.services = [Service() for _ in self.nodes]
        for node, service in zip(self.nodes, self.services, strict=True):
            self.start(node, service)
        self.lead(0)
        self.caller = LeaderCaller(self.me.runtime, CLIENT, self.addresses)

    def start(self, node: Any, service: Service) -> None:
        """Listen."""
        factory = ServerFactory(node.runtime, identity(Role.META, node.name), service, lambda: 1_000_000)
        self.world.run_until(TCP4ServerEndpoint(node.reactor, PORT).listen(factory))

    def lead(self, leader: int | None, hint: bool = True) -> None:
        """Let this one lead and the others point at it."""
        for number, service in enumerate(self.services):
            address = self.addresses[leader] if leader is not None and hint else ""
            refuse = NotLeader("not me", leader=address)
            service.answer = Lease(number) if number == leader else lambda _, refuse=refuse: fail(refuse)

    def call(self, **settings: Any) -> Any:
        """The answer."""
        return self.world.run_until(self.caller.call(ASK, **settings), 120)

    def asked(self) -> list[int]:
        """How often each was asked."""
        return [sum(event[0] == "request" for event in service.events) for service in self.services]


class FindingTests(CallerCase):
    def test_redirect(self) -> None:
        """The hint of a follower is followed at once, and remembered."""
        began = self.world.clock.now
        self.assertEqual(self.call(), Lease(0))
        self.assertLess(self.world.clock.now - began, 0.05)
        self.assertEqual(self.caller.leader, self.addresses[0])
        before = sum(self.asked())
        for _ in range(5):
            self.call()
        self.assertEqual(sum(self.asked()), before + 5)

    def test_without_hints(self) -> None:
        """Without hints every node is asked in turn."""
        self.lead(2, hint=False)
        self.assertEqual(self.call(), Lease(2))

    def test_fail_over(self) -> None:
        """When the leader dies the next one is found, though the old one is still named for a while."""
        self.call()
        self.lead(0)
        self.nodes[0].kill()
        calls = [self.caller.call(ASK) for _ in range(20)]
        self.world.run(1.0)
        for call in calls:
            self.assertNoResult(call)
        self.lead(1)
        began = self.world.clock.now
        for call in calls:
            self.assertEqual(self.world.run_until(call), Lease(1))
        self.assertLess(self.world.clock.now - began, 1.0)

    def test_partition(self) -> None:
        """A leader out of reach costs one time-out, then another one is found."""
        self.call()
        self.world.isolate("meta-1")
        self.lead(1)
        self.assertEqual(self.call(timeout=2.0), Lease(1))

    def test_one_connection_each(self) -> None:
        """Many calls at once share one connection to each node."""
        calls = [self.caller.call(ASK) for _ in range(50)]
        for call in calls:
            self.assertEqual(self.world.run_until(call), Lease(0))
        self.assertLessEqual(max(len(service.connections) for service in self.services), 1)

    def test_learns(self) -> None:
        """Cluster id and cluster time are learned from Hello, and the time goes on by our own clock."""
        self.assertEqual((self.caller.cluster, self.caller.cluster_time_ms()), (b"", 0))
        self.call()
        self.assertEqual(self.caller.cluster, CLUSTER)
        self.assertLess(abs(self.caller.cluster_time_ms() - 1_000_000), 500)
        self.world.run(60)
        self.assertLess(abs(self.caller.cluster_time_ms() - 1_060_000), 500)

    def test_members_are_learnt(self) -> None:
        """A caller that was given one address learns the other members from the leader, and finds them when that one
        is gone."""
        caller = LeaderCaller(self.me.runtime, CLIENT, self.addresses[:1])
        members = members_of("meta-1", self.addresses)
        self.services[0].answer = lambda request: members if isinstance(request, GetMembers) else Lease(0)
        self.world.run_until(caller.call(ASK))
        self.world.run(LEARN_INTERVAL)
        self.world.run_until(caller.call(ASK))
        self.world.run(1.0)
        self.nodes[0].kill()
        self.lead(2)
        self.assertEqual(self.world.run_until(caller.call(ASK)), Lease(2))
        self.world.run_until(caller.stop())

    def test_status_of_anyone(self) -> None:
        """Whoever answers a status is not taken for the leader."""
        for service in self.services:
            service.answer = lambda _: fail(FileNotFound("stands for any answer"))
        self.assertRaises(FileNotFound, self.world.run_until, self.caller.call(GetStatus()))
        self.assertEqual(self.caller.leader, "")


class PatienceTests(CallerCase):
    def test_final_errors(self) -> None:
        """An error whose advice is to fail is not tried again."""
        self.services[0].answer = lambda _: fail(FileNotFound("no such file"))
        self.assertRaises(FileNotFound, self.call)
        self.assertEqual(self.asked()[0], 1)

    def test_busy_is_tried_again(self) -> None:
        """A leader that is busy is asked again, not another node."""
        answers = [fail(Busy("full")), fail(Busy("full"))]
        self.services[0].answer = lambda _: answers.pop() if answers else Lease(9)
        self.assertEqual(self.call(), Lease(9))
        self.assertEqual(self.asked()[0], 3)

    def test_gives_up(self) -> None:
        """Without a leader the caller gives up after its patience, naming what it tried at each node."""
        self.lead(None)
        began = self.world.clock.now
        error = self.assertRaises(Unavailable, self.call, patience=10.0)
        self.assertLess(abs(self.world.clock.now - began - 10), 1)
        for address in self.addresses:
            self.assertIn(address, error.message)
        self.assertIn("not me", error.message)
        self.assertTrue(error.hint)
        self.assertLess(sum(self.asked()), 200)

    def test_all_dead(self) -> None:
        """With every node dead the sentence says that none could be reached."""
        for node in self.nodes:
            node.kill()
        error = self.assertRaises(Unavailable, self.call, patience=3.0)
        for address in self.addresses:
            self.assertEqual(error.message.count(address), 1)
        self.assertIn("no node runs there", error.message)
        self.assertIn("dfs status", error.hint)

    def test_wrong_cluster(self) -> None:
        """When every node that was named refuses us there is no sense in waiting."""
        stranger = identity(Role.CLIENT, "client", key=b"", cluster=b"z" * 16)
        caller = LeaderCaller(self.me.runtime, stranger, self.addresses)
        began = self.world.clock.now
        self.assertRaises(WrongCluster, self.world.run_until, caller.call(ASK))
        self.assertLess(self.world.clock.now - began, 3)

    def test_no_address(self) -> None:
        """Without an address the user is told how to give one."""
        caller = LeaderCaller(self.me.runtime, CLIENT, [])
        self.failureResultOf(caller.call(ASK), BadRequest)

    def test_cancel(self) -> None:
        """A call that is given up stops, wherever it is."""
        self.services[0].answer = lambda _: Deferred()
        for wait in (0.0, 0.001, 0.01, 0.5):
            call = self.caller.call(ASK)
            self.world.run(wait)
            call.cancel()
            self.failureResultOf(call, Cancelled)

    def test_stop(self) -> None:
        """Stopping ends calls and connections and leaves nothing on the clock."""
        self.services[0].answer = lambda _: Deferred()
        call = self.caller.call(ASK)
        self.world.run(1)
        self.world.run_until(self.caller.stop())
        self.failureResultOf(call, Cancelled)
        self.failureResultOf(self.caller.call(ASK), Disconnected)
        self.world.run(1)
        self.assertEqual(self.me.reactor.getDelayedCalls(), [])


class RouteTests(SynchronousTestCase):
    def test_hints_are_bounded(self) -> None:
        """Hints of a hostile node do not pile up (S43)."""
        route = Route(["a:1"], 0)
        for number in range(1000):
            route.follow(f"h{number}:1")
        route.leave("h999:1")
        self.assertEqual(len({route.next_address() for _ in range(1000)}), MAX_HINTS + 1)

    def test_redirects_are_bounded(self) -> None:
        """Two nodes that point at one another are not asked without pause."""
        attempts = Attempts(Route(["a:1", "b:1"], 0), ["a:1", "b:1"])
        at_once = [
            attempts.failed("ab"[turn % 2] + ":1", NotLeader("no", leader="ba"[turn % 2] + ":1")) for turn in range(10)
        ]
        self.assertEqual(at_once, [True] * 3 + [False] * 7)

    def test_one_refusal_is_not_all(self) -> None:
        """One node of another cluster does not keep us from the others."""
        attempts = Attempts(Route(["a:1", "b:1"], 0), ["a:1", "b:1"])
        attempts.not_connected("a:1", WrongCluster("other"))
        attempts.not_connected("b:1", Disconnected("dead"))
        self.assertRaises(DFSError, attempts.not_connected, "b:1", Forbidden("no"))
