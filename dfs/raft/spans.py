"""Where the live entries are: a sparse index of the log in memory.

A span is a run of batches in one segment without a cut between them, about 64
KiB long.  So the index needs one small object for each 64 KiB of log on disk,
however short the entries are.  A cut shortens or drops the spans above it and
the next batch begins a new one: what a span still covers is never superseded.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator

from attrs import define

SPAN_LENGTH = 64 << 10


@define
class Span:
    """Entries ``first`` to ``last`` are in segment ``sequence`` between the offsets ``start`` and ``end``.

    ``cut`` is that of the first batch; entries above ``last`` in these bytes are superseded.
    """

    sequence: int
    start: int
    end: int
    first: int
    last: int


class SpanIndex:
    """All spans in the order of their indexes."""

    def __init__(self) -> None:
        self._spans: list[Span] = []
        self._firsts: list[int] = []

    def __len__(self) -> int:
        return len(self._spans)

    def __iter__(self) -> Iterator[Span]:
        return iter(self._spans)

    def append(self, sequence: int, start: int, end: int, cut: int, count: int) -> None:
        """A batch of ``count`` entries after ``cut`` now lies at ``start``; it supersedes everything above ``cut``."""
        was_cut = self.cut(cut)
        if not count:
            return
        tail = self._spans[-1] if self._spans else None
        if (
            tail is None
            or was_cut
            or tail.sequence != sequence
            or tail.end != start
            or start - tail.start >= SPAN_LENGTH
        ):
            self._spans.append(Span(sequence, start, end, cut + 1, cut + count))
            self._firsts.append(cut + 1)
        else:
            assert tail.last == cut, (tail, cut)
            tail.last = cut + count
            tail.end = end

    def cut(self, index: int) -> bool:
        """Forget what is above ``index``; True if there was anything."""
        was_cut = False
        while self._spans and self._spans[-1].last > index:
            was_cut = True
            if self._spans[-1].first > index:
                self._spans.pop()
                self._firsts.pop()
            else:
                self._spans[-1].last = index
        return was_cut

    def drop_through(self, index: int) -> None:
        """Forget the spans that lie wholly at or below ``index``: the log was compacted."""
        keep = 0
        while keep < len(self._spans) and self._spans[keep].last <= index:
            keep += 1
        del self._spans[:keep]
        del self._firsts[:keep]

    def clear(self) -> None:
        """Forget everything: the log was replaced by a snapshot."""
        self._spans.clear()
        self._firsts.clear()

    def find(self, index: int) -> Span | None:
        """The span that holds the live entry ``index``."""
        position = bisect_right(self._firsts, index) - 1
        if position < 0 or self._spans[position].last < index:
            return None
        return self._spans[position]
