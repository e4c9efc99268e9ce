"""The order of keys in RAM: a list of short sorted lists.

A set of byte strings with insertion, removal and range walks in O(sqrt n) moves of
pointers, which is one short memmove for a million keys (the idea of Grant Jenks'
sortedcontainers, http://www.grantjenks.com/docs/sortedcontainers/implementation.html).
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator

BLOCK = 512


class SortedKeys:
    """A sorted set of distinct keys.  It must not change while a walk over it is under way."""

    def __init__(self, keys: Iterable[bytes] = ()) -> None:
        ordered = sorted(keys)
        self._blocks = [ordered[i : i + BLOCK] for i in range(0, len(ordered), BLOCK)]
        self._lasts = [block[-1] for block in self._blocks]
        self._count = len(ordered)

    def __len__(self) -> int:
        return self._count

    def add(self, key: bytes) -> None:
        """Insert a key that is not there."""
        self._count += 1
        if not self._blocks:
            self._blocks.append([key])
            self._lasts.append(key)
            return
        index = min(bisect_left(self._lasts, key), len(self._blocks) - 1)
        block = self._blocks[index]
        insort(block, key)
        self._lasts[index] = block[-1]
        if len(block) > 2 * BLOCK:
            self._blocks.insert(index + 1, block[BLOCK:])
            self._lasts.insert(index, block[BLOCK - 1])
            del block[BLOCK:]

    def remove(self, key: bytes) -> None:
        """Take out a key that is there; KeyError where it is not."""
        index = bisect_left(self._lasts, key)
        if index == len(self._blocks):
            raise KeyError(key)
        block = self._blocks[index]
        place = bisect_left(block, key)
        if block[place] != key:
            raise KeyError(key)
        del block[place]
        self._count -= 1
        if block:
            self._lasts[index] = block[-1]
        else:
            del self._blocks[index], self._lasts[index]

    def walk(self, start: bytes, end: bytes | None = None, reverse: bool = False) -> Iterator[bytes]:
        """Keys with start <= key < end, ascending, or descending in reverse."""
        return self._down(start, end) if reverse else self._up(start, end)

    def _up(self, start: bytes, end: bytes | None) -> Iterator[bytes]:
        index = bisect_left(self._lasts, start)
        while index < len(self._blocks):
            block = self._blocks[index]
            first = bisect_left(block, start)
            if end is not None and block[-1] >= end:
                yield from block[first : bisect_left(block, end)]
                return
            yield from block[first:] if first else block
            index += 1

    def _down(self, start: bytes, end: bytes | None) -> Iterator[bytes]:
        index = len(self._blocks) - 1
        if end is not None:
            index = min(bisect_left(self._lasts, end), index)
        while index >= 0:
            block = self._blocks[index]
            stop = len(block) if end is None else bisect_left(block, end)
            first = bisect_left(block, start)
            yield from reversed(block[first:stop])
            if first:
                return
            index -= 1
