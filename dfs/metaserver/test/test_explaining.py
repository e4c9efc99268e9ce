"""Verdicts on nodes are what placement itself goes by."""

from __future__ import annotations

import random

from twisted.trial.unittest import SynchronousTestCase

from dfs.metaserver import placement
from dfs.metaserver.explaining import judge, lack
from dfs.metaserver.placement import NodeView
from dfs.metaserver.queries import ChunkCopies
from dfs.protocol.messages import Verdict
from dfs.protocol.values import NodeState

GIB = 1 << 30


def view(number: int, state: NodeState = NodeState.ALIVE, free: int = 10 * GIB, rack: str = "") -> NodeView:
    return NodeView(number, rack, state, 20 * GIB, free, 0)


def copies(*nodes: int, retired: tuple[int, ...] = ()) -> ChunkCopies:
    return ChunkCopies(7, 0, 1, 4 << 20, bytes(32), nodes, 3, retired)


class ExplainTests(SynchronousTestCase):
    """A chunk on three of many nodes."""

    def verdicts(self, chunk: ChunkCopies, *views: NodeView) -> dict[str, Verdict]:
        return {each.node: each for each in judge(chunk, {view.number: view for view in views}, lambda n: f"n{n}")}

    def test_each_rule_is_named(self) -> None:
        """Who is refused is told the rule: dead, maintenance, drain, no room, rack, suspect."""
        found = self.verdicts(
            copies(1, 2),
            view(1, rack="a"),
            view(2, NodeState.DEAD, rack="b"),
            view(3, rack="a"),
            view(4, rack="c"),
            view(5, NodeState.SUSPECT, rack="c"),
            view(6, NodeState.DRAINING, rack="c"),
            view(7, NodeState.MAINTENANCE, rack="c"),
            view(8, free=placement.RESERVE, rack="c"),
            view(9, NodeState.DEAD, rack="c"),
        )
        said = {
            1: "holds it", 2: "comes back", 3: "rack", 4: "could take", 5: "not heard", 6: "drained",
            7: "maintenance", 8: "no room", 9: "dead",
        }  # fmt: skip
        for number, words in said.items():
            self.assertIn(words, found[f"n{number}"].sentence)
        self.assertEqual([name for name, verdict in found.items() if verdict.holds], ["n1", "n2"])
        self.assertEqual(next(iter(found)), "n1")

    def test_could_take_is_where_placement_goes(self) -> None:
        """Whatever node placement would draw is one that the explanation says could take a replica (S20)."""
        dice = random.Random(3)
        for _ in range(300):
            states = [NodeState.ALIVE] * 4 + [NodeState.SUSPECT, NodeState.DEAD]
            views = [
                view(n, dice.choice(states), dice.choice([placement.RESERVE, GIB]), dice.choice(["a/1", "a/2", "b/1"]))
                for n in range(1, 8)
            ]
            chunk = copies(*dice.sample(range(1, 8), 2))
            near = [each.rack for each in views if each.number in chunk.nodes and each.state is not NodeState.DEAD]
            others = [each for each in views if each.number not in chunk.nodes]
            chosen = placement.place(placement.VERSION, others, 1, (), dice.random, near, chunk.length)
            found = self.verdicts(chunk, *views)
            could = {name for name, verdict in found.items() if verdict.sentence.startswith("could take")}
            if chosen and views[chosen[0] - 1].state is NodeState.ALIVE:
                self.assertIn(f"n{chosen[0]}", could)
            elif not chosen:
                self.assertEqual(could, set())

    def test_what_it_lacks(self) -> None:
        """What is missing is told by the mover's own rule."""
        views = {n: view(n, rack=f"r{n}") for n in range(1, 5)}
        self.assertEqual(lack(copies(1, 2, 3), views), "nothing")
        self.assertIn("1 of 3", lack(copies(1, 2), views))
        self.assertIn("no replica", lack(copies(9), views))
        draining = {**views, 3: view(3, NodeState.DRAINING, rack="r3")}
        self.assertIn("drained", lack(copies(1, 2, 3), draining))
        close = {**views, 2: view(2, rack="r1")}
        self.assertIn("closer", lack(copies(1, 2, 3), close))
