"""A simulated file's bytes, and which of them would survive a crash.

``content`` is what the process reads.  Each change since the last sync is kept with
what it replaced, so that a crash can undo all of them and then let any subset of
them happen after all, torn at sector boundaries: that is what a page cache does.
Syncing just forgets the changes, so a file at rest costs its bytes once.

After a failed sync the changes so far are *lost*: later syncs make later changes
durable, never these (S31; Rebello et al., ATC 2020), though they are read until the crash.
"""

from __future__ import annotations

import hashlib
import random

from attrs import define

SECTOR = 512


@define(eq=False)
class Change:
    """A write (``content`` at ``offset``) or a truncation (``content`` is None, to ``offset``).

    :ivar before: the bytes from ``offset`` that it replaced or cut.
    :ivar length_before: the file's length before it.
    :ivar fate: ``pending``, ``durable`` (synced, but kept behind a lost one) or ``lost``.
    """

    offset: int
    content: bytes | None
    before: bytes
    length_before: int
    fate: str = "pending"


class Inode:
    """One file, whatever names lead to it.

    :ivar number: counts files up in the order of their making.
    :ivar linked: some name leads to it.
    :ivar modified: wall time of the last change.
    :ivar reserved: bytes that were allocated, whatever the length.
    """

    is_folder = False

    def __init__(self, number: int) -> None:
        self.number = number
        self.linked = True
        self.content = bytearray()
        self.modified = 0.0
        self.reserved = 0
        self._changes: list[Change] = []
        self._sums: dict[int, bytes] = {}

    @property
    def charge(self) -> int:
        """Bytes that it takes of the disk."""
        return max(len(self.content), self.reserved)

    @property
    def dirty(self) -> bool:
        """Some change may be undone by a crash."""
        return bool(self._changes)

    def sum(self, length: int) -> bytes:
        """SHA-256 of the first bytes, for those who look again and again: worked out once until they change."""
        found = self._sums.get(length)
        if found is None:
            found = self._sums[length] = hashlib.sha256(memoryview(self.content)[:length]).digest()
        return found

    def overwrite(self, offset: int, content: bytes) -> None:
        """Other bytes are there, on the platter too, as if they always had been."""
        self._sums.clear()
        self.content[offset : offset + len(content)] = content

    def write(self, offset: int, content: bytes) -> None:
        self._sums.clear()
        before = bytes(self.content[offset : offset + len(content)])
        self._changes.append(Change(offset, content, before, len(self.content)))
        _write(self.content, offset, content)

    def truncate(self, length: int) -> None:
        self._sums.clear()
        self._changes.append(Change(length, None, bytes(self.content[length:]), len(self.content)))
        _truncate(self.content, length)

    def sync(self) -> None:
        """All changes but the lost ones are durable."""
        if any(change.fate == "lost" for change in self._changes):
            for change in self._changes:
                if change.fate == "pending":
                    change.fate = "durable"
        else:
            self._changes.clear()

    def lose(self) -> None:
        """A sync failed: what was pending will never be durable."""
        for change in self._changes:
            if change.fate == "pending":
                change.fate = "lost"

    def crash(self, random: random.Random) -> None:
        """Keep what was synced and, of the rest, whatever the random draws."""
        self._sums.clear()
        changes, self._changes = self._changes, []
        for change in reversed(changes):
            if change.content is None:
                self.content += change.before
            else:
                self.content[change.offset : change.offset + len(change.before)] = change.before
            _truncate(self.content, change.length_before)
        for change in changes:
            if change.fate == "durable":
                _apply(self.content, change)
            elif change.fate == "pending":
                _apply_some(self.content, change, random)
        self.reserved = 0


def _write(content: bytearray, offset: int, new: bytes) -> None:
    if offset > len(content):
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(new)] = new


def _truncate(content: bytearray, length: int) -> None:
    if length <= len(content):
        del content[length:]
    else:
        content.extend(bytes(length - len(content)))


def _apply(content: bytearray, change: Change) -> None:
    if change.content is None:
        _truncate(content, change.offset)
    else:
        _write(content, change.offset, change.content)


def _apply_some(content: bytearray, change: Change, random: random.Random) -> None:
    """Nothing, all, or some sectors of a change; the length may grow though the bytes did not come."""
    draw = random.random()
    if draw < 0.3:
        return
    if draw < 0.6 or change.content is None:
        _apply(content, change)
        return
    end = change.offset + len(change.content)
    if draw < 0.8 and end > len(content):
        content.extend(bytes(end - len(content)))  # the length was journalled, the bytes read as zeros
    keep = random.random()
    start = change.offset
    while start < end:
        stop = min(end, (start // SECTOR + 1) * SECTOR)
        if random.random() < keep:
            _write(content, start, change.content[start - change.offset : stop - change.offset])
        start = stop
