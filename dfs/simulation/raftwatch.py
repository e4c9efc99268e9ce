"""Raft, looked at from outside while it runs: the properties of the paper's Figure 3, and those that disks add.

- election safety: at most one leader in a term;
- one vote: a member's vote in a term never changes, and its term never goes back, over restarts too (R01, R03);
- log matching: two entries of one index and term have the same checksum, which covers all that is before them;
- leader completeness: a leader has every entry that was committed in an earlier term;
- state-machine safety: an index that was committed with an entry is never committed with another;
- the commit index of a process never goes back, and is never beyond its log.

Everything is looked at once, when it is new: the cost is that of what changed, and a member at rest costs a few
comparisons.  What is remembered is bounded by :data:`KEPT`.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import TypeVar

from attrs import define

from dfs.raft.core import RaftCore
from dfs.raft.core.types import HardState, Role

KEPT = 40_000
"""Entries that are remembered, at most."""
V = TypeVar("V")
LOOKED_AT = 1 << 20
"""Bytes of entries that are looked at together."""


@define(eq=False)
class Seen:
    """What was seen of a process.

    :ivar last: (index, checksum) of its last entry.
    """

    core: RaftCore
    commit: int = 0
    last: tuple[int, int] = (0, 0)
    led: int = 0


class RaftWatch:
    """:param violated: called with a sentence."""

    def __init__(self, violated: Callable[[str], None]) -> None:
        self._violated = violated
        self._seen: dict[str, Seen] = {}
        self._leaders: dict[int, str] = {}
        self._votes: dict[str, HardState] = {}
        self._entries: dict[tuple[int, int], int] = {}
        self._committed: dict[int, int] = {}
        self._newest = (0, 0)

    def gone(self, name: str) -> None:
        """It does not run."""
        self._seen.pop(name, None)

    def look(self, name: str, core: RaftCore) -> None:
        """A member that runs."""
        seen = self._seen.get(name)
        if seen is None or seen.core is not core:
            seen = self._seen[name] = Seen(core)
        if core.role is Role.LEADER and seen.led != core.term:
            seen.led = core.term
            self._look_at_leader(name, core)
        hard = core.state.durable_hard
        if self._votes.get(name) != hard:
            self._look_at_vote(name, hard)
        log = core.state.log
        if seen.last != (log.last_index, log.last_checksum):
            self._look_at_entries(name, core, seen)
        if seen.commit != core.commit_index:
            self._look_at_commit(name, core, seen)

    def _look_at_leader(self, name: str, core: RaftCore) -> None:
        former = self._leaders.setdefault(core.term, name)
        if former != name:
            self._violated(f"election safety: {former} and {name} lead term {core.term}")
        index, term = self._newest
        found = core.term_at(index)
        if term < core.term and index > core.state.log.boundary.index and found != term:
            self._violated(
                f"leader completeness: {name} leads term {core.term} without committed entry {index} of term {term} "
                f"(it has {found})"
            )

    def _look_at_vote(self, name: str, hard: HardState) -> None:
        known = self._votes.get(name)
        if known is not None and (
            hard.term < known.term or (hard.term == known.term and known.vote not in (None, hard.vote))
        ):
            self._violated(f"one vote: {name} had {known} on its disk, then {hard}")
        self._votes[name] = hard

    def _look_at_entries(self, name: str, core: RaftCore, seen: Seen) -> None:
        """From the end back to the first entry that is known: its checksum covers what is before it."""
        log = core.state.log
        seen.last = (log.last_index, log.last_checksum)
        for index in range(log.last_index, log.boundary.index, -1):
            found = log.cached(index, index, LOOKED_AT)
            if not found:
                return
            key, checksum = (index, found[0].term), found[0].checksum
            known = self._entries.get(key)
            if known == checksum:
                return
            if known is not None:
                self._violated(f"log matching: entry {index} of term {key[1]} is another one on {name}")
                return
            self._entries[key] = checksum
        if len(self._entries) > KEPT:
            forget_half(self._entries)

    def _look_at_commit(self, name: str, core: RaftCore, seen: Seen) -> None:
        if core.commit_index < seen.commit:
            self._violated(f"{name} had committed entry {seen.commit}, now {core.commit_index}")
        if core.commit_index > core.state.log.last_index:
            self._violated(f"{name} has committed {core.commit_index}, its log ends at {core.state.log.last_index}")
        start = max(seen.commit, core.state.log.boundary.index) + 1
        seen.commit = core.commit_index
        for index in range(start, core.commit_index + 1):
            term = core.term_at(index)
            if term is not None and self._committed.setdefault(index, term) != term:
                self._violated(f"{name} has committed entry {index} of term {term}, not {self._committed[index]}")
            elif term is not None and index > self._newest[0]:
                self._newest = (index, term)
        if len(self._committed) > KEPT:
            forget_half(self._committed)


def forget_half(table: dict[V, int]) -> None:
    """The older half of what is remembered."""
    for key in list(islice(table, len(table) // 2)):
        del table[key]
