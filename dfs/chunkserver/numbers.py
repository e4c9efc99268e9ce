"""The numbers of durable adds and removes: they never go back, and tell what an inventory proves.

Each durable add or remove of a replica at this node gets the next number (u64).
A commit records the number of the add.  An inventory "as of n" proves that what
is absent from it and was recorded at or below n is gone (S06), hence the two rules:

- **A number is never given twice**, across crashes and with a full disk.  Before
  use, a range is reserved in the file ``numbers``: two slots in two sectors,
  written in turn and in place (so that no space is needed), each with a checksum.
  A start goes on after the highest reservation, and above every footer on disk.
  If neither slot is whole, it leaps by 2**32 above every footer, and writes where it
  leapt to before anything else: a start that is killed then must not be forgotten.
- **"As of" stops below the lowest number that is given and not yet settled**: that
  add may be on disk, and committed, before it is in the index.

Slot (24 bytes, the rest of its 512 is zero)::

    offset size
       0     1   version, 1
       1     3   magic, "DFN"
       4     4   zero
       8     8   number up to which, inclusive, numbers may have been given
      16     4   zero
      20     4   CRC-32C of bytes 0 to 19
"""

from __future__ import annotations

import struct

from crc32c import crc32c

from dfs.disk.errors import NotFound
from dfs.disk.interfaces import IDisk

RANGE = 10_000
LEAP = 1 << 32
SLOT = 512
VERSION = 1
MAGIC = b"DFN"
_SLOT = struct.Struct(">B3s4xQ4x")


class NumberLine:
    """Pure: gives numbers out of the reserved range and knows which are settled."""

    def __init__(self, last: int, reserved: int) -> None:
        self.last = last
        """The highest number given."""
        self.reserved = reserved
        """Numbers up to here are reserved on disk."""
        self._open: set[int] = set()

    @property
    def left(self) -> int:
        """How many numbers can be given before the next reservation is durable."""
        return self.reserved - self.last

    def give(self) -> int:
        """The next number; the range must not be used up (asserted).  It is open until :meth:`settle`."""
        assert self.last < self.reserved, "a number beyond the reservation"
        self.last += 1
        self._open.add(self.last)
        return self.last

    def settle(self, number: int) -> None:
        """The add or remove of this number is in the index, or will never be."""
        self._open.remove(number)

    @property
    def as_of(self) -> int:
        """The highest number with nothing open at or below it: what an inventory may claim."""
        return min(self._open) - 1 if self._open else self.last


def encode_slot(reserved: int) -> bytes:
    """One slot's 512 bytes."""
    head = _SLOT.pack(VERSION, MAGIC, reserved)
    return (head + crc32c(head).to_bytes(4, "big")).ljust(SLOT, b"\0")


def decode_slot(content: bytes) -> int | None:
    """The reservation in a slot, or None if it is no valid slot."""
    head = content[: _SLOT.size]
    if len(content) < SLOT or crc32c(head).to_bytes(4, "big") != content[_SLOT.size : _SLOT.size + 4]:
        return None
    version, magic, reserved = _SLOT.unpack(head)
    return reserved if (version, magic) == (VERSION, MAGIC) else None


def format_numbers(disk: IDisk, path: str, reserved: int = 0) -> None:
    """Make the file with a reservation, and nothing else, in both slots; blocking.  The folder is synced by the
    caller."""
    file = disk.open(path, create=True)
    try:
        file.pwrite([encode_slot(reserved), encode_slot(reserved)], 0)
        file.sync()
    finally:
        file.close()


def read_reserved(disk: IDisk, path: str) -> int | None:
    """The highest reservation on disk, or None where no slot is whole; blocking.

    Raises DiskError where the disk does not read: that is no verdict on the slots.
    """
    try:
        file = disk.open(path, writable=False)
    except NotFound:
        return None
    try:
        slots = [decode_slot(file.pread(SLOT, offset)) for offset in (0, SLOT)]
    finally:
        file.close()
    valid = [reserved for reserved in slots if reserved is not None]
    return max(valid) if valid else None


def reserve(disk: IDisk, path: str, reserved: int) -> None:
    """Make a reservation durable; blocking.  Raises DiskError, SyncFailed above all.

    The slot is chosen by the reservation itself, so that consecutive ones fall into different
    sectors and a torn write never hurts the one that holds.
    """
    file = disk.open(path, create=True)
    try:
        file.pwrite([encode_slot(reserved)], (reserved // RANGE % 2) * SLOT)
        file.sync()
    finally:
        file.close()


def first_line(reserved: int | None, highest: int) -> NumberLine:
    """The line to start from: after every number that may ever have been given.

    ``highest`` is the highest number in any footer.  Nothing is reserved yet; the reservation is a
    multiple of RANGE from then on, so that slots alternate.
    """
    base = max(reserved, highest) if reserved is not None else highest + LEAP
    base = -(-base // RANGE) * RANGE
    return NumberLine(base, base)
