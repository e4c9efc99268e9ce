"""The Raft log under trial: votes, appends, overwrites, rotation, compaction, resets (R01, R26, R28, R29, R37)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

from attrs import evolve, frozen

from dfs.disk.errors import DiskError
from dfs.disk.interfaces import IDisk
from dfs.raft.codec import encode_entry
from dfs.raft.core.types import HardState, SnapshotMark
from dfs.raft.errors import RaftError
from dfs.raft.identity import Identity
from dfs.raft.messages import Entry, EntryKind
from dfs.raft.segment import NoSpace
from dfs.raft.storage import LogStorage, Write, first_entry, open_storage
from dfs.test.crash.subjects import Mark, Opened, Refused, Wrong

FOUNDER = Identity("a", b"c" * 16, b"i" * 16, b"configuration")
SEGMENT_LENGTH = 4096
RESERVE = 4096
LENGTHS = (0, 10, 300, 1500)


@frozen
class Held:
    """What a log holds."""

    hard: HardState
    base: SnapshotMark
    entries: tuple[Entry, ...]

    @property
    def last(self) -> int:
        return self.base.index + len(self.entries)

    @property
    def last_term(self) -> int:
        return self.entries[-1].term if self.entries else self.base.term

    def told(self) -> str:
        """As one line."""
        digest = hashlib.sha256(b"".join(entry.encoded for entry in self.entries)).hexdigest()[:16]
        return f"{self.hard.term}/{self.hard.vote} {self.base.index}/{self.base.term} to {self.last} {digest}"

    def cut_after(self, index: int) -> tuple[Entry, ...]:
        return self.entries[: index - self.base.index]

    def term_at(self, index: int) -> int:
        return self.base.term if index == self.base.index else self.entries[index - self.base.index - 1].term


NEW = Held(HardState(1), SnapshotMark(0, 0), (first_entry(FOUNDER.configuration),))


def _as_of(base: SnapshotMark) -> bytes:
    """What stands for the configuration at a boundary."""
    return b"as of %d/%d" % (base.index, base.term)


class OpenedLog:
    """A member's storage, driven as a follower's shell drives it."""

    def __init__(self, storage: LogStorage) -> None:
        self._storage = storage
        self._held = NEW
        self._look()

    def _look(self) -> None:
        storage = self._storage
        first, last = storage.base.index + 1, storage.last_index
        entries: list[Entry] = []
        while first + len(entries) <= last:
            entries += storage.read(first + len(entries), last, 1 << 20)
        self._held = Held(storage.hard_state, storage.base, tuple(entries))
        self._commit = storage.commit_index

    def seen(self) -> str:
        view = self._storage.view()
        if [entry.index for entry in self._held.entries] != list(range(self._held.base.index + 1, self._held.last + 1)):
            raise Wrong("the entries do not follow one another")
        if self._commit > self._held.last or view.last_index != self._held.last:
            raise Wrong(f"committed up to {self._commit}, but the log ends at {self._held.last}")
        if self._storage.configuration != (_as_of(self._held.base) if self._held.base.index else b""):
            raise Wrong(f"{self._storage.configuration!r} is not the configuration as of {self._held.base}")
        return self._held.told()

    def step(self, chance: Random, mark: Mark) -> None:
        try:
            self._step(chance, mark)
        except NoSpace:
            self._look()  # the log is as it was, and goes on (R32)
            mark(self._held.told())

    def _step(self, chance: Random, mark: Mark) -> None:
        kind = chance.random()
        if kind < 0.15:
            term = self._held.hard.term + 1
            self._write(Write(HardState(term, chance.choice((None, "a", "b")))), mark)
        elif kind < 0.60:
            self._append(chance, mark)
        elif kind < 0.72 and self._commit < self._held.last:
            self._overwrite(chance, mark)
        elif kind < 0.85 and self._commit > self._held.base.index:
            self._compact(chance.randint(self._held.base.index + 1, self._commit), mark)
        elif kind < 0.90:
            base = SnapshotMark(self._held.last + chance.randint(0, 9), self._held.hard.term)
            self._commit = base.index
            self._storage.note_incoming(base, _as_of(base))
            self._write(Write(None, base, None, (), base.index, _as_of(base)), mark)
        else:
            self._commit = chance.randint(self._commit, self._held.last)
            self._storage.mark_commit(self._commit)

    def close(self, mark: Mark) -> None:
        self._storage.close()

    def _entries(self, chance: Random, first: int, term: int) -> tuple[Entry, ...]:
        count = chance.choice((1, 1, 2, 5))
        return tuple(
            encode_entry(index, term, EntryKind.COMMAND, chance.randbytes(chance.choice(LENGTHS)), 0)
            for index in range(first, first + count)
        )

    def _append(self, chance: Random, mark: Mark) -> None:
        entries = self._entries(chance, self._held.last + 1, self._held.hard.term)
        self._commit = chance.randint(self._commit, self._held.last)
        self._write(Write(None, None, None, entries, self._commit), mark)

    def _overwrite(self, chance: Random, mark: Mark) -> None:
        """A leader of a later term replaces what was not committed; term and entries come in one message."""
        first = chance.randint(self._commit + 1, self._held.last)
        term = self._held.hard.term + 1
        self._write(Write(HardState(term), None, first, self._entries(chance, first, term), self._commit), mark)

    def _compact(self, index: int, mark: Mark) -> None:
        held = self._held
        base = SnapshotMark(index, held.term_at(index))
        after = evolve(held, base=base, entries=held.entries[index - held.base.index :])
        mark(held.told(), after.told())
        self._storage.compact(base, _as_of(base))
        self._held = after
        mark(after.told())

    def _write(self, write: Write, mark: Mark) -> None:
        """Term and vote are durable before the log is touched, and a reset before what follows it."""
        steps = [self._held]
        if write.hard_state is not None:
            steps.append(evolve(steps[-1], hard=write.hard_state))
        if write.reset_to is not None:
            steps.append(evolve(steps[-1], base=write.reset_to, entries=()))
        kept = steps[-1].cut_after((write.truncate_from or steps[-1].last + 1) - 1)
        steps.append(evolve(steps[-1], entries=kept + write.entries))
        mark(*dict.fromkeys(step.told() for step in steps))
        self._storage.write(write)
        self._held = steps[-1]
        mark(self._held.told())


@frozen
class RaftLog:
    """The log of a member."""

    name: str = "raftlog"
    empty: str = NEW.told()
    traced: bool = False
    torn_pages: int = 0
    failures: tuple[type[Exception], ...] = (RaftError, DiskError)

    @contextmanager
    def small(self) -> Iterator[None]:
        yield

    def open(self, disk: IDisk, folder: str) -> Opened:
        try:
            return OpenedLog(open_storage(disk, f"{folder}/raft", FOUNDER, SEGMENT_LENGTH, RESERVE))
        except RaftError as error:
            raise Refused(str(error)) from error
