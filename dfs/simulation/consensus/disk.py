"""A member's disk: what survives, and the writes that may or may not."""

from __future__ import annotations

from attrs import define, field

from dfs.raft.core import Configuration, EntryRead, HardState, LogView, Ready, SnapshotMark
from dfs.raft.membership import decode_configuration
from dfs.raft.messages import Entry, EntryKind


@define
class Disk:
    """What a crash leaves: ``entries`` follow ``boundary``, as of which ``configuration`` counted; ``incoming`` is the
    configuration of the snapshot that was last switched to."""

    hard: HardState = field(factory=HardState)
    boundary: SnapshotMark = field(factory=lambda: SnapshotMark(0, 0))
    entries: list[Entry] = field(factory=list)
    configuration: Configuration = field(factory=lambda: Configuration(()))
    incoming: Configuration | None = None

    def write(self, ready: Ready) -> None:
        """One Ready's transaction.  AssertionError where its entries do not follow."""
        if ready.reset_to is not None:
            self.boundary, self.entries = ready.reset_to, []
            self.configuration = decode_configuration(ready.reset_configuration)
        if ready.truncate_from is not None:
            del self.entries[max(ready.truncate_from - self.boundary.index - 1, 0) :]
        if ready.entries:
            expected = self.boundary.index + len(self.entries) + 1
            assert ready.entries[0].index == expected, f"entry {ready.entries[0].index} is written after {expected - 1}"
            self.entries.extend(ready.entries)
        if ready.hard_state is not None:
            self.hard = ready.hard_state

    @property
    def last_index(self) -> int:
        """The last entry, or the boundary."""
        return self.boundary.index + len(self.entries)

    def entry(self, index: int) -> Entry | None:
        """The entry at ``index``, None where it is not here."""
        position = index - self.boundary.index - 1
        return self.entries[position] if 0 <= position < len(self.entries) else None

    def compact(self, index: int, configuration: bytes) -> None:
        """Drop entries up to ``index``, as of which ``configuration`` counts, if they are here."""
        entry = self.entry(index)
        if entry is not None:
            del self.entries[: index - self.boundary.index]
            self.boundary = SnapshotMark(index, entry.term)
            self.configuration = decode_configuration(configuration)

    def read(self, wanted: EntryRead) -> tuple[Entry, ...]:
        """Answer an EntryRead, one entry beyond the limit at most."""
        start = wanted.first - self.boundary.index - 1
        if start < 0:
            return ()
        found: list[Entry] = []
        total = 0
        for entry in self.entries[start : wanted.last - self.boundary.index]:
            if found and total >= wanted.limit:
                break
            found.append(entry)
            total += len(entry.encoded)
        return tuple(found)

    def view(self, tail: int) -> LogView:
        """As found at a start, with the newest ``tail`` entries for the cache."""
        runs: list[tuple[int, int]] = []
        term = self.boundary.term
        for entry in self.entries:
            if entry.term != term:
                term = entry.term
                runs.append((entry.index, term))
        checksum = self.entries[-1].checksum if self.entries else 0
        newest = tuple(self.entries[-tail:]) if tail else ()
        configurations = tuple(entry for entry in self.entries if entry.kind is EntryKind.CONFIGURATION)
        return LogView(self.boundary, self.last_index, tuple(runs), checksum, newest, configurations)
