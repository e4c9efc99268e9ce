"""Receive buffers that are used again.

A fresh MiB costs 256 page faults, each with a page to clear, before the first byte is in it;
one that was used a moment ago is mapped, and warm in the processor's cache.

Nobody says that he is done with a buffer: blocks wait for a disk, for children and for
threads.  But a ``bytearray`` whose bytes somebody looks at refuses to change its length,
so that trying to tells whether it is free.

Memory is kept for one process as a whole, as an allocator's is: not for each connection.
"""

from __future__ import annotations

from dfs.protocol.values import BLOCK

KEPT = 16
"""Buffers kept for the next block; what is wanted beyond them is made and given back each time."""

SMALL = 64 << 10
"""Blocks up to this length get a buffer of their own: to clear it costs less than to look for one."""


def is_free(buffer: bytearray) -> bool:
    """Whether no view of it is left.  Its bytes stay as they are where one is."""
    try:
        last = buffer.pop()
    except BufferError:
        return False
    buffer.append(last)
    return True


class Buffers:
    """Gives buffers; used on the reactor thread only, though views of them may end on any."""

    def __init__(self, kept: int = KEPT) -> None:
        self._most = kept
        self._kept: list[bytearray] = []

    def __len__(self) -> int:
        """How many are kept, in use or not."""
        return len(self._kept)

    def take(self, length: int) -> memoryview:
        """Room for ``length`` bytes (at most BLOCK), whatever is in it; free again when no view of it is left."""
        if length <= SMALL:
            return memoryview(bytearray(length))
        for number, buffer in enumerate(self._kept):
            if is_free(buffer):
                self._kept.append(self._kept.pop(number))  # the next one is most likely free at the first look
                return memoryview(buffer)[:length]
        buffer = bytearray(BLOCK)
        if len(self._kept) < self._most:
            self._kept.append(buffer)
        return memoryview(buffer)[:length]

    def give_back(self) -> None:
        """Let go of those that nobody uses."""
        self._kept = [buffer for buffer in self._kept if not is_free(buffer)]


BUFFERS = Buffers()
"""Those of this process."""

WASTE = memoryview(bytearray(BLOCK))
"""Where blocks are received that nobody wants: any number at the same time, for nobody looks at it."""
