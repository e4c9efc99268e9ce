"""The hashes of the state at the same entries on every member, kept and compared (S38).

Every member notes the hash of its tables whenever it has applied an entry whose index is a multiple of the same
number, and keeps the latest of these.  The leader asks the others for theirs and compares: two members that applied
the same entries and hold another state at one of them have a defect, a bad disk or a bad memory between them, and
every later entry would carry the difference on.

What is seen is a difference that reached the hash: whatever was applied, and whatever record was read by an apply in
a state that it was not written in.  A record that rots on disk and is never touched is the store's to find.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from attrs import frozen

from dfs.raft.interfaces import Command

EVERY = 128
"""Entries from one checkpoint to the next; the same on all members."""

KEPT = 512
"""Checkpoints in memory: 65,536 entries back."""


class Checkpoints:
    """The latest of one member, in memory: a member that starts, or installs a snapshot, begins anew."""

    def __init__(self, every: int = EVERY) -> None:
        self.every = every
        self._hashes: dict[int, bytes] = {}

    def runs(self, entries: Sequence[Command]) -> Iterator[Sequence[Command]]:
        """The entries in order, cut after each whose index is a checkpoint."""
        start = 0
        for place, entry in enumerate(entries, 1):
            if self.is_due(entry.index):
                yield entries[start:place]
                start = place
        if start < len(entries):
            yield entries[start:]

    def is_due(self, index: int) -> bool:
        """Whether the state at this index is to be noted."""
        return index % self.every == 0

    def note(self, index: int, state_hash: bytes) -> None:
        """The state after this entry."""
        self._hashes[index] = state_hash
        if len(self._hashes) > KEPT:
            del self._hashes[min(self._hashes)]

    def forget(self) -> None:
        """Another state was put in place."""
        self._hashes.clear()

    def latest(self, limit: int) -> dict[int, bytes]:
        """The newest ones by index, ascending."""
        return dict(list(self._hashes.items())[-limit:])


@frozen
class Difference:
    """Members that hold different states at ``index``.

    :ivar odd: those outside the majority of those compared; everybody where there is none.
    :ivar others: the majority, or ().
    """

    index: int
    odd: tuple[str, ...]
    others: tuple[str, ...]

    def sentence(self) -> str:
        """For the operator."""
        if not self.others:
            return (
                f"the tables of {' and '.join(self.odd)} differ at entry {self.index}, and no majority tells which are "
                "right: stop writing, keep the folders, and compare them"
            )
        return (
            f"the tables of {' and '.join(self.odd)} differ from those of {' and '.join(self.others)} at entry "
            f"{self.index}: stop {' and '.join(self.odd)}, keep the folder for inspection, and replace the member"
        )


def compare(seen: Mapping[str, Mapping[int, bytes]]) -> tuple[Difference | None, tuple[str, ...]]:
    """Where members differ, or None, and the members that could be compared with another one; ``seen`` has the
    checkpoints of each member by index.  Of several such entries the first one that most members noted is told."""
    by_index: dict[int, dict[str, bytes]] = {}
    for member in sorted(seen):
        for index, state_hash in seen[member].items():
            by_index.setdefault(index, {})[member] = state_hash
    shared = {index: hashes for index, hashes in by_index.items() if len(hashes) > 1}
    compared = tuple(sorted({member for hashes in shared.values() for member in hashes}))
    differing = [index for index, hashes in shared.items() if len(set(hashes.values())) > 1]
    if not differing:
        return None, compared
    index = min(differing, key=lambda index: (-len(shared[index]), index))
    return _difference(index, shared[index]), compared


def _difference(index: int, hashes: Mapping[str, bytes]) -> Difference:
    groups: dict[bytes, list[str]] = {}
    for member, state_hash in hashes.items():
        groups.setdefault(state_hash, []).append(member)
    largest = max(groups.values(), key=len)
    if 2 * len(largest) <= len(hashes):
        return Difference(index, tuple(hashes), ())
    return Difference(index, tuple(member for member in hashes if member not in largest), tuple(largest))
