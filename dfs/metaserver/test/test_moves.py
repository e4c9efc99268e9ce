"""Drains, balance, pace, and copies that only better where a chunk lies."""

from __future__ import annotations

import random

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from dfs.metaserver import scanning
from dfs.metaserver.balancing import Balance, Load
from dfs.metaserver.draining import WALK_AGAIN, Drains
from dfs.metaserver.mover import Need
from dfs.metaserver.moves import SWEEP_FIRST, Copy
from dfs.metaserver.pacing import YIELD, Pace
from dfs.metaserver.placement import NodeView
from dfs.metaserver.planner import Planner
from dfs.metaserver.queries import ChunkCopies
from dfs.metaserver.test.test_planner import GIB, view
from dfs.protocol.values import NodeState

MIB = 1 << 20


class MoveCase(SynchronousTestCase):
    """Chunks are told to the planner as looked at; no tables are needed."""

    def setUp(self) -> None:
        self.planner = self.make()
        self.told: list[tuple[int, int]] = []
        self.planner.on_surplus = self.told.append

    def make(self, pace: Pace | None = None) -> Planner:
        planner = Planner(random.Random(1).random, 1 << 32, pace=pace)
        for number in range(1, 7):
            planner.node(view(number))
        return planner

    def found(self, nodes: tuple[int, ...], index: int = 0, retired: tuple[int, ...] = ()) -> None:
        chunk = ChunkCopies(1, index, 1, MIB, b"s" * 32, nodes, 3, retired)
        request = scanning.Request(None, b"", ((1, index),))
        self.planner.receive(scanning.Reply(request, None, (((1, index), chunk),)), 0.0)

    def plan(self, now: float = 0.0) -> list[Copy]:
        return self.planner.plan(now)


class NeedTests(MoveCase):
    def test_drained_node_does_not_count(self) -> None:
        """A chunk on a node that is drained gets another place, from the draining node too if it must (S18)."""
        self.planner.node(view(1, NodeState.DRAINING))
        self.found((1, 2, 3))
        (copy,) = self.plan()
        self.assertEqual((copy.urgency, copy.target in (4, 5, 6)), (Need.LEAVING, True))
        self.assertEqual(self.planner.debt().chunks, 0)

    def test_order_of_need(self) -> None:
        """One copy first, then two, then what is drained, then what lies too close (S13, S20)."""
        self.planner = self.make(Pace())
        for number, rack in ((1, "a"), (2, "a"), (3, "b"), (4, "c"), (5, "d")):
            self.planner.node(evolve(view(number), rack=rack))
        self.planner.node(view(6, NodeState.DRAINING))
        self.found((1, 2, 3), 1)
        self.found((3, 4, 6), 2)
        self.found((4, 5), 3)
        self.found((3,), 4)
        order = []
        for now in range(20):
            for copy in self.plan(float(now)):
                order.append(copy.chunk.index)
                self.planner.result(copy.job, True, float(now))
        self.assertEqual(order, [4, 3, 2, 1])

    def test_rack_that_has_no_better(self) -> None:
        """Too close is only what could lie better: with one rack for all nothing moves (S20)."""
        self.found((1, 2, 3))
        self.assertEqual(self.plan(), [])

    def test_levels_of_racks(self) -> None:
        """Replicas keep apart at the first level of the label first, then at the next (S20)."""
        racks = {1: "dc1/r1", 2: "dc1/r2", 3: "dc1/r3", 4: "dc2/r1", 5: "dc2/r1", 6: "dc2/r2"}
        for number, rack in racks.items():
            self.planner.node(evolve(view(number), rack=rack))
        self.found((1, 2, 3))
        (copy,) = self.plan()
        self.assertIn(copy.target, (4, 5, 6))
        self.planner.result(copy.job, True, 0.0)
        self.found((1, 4, 5), 1)
        (copy,) = self.plan()
        self.assertIn(copy.target, (2, 3, 6))

    def test_surplus_is_told(self) -> None:
        """What has too many sound replicas is passed on to the trimmer; a node that just came back does not count
        until it is settled (S03)."""
        self.planner.node(NodeView(4, "", NodeState.ALIVE, 20 * GIB, 10 * GIB, 0, settled=False))
        self.found((1, 2, 3, 4))
        self.assertEqual(self.told, [])
        self.planner.node(view(4))
        request = self.planner.request()
        assert request is not None
        self.assertEqual(request.scan, 4)
        self.found((1, 2, 3, 4))
        self.assertEqual(self.told, [(1, 0)])

    def test_what_was_trimmed_is_served_again(self) -> None:
        """A chunk that is short and was trimmed somewhere is taken back from there before it is copied; a node that
        cannot is not asked twice (S16)."""
        self.found((1, 2), retired=(5,))
        (copy,) = self.plan()
        self.assertEqual((copy.source, copy.target, copy.is_restore), (5, 5, True))
        self.planner.result(copy.job, False, 0.0)
        self.plan(5.0)
        self.found((1, 2), retired=(5,))
        (copy,) = self.plan(5.0)
        self.assertFalse(copy.is_restore)
        self.assertNotEqual(copy.target, 5)

    def test_last_copy_in_quarantine(self) -> None:
        """Nothing else is left of it: it is served again from quarantine (S16)."""
        for number in (1, 2, 3):
            self.planner.node(view(number, NodeState.DEAD))
        self.found((1, 2, 3), retired=(5,))
        (copy,) = self.plan()
        self.assertTrue(copy.is_restore)

    def test_pair_that_failed(self) -> None:
        """Two nodes that do not reach one another are not tried together again while another source is there (S22)."""
        self.planner.node(view(5, free=0))
        self.planner.node(view(6, free=0))
        self.planner.node(view(3, free=0))
        self.found((1, 2))
        (first,) = self.plan()
        self.planner.result(first.job, False, 0.0)
        self.plan(1.0)
        self.found((1, 2))
        (second,) = self.plan(1.0)
        self.assertEqual({first.source, second.source}, {1, 2})

    def test_sweep(self) -> None:
        """Once in a while all chunks are looked at, a page at a time, and soon when a rack appears."""
        self.found((1, 2, 3))
        self.plan(0.0)
        self.assertIsNone(self.planner.request())
        self.plan(SWEEP_FIRST)
        request = self.planner.request()
        assert request is not None
        self.assertEqual((request.scan, request.after), (scanning.SWEEP, b""))
        self.planner.receive(scanning.Reply(request, None, ()), SWEEP_FIRST)
        self.planner.node(evolve(view(7), rack="new"))
        self.plan(SWEEP_FIRST + 1)
        request = self.planner.request()
        assert request is not None
        self.assertEqual(request.scan, scanning.SWEEP)


class DrainTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.drains = Drains()
        self.drains.begin(1)

    def walk(self, *left: int, index: int = 10, now: float = 0.0) -> None:
        self.drains.walked(1, index, True, (), False, now)
        self.drains.walked(1, index + 5, False, left, True, now)

    def test_finished_as_of_the_first_page(self) -> None:
        """A walk that found nothing left is finished as of its beginning, not its end (S18)."""
        self.walk()
        self.assertEqual(self.drains.clean(), [(1, 10)])
        self.assertEqual(self.drains.clean(), [])

    def test_something_left(self) -> None:
        """What is left is counted; the next walk comes when nothing waits, or after a while."""
        self.walk(5, 6)
        self.assertEqual(self.drains.clean(), [])
        left = self.drains.left(1)
        self.assertEqual((left.chunks, left.bytes), (2, 11))
        self.drains.copied(1, 5)
        self.assertEqual(self.drains.left(1).chunks, 1)
        self.assertEqual(self.drains.due(2.0, False), [])
        self.assertEqual(self.drains.due(2.0, True), [1])
        self.assertEqual(self.drains.due(WALK_AGAIN, False), [1])
        self.assertEqual(self.drains.rate(1, 5.0), 1)

    def test_ended(self) -> None:
        """A node that is taken back is walked over no more."""
        self.drains.end(1)
        self.walk()
        self.assertEqual((self.drains.clean(), self.drains.due(1000.0, True), 1 in self.drains), ([], [], False))


class BalanceTests(MoveCase):
    def test_fat_and_lean(self) -> None:
        """Nodes are fat above the mean and the threshold, lean below the mean, by what is recorded at them."""
        balance = Balance([Load(1, 100, 90), Load(2, 100, 50), Load(3, 100, 40), Load(4, 0, 0)], 200)
        self.assertEqual((set(balance.fat), set(balance.lean), balance.left_bytes), ({1}, {2, 3}, 30))

    def test_moves_from_fat_to_lean(self) -> None:
        """A chunk of a fat node is copied to a lean one; one that already has too many is not."""
        loads = [Load(number, 100, 90 if number == 1 else 10) for number in range(1, 7)]
        self.planner.balance = Balance(loads, 100)
        self.found((1, 2, 3), 1)
        self.found((2, 3, 4), 2)
        (copy,) = self.plan()
        self.assertEqual((copy.urgency, copy.chunk.index), (Need.BALANCE, 1))
        self.planner.balance = None
        self.planner.result(copy.job, True, 0.0)
        self.found((1, 2, 3), 3)
        self.assertEqual(self.plan(1.0), [])


class PaceTests(MoveCase):
    def test_rate(self) -> None:
        """Moves keep the rate: a chunk more than the second's share is waited for (S13)."""
        self.planner = self.make(Pace(node_rate=MIB // 2))
        for index in range(40):
            self.found((1, 2), index)
        began = 0
        for tick in range(200):
            for copy in self.plan(tick / 10):
                began += 1
                self.planner.result(copy.job, True, tick / 10)
        self.assertLessEqual(began, 2 + 20 * 2 // 2)
        self.assertGreaterEqual(began, 12)

    def test_whole_cluster(self) -> None:
        """The limit of all together holds whatever the nodes may."""
        pace = Pace(cluster_rate=MIB)
        pace.began(1, 2, 2 * MIB, 0.0)
        self.assertEqual([pace.is_open(now) for now in (0.0, 0.9, 1.1)], [False, False, True])

    def test_what_clients_leave(self) -> None:
        """Moves get what clients leave of a node's rate, all of it where they are idle, and never less than a share."""
        pace = Pace(node_rate=8 * MIB)
        told = [pace.rate_of(client_rate) // MIB for client_rate in (0, MIB, 2 * MIB, 7 * MIB, 100 * MIB)]
        self.assertEqual(told, [8, 7, 6, 8 // YIELD, 8 // YIELD])
        self.assertEqual(Pace().rate_of(5), 0)

    def test_clients_first(self) -> None:
        """Where clients want the node it moves at a fraction, and with fewer streams (S23)."""
        pace = Pace(node_rate=MIB)
        pace.began(1, 2, MIB * 3 // 2, 0.0)
        self.assertEqual(pace.wait(1, 0, 0.6), 0)
        pace.began(1, 2, MIB, 0.6)
        self.assertGreater(pace.wait(1, MIB, 1.0 + 1 / YIELD), 0)
        planner = self.planner
        for number in range(1, 7):
            known = view(number)
            planner.node(NodeView(number, "", known.state, known.total, known.free, 0, clients=3))
        for index in range(10):
            self.found((1, 2), index)
        busy: dict[int, int] = {}
        for copy in self.plan():
            for node in (copy.source, copy.target):
                busy[node] = busy.get(node, 0) + 1
        self.assertEqual(max(busy.values()), 1)
