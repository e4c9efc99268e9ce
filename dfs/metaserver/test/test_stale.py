"""What a write that was placed anew left behind is ordered away, and nothing else is."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from dfs.metaserver.placement import NodeView
from dfs.metaserver.queries import ChunkCopies
from dfs.metaserver.stale import MAX_ORDERED, MAX_WAITING, ORDER_SECONDS, PAGE, Stale, StaleReplicas, is_stale, may_go
from dfs.metaserver.test import stale_model
from dfs.metaserver.test.cluster import SHA256, Chunk, Cluster
from dfs.protocol import messages as m
from dfs.protocol.removal import refusal
from dfs.protocol.values import CHUNK_SIZE, HISTORY_SHIFT, FileId, Generation, NodeState

VIEWS = {number: NodeView(number, "", NodeState.ALIVE, 1, 1, 0) for number in range(1, 6)}


def copies(*nodes: int, generation: int = 5) -> ChunkCopies:
    return ChunkCopies(1, 0, Generation(generation), 1, bytes(32), nodes, 3, ())


def stale(node: int = 4, generation: int = 3, index: int = 0) -> Stale:
    return Stale(node, 1, index, generation, 7, 1)


class RuleTests(SynchronousTestCase):
    def test_only_what_is_older(self) -> None:
        """S16: only a replica of an older generation of the same history is stale."""
        other = 1 << HISTORY_SHIFT
        self.assertTrue(is_stale(3, 5))
        self.assertFalse(is_stale(5, 5) or is_stale(6, 5) or is_stale(3, other + 5) or is_stale(other + 3, 5))

    def test_only_where_the_chunk_is_whole(self) -> None:
        """S16: while copies are short, the bytes of a given-up write may be the last good ones: they stay."""
        self.assertTrue(may_go(stale(), copies(1, 2, 3), VIEWS))
        self.assertFalse(may_go(stale(), copies(1, 2), VIEWS))
        self.assertFalse(may_go(stale(), None, VIEWS))
        dead = {**VIEWS, 3: NodeView(3, "", NodeState.DEAD, 1, 1, 0)}
        self.assertFalse(may_go(stale(), copies(1, 2, 3), dead))


class QueueTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.found = StaleReplicas(100)

    def test_each_is_ordered_once(self) -> None:
        """A replica is ordered away once while its order is out, and again after it failed or expired."""
        self.found.offer(stale())
        (asked,) = self.found.request(lambda node: True)
        (order,) = self.found.receive([(asked, copies(1, 2, 3))], VIEWS, 0.0)
        self.assertEqual((order.job, order.stale, order.committed), (100, stale(), 5))
        self.found.offer(stale())
        self.assertEqual(self.found.receive([(stale(), copies(1, 2, 3))], VIEWS, 1.0), [])
        self.found.expire(ORDER_SECONDS)
        self.assertEqual(len(self.found.receive([(stale(), copies(1, 2, 3))], VIEWS, ORDER_SECONDS)), 1)
        self.assertEqual((self.found.ended(101), self.found.ended(101)), (stale(), None))

    def test_waits_for_the_inventory(self) -> None:
        """S16: nothing is ordered of a node whose inventory was not seen; it waits, and others go on."""
        self.found.offer(stale(4))
        self.found.offer(stale(5))
        self.assertEqual(self.found.request(lambda node: node == 5), (stale(5),))
        self.assertEqual(self.found.request(lambda node: True), (stale(4),))

    def test_nodes_that_wait_stand_in_nobodys_way(self) -> None:
        """What waits for a node's inventory costs one look at the node, not one a replica; a node that died gives up
        its places, and they are there again when its inventory names them (S13)."""
        for index in range(MAX_WAITING + 10):
            self.found.offer(stale(4, index=index))
        looked: list[int] = []

        def look(node: int) -> bool:
            looked.append(node)
            return False

        self.assertEqual((self.found.request(look), looked), ((), [4]))
        self.found.offer(stale(5))
        self.found.forget(4)
        self.found.offer(stale(5))
        self.assertEqual(self.found.request(lambda node: True), (stale(5),))
        for index in range(MAX_WAITING):
            self.found.offer(stale(4, index=index))
        self.assertEqual(len(self.found.request(lambda node: True)), PAGE)

    def test_bounds(self) -> None:
        """What waits and what is out are bounded."""
        for index in range(MAX_WAITING + 10):
            self.found.offer(stale(index=index))
        asked = 0
        while page := self.found.request(lambda node: True):
            self.assertLessEqual(len(page), PAGE)
            asked += len(self.found.receive([(each, copies(1, 2, 3)) for each in page], VIEWS, 0.0))
        self.assertEqual(asked, MAX_ORDERED)


class ModelTests(SynchronousTestCase):
    def test_rules_keep_the_promise(self) -> None:
        """S16, S17: no interleaving of a write that is placed anew, late commits, leaders of any age and late orders
        takes a replica that is or will be recorded; either of the two rules alone keeps that, too."""
        for rules in (stale_model.Rules(), stale_model.Rules(committed=False), stale_model.Rules(older=False)):
            explored = stale_model.explore(rules)
            self.assertEqual((explored.hole, explored.road), ("", ()))
            self.assertGreater(explored.states, 100)

    def test_without_both_rules(self) -> None:
        """Without them an order that was given by an old look takes the replica that is committed later (S16)."""
        explored = stale_model.explore(stale_model.Rules(committed=False, older=False))
        self.assertIn("order arrives", explored.road)


class ClusterTests(SynchronousTestCase):
    def test_order_is_given(self) -> None:
        """S16: an inventory names a replica of a generation that was given up; the leader orders it away by its number,
        with leave that the node accepts, and tells it in the log of events; the committed one is left alone."""
        cluster = Cluster()
        cluster.start(4)
        self.addCleanup(cluster.stop)
        granted = cluster.create("a")
        first = granted.placements[0]
        given_up = m.ReplaceChunk(cluster.operation(), granted.file_id, granted.epoch, 0, first.generation, ())
        (second,) = cluster.done(given_up, m.Placements).placements
        cluster.commit_chunk(granted.file_id, second)
        cluster.finish(granted)
        holder = cluster.chunk(second.targets[0].name)
        held = (self._held(granted.file_id, first.generation, 7), self._held(granted.file_id, second.generation, 101))
        for chunk in cluster.chunks:
            chunk.held = held if chunk is holder else held[1:] if self._is_in(chunk.name, second) else ()
        cluster.world.run(1.0)
        for chunk in cluster.chunks:
            cluster.world.run_until(_sent(chunk))
        cluster.world.run_until(lambda: any(job.kind is m.JobKind.TRIM for job in holder.jobs))
        (job,) = [job for job in holder.jobs if job.kind is m.JobKind.TRIM]
        removal = job.removal
        assert removal is not None
        self.assertEqual((removal.kind, removal.generation, removal.number), (m.RemovalKind.STALE, first.generation, 7))
        self.assertEqual(refusal(removal, holder.node, 7, removal.term), "")
        cluster.world.run(6.0)
        told = cluster.done(m.ListEvents(0, 100), m.EventPage).events
        self.assertIn((m.EventKind.TRIMMED, "stale generation"), [(event.kind, event.detail) for event in told])
        self.assertEqual([job for chunk in cluster.chunks for job in chunk.jobs if job.kind is m.JobKind.TRIM], [job])

    def _held(self, file_id: FileId, generation: Generation, number: int) -> m.HeldReplica:
        return m.HeldReplica(file_id, 0, generation, CHUNK_SIZE, SHA256, number)

    def _is_in(self, name: str, placement: m.Placement) -> bool:
        return any(target.name == name for target in placement.targets)


def _sent(chunk: Chunk) -> Deferred[None]:
    assert chunk.leader is not None and chunk.held is not None
    return Deferred.fromCoroutine(chunk.send_inventory(chunk.leader, chunk.number, chunk.held))
