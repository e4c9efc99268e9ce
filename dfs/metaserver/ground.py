"""Nodes that could take a replica, weighted, by rack: kept up to date, so that a draw looks at racks and not at nodes.

The third version of placement draws like this (dfs.metaserver.placement): among the racks that are the least close to
the other replicas one is drawn by the sum of its nodes' weights, then in it a node by its weight, both from one number.
Racks are in the order of their names and nodes in that of their numbers, and whatever weighs nothing is as if it were
not there: so a ground that was kept up to date answers as one that was made anew.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Sequence
from itertools import accumulate

from attrs import define, field

from dfs.metaserver.racks import closeness_by, counts

Close = tuple[int, ...]  # see dfs.metaserver.racks
_MOST_KNOWN = 4_096


@define(eq=False)
class _Rack:
    numbers: list[int] = field(factory=list)  # ascending
    weights: list[int] = field(factory=list)  # theirs
    sum: int = 0

    places: dict[int, int] = field(factory=dict)

    def set(self, number: int, weight: int) -> int:
        """What the node weighed before."""
        at = self.places.get(number)
        if at is None:
            at = self._join(number)
        former = self.weights[at]
        self.weights[at] = weight
        self.sum += weight - former
        return former

    def _join(self, number: int) -> int:
        at = bisect_left(self.numbers, number)
        self.numbers.insert(at, number)
        self.weights.insert(at, 0)
        if at == len(self.numbers) - 1:
            self.places[number] = at
        else:
            self.places = {each: place for place, each in enumerate(self.numbers)}
        return at


class Ground:
    """Begins empty."""

    def __init__(self) -> None:
        self._racks: dict[str, _Rack] = {}
        self._rack_of: dict[int, str] = {}
        self._known: dict[tuple[str, ...], list[tuple[Close, list[_Rack]]]] = {}

    def put(self, number: int, rack: str, weight: int) -> None:
        """The node is in that rack and weighs so much; 0: it can take nothing now."""
        former = self._rack_of.get(number)
        if former != rack:
            if former is not None:
                self._racks[former].set(number, 0)
            self._rack_of[number] = rack
            if rack not in self._racks:
                self._racks[rack] = _Rack()
                self._known.clear()
        self._racks[rack].set(number, weight)

    def drop(self, number: int) -> None:
        """It can take nothing any more; idempotent."""
        rack = self._rack_of.get(number)
        if rack is not None:
            self._racks[rack].set(number, 0)

    def least(self, used: Sequence[str], excluded: Collection[int]) -> Close | None:
        """How close to replicas in the racks ``used`` the best nodes are that are not excluded; None: there is none."""
        hidden = self._hide(excluded)
        found = next((close for close, racks in self._groups(used) if any(rack.sum for rack in racks)), None)
        self._show(hidden)
        return found

    def draw(
        self, used: Sequence[str], excluded: Collection[int], draw: Callable[[], float]
    ) -> tuple[int, Close] | None:
        """One of those nodes, and how close it is."""
        hidden = self._hide(excluded)
        found = None
        for close, racks in self._groups(used):
            sums = list(accumulate([rack.sum for rack in racks]))
            if sums[-1]:
                at = int(draw() * sums[-1])
                place = bisect_right(sums, at)
                rack = racks[place]
                within = list(accumulate(rack.weights))
                found = rack.numbers[bisect_right(within, at - sums[place] + rack.sum)], close
                break
        self._show(hidden)
        return found

    def _hide(self, excluded: Collection[int]) -> list[tuple[_Rack, int, int]]:
        """For one question they weigh nothing."""
        hidden = []
        for number in excluded:
            name = self._rack_of.get(number)
            if name is not None:
                rack = self._racks[name]
                hidden.append((rack, number, rack.set(number, 0)))
        return hidden

    def _show(self, hidden: list[tuple[_Rack, int, int]]) -> None:
        for rack, number, weight in reversed(hidden):
            rack.set(number, weight)

    def _groups(self, used: Sequence[str]) -> list[tuple[Close, list[_Rack]]]:
        """The racks by how close they are to those used, the farthest first."""
        key = tuple(sorted(used))
        groups = self._known.get(key)
        if groups is None:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            counted, found = counts(used), dict[Close, list[_Rack]]()
            for name in sorted(self._racks):
                found.setdefault(closeness_by(name, counted), []).append(self._racks[name])
            groups = self._known[key] = sorted(found.items(), key=lambda item: item[0])
        return groups
