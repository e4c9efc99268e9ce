"""Operators are told what lacks copies, how it goes and what holds it up; nothing is promised that is not known."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from dfs.metaserver.metering import LEAST, WINDOW, Meter
from dfs.metaserver.moves import Debt, Work
from dfs.metaserver.pacing import Pace
from dfs.metaserver.pairs import FAILURES, FORGET, Pairs
from dfs.metaserver.placement import NodeView
from dfs.metaserver.redundancy import allowed, limit_of, redundancy, seconds_left
from dfs.metaserver.test.cluster import Cluster
from dfs.protocol import messages as m
from dfs.protocol.errors import Disconnected
from dfs.protocol.values import NodeState

MIB = 1 << 20
SHORT = Debt(chunks=10, bytes=40 * MIB, single=1, lost=0, aside=0, scanning=False)
BUSY = Work(backlog=5, flights=5, waiting=0, aside=0, aside_bytes=0, aside_reason="")


def view(number: int, client_rate: int = 0, state: NodeState = NodeState.ALIVE) -> NodeView:
    return NodeView(number, "", state, 1, 1, 0, clients=bool(client_rate), client_rate=client_rate)


class MeterTests(SynchronousTestCase):
    def test_rate(self) -> None:
        """The rate is that of the last seconds; what it was when last at work is remembered."""
        meter = Meter()
        self.assertEqual((meter.rate(0.0), meter.usual), (0, 0))
        for second in range(20):
            meter.add(MIB, float(second))
        self.assertAlmostEqual(meter.rate(19.0), MIB, delta=MIB // 5)
        self.assertEqual(meter.rate(19.0 + WINDOW + 1), 0)
        self.assertAlmostEqual(meter.usual, MIB, delta=MIB // 5)

    def test_a_moment_is_no_measurement(self) -> None:
        """What was at work for a moment only has no usual rate."""
        meter = Meter()
        meter.add(MIB, 0.0)
        meter.add(MIB, LEAST / 2)
        self.assertEqual(meter.usual, 0)


class WordsTests(SynchronousTestCase):
    """What limits, and how long it takes."""

    def limit(self, rate: int, pace: Pace, *views: NodeView, work: Work = BUSY, debt: Debt = SHORT) -> str:
        return limit_of(debt, work, rate, allowed(pace, views))

    def test_what_limits(self) -> None:
        """The setting that binds is named, and clients where something is left to them."""
        pace, nodes = Pace(node_rate=100 * MIB), [view(number) for number in range(4)]
        self.assertEqual(self.limit(190 * MIB, pace, *nodes), "DFS_NODE_MOVE_RATE")
        self.assertIn("DFS_REPAIR_STREAMS", self.limit(20 * MIB, pace, *nodes))
        self.assertEqual(self.limit(9 * MIB, Pace(100 * MIB, 10 * MIB), *nodes), "DFS_MOVE_RATE")
        busy = [view(number, 80 * MIB) for number in range(4)]
        self.assertIn("clients take", self.limit(99 * MIB, pace, *busy))
        aside = Work(0, 0, 0, 10, 40 * MIB, "no node has room")
        self.assertEqual(self.limit(0, pace, *nodes, work=aside), "no node has room")
        self.assertIn("failed", self.limit(0, pace, *nodes, work=Work(0, 0, 3, 0, 0, "")))

    def test_the_dead_move_nothing(self) -> None:
        """What the limits allow counts nodes that are alive, each move at two of them."""
        views = [view(1), view(2), view(3, state=NodeState.DEAD)]
        self.assertEqual(allowed(Pace(node_rate=10), views).rate, 10)

    def test_time_to_go(self) -> None:
        """How long it takes is told only where it is known: nothing while chunks are still counted, nothing where
        nothing moves or has a place."""
        self.assertEqual(seconds_left(SHORT, BUSY, 4 * MIB), 10.0)
        counting = Debt(10, 40 * MIB, 1, 0, 0, True)
        self.assertIsNone(seconds_left(counting, BUSY, 4 * MIB))
        self.assertIsNone(seconds_left(SHORT, BUSY, 0))
        self.assertIsNone(seconds_left(SHORT, Work(0, 0, 0, 10, 40 * MIB, "x"), 4 * MIB))
        self.assertEqual(seconds_left(SHORT, Work(5, 0, 0, 5, 20 * MIB, "x"), 4 * MIB), 5.0)
        self.assertIsNone(redundancy(counting, BUSY, 1, 1, allowed(Pace(), []), ()).left_ms)


class PairTests(SynchronousTestCase):
    def test_named(self) -> None:
        """S22: a pair is named after several failures and none between; by success, time or death no more."""
        pairs = Pairs()
        for _ in range(FAILURES - 1):
            pairs.failed(1, 2, 0.0)
        self.assertEqual(pairs.named(0.0), [])
        pairs.failed(1, 2, 0.0)
        pairs.failed(3, 4, 0.0)
        pairs.failed(3, 4, 0.0)
        self.assertEqual(pairs.named(0.0), [(1, 2), (3, 4)])
        pairs.succeeded(1, 2)
        self.assertEqual(pairs.named(0.0), [(3, 4)])
        self.assertEqual(pairs.named(FORGET), [])
        pairs.forget(4)
        self.assertEqual(pairs.named(0.0), [])


class ClusterTests(SynchronousTestCase):
    """A leader tells."""

    def cluster(self, chunks: int) -> Cluster:
        cluster = Cluster()
        cluster.start(chunks)
        self.addCleanup(cluster.stop)
        return cluster

    def events(self, cluster: Cluster) -> list[tuple[m.EventKind, int, str]]:
        page = cluster.done(m.ListEvents(0, 1000), m.EventPage)
        return [(event.kind, event.count, event.detail) for event in page.events]

    def test_set_aside_is_told_once(self) -> None:
        """S13: what has no place is in the log of events with its reason, once, however often it is tried again."""
        cluster = self.cluster(3)
        cluster.store("a")
        cluster.chunks[0].silent = True
        cluster.world.run(12.0)
        found = cluster.done(m.GetRedundancy(), m.Redundancy)
        self.assertEqual((found.chunks, found.aside, found.left_ms), (1, 1, None))
        self.assertIn("has room", found.limit)
        cluster.world.run(150.0)
        told = [each for each in self.events(cluster) if each[0] is m.EventKind.SET_ASIDE]
        self.assertEqual(told, [(m.EventKind.SET_ASIDE, 1, found.limit)])

    def test_a_drain_without_place(self) -> None:
        """S18: a drain that stands still for want of a place raises an alarm, until it is given one."""
        cluster = self.cluster(3)
        cluster.store("a")
        cluster.done(m.ChangeNode("chunk-1", m.NodeChange.DRAIN, 0, False), m.NodeAnswer)
        cluster.world.run(10.0)
        (alarm,) = cluster.status(cluster.leader()).alarms
        self.assertIn("chunk-1 stands still", alarm)
        cluster.done(m.ChangeNode("chunk-1", m.NodeChange.UNDRAIN, 0, False), m.NodeAnswer)
        cluster.world.run(5.0)
        self.assertEqual(cluster.status(cluster.leader()).alarms, ())

    def test_a_pair_is_named(self) -> None:
        """S22: nodes that do not reach one another are named in an alarm while both reach us."""
        cluster = self.cluster(4)
        for number in range(4):
            cluster.store(f"f{number}")
        for chunk in cluster.chunks:
            chunk.code = Disconnected.code
        cluster.chunks[0].silent = True
        cluster.world.run(60.0)
        alarms = cluster.status(cluster.leader()).alarms
        self.assertTrue(any("does not reach" in alarm for alarm in alarms), alarms)

    def test_what_was_evened_outlives_the_leader(self) -> None:
        """What rebalancing moved is told from the log of events, whoever leads, and begins anew when it is started."""
        cluster = self.cluster(3)

        async def told(count: int) -> None:
            term = cluster.leader().term
            assert term is not None
            for _ in range(count):
                term.tales.add(m.EventKind.COPIED, 1, MIB, "balance")
            await term.tales.round(term)

        def rebalance(action: m.RebalanceAction) -> tuple[int, int]:
            found = cluster.done(m.Rebalance(action, 100, False), m.Rebalanced)
            return found.chunks, found.bytes

        self.assertEqual(rebalance(m.RebalanceAction.START), (0, 0))
        cluster.world.run_until(Deferred.fromCoroutine(told(3)))
        self.assertEqual(rebalance(m.RebalanceAction.LOOK), (3, 3 * MIB))
        former = cluster.leader()
        former.host.kill()
        cluster.leader((former,))
        self.assertEqual(rebalance(m.RebalanceAction.PAUSE), (3, 3 * MIB))
        cluster.world.run(2.0)
        self.assertIn("paused", cluster.done(m.GetRedundancy(), m.Redundancy).paused[0])
        rebalance(m.RebalanceAction.STOP)
        self.assertEqual(rebalance(m.RebalanceAction.START), (0, 0))
        former.restart()
