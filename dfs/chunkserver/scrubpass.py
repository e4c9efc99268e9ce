"""How far the scrub has come, and how fast it may go: pure decisions, and the file that survives a restart.

A *pass* verifies every replica that was there when it began, the most recently written first: numbers of adds only
rise at a node, so the pass goes down from the number at its beginning, and one number says what is left.  What is
written meanwhile is first in the next pass.  A pass begins one period after the one before.

The pace: always fast enough to end within the period, as long as that is below MAX_RATE.  While clients or copies use
the disk no faster than that; else at IDLE_RATE, so that a quiet hour buys a quiet pass.  Time counts while the server
runs.

The file ``scrub`` has two slots of 512 bytes, written in turn and in place, each with a checksum.  It is not synced:
what a crash takes away is read once more.  Slot (52 bytes, the rest zero)::

    offset size
       0     1   version, 1
       1     3   magic, "DFV"
       4     4   zero
       8     8   number of the pass, from 1
      16     8   number of the last add when the pass began
      24     8   adds up to this number, inclusive, are left
      32     8   milliseconds of the pass so far
      40     8   bytes verified in the pass
      48     4   CRC-32C of bytes 0 to 47
"""

from __future__ import annotations

import struct

from attrs import evolve, frozen
from crc32c import crc32c

from dfs.disk.errors import NotFound
from dfs.disk.interfaces import IDisk

VERSION = 1
MAGIC = b"DFV"
SLOT = 512
_SLOT = struct.Struct(">B3s4xQQQQQ")

IDLE_RATE = 8 << 20
"""Bytes/s while nobody else uses the disk."""

MAX_RATE = 64 << 20
"""Bytes/s at most, also where the period is too short for what there is."""

MARGIN = 0.9
"""Of the period: the pass aims at its end a little before."""


@frozen
class Pass:
    """``top``: adds above it belong to the next pass.  ``left``: adds up to it are still to be verified, 0 when the
    pass is done.  ``elapsed`` in seconds, ``done`` in bytes."""

    number: int
    top: int
    left: int
    elapsed: float
    done: int

    def verified(self, number: int, length: int) -> Pass:
        """The replica of that add was verified, or is gone: all above it too."""
        return evolve(self, left=number - 1, done=self.done + length)

    def next(self, top: int) -> Pass:
        """The pass after this one."""
        return Pass(self.number + 1, top, top, 0.0, 0)


def rate(remaining: int, elapsed: float, period: float, busy: bool) -> float:
    """Bytes/s for ``remaining`` bytes of a pass that has gone on for ``elapsed`` seconds; above 0."""
    needed = max(1.0, remaining / max(1.0, period * MARGIN - elapsed))
    return min(float(MAX_RATE), needed if busy else max(needed, float(IDLE_RATE)))


def encode_slot(state: Pass) -> bytes:
    """One slot's 512 bytes."""
    body = _SLOT.pack(VERSION, MAGIC, state.number, state.top, state.left, round(state.elapsed * 1000), state.done)
    return (body + crc32c(body).to_bytes(4, "big")).ljust(SLOT, b"\0")


def decode_slot(content: bytes) -> Pass | None:
    """The pass in a slot, or None if it is no valid slot."""
    body = content[: _SLOT.size]
    if len(content) < SLOT or crc32c(body).to_bytes(4, "big") != content[_SLOT.size : _SLOT.size + 4]:
        return None
    version, magic, number, top, left, elapsed_ms, done = _SLOT.unpack(body)
    return Pass(number, top, left, elapsed_ms / 1000, done) if (version, magic) == (VERSION, MAGIC) else None


def load(disk: IDisk, path: str) -> tuple[Pass | None, int]:
    """The newer pass on disk, None where there is none, and the slot to write next; blocking.  Raises DiskError."""
    try:
        file = disk.open(path, writable=False)
    except NotFound:
        return None, 0
    try:
        slots = [decode_slot(file.pread(SLOT, offset)) for offset in (0, SLOT)]
    finally:
        file.close()
    found = [(state.number, state.elapsed, at) for at, state in enumerate(slots) if state is not None]
    newest = max(found)[2] if found else 1
    return slots[newest], 1 - newest


def save(disk: IDisk, path: str, state: Pass, slot: int) -> None:
    """Write a slot; blocking.  Raises DiskError."""
    file = disk.open(path, create=True)
    try:
        file.pwrite([encode_slot(state)], slot * SLOT)
    finally:
        file.close()
