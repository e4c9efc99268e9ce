"""One replica's stream of a chunk into a place, verified on the way.

Checksums, hashing and writing run on a thread a batch at a time; the stream is
paused while more than HIGH_WATER bytes wait.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from dfs.client.errors import LocalFileError
from dfs.disk.errors import DiskError
from dfs.disk.interfaces import IDiskFile
from dfs.protocol.blocks import block_is_sound
from dfs.protocol.errors import Cancelled, DFSError, ReplicaCorrupt
from dfs.protocol.interfaces import Block, IBlockSink, IIncomingStream
from dfs.runtime.interfaces import IThreads

BATCH = 1 << 20
HIGH_WATER = 4 << 20


class Place(Protocol):
    """Where a chunk's bytes go.  ``write`` blocks: it is called on a thread."""

    def write(self, offset: int, pieces: Sequence[memoryview]) -> None:
        """Keep these bytes, which lie at ``offset`` within the chunk."""


class FilePlace:
    """A range of a file."""

    def __init__(self, file: IDiskFile, start: int) -> None:
        self._file = file
        self._start = start

    def write(self, offset: int, pieces: Sequence[memoryview]) -> None:
        try:
            self._file.pwrite(pieces, self._start + offset)
        except DiskError as error:
            raise LocalFileError(f"cannot write {error}", "free some space, then run the same command again") from error


class MemoryPlace:
    """A buffer of ``length`` bytes that stand for ``offset`` and on of the chunk; what lies outside is dropped."""

    def __init__(self, offset: int, length: int) -> None:
        self.data = bytearray(length)
        self._offset = offset

    def write(self, offset: int, pieces: Sequence[memoryview]) -> None:
        at = offset - self._offset
        for piece in pieces:
            low, high = max(at, 0), min(at + len(piece), len(self.data))
            if low < high:
                self.data[low:high] = piece[low - at : high - at]
            at += len(piece)


@implementer(IBlockSink)
class PlaceSink:
    """Feeds a place.  ``done`` fires when all is written and verified, or fails with DFSError.

    :param sha256: the committed hash when a whole chunk is read, b"" for a range (checksums only).
    """

    def __init__(self, threads: IThreads, place: Place, offset: int, length: int, sha256: bytes, node: str) -> None:
        self._threads = threads
        self._place = place
        self._next = offset
        self._end = offset + length
        self._sha256 = sha256
        self._node = node
        self._digest = hashlib.sha256()
        self._waiting: list[Block] = []
        self._held = 0
        self._busy = False
        self._writing: Deferred[None] | None = None
        self._complete = False
        self._stream: IIncomingStream | None = None
        self._error: BaseException | None = None
        self.received = 0
        self.done: Deferred[None] = Deferred()

    def attach(self, stream: IIncomingStream) -> None:
        """The hold on the stream, for flow control."""
        self._stream = stream

    def block_received(self, block: Block) -> None:
        if self._error is not None or self.done.called:
            return
        if block.offset != self._next:
            self._fail(ReplicaCorrupt(f"{self._node} sent bytes out of order", nodes=(self._node,)))
            return
        self._next += block.length
        self._waiting.append(block)
        self._held += block.length
        self.received += block.length
        if self._held > HIGH_WATER and self._stream is not None:
            self._stream.pause()
        if self._held >= BATCH:
            self._write_next()

    def end_received(self, length: int, sha256: bytes) -> None:
        self._complete = True
        self._write_next()

    def stream_failed(self, error: DFSError) -> None:
        self._stream = None
        self._fail(error)

    def give_up(self, error: DFSError) -> None:
        """Stop the stream; ``done`` fails with ``error``."""
        self._fail(error)

    def _fail(self, error: BaseException) -> None:
        """The first error counts.  ``done`` waits for the thread, so that nothing of this replica is written later."""
        if self._error is not None or self.done.called:
            return
        self._error = error
        if self._stream is not None:
            self._stream.refuse(error if isinstance(error, DFSError) else Cancelled("the reader failed"))
        if not self._busy:
            self.done.errback(error)

    def _write_next(self) -> None:
        if self._busy or self._error is not None or self.done.called:
            return
        if not self._waiting:
            if self._complete:
                self._finish()
            return
        blocks, self._waiting = self._waiting, []
        self._busy = True
        writing = self._threads.run(self._write, blocks)
        self._writing = writing.addCallbacks(self._written, self._write_failed)

    def _write(self, blocks: list[Block]) -> int:
        """On a thread: check, hash and keep."""
        for block in blocks:
            if not block_is_sound(block):
                raise ReplicaCorrupt(f"a checksum of the bytes from {self._node} is wrong", nodes=(self._node,))
            if self._sha256:
                for piece in block.pieces:
                    self._digest.update(piece)
            self._place.write(block.offset, block.pieces)
        return sum(block.length for block in blocks)

    def _written(self, count: int) -> None:
        self._busy = False
        self._held -= count
        if self._error is not None:
            self.done.errback(self._error)
            return
        if self._held <= HIGH_WATER // 2 and self._stream is not None and not self._complete:
            self._stream.resume()
        self._write_next()

    def _write_failed(self, failure: Failure) -> None:
        self._busy = False
        error = self._error
        if error is None:
            self._fail(failure.value or RuntimeError(str(failure)))
        else:
            self.done.errback(error)

    def _finish(self) -> None:
        if self._next < self._end:
            self._fail(ReplicaCorrupt(f"{self._node} sent too few bytes", nodes=(self._node,)))
        elif self._sha256 and self._digest.digest() != self._sha256:
            self._fail(ReplicaCorrupt(f"the SHA-256 of the replica at {self._node} is wrong", nodes=(self._node,)))
        else:
            self.done.callback(None)
