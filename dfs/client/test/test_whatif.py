"""whatif: the toll of a loss is what a walk over every chunk by hand gives."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dfs.client.surveying import Part
from dfs.client.whatif import AllLosses, Toll, WhatIf
from dfs.protocol.messages import FileInfo, SurveyedChunk, SurveyedNode
from dfs.protocol.values import FileId, Generation, NodeState

NODES = 5
DEAD = 5  # the number of the node that is dead already

holders = st.frozensets(st.integers(1, NODES), max_size=4)
files = st.lists(st.lists(holders, min_size=1, max_size=4), max_size=6)


def nodes() -> dict[int, SurveyedNode]:
    return {
        number: SurveyedNode(
            number, f"n{number}", "a:1", NodeState.DEAD if number == DEAD else NodeState.ALIVE, f"r{number % 2}"
        )
        for number in range(1, NODES + 1)
    }


def parts(layout: list[list[frozenset[int]]], replication: int = 3) -> list[Part]:
    """Each chunk as a part of its own, 10 bytes long."""
    found = []
    for number, chunks in enumerate(layout, 1):
        info = FileInfo(f"f{number}", FileId(number), 10 * len(chunks), bytes(32), replication, 10, len(chunks), 0)
        for index, where in enumerate(chunks):
            chunk = SurveyedChunk(index, Generation(1), 10, bytes(32), tuple(sorted(where)))
            found.append(Part(info, (chunk,), nodes(), last=index + 1 == len(chunks)))
    return found


def toll(layout: list[list[frozenset[int]]], lost: frozenset[int], drains: bool = False) -> Toll:
    fold = WhatIf(lambda node: node.number in lost, drains)
    for part in parts(layout):
        fold.take(part)
    return fold.toll


class WhatIfTests(SynchronousTestCase):
    """One question."""

    def test_one_file(self) -> None:
        """Two of three holders lost: one copy is left, and two are to be made."""
        found = toll([[frozenset((1, 2, 3))]], frozenset((1, 2)))
        self.assertEqual((found.files_single, found.chunks_single, found.to_copy), (1, 1, 20))
        self.assertEqual((found.files_lost, found.names), (0, []))

    def test_lost(self) -> None:
        """All readable holders lost: the file is named, counted once, and nothing can be copied."""
        found = toll([[frozenset((1, 2, DEAD))] * 2, [frozenset((3, 4))]], frozenset((1, 2)))
        self.assertEqual((found.files_lost, found.chunks_lost, found.bytes_lost), (1, 2, 20))
        self.assertEqual((found.names, found.already_lost, found.to_copy), (["f1"], 0, 10))

    def test_dead_already(self) -> None:
        """What cannot be read now is not blamed on the question."""
        found = toll([[frozenset((DEAD,))]], frozenset((1,)))
        self.assertEqual((found.already_lost, found.chunks_lost), (1, 0))

    def test_drain_loses_nothing(self) -> None:
        """A drained node can be read until all is copied, also where it holds the only copy."""
        found = toll([[frozenset((1,))]], frozenset((1,)), drains=True)
        self.assertEqual((found.chunks_lost, found.chunks_single, found.to_copy), (0, 0, 30))

    def test_any_layout(self) -> None:
        """Whatever lies where: counts are those of a walk over every chunk."""

        @settings(max_examples=150, deadline=None)
        @given(files, st.frozensets(st.integers(1, NODES)))
        def check(layout: list[list[frozenset[int]]], lost: frozenset[int]) -> None:
            found = toll(layout, lost)
            chunks = [where - {DEAD} for chunks in layout for where in chunks]
            left = [where - lost for where in chunks]
            self.assertEqual(found.chunks_lost, sum(bool(now) and not now - lost for now in chunks))
            self.assertEqual(found.chunks_single, sum(len(then) == 1 for then in left))
            self.assertEqual(found.to_copy, sum(10 * max(0, 3 - len(then)) for then in left if then))
            lost_files = [
                any(where - {DEAD} and not where - {DEAD} - lost for where in chunks) for chunks in layout
            ]
            self.assertEqual(found.files_lost, sum(lost_files))

        check()


class SurveyTests(SynchronousTestCase):
    """Every single node and every pair in one pass."""

    def test_as_one_by_one(self) -> None:
        """The pass over all losses gives what asking for each node and each pair gives."""

        @settings(max_examples=150, deadline=None)
        @given(files)
        def check(layout: list[list[frozenset[int]]]) -> None:
            fold = AllLosses()
            for part in parts(layout):
                fold.take(part)
            alone = {number: toll(layout, frozenset((number,))).chunks_lost for number in range(1, NODES)}
            self.assertEqual({number: fold.lost[number] for number in alone}, alone)
            pairs = Counter({(pair.one, pair.other): count for pair, count in fold.pairs_lost.items()})
            for one, other in combinations(range(1, NODES), 2):
                together = toll(layout, frozenset((one, other))).chunks_lost
                self.assertEqual(pairs[one, other], together - alone[one] - alone[other])

        check()
