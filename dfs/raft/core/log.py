"""The log as the core sees it: terms of all entries, the newest entries themselves, and what the disk has.

Indexes, from old to new::

    boundary.index      the last compacted entry; its term is known (R19)
    durable             synced here; a truncation lowers it (R22)
    handed              given to storage in some Ready
    last_index          in memory

Terms of all entries are kept as runs, a few numbers per leader that ever was, so ``term`` never needs the disk.
Entries are cached from ``_cache_first`` on; those not durable are always cached, older ones within a limit of
bytes.

Invariants: boundary <= durable <= handed <= last; cached entries are contiguous and end at last.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from dfs.raft.core.types import CoreHalted, LogView, SnapshotMark
from dfs.raft.messages import Entry

KEPT_SHARE = 0.75  # of the cache after an eviction: evicting one by one would shift the list each time


class Log:
    """See the module."""

    __slots__ = (
        "_cache",
        "_cache_bytes",
        "_cache_first",
        "_cache_limit",
        "_firsts",
        "_terms",
        "boundary",
        "durable",
        "handed",
        "last_checksum",
        "last_index",
        "reset_to",
        "truncate_from",
    )

    def __init__(self, view: LogView, cache_limit: int) -> None:
        self._cache_limit = cache_limit
        self.boundary = view.boundary
        self._firsts = [view.boundary.index, *(first for first, _ in view.runs)]
        self._terms = [view.boundary.term, *(term for _, term in view.runs)]
        self.last_index = self.handed = self.durable = view.last_index
        self.last_checksum = view.last_checksum
        self._cache = list(view.tail)
        self._cache_first = view.last_index + 1 - len(view.tail)
        self._cache_bytes = sum(len(entry.encoded) for entry in view.tail)
        self.reset_to: SnapshotMark | None = None
        self.truncate_from: int | None = None

    def copy(self) -> Log:
        """An independent copy; entries are shared."""
        other = Log.__new__(Log)
        for name in Log.__slots__:
            setattr(other, name, getattr(self, name))
        other._firsts = self._firsts.copy()
        other._terms = self._terms.copy()
        other._cache = self._cache.copy()
        return other

    def fingerprint(self) -> tuple[object, ...]:
        """A hashable value, equal for equal states."""
        return (
            self.boundary, self.durable, self.handed, self.last_index, self._cache_first,
            tuple(self._firsts), tuple(self._terms), tuple(self._cache), self.reset_to, self.truncate_from,
        )  # fmt: skip

    @property
    def last_term(self) -> int:
        """The term of the last entry, or of the boundary."""
        return self._terms[-1]

    @property
    def first_index(self) -> int:
        """The first entry that is still there, if any is."""
        return self.boundary.index + 1

    def term(self, index: int) -> int | None:
        """The term at ``index``; None below the boundary and beyond the end."""
        if index > self.last_index or index < self.boundary.index:
            return None
        if index >= self._firsts[-1]:
            return self._terms[-1]
        return self._terms[bisect_right(self._firsts, index) - 1]

    def agreement(self, index: int, term: int) -> int:
        """The last index at most ``index`` whose term is at most ``term``: where two logs may begin to agree.
        Below the boundary nothing is known and ``index`` itself is returned."""
        index = min(index, self.last_index)
        if index <= self.boundary.index:
            return index
        run = bisect_right(self._firsts, index) - 1
        while run >= 0 and self._terms[run] > term:
            index = self._firsts[run] - 1
            run -= 1
        return max(index, 0)

    def checksum_before(self, index: int) -> int:
        """The checksum of the entry before ``index`` where it is in memory, else 0."""
        if index == self.last_index + 1:
            return self.last_checksum
        position = index - 1 - self._cache_first
        return self._cache[position].checksum if 0 <= position < len(self._cache) else 0

    def append(self, entries: Sequence[Entry]) -> None:
        """Add entries that follow the last one."""
        for entry in entries:
            if entry.index != self.last_index + 1 or entry.term < self.last_term:
                raise CoreHalted(f"entry {entry.index}/{entry.term} cannot follow {self.last_index}/{self.last_term}")
            if entry.term != self._terms[-1]:
                self._firsts.append(entry.index)
                self._terms.append(entry.term)
            self._cache.append(entry)
            self._cache_bytes += len(entry.encoded)
            self.last_index = entry.index
            self.last_checksum = entry.checksum

    def truncate(self, index: int) -> None:
        """Remove ``index`` and everything after it."""
        if index <= self.boundary.index:
            raise CoreHalted(f"truncation at {index}, which was compacted up to {self.boundary.index}")
        checksum = self.checksum_before(index)
        keep = max(index - self._cache_first, 0)
        self._cache_bytes -= sum(len(entry.encoded) for entry in self._cache[keep:])
        del self._cache[keep:]
        self._cache_first = min(self._cache_first, index)
        while self._firsts[-1] >= index:
            del self._firsts[-1], self._terms[-1]
        self.last_index, self.last_checksum = index - 1, checksum
        if index <= self.handed:
            self.truncate_from = index if self.truncate_from is None else min(index, self.truncate_from)
            self.handed = index - 1
        self.durable = min(self.durable, index - 1)

    def reset(self, mark: SnapshotMark) -> None:
        """Begin anew after ``mark``.  Until the disk has followed, nothing at or below it is lost: the state
        machine has it."""
        self.boundary = self.reset_to = mark
        self._firsts, self._terms = [mark.index], [mark.term]
        self.last_index = self.handed = self.durable = mark.index
        self.last_checksum = 0
        self._cache, self._cache_first, self._cache_bytes = [], mark.index + 1, 0
        self.truncate_from = None

    def compact(self, mark: SnapshotMark) -> None:
        """Entries up to ``mark`` are gone from the disk."""
        if mark.index <= self.boundary.index:
            return
        if mark.index > self.durable or self.term(mark.index) != mark.term:
            raise CoreHalted(f"compaction at {mark}, which the log does not hold durably")
        keep = bisect_right(self._firsts, mark.index) - 1
        del self._firsts[:keep], self._terms[:keep]
        self._firsts[0] = mark.index
        self.boundary = mark
        self._evict_below(mark.index + 1)

    def take_unhanded(self) -> tuple[Entry, ...]:
        """The entries that storage was not given yet; it is given them now."""
        if self.handed == self.last_index:
            return ()
        entries = tuple(self._cache[self.handed + 1 - self._cache_first :])
        self.handed = self.last_index
        return entries

    def mark_durable(self, index: int) -> None:
        """The disk has everything up to ``index``."""
        if index > self.durable:
            self.durable = index
            if self._cache_bytes > self._cache_limit:
                self._shrink()

    def cached(self, first: int, last: int, limit: int) -> tuple[Entry, ...] | None:
        """Entries first..last, at least one and then while they fit ``limit`` bytes; None where ``first`` is not
        in memory."""
        start = first - self._cache_first
        if start < 0 or first > last:
            return None if first <= last else ()
        cache = self._cache
        stop, total, end = start, 0, min(last + 1 - self._cache_first, len(cache))
        while stop < end:
            total += len(cache[stop].encoded)
            if total > limit and stop > start:
                break
            stop += 1
        return tuple(cache[start:stop])

    def _shrink(self) -> None:
        target, drop, total = self._cache_limit * KEPT_SHARE, 0, self._cache_bytes
        while total > target and self._cache_first + drop <= self.durable:
            total -= len(self._cache[drop].encoded)
            drop += 1
        self._evict_below(self._cache_first + drop)

    def _evict_below(self, index: int) -> None:
        drop = index - self._cache_first
        if drop > 0:
            self._cache_bytes -= sum(len(entry.encoded) for entry in self._cache[:drop])
            del self._cache[:drop]
            self._cache_first = index
