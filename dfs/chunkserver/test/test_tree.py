"""The tree of targets and the count of who has the chunk."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from dfs.chunkserver.tree import Tally, check_tree, child_quorum, subtrees
from dfs.protocol.errors import BadRequest
from dfs.protocol.messages import DurableReplica
from dfs.protocol.values import NodeNumber, Target


def targets(*parents: int) -> tuple[Target, ...]:
    """Nodes 1, 2, ... with these parents."""
    return tuple(Target(NodeNumber(at + 1), f"n{at + 1}", f"h:{at + 1}", parent) for at, parent in enumerate(parents))


class TreeTests(SynchronousTestCase):
    def test_star_and_chain(self) -> None:
        """In a star each child is alone; in a chain the one child carries all the rest."""
        self.assertEqual(subtrees(targets(0, 0, 0), 0), [(1,), (2,)])
        self.assertEqual(subtrees(targets(0, 0, 0), 1), [])
        self.assertEqual([subtrees(targets(0, 0, 1, 2), at) for at in range(4)], [[(1, 2, 3)], [(2, 3)], [(3,)], []])

    def test_bushy(self) -> None:
        """Each child stands before what is below it, and every node finds its own children."""
        tree = targets(0, 0, 0, 1, 2, 4)
        self.assertEqual(subtrees(tree, 0), [(1, 3), (2, 4, 5)])
        self.assertEqual([subtrees(tree, at) for at in (1, 2, 4, 5)], [[(3,)], [(4, 5)], [(5,)], []])

    def test_bad_trees(self) -> None:
        """No targets, a forward parent, a node named twice and a quorum out of reach are refused."""
        twice = (*targets(0), targets(0)[0])
        for wrong, quorum in [((), 1), (targets(0, 2, 0), 1), (twice, 1), (targets(0, 0), 3), (targets(0), 0)]:
            self.assertRaises(BadRequest, check_tree, wrong, 0, quorum)
        self.assertRaises(BadRequest, check_tree, targets(0, 0), 2, 1)
        check_tree(targets(0, 0, 1), 2, 3)

    def test_child_quorum(self) -> None:
        """A chain with quorum all asks its child for all the rest; with a majority, for what is needed at least."""
        self.assertEqual([child_quorum(quorum, 3, 2) for quorum in (1, 2, 3)], [1, 1, 2])


class TallyTests(SynchronousTestCase):
    def test_loses_only_beyond_the_quorum(self) -> None:
        """With three in a star and a quorum of two one child may go, then nobody (S05)."""
        everyone = targets(0, 0, 0)
        tally = Tally(2, [everyone[:1], everyone[1:2], everyone[2:]])
        self.assertTrue(tally.may_lose(1))
        tally.lose(1)
        self.assertFalse(tally.may_lose(2))
        self.assertFalse(tally.hopeless)
        tally.lose(2)
        self.assertTrue(tally.hopeless)
        self.assertEqual(tally.lost, ["n2", "n3"])

    def test_partial_subtree(self) -> None:
        """A child that answers without those below it counts alone; the others are named as lost."""
        everyone = targets(0, 0, 1)
        tally = Tally(2, [everyone[:1], everyone[1:]])
        tally.settle(1, [DurableReplica(NodeNumber(2), 7)])
        self.assertFalse(tally.enough)
        tally.settle(0, [DurableReplica(NodeNumber(1), 1)])
        self.assertTrue(tally.enough and tally.complete)
        self.assertEqual(tally.lost, ["n3"])
