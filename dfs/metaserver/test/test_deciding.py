"""On a large cluster a target is chosen by looking at few nodes, and as well as by looking at all where it matters."""

from __future__ import annotations

import random

from twisted.trial.unittest import SynchronousTestCase

from dfs.metaserver.deciding import SAMPLE, Chooser, sample
from dfs.metaserver.placement import NodeView
from dfs.metaserver.queries import ChunkCopies
from dfs.protocol.values import Generation, NodeState

GIB = 1 << 30
CHUNK = ChunkCopies(1, 0, Generation(1), 4 << 20, bytes(32), (1, 2), 3, ())


def board(racks: int, nodes: int = 1000, full: int = 0) -> dict[int, NodeView]:
    """``full`` of the nodes have no room."""
    return {
        number: NodeView(number, f"r{number % racks}", NodeState.ALIVE, 20 * GIB, 0 if number <= full else GIB, 0)
        for number in range(1, nodes + 1)
    }


class ChooseTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.draw = random.Random(1).random

    def test_sample(self) -> None:
        """Few nodes are all taken; of many a bounded number, from all over, and each of them sometimes."""
        self.assertEqual(list(sample(range(2 * SAMPLE - 1), self.draw)), list(range(2 * SAMPLE - 1)))
        seen: set[int] = set()
        for _ in range(2000):
            found = sample(range(1000), self.draw)
            self.assertLess(len(found), 2 * SAMPLE)
            seen.update(found)
        self.assertEqual(seen, set(range(1000)))

    def test_few_are_compared(self) -> None:
        """Where any node of another rack is as good as another, not all of a thousand are looked at."""
        views = board(40)
        for _ in range(100):
            chooser = Chooser(CHUNK, 2, views, None)
            target, reason = chooser.choose(sorted(views), set(views), self.draw)
            assert target is not None
            self.assertNotIn(views[target].rack, (views[1].rack, views[2].rack))
            self.assertEqual(reason, "")
            self.assertLess(chooser.compared, 2 * SAMPLE)

    def test_the_one_that_has_room_is_found(self) -> None:
        """S13, S20: a single node with room, or in another rack, is found among a thousand; nothing is set aside unless
        all were looked at."""
        views = board(1, full=999)
        self.assertEqual(Chooser(CHUNK, 2, views, None).choose(sorted(views), set(views), self.draw), (1000, ""))
        views = board(1)
        views[777] = NodeView(777, "elsewhere", NodeState.ALIVE, 20 * GIB, GIB, 0)
        self.assertEqual(Chooser(CHUNK, 2, views, None).choose(sorted(views), set(views), self.draw), (777, ""))
        idle = set(views) - {777}
        self.assertEqual(Chooser(CHUNK, 2, views, None).choose(sorted(idle), idle, self.draw), (None, ""))
        views = board(1, full=1000)
        target, reason = Chooser(CHUNK, 2, views, None).choose(sorted(views), set(views), self.draw)
        self.assertIsNone(target)
        self.assertIn("has room", reason)
