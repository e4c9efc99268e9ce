"""Inventories by digest, as metadata compares them."""

from __future__ import annotations

from collections.abc import Iterable

from twisted.trial.unittest import SynchronousTestCase

from dfs.metaserver.inventorying import FIRST_PLACE
from dfs.metaserver.queries import replicas_page
from dfs.metaserver.tables import LAST_PLACE, place
from dfs.metaserver.test.cluster import Cluster
from dfs.protocol import messages as m
from dfs.protocol.digests import digest_of, replica_hash
from dfs.protocol.errors import Forbidden
from dfs.protocol.values import NodeNumber

Replica = tuple[int, int, int]  # file id, index, number


class CompareTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.cluster = Cluster()
        self.cluster.start(3)
        for name in "abcd":
            self.cluster.store(name)
        self.chunk = self.cluster.chunks[0]
        self.term = self.cluster.leader().term
        assert self.term is not None
        self.node = NodeNumber(self.chunk.node)
        self.cluster.world.run_until(lambda: self.may_delete())
        self.term.inventorying._seen.clear()
        self.term.inventorying._turns.clear()

    def may_delete(self) -> bool:
        assert self.term is not None
        return self.term.inventorying.may_delete(self.node)

    def recorded(self) -> list[Replica]:
        assert self.term is not None
        rows = replicas_page(self.term.seams.machine.store, self.node)
        return [(file_id, index, record.number) for file_id, index, record in rows]

    def ranges(self, held: Iterable[Replica], cuts: Iterable[bytes]) -> tuple[m.RangeDigest, ...]:
        """Digests of what is held, in ranges that end at ``cuts`` and at the end."""
        found, after = [], FIRST_PLACE
        for upto in (*cuts, LAST_PLACE):
            inside = [one for one in held if after < place(one[0], one[1]) <= upto]
            found.append(m.RangeDigest(upto, len(inside), digest_of(sum(replica_hash(*one) for one in inside))))
            after = upto
        return tuple(found)

    def compare(self, after: bytes, ranges: tuple[m.RangeDigest, ...]) -> tuple[int, ...]:
        assert self.chunk.leader is not None
        request = m.CompareInventory(self.node, self.chunk.incarnation, after, ranges)
        answer = self.cluster.world.run_until(self.chunk.leader.call(request, 5.0))
        assert isinstance(answer, m.InventoryDiffers)
        return answer.ranges

    def page(self, after: bytes, upto: bytes) -> m.InventoryTaken:
        assert self.chunk.leader is not None
        page = m.Inventory(self.node, self.chunk.incarnation, 0, after, upto, ())
        taken = self.cluster.world.run_until(self.chunk.leader.call(page, 5.0))
        assert isinstance(taken, m.InventoryTaken)
        return taken

    def test_equal(self) -> None:
        """S01, S16: digests that are those of the record need no list, however they are cut, and then the inventory
        counts as seen whole."""
        held = self.recorded()
        self.assertEqual(len(held), 4)
        cut = place(held[1][0], held[1][1])
        self.assertEqual(self.compare(FIRST_PLACE, self.ranges(held, [cut])[:1]), ())
        self.assertFalse(self.may_delete())
        self.assertEqual(self.compare(cut, self.ranges(held, [cut])[1:]), ())
        self.assertTrue(self.may_delete())

    def test_every_difference_is_seen(self) -> None:
        """S06: a replica more, one less, and one of another number differ, in their range only."""
        held = self.recorded()
        cut = place(held[1][0], held[1][1])
        file_id, index, number = held[0]
        others: list[list[Replica]] = [held[1:], [(file_id, index, number + 1), *held[1:]], [(1, 0, 5), *held]]
        for other in others:
            self.assertEqual(self.compare(FIRST_PLACE, self.ranges(other, [cut])), (0,))
            self.assertFalse(self.may_delete())
        self.assertEqual(self.recorded(), held)

    def test_whole_only_with_the_lists(self) -> None:
        """S16: an inventory counts as seen only when every differing range was listed, whatever came last."""
        held = self.recorded()
        cut = place(held[1][0], held[1][1])
        self.assertEqual(self.compare(FIRST_PLACE, self.ranges(held[1:], [cut])), (0,))
        self.page(cut, LAST_PLACE)
        self.assertFalse(self.may_delete())
        self.page(FIRST_PLACE, place(held[0][0], held[0][1]))
        self.assertFalse(self.may_delete())
        self.page(place(held[0][0], held[0][1]), cut)
        self.assertTrue(self.may_delete())
        self.assertEqual(self.recorded(), held)  # pages as of 0 prove nothing absent

    def test_nonsense(self) -> None:
        """S43: ranges that end before they begin, and counts beyond all bounds, are answered as differing."""
        wrong = (m.RangeDigest(LAST_PLACE, 1 << 31, bytes(16)), m.RangeDigest(FIRST_PLACE, 0, bytes(16)))
        self.assertEqual(self.compare(FIRST_PLACE, wrong), (0, 1))
        self.assertFalse(self.may_delete())

    def test_speaks_for_itself_only(self) -> None:
        """S43: a node compares its own replicas only."""
        other = self.cluster.chunks[1]
        assert self.chunk.leader is not None
        request = m.CompareInventory(other.node, other.incarnation, FIRST_PLACE, ())
        with self.assertRaises(Forbidden):
            self.cluster.world.run_until(self.chunk.leader.call(request, 5.0))


class CutShortTests(SynchronousTestCase):
    """An inventory that ends on its way is asked for again, for nothing is deleted at a node before it is whole."""

    def setUp(self) -> None:
        cluster = Cluster()
        cluster.start(3)
        term = cluster.leader().term
        assert term is not None
        self.node = cluster.chunks[0].node
        self.inventorying = term.inventorying
        cluster.world.run_until(lambda: all(self.inventorying.may_delete(chunk.node) for chunk in cluster.chunks))
        self.other = cluster.chunks[1].node
        self.inventorying.wanted(self.node)
        self.assertTrue(self.inventorying.ask(self.node))
        self.assertFalse(self.inventorying.ask(self.node), "it is sending one")

    def test_connection_broke(self) -> None:
        """S15: a node that registers again while its inventory is under way is asked anew at once, and once."""
        self.inventorying.registered(self.node, False)
        self.assertTrue(self.inventorying.ask(self.node))
        self.assertFalse(self.inventorying.ask(self.node))

    def test_process_ended(self) -> None:
        """S15: so is one whose process is new."""
        self.inventorying.registered(self.node, True)
        self.assertTrue(self.inventorying.ask(self.node))
        self.assertFalse(self.inventorying.ask(self.node))

    def test_whole_one(self) -> None:
        """A node that registers again after its inventory was whole is not asked: it tells what changes by itself."""
        self.inventorying.registered(self.other, False)
        self.assertFalse(self.inventorying.ask(self.other))
        self.assertTrue(self.inventorying.may_delete(self.other))
