"""What would be lost if nodes were: a fold over all chunks, with no effect on anything.

A node that is lost never comes back, nor its disks.  What is dead already is not counted on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import combinations

from attrs import define, field, frozen

from dfs.client.surveying import Part
from dfs.protocol.messages import SurveyedNode

NAMED = 100
"""Files that are named in a report; the others are counted."""


@define
class Toll:
    """What a loss would cost.

    :ivar lost: chunks (and their bytes) of which no readable replica would be left, of those that have one now.
    :ivar single: chunks of which one would be left.
    :ivar to_copy: bytes of the copies to be made until each chunk that is left has its replication again.
    :ivar names: of the first files with a lost chunk.
    """

    files_lost: int = 0
    files_single: int = 0
    chunks_lost: int = 0
    bytes_lost: int = 0
    chunks_single: int = 0
    chunks_short: int = 0
    to_copy: int = 0
    already_lost: int = 0
    names: list[str] = field(factory=list)


class WhatIf:
    """The loss of the nodes that ``loses`` picks.

    :param drains: they are emptied, not lost: they can be read until everything is copied.
    """

    def __init__(self, loses: Callable[[SurveyedNode], bool], drains: bool = False) -> None:
        self._loses, self._drains = loses, drains
        self._file_lost = self._file_single = False
        self.toll = Toll()

    def take(self, part: Part) -> None:
        """Fold a part in."""
        toll = self.toll
        for chunk in part.chunks:
            now = part.readable(chunk)
            left = sum(not self._loses(node) for node in now)
            if not now:
                toll.already_lost += 1
                continue
            if left == 0 and not self._drains:
                self._file_lost = True
                toll.chunks_lost += 1
                toll.bytes_lost += chunk.length
                continue
            if left < part.info.replication:
                toll.chunks_short += 1
                toll.to_copy += (part.info.replication - left) * chunk.length
            if left == 1 and not self._drains:
                toll.chunks_single += 1
                self._file_single = True
        if part.last:
            self._file_ends(part.info.name)

    def _file_ends(self, name: str) -> None:
        toll = self.toll
        toll.files_lost += self._file_lost
        toll.files_single += self._file_single
        if self._file_lost and len(toll.names) < NAMED:
            toll.names.append(name)
        self._file_lost = self._file_single = False


@frozen
class Pair:
    """Two nodes, by number, the smaller first."""

    one: int
    other: int


class AllLosses:
    """The loss of each node alone, and of each two, in one pass.

    :ivar lost: chunks that the loss of a node, or of a pair, would end.
    :ivar single: chunks that the loss of a node would leave with one copy.
    :ivar bytes: that a node's loss would have to be copied.
    """

    def __init__(self) -> None:
        self.nodes: dict[int, SurveyedNode] = {}
        self.lost: Counter[int] = Counter()
        self.pairs_lost: Counter[Pair] = Counter()
        self.single: Counter[int] = Counter()
        self.bytes: Counter[int] = Counter()
        self.chunks: Counter[int] = Counter()
        self.already_lost = 0

    def take(self, part: Part) -> None:
        """Fold a part in."""
        for chunk in part.chunks:
            holders = part.readable(chunk)
            self.nodes.update({node.number: node for node in holders})
            numbers = sorted(node.number for node in holders)
            self.already_lost += not numbers
            for number in numbers:
                self.chunks[number] += 1
                self.bytes[number] += chunk.length
                self.lost[number] += len(numbers) == 1
                self.single[number] += len(numbers) == 2
            if len(numbers) <= 2:
                self._pairs(numbers)

    def _pairs(self, numbers: list[int]) -> None:
        """A chunk on two nodes is lost with that pair; one on a single node is the single loss, and not told twice."""
        for one, other in combinations(numbers, 2):
            self.pairs_lost[Pair(one, other)] += 1
