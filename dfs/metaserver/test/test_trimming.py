"""The trimmer: one step after the other, and nothing that was not read goes."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from dfs.metaserver import commands_moving as moving
from dfs.metaserver import trimming
from dfs.metaserver.answers import Retired
from dfs.metaserver.placement import NodeView
from dfs.metaserver.test.test_planner import view
from dfs.metaserver.test.test_retiring import RetiringCase
from dfs.metaserver.trimming import STEP_SECONDS, WALK_SECONDS, Order, Trimmer, Verify, retirement
from dfs.protocol.values import NodeState


class TrimmerTests(RetiringCase):
    """Over a real machine's tables: one chunk on nodes 1 to 4, three wanted."""

    def setUp(self) -> None:
        super().setUp()
        self.trimmer = Trimmer(1)
        self.views: dict[int, NodeView] = {number: view(number) for number in range(1, 6)}
        self.forbidden: set[int] = set()

    def read(self, now: float = 0.0) -> list[Verify]:
        """A turn up to the orders to read."""
        request = self.trimmer.request(now)
        if request is not None:
            reply = trimming.answer(self.bench.machine.store, request)
            self.trimmer.receive(reply, self.views, lambda node: node not in self.forbidden, now)
        return self.trimmer.verifications()

    def begin(self, now: float = 0.0) -> list[Verify]:
        self.trimmer.offer((self.file_id, 0))
        return self.read(now)

    def propose(self) -> tuple[int, ...]:
        """Strike off what was read whole."""
        trims = self.trimmer.retirements()
        if not trims:
            return ()
        answer = self.bench.do(moving.RetireReplicas(tuple(retirement(trim) for trim in trims)))
        assert isinstance(answer, Retired)
        self.trimmer.retired(trims, answer.taken, answer.index)
        return answer.taken

    def order(self) -> Order:
        """Up to the order."""
        for verify in self.begin():
            self.trimmer.verified(verify.job, True)
        self.propose()
        (order,) = self.trimmer.orders()
        return order

    def test_whole_way(self) -> None:
        """Three survivors are read, the fullest node's replica is struck off, ordered away and reported (S16)."""
        self.views[2] = view(2, free=1 << 30)
        verifies = self.begin()
        self.assertEqual({verify.node for verify in verifies}, {1, 3, 4})
        for verify in verifies:
            self.assertEqual(self.trimmer.retirements(), [])
            self.trimmer.verified(verify.job, True)
        self.assertEqual(self.trimmer.orders(), [])
        self.assertEqual(self.propose(), (0,))
        (order,) = self.trimmer.orders()
        self.assertEqual((order.trim.goes, order.trim.evidence), (2, self.bench.index))
        self.assertEqual(self.trimmer.orders(), [])
        self.assertIsNotNone(self.trimmer.trimmed(order.job, True))
        self.assertEqual(self.bench.do(moving.TrimmedReplicas(self.trimmer.reports())).count, 1)
        self.assertEqual((self.trimmer.busy(), self.chunk.nodes), (0, (1, 3, 4)))

    def test_bad_survivor(self) -> None:
        """One survivor that is not whole, and nothing goes (S16)."""
        verifies = self.begin()
        for verify, is_whole in zip(verifies, (True, False, True), strict=True):
            self.trimmer.verified(verify.job, is_whole)
        self.assertEqual((self.propose(), self.trimmer.orders(), self.trimmer.busy()), ((), [], 0))

    def test_survivor_that_says_nothing(self) -> None:
        """What is not read within its time is given up, and an answer that comes late says nothing any more (S12)."""
        verifies = self.begin()
        self.trimmer.verified(verifies[0].job, True)
        self.trimmer.expire(STEP_SECONDS)
        self.assertEqual(self.trimmer.busy(), 0)
        for verify in verifies[1:]:
            self.trimmer.verified(verify.job, True)
        self.assertEqual(self.propose(), ())

    def test_node_dies(self) -> None:
        """Whose survivor, or whose own node, dies on the way is given up (S16)."""
        self.begin()
        self.trimmer.node_died(1)
        self.assertEqual(self.trimmer.busy(), 0)

    def test_unsettled(self) -> None:
        """A node that came back only a moment ago is no reason to take another one's replica, nor loses its own (S03);
        nor does a draining one."""
        for number in range(1, 5):
            for state, settled in ((NodeState.ALIVE, False), (NodeState.DRAINING, True), (NodeState.SUSPECT, True)):
                known = view(number, state)
                self.views[number] = NodeView(number, "", state, known.total, known.free, 0, settled=settled)
                self.assertEqual(self.begin(), [], (number, state))
            self.views[number] = view(number)

    def test_deletion_stopped(self) -> None:
        """While nothing may be deleted at a node, nothing is struck off there (S16)."""
        self.forbidden = {1, 2, 3, 4}
        self.assertEqual(self.begin(), [])

    def test_refused_in_apply(self) -> None:
        """What the state machine refuses is given up here; the planner finds it again."""
        verifies = self.begin()
        for verify in verifies:
            self.trimmer.verified(verify.job, True)
        self.add(verifies[0].node, 50)
        self.assertEqual((self.propose(), self.trimmer.busy()), ((), 0))

    def test_new_leader_finds_what_was_struck_off(self) -> None:
        """The leader is lost after it struck a replica off: the next one reads the survivors again, and orders
        (S12, S17)."""
        goes = self.order().trim.goes
        self.trimmer = Trimmer(1 << 32)
        verifies = self.read()
        self.assertEqual({verify.node for verify in verifies}, {1, 2, 3, 4} - {goes})
        for verify in verifies:
            self.trimmer.verified(verify.job, True)
        self.assertEqual(self.propose(), ())
        (order,) = self.trimmer.orders()
        self.assertEqual(order.trim.goes, goes)

    def test_order_that_failed(self) -> None:
        """A node that refuses, or whose report never comes, is asked again by a later walk (S12)."""
        order = self.order()
        self.assertIsNone(self.trimmer.trimmed(order.job, False))
        self.assertEqual(self.read(1.0), [])
        self.assertEqual(len(self.read(WALK_SECONDS + 1)), 3)

    def test_retired_and_then_needed(self) -> None:
        """While fewer than wanted stay, no order to give the retired one up is made (S16)."""
        order = self.order()
        others = [node for node in (1, 2, 3, 4) if node != order.trim.goes]
        self.views[others[0]] = view(others[0], NodeState.DEAD)
        self.trimmer = Trimmer(1 << 32)
        self.assertEqual(self.read(), [])


class BoundTests(SynchronousTestCase):
    def test_waiting_is_bounded(self) -> None:
        """So many chunks are known to wait and no more; the others are found again by walks."""
        trimmer = Trimmer(1)
        for index in range(trimming.MAX_WAITING + 5):
            trimmer.offer((1, index))
        self.assertEqual(trimmer.busy(), trimming.MAX_WAITING)
        request = trimmer.request(0.0)
        assert request is not None
        self.assertEqual(len(request.chunks), trimming.MAX_WORK)
