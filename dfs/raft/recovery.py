"""Opening the log: what survived, and whether a bad batch is torn or corrupt.

A batch is valid if its header and all its records pass their checksums, each
links to what precedes it, and its number is the next one.  Batches are written
one at a time, each synced before the next is written, and a segment is made
only when the one before is durable to its end.  So:

* A bad batch is a *torn tail* if it is in the last segment and no sector behind
  it holds a valid batch header of this segment: the write that was under way
  at the crash.  It was never acknowledged.  It is cut off, durably.
* A bad batch with a valid batch header anywhere behind it, or in a segment that
  is not the last, was durable once: *corruption*.  The node stops with
  StorageCorrupt and changes nothing on disk (S30, R29).
* A log that ends below the commit index in the term-and-vote record lost
  committed entries: corruption too.  (That index, like the one in each batch, is
  never above what was durable when it was written: R36.)
* Rot in the very last batch looks like a torn write.  So a commit marker (an
  empty batch) is appended when the log falls idle and when it is closed: from
  then on everything committed has a valid batch behind it.
* The last segment may end within its first sector with an invalid header: it
  was being made, and nothing was ever written to it.  It is removed.

A process that was killed leaves names and writes in the page cache that look durable
and are not: the folder is synced before anything in it is counted upon, and
the last batch is written again in place and synced before anything is
acknowledged on the strength of it.  (Written again, because after a failed sync
the kernel may hold clean pages that never reached the disk: Rebello et al., "Can
Applications Recover from fsync Failures?", ATC 2020.)
"""

from __future__ import annotations

from attrs import define, field

from dfs.disk.interfaces import IDisk
from dfs.raft.log_format import (
    HEADER_LENGTH,
    SECTOR,
    BadRecord,
    BatchHeader,
    SegmentHeader,
    batches_behind,
    decode_batch_header,
    decode_entries,
)
from dfs.raft.messages import Entry, EntryKind
from dfs.raft.segment import Segment, corrupt, segment_name, segment_sequences
from dfs.raft.spans import SpanIndex


@define
class Recovered:
    """The log as it was found: entries ``base_index`` + 1 to ``last_index`` are readable through ``spans``.

    ``runs`` are (first index, term) of each run of equal terms; ``configurations`` the entries of that kind.
    The next batch goes to offset ``end`` of the last segment, with number ``next_batch``, linked to ``link``.
    """

    base_index: int
    last_index: int
    commit_index: int
    segments: dict[int, Segment] = field(factory=dict)
    spans: SpanIndex = field(factory=SpanIndex)
    end: int = SECTOR
    link: int = 0
    next_batch: int = 1
    torn_length: int = 0
    runs: list[tuple[int, int]] = field(factory=list)
    configurations: list[Entry] = field(factory=list)

    def add(self, sequence: int, batch: BatchHeader, entries: list[Entry]) -> None:
        """A valid batch at ``end``."""
        end = self.end + batch.length
        self.spans.append(sequence, self.end, end, batch.cut, batch.count)
        while self.runs and self.runs[-1][0] > batch.cut:
            self.runs.pop()
        while self.configurations and self.configurations[-1].index > batch.cut:
            self.configurations.pop()
        self.configurations.extend(entry for entry in entries if entry.kind is EntryKind.CONFIGURATION)
        for entry in entries:
            if not self.runs or self.runs[-1][1] != entry.term:
                self.runs.append((entry.index, entry.term))
        self.last_index = batch.cut + batch.count
        self.commit_index = max(self.commit_index, batch.commit)
        self.end = end
        self.link = batch.checksum
        self.next_batch += 1

    def begin_at(self, index: int) -> None:
        """Forget what lies at or below the base."""
        self.spans.drop_through(index)
        terms = [run for run in self.runs if run[0] > index + 1]
        at_start = [run[1] for run in self.runs if run[0] <= index + 1]
        if at_start and self.last_index > index:
            terms.insert(0, (index + 1, at_start[-1]))
        self.runs = terms
        self.configurations = [entry for entry in self.configurations if entry.index > index]


def recover(disk: IDisk, folder: str, first_segment: int, base_index: int) -> Recovered:
    """Read every segment from ``first_segment`` on; entries at or below the base are skipped.

    Removes leftovers of an interrupted compaction, cuts a torn tail, and makes durable what it returns.
    Raises StorageCorrupt.
    """
    disk.sync_folder(folder)
    log = Recovered(base_index, base_index, base_index)
    sequences = _clean(disk, folder, first_segment)
    if not sequences or sequences != list(range(first_segment, sequences[-1] + 1)):
        raise corrupt(folder, 0, f"segments are missing: found {sequences}, expected {first_segment} and on")
    last_batch: tuple[int, bytes] | None = None
    for sequence in sequences:
        segment = _open(disk, folder, sequence, is_last=sequence == sequences[-1], is_only=len(sequences) == 1)
        if segment is None:
            continue
        header = segment.header
        if log.segments and (header.link, header.first_batch) != (log.link, log.next_batch):
            raise corrupt(segment.file.path, 0, "the segment does not follow the one before it")
        log.segments[sequence] = segment
        log.link, log.next_batch, log.end = header.checksum, header.first_batch, SECTOR
        last_batch = _read_segment(log, segment, is_last=sequence == sequences[-1])
    tail = log.segments[max(log.segments)].file
    if log.last_index < base_index:
        raise corrupt(tail.path, log.end, f"the log ends at entry {log.last_index}, below its start {base_index}")
    if last_batch is not None:
        tail.pwrite([last_batch[1]], last_batch[0])
    tail.sync()
    log.begin_at(base_index)
    return log


def _clean(disk: IDisk, folder: str, first_segment: int) -> list[int]:
    """Remove segments that a compaction had already given up; the sequences that count."""
    found = segment_sequences(disk, folder)
    old = [sequence for sequence in found if sequence < first_segment]
    for sequence in old:
        disk.unlink(f"{folder}/{segment_name(sequence)}")
    if old:
        disk.sync_folder(folder)
    return found[len(old) :]


def _open(disk: IDisk, folder: str, sequence: int, is_last: bool, is_only: bool) -> Segment | None:
    """The segment, or None if it is the last and was only being made (it is removed)."""
    path = f"{folder}/{segment_name(sequence)}"
    try:
        return Segment.open(disk, folder, sequence)
    except BadRecord as error:
        if is_only or not is_last or disk.stat(path).length > SECTOR:
            raise corrupt(path, 0, str(error)) from error
    disk.unlink(path)
    disk.sync_folder(folder)
    return None


def _read_segment(log: Recovered, segment: Segment, is_last: bool) -> tuple[int, bytes] | None:
    """Add the segment's batches to ``log`` and cut its torn tail; the last batch as offset and bytes."""
    size = segment.file.size()
    data = memoryview(segment.file.pread(size, 0))
    last: tuple[int, int] | None = None
    while log.end < size:
        try:
            batch, entries = _read_batch(log, data[log.end :], segment.header)
        except BadRecord as error:
            behind = next(batches_behind(data, log.end + 1, segment.header.checksum), None)
            if behind is not None or not is_last:
                raise corrupt(segment.file.path, log.end, str(error)) from error
            log.torn_length = size - log.end
            segment.file.truncate(log.end)
            break
        last = log.end, log.end + batch.length
        log.add(segment.header.sequence, batch, entries)
    return (last[0], bytes(data[last[0] : last[1]])) if last else None


def _read_batch(log: Recovered, data: memoryview, segment: SegmentHeader) -> tuple[BatchHeader, list[Entry]]:
    """The batch at the start of ``data``.  Raises BadRecord unless it is whole and continues the log."""
    batch = decode_batch_header(data[:HEADER_LENGTH], segment.checksum)
    if (batch.number, batch.link) != (log.next_batch, log.link):
        raise BadRecord("the batch does not follow the one before it")
    opens_log = len(log.segments) == 1 and log.end == SECTOR  # what it followed was compacted
    if batch.cut > log.last_index and not opens_log:
        raise BadRecord("the batch leaves a gap after the last entry")
    if len(data) < batch.length:
        raise BadRecord("the batch is cut short")
    return batch, decode_entries(data, batch)
