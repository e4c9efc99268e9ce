"""A bare core's disk: what a crash leaves."""

from __future__ import annotations

from attrs import define, field

from dfs.raft.core import Configuration, EntryRead, HardState, LogView, Ready, SnapshotMark
from dfs.raft.membership import decode_configuration
from dfs.raft.messages import Entry, EntryKind


@define
class Disk:
    """What survives a crash: ``entries`` follow ``boundary``, as of which ``configuration`` counted; ``incoming`` is
    the configuration of the snapshot that was last switched to."""

    configuration: Configuration
    hard: HardState = field(factory=HardState)
    boundary: SnapshotMark = field(factory=lambda: SnapshotMark(0, 0))
    entries: list[Entry] = field(factory=list)
    incoming: Configuration | None = None

    def write(self, ready: Ready) -> None:
        """One Ready's transaction."""
        if ready.reset_to is not None:
            self.boundary, self.entries = ready.reset_to, []
            self.configuration = decode_configuration(ready.reset_configuration)
        if ready.truncate_from is not None:
            del self.entries[ready.truncate_from - self.boundary.index - 1 :]
        for entry in ready.entries:
            assert entry.index == self.boundary.index + len(self.entries) + 1, (entry, self.boundary)
            self.entries.append(entry)
        if ready.hard_state is not None:
            self.hard = ready.hard_state

    def view(self, tail: int = 1000) -> LogView:
        """As found at start, with the newest ``tail`` entries for the cache."""
        runs: list[tuple[int, int]] = []
        term = self.boundary.term
        for entry in self.entries:
            if entry.term != term:
                term = entry.term
                runs.append((entry.index, term))
        last = self.entries[-1] if self.entries else None
        return LogView(
            self.boundary,
            last.index if last else self.boundary.index,
            tuple(runs),
            last.checksum if last else 0,
            tuple(self.entries[-tail:]),
            tuple(entry for entry in self.entries if entry.kind is EntryKind.CONFIGURATION),
        )

    def holds(self, entry: Entry) -> bool:
        """Whether this very entry is here, or below the boundary."""
        position = entry.index - self.boundary.index - 1
        return position < 0 or (position < len(self.entries) and self.entries[position] == entry)

    def read(self, wanted: EntryRead) -> tuple[Entry, ...]:
        """Answer an EntryRead, one entry beyond the limit at most."""
        found: list[Entry] = []
        total = 0
        for entry in self.entries:
            if wanted.first <= entry.index <= wanted.last and (not found or total < wanted.limit):
                found.append(entry)
                total += len(entry.encoded)
        return tuple(found) if found and found[0].index == wanted.first else ()
