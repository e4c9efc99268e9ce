"""On a large cluster a target is drawn without looking at each node, and as well as by looking at all of them."""

from __future__ import annotations

import random

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from dfs.metaserver.deciding import Chooser
from dfs.metaserver.idle import IdleNodes
from dfs.metaserver.moves import Copy
from dfs.metaserver.pacing import Pace
from dfs.metaserver.placement import NodeView
from dfs.metaserver.queries import ChunkCopies
from dfs.metaserver.streams import Streams
from dfs.protocol.values import Generation, NodeState

GIB = 1 << 30
CHUNK = ChunkCopies(1, 0, Generation(1), 4 << 20, bytes(32), (1, 2), 3, ())


def board(racks: int, nodes: int = 1000, full: int = 0) -> dict[int, NodeView]:
    """``full`` of the nodes have no room."""
    return {
        number: NodeView(number, f"r{number % racks}", NodeState.ALIVE, 20 * GIB, 0 if number <= full else GIB, 0)
        for number in range(1, nodes + 1)
    }


def idle(views: dict[int, NodeView], *busy: int) -> IdleNodes:
    """All of them idle, but for these."""
    streams = Streams(1, Pace())
    found = IdleNodes(streams)
    for number, view in views.items():
        found.changed(number, view)
    for number in busy:
        streams.begin(Copy(number, number, number, CHUNK), 0.0)
    found.refresh(0.0)
    return found


class ChooseTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.draw = random.Random(1).random

    def choose(self, nodes: IdleNodes) -> tuple[int | None, str]:
        self.chooser = Chooser(CHUNK, 2, nodes, None)
        return self.chooser.choose(self.draw)

    def test_none_is_compared(self) -> None:
        """Where nodes take any chunk, none of a thousand is looked at by itself, in other racks or in the same one
        (S20, S37)."""
        views = board(40)
        nodes = idle(views)
        for _ in range(100):
            target, reason = self.choose(nodes)
            assert target is not None
            self.assertNotIn(views[target].rack, (views[1].rack, views[2].rack))
            self.assertEqual((reason, self.chooser.compared), ("", 0))
        nodes = idle(board(1))
        self.assertNotIn(self.choose(nodes)[0], (None, 1, 2))
        self.assertEqual(self.chooser.compared, 0)

    def test_the_one_that_has_room_is_found(self) -> None:
        """S13, S20: a single node with room, or in another rack, is found among a thousand; and where it is busy it is
        waited for."""
        self.assertEqual(self.choose(idle(board(1, full=999))), (1000, ""))
        self.assertEqual({self.choose(idle(board(1, nodes=3))) for _ in range(20)}, {(3, "")})
        views = board(1)
        views[777] = NodeView(777, "elsewhere", NodeState.ALIVE, 20 * GIB, GIB, 0)
        self.assertEqual(self.choose(idle(views)), (777, ""))
        self.assertEqual(self.choose(idle(views, 777)), (None, ""))
        target, reason = self.choose(idle(board(1, full=1000)))
        self.assertIsNone(target)
        self.assertIn("has room", reason)

    def test_those_that_take_some_chunks_only(self) -> None:
        """S13, S20: a node with room for this chunk, though not for any, is found where it is the only one, or the only
        one in another rack; a suspect one only where no other is left."""
        views = board(1, full=1000)
        views[500] = evolve(views[500], free=100 << 20)
        self.assertEqual(self.choose(idle(views)), (500, ""))
        views = board(1)
        views[500] = evolve(views[500], rack="elsewhere", free=100 << 20)
        self.assertEqual(self.choose(idle(views)), (500, ""))
        views[500] = evolve(views[500], state=NodeState.SUSPECT)
        self.assertNotIn(self.choose(idle(views))[0], (500, None))
        views = board(1, full=1000)
        views[500] = evolve(views[500], state=NodeState.SUSPECT, free=GIB)
        self.assertEqual(self.choose(idle(views)), (500, ""))


class IdleTests(SynchronousTestCase):
    def test_as_by_looking_at_all(self) -> None:
        """Whatever changes, the nodes that are kept as idle, and what they weigh, are those that a look at each of them
        would find (S12): by moves, by beats, by time."""
        chance = random.Random(5)
        pace = Pace(node_rate=4 << 20)
        streams = Streams(2, pace)
        nodes = IdleNodes(streams)
        views: dict[int, NodeView] = {}
        flying: list[Copy] = []
        now = 0.0
        for step in range(2_000):
            what = chance.randrange(4)
            if what == 0 or len(views) < 6:
                number = chance.randrange(1, 13)
                state = chance.choice(list(NodeState))
                free = chance.choice((0, 100 << 20, GIB, 8 * GIB))
                rack = f"r{chance.randrange(3)}"
                views[number] = NodeView(number, rack, state, 20 * GIB, free, 0, clients=chance.randrange(2))
                nodes.changed(number, views[number])
            elif what == 1 and len(nodes.nodes) > 1:
                source, target = chance.sample(sorted(nodes.nodes), 2)
                flying.append(Copy(step, source, target, CHUNK))
                streams.begin(flying[-1], now)
            elif what == 2 and flying:
                streams.end(flying.pop(chance.randrange(len(flying))))
            now += chance.random() / 4
            nodes.refresh(now)
            fresh = IdleNodes(Streams(2, pace))
            fresh._streams.busy = streams.busy
            for number, view in views.items():
                fresh.changed(number, view)
            fresh.refresh(now)
            self.assertEqual((nodes.nodes, nodes.others, nodes.board), (fresh.nodes, fresh.others, fresh.board))
            at = chance.random()
            for ground, other in ((nodes.targets, fresh.targets), (nodes.ground, fresh.ground)):
                found = ground.draw(("r0",), (1, 2), lambda at=at: at)  # type: ignore[misc]
                self.assertEqual(found, other.draw(("r0",), (1, 2), lambda at=at: at))  # type: ignore[misc]
