"""The durable log: an append-only chain of segments (formats: :mod:`dfs.raft.log_format`).

Invariants, asserted: batches are numbered without a gap; a batch's first entry
follows its cut; nothing is appended before the former batch is durable; the
base only grows; a segment is removed only after the boundary record that makes
it unneeded is durable.

The boundary record (file ``boundary``, two copies, kind 2) tells where the log
begins, big endian::

    offset size
       0     8   base index: the last entry that was compacted away or replaced by a snapshot
       8     8   base term: its term (R19)
      16     8   sequence of the first segment that counts
      24     n   payload of the latest configuration at or below the base; none: the founders'
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from construct import GreedyBytes, Int64ub
from construct import Struct as Layout

from dfs.disk.interfaces import IDisk
from dfs.raft.core.types import SnapshotMark
from dfs.raft.errors import StorageCorrupt
from dfs.raft.log_format import HEADER_LENGTH, SECTOR, encode_batch, sectors
from dfs.raft.messages import Entry
from dfs.raft.recovery import Recovered, recover
from dfs.raft.segment import Segment, corrupt, segment_name
from dfs.raft.twin import TwinRecord

BOUNDARY_NAME = "boundary"
BOUNDARY_KIND = 2
SEGMENT_LENGTH = 64 << 20
_BOUNDARY = struct.Struct(">QQQ")

boundary_layout = Layout(
    "base_index" / Int64ub, "base_term" / Int64ub, "first_segment" / Int64ub, "configuration" / GreedyBytes
)


class Log:
    """The open log.  Every method blocks; one thread at a time.  After any error but NoSpace it is not used again."""

    def __init__(
        self,
        disk: IDisk,
        folder: str,
        incarnation: bytes,
        boundary: TwinRecord,
        found: Recovered,
        segment_length: int,
    ) -> None:
        self._disk = disk
        self._folder = folder
        self._incarnation = incarnation
        self._boundary = boundary
        self._segment_length = segment_length
        self._segments = found.segments
        self._spans = found.spans
        self._end = found.end
        self._link = found.link
        self._next_batch = found.next_batch
        base_index, base_term, _first = _BOUNDARY.unpack_from(boundary.payload)
        self.base = SnapshotMark(base_index, base_term)
        self.configuration = boundary.payload[_BOUNDARY.size :]
        self.last_index = found.last_index
        self.commit_index = found.commit_index
        self.found = found

    @classmethod
    def create(cls, disk: IDisk, folder: str, incarnation: bytes, segment_length: int = SEGMENT_LENGTH) -> None:
        """Make an empty log in an existing folder; durable when it returns, but for the boundary's name."""
        Segment.create(disk, folder, 1, 0, incarnation, 1, segment_length).file.close()
        TwinRecord.create(disk, f"{folder}/{BOUNDARY_NAME}", BOUNDARY_KIND, _BOUNDARY.pack(0, 0, 1)).close()

    @classmethod
    def open(cls, disk: IDisk, folder: str, incarnation: bytes, segment_length: int = SEGMENT_LENGTH) -> Log:
        """Recover it: see :mod:`dfs.raft.recovery`.  Raises NotFound, StorageCorrupt."""
        boundary = TwinRecord.open(disk, f"{folder}/{BOUNDARY_NAME}", BOUNDARY_KIND)
        base_index, _base_term, first_segment = _BOUNDARY.unpack_from(boundary.payload)
        found = recover(disk, folder, first_segment, base_index)
        for segment in found.segments.values():
            if segment.header.incarnation != incarnation:
                raise corrupt(segment.file.path, 0, "the segment belongs to another folder")
        return cls(disk, folder, incarnation, boundary, found, segment_length)

    def append(self, cut: int, entries: Sequence[Entry], commit: int) -> None:
        """Make the log end in ``entries`` after index ``cut``: one write, one sync, durable when it returns (R28).

        ``commit`` rides along, clamped to what is durable already (R36).  Raises NoSpace with nothing changed.
        """
        assert self.base.index <= cut <= self.last_index, (self.base, cut, self.last_index)
        assert cut >= min(self.commit_index, self.last_index), (cut, self.commit_index)
        known = max(self.commit_index, min(commit, cut))
        length = sectors(HEADER_LENGTH + sum(len(entry.encoded) for entry in entries))
        if self._end > SECTOR and self._end + length > self._segment_length:
            self._rotate(max(self._segment_length, SECTOR + length))
        segment = self._tail()
        seed = segment.header.checksum
        pieces, link = encode_batch(seed, self._link, self._next_batch, cut, known, entries)
        segment.append(pieces, self._end)
        end = self._end + length
        self._spans.append(segment.header.sequence, self._end, end, cut, len(entries))
        self._end, self._link = end, link
        self._next_batch += 1
        self.last_index = cut + len(entries)
        self.commit_index = known

    def mark_commit(self, commit: int) -> None:
        """Append a commit marker, unless it would tell nothing new."""
        if min(commit, self.last_index) > self.commit_index:
            self.append(self.last_index, (), commit)

    def read(self, first: int, last: int, limit: int) -> list[Entry]:
        """Entries ``first`` to at most ``last``, at least one and then no more than ``limit`` encoded bytes.

        The range must lie within the log (asserted).  Raises StorageCorrupt.
        """
        assert self.base.index < first <= last <= self.last_index, (self.base, first, last, self.last_index)
        found: list[Entry] = []
        size = 0
        while first <= last:
            span = self._spans.find(first)
            if span is None:
                raise StorageCorrupt(f"{self._folder}: entry {first} is not in the index of the log")
            for entry in self._segments[span.sequence].entries(span.start, span.end):
                if not first <= entry.index <= min(last, span.last):
                    continue
                size += len(entry.encoded)
                if found and size > limit:
                    return found
                found.append(entry)
            if not found or found[-1].index < first:
                raise StorageCorrupt(f"{self._folder}: entry {first} is not where the index says")
            first = found[-1].index + 1
        return found

    def term(self, index: int) -> int:
        """The term of an entry, or of the base."""
        if index == self.base.index:
            return self.base.term
        return self.read(index, index, 0)[0].term

    def tail(self) -> list[Entry]:
        """Some of the last entries, ending at the last; none in an empty log."""
        span = self._spans.find(self.last_index)
        if span is None:
            return []
        return self.read(max(span.first, self.base.index + 1), self.last_index, SEGMENT_LENGTH)

    def fresh_at(self) -> SnapshotMark | None:
        """The base of a log without entries, else None."""
        return self.base if self.last_index == self.base.index and not len(self._spans) else None

    def compact(self, mark: SnapshotMark, configuration: bytes) -> None:
        """Give up the entries at or below ``mark``, as of which ``configuration`` counted: the boundary, which keeps
        that, is durable before any segment goes."""
        if mark.index <= self.base.index:
            return
        assert mark.index <= self.last_index, (mark, self.last_index)
        span = self._spans.find(mark.index + 1) if mark.index < self.last_index else None
        self._begin_at(mark, span.sequence if span else max(self._segments), configuration)
        self._spans.drop_through(mark.index)

    def reset(self, mark: SnapshotMark, configuration: bytes) -> None:
        """Discard all entries: a snapshot that ends at ``mark`` and brought ``configuration`` replaced them (R39).
        Durable when it returns."""
        assert mark.index >= self.base.index, (mark, self.base)
        self._rotate(self._segment_length)
        self._begin_at(mark, max(self._segments), configuration)
        self._spans.clear()
        self.last_index = self.commit_index = mark.index

    def close(self) -> None:
        """Release the files."""
        for segment in self._segments.values():
            segment.file.close()
        self._boundary.close()

    def _tail(self) -> Segment:
        return self._segments[max(self._segments)]

    def _rotate(self, length: int) -> None:
        """Begin a new segment; the former one is durable to its end."""
        sequence = max(self._segments) + 1
        segment = Segment.create(
            self._disk, self._folder, sequence, self._link, self._incarnation, self._next_batch, length
        )
        self._segments[sequence] = segment
        self._end, self._link = SECTOR, segment.header.checksum

    def _begin_at(self, mark: SnapshotMark, first_segment: int, configuration: bytes) -> None:
        self._boundary.write(_BOUNDARY.pack(mark.index, mark.term, first_segment) + configuration)
        self.base, self.configuration = mark, configuration
        old = [sequence for sequence in self._segments if sequence < first_segment]
        for sequence in old:
            self._segments.pop(sequence).file.close()
            self._disk.unlink(f"{self._folder}/{segment_name(sequence)}")
        if old:
            self._disk.sync_folder(self._folder)
