"""Placement: strict where it must be, spread where it can be."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dfs.metaserver.placement import RESERVE, VERSION, NodeView, place
from dfs.protocol.values import NodeState

GIB = 1 << 30


def view(
    number: int, rack: str = "", state: NodeState = NodeState.ALIVE, free: int = 50 * GIB, streams: int = 0
) -> NodeView:
    return NodeView(number, rack, state, 100 * GIB, free, streams)


views = st.builds(
    view,
    st.integers(1, 8),
    st.sampled_from(["", "r1", "r2", "r3"]),
    st.sampled_from(list(NodeState)),
    st.sampled_from([0, RESERVE, GIB, 50 * GIB]),
    st.integers(0, 3),
)


clusters = st.lists(views, unique_by=lambda view: view.number)


class PlacementTests(SynchronousTestCase):
    """Versions 1 and 2."""

    def test_rules(self) -> None:
        """Never two on one node, never an excluded, full, dead or retired one; as many as there is room for; a rack
        twice only when every placeable one is used (S20)."""

        @settings(max_examples=300, deadline=None, derandomize=True, database=None)
        @given(
            st.lists(views, unique_by=lambda v: v.number), st.integers(0, 5), st.sets(st.integers(1, 8)), st.integers()
        )
        def holds(nodes: list[NodeView], count: int, exclude: set[int], seed: int) -> None:
            chosen = place(VERSION, nodes, count, exclude, random.Random(seed).random, need=1)
            by_number = {node.number: node for node in nodes}
            room = [
                node
                for node in nodes
                if node.number not in exclude
                and node.free > RESERVE
                and node.state in (NodeState.ALIVE, NodeState.SUSPECT)
            ]
            self.assertEqual(len(set(chosen)), len(chosen))
            self.assertEqual(len(chosen), min(count, len(room)))
            self.assertLessEqual(set(chosen), {node.number for node in room})
            alive = [node for node in room if node.state is NodeState.ALIVE]
            picked = [by_number[number] for number in chosen]
            self.assertGreaterEqual(sum(node in alive for node in picked), min(count, len(alive)))
            if len(alive) >= count:
                racks = {node.rack for node in alive}
                self.assertEqual(len({node.rack for node in picked}), min(count, len(racks)))

        holds()

    def test_frozen_vectors(self) -> None:
        """Version 1 answers these for ever: the same draws place alike on every machine and in every release."""
        nodes = [view(n, f"r{n % 3}", free=n * 10 * GIB, streams=n % 2) for n in range(1, 8)]
        draw = random.Random(20).random
        found = [place(1, nodes, 3, (), draw) for _ in range(6)]
        self.assertEqual(found, VECTORS)
        self.assertEqual([place(1, nodes, 2, (7,), draw, racks=("r0", "r1")) for _ in range(2)], RACK_VECTORS)
        with self.assertRaises(ValueError):
            place(4, nodes, 1, (), draw)

    def test_frozen_vectors_of_version_2(self) -> None:
        """Version 2 answers these for ever; where racks are plain names, those of version 1 (S20)."""
        nodes = [view(n, f"r{n % 3}", free=n * 10 * GIB, streams=n % 2) for n in range(1, 8)]
        deep = [view(n, f"dc{n % 2}/r{n % 5}", free=n * 10 * GIB) for n in range(1, 9)]
        draw = random.Random(20).random
        self.assertEqual([place(2, nodes, 3, (), draw) for _ in range(6)], VECTORS)
        self.assertEqual([place(2, nodes, 2, (7,), draw, racks=("r0", "r1")) for _ in range(2)], RACK_VECTORS)
        self.assertEqual([place(2, deep, 4, (), draw) for _ in range(6)], DEEP_VECTORS)
        there = ("dc1/r1", "dc1/r3", "dc0/r2")
        self.assertEqual([place(2, deep, 2, (3,), draw, racks=there) for _ in range(3)], DEEP_RACK_VECTORS)

    def test_frozen_vectors_of_version_3(self) -> None:
        """Version 3 answers these for ever (S20)."""
        nodes = [view(n, f"r{n % 3}", free=n * 10 * GIB, streams=n % 2) for n in range(1, 8)]
        deep = [view(n, f"dc{n % 2}/r{n % 5}", free=n * 10 * GIB) for n in range(1, 9)]
        draw = random.Random(20).random
        self.assertEqual([place(3, nodes, 3, (), draw) for _ in range(6)], VECTORS_3)
        self.assertEqual([place(3, nodes, 2, (7,), draw, racks=("r0", "r1")) for _ in range(2)], RACK_VECTORS_3)
        self.assertEqual([place(3, deep, 4, (), draw) for _ in range(6)], DEEP_VECTORS_3)
        there = ("dc1/r1", "dc1/r3", "dc0/r2")
        self.assertEqual([place(3, deep, 2, (3,), draw, racks=there) for _ in range(3)], DEEP_RACK_VECTORS_3)

    def test_never_the_same_three(self) -> None:
        """Over many chunks every node serves, as primary too, and no set of three dominates."""
        nodes = [view(number) for number in range(1, 7)]
        draw = random.Random(3).random
        placed = [place(VERSION, nodes, 3, (), draw) for _ in range(2000)]
        sets = Counter(frozenset(each) for each in placed)
        self.assertEqual(len(sets), 20)
        self.assertLess(max(sets.values()), 2 * 2000 / 20)
        primaries = Counter(each[0] for each in placed)
        self.assertGreater(min(primaries.values()), 2000 / 6 / 2)

    def test_weight(self) -> None:
        """Emptier and less busy nodes are drawn more often, in proportion."""
        nodes = [view(1, free=80 * GIB), view(2, free=20 * GIB), view(3, free=80 * GIB, streams=3)]
        draw = random.Random(4).random
        first = Counter(place(VERSION, nodes, 1, (), draw)[0] for _ in range(3000))
        self.assertGreater(first[1], 2.5 * first[2])
        self.assertGreater(first[1], 2.5 * first[3])
        self.assertEqual(view(1, free=0).weight, 1)

    def test_suspect_only_if_needed(self) -> None:
        """A suspect node is taken only when the alive ones do not suffice."""
        nodes = [view(1), view(2), view(3, state=NodeState.SUSPECT)]
        draw = random.Random(5).random
        self.assertEqual({frozenset(place(VERSION, nodes, 2, (), draw)) for _ in range(50)}, {frozenset((1, 2))})
        self.assertEqual(set(place(VERSION, nodes, 3, (), draw)), {1, 2, 3})


VECTORS = [(7, 6, 5), (7, 3, 5), (7, 6, 5), (3, 4, 5), (2, 4, 6), (5, 4, 6)]
RACK_VECTORS = [(5, 4), (2, 6)]
DEEP_VECTORS = [(8, 5, 2, 7), (2, 3, 5, 8), (5, 8, 3, 2), (1, 8, 7, 4), (4, 1, 7, 6), (3, 8, 6, 5)]
DEEP_RACK_VECTORS = [(4, 7), (8, 6), (4, 8)]
VECTORS_3 = [(5, 4, 6), (5, 6, 7), (5, 7, 6), (6, 7, 5), (6, 4, 5), (4, 6, 2)]
RACK_VECTORS_3 = [(5, 6), (2, 4)]
DEEP_VECTORS_3 = [(7, 8, 6, 1), (6, 5, 8, 7), (8, 7, 6, 5), (6, 7, 1, 8), (8, 5, 7, 6), (6, 7, 4, 5)]
DEEP_RACK_VECTORS_3 = [(6, 5), (8, 4), (6, 7)]
