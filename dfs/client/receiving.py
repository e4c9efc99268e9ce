"""One replica's stream of a chunk into a place, verified on the way.

Checksums, hashing and writing run on a thread a batch at a time; the stream is
paused while more than HIGH_WATER bytes wait.

Invariant: what a replica sends is written within its own chunk only, and nothing
of it is written after :meth:`PlaceSink.finished` came back, so the next replica's bytes
are never mixed with it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Protocol

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred
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


@frozen
class Expected:
    """What a stream must bring: bytes ``start`` to ``end`` at least, none at or beyond ``limit`` (the chunk's length);
    ``sha256`` of all of them when a whole chunk is read, b"" for a range (checksums only)."""

    node: str
    start: int
    end: int
    limit: int
    sha256: bytes


@implementer(IBlockSink)
class PlaceSink:
    """Feeds a place."""

    def __init__(self, threads: IThreads, place: Place, expected: Expected) -> None:
        self._threads = threads
        self._place = place
        self._expected = expected
        self._next = expected.start
        self._digest = hashlib.sha256()
        self._waiting: list[Block] = []
        self._held = 0
        self._busy = False
        self._complete = False  # all has come
        self._over = False  # nothing more is taken
        self._stream: IIncomingStream | None = None
        self._error: BaseException | None = None
        self._waiters: list[Deferred[None]] = []
        self.received = 0

    def attach(self, stream: IIncomingStream) -> None:
        """The hold on the stream, for flow control."""
        self._stream = stream

    async def finished(self) -> None:
        """Wait until all is written and verified.  Raises DFSError, and whatever the place raised.  Cancelled, it
        stops the stream and comes back when the thread has let go of the place."""
        try:
            await self._idle()
        except CancelledError as error:
            self.give_up(Cancelled("the reader gave the chunk up"))
            if self._busy:
                await self._idle()
            raise error
        if self._error is not None:
            raise self._error

    async def _idle(self) -> None:
        if not self._over or self._busy:
            waiter: Deferred[None] = Deferred(self._waiters.remove)
            self._waiters.append(waiter)
            await waiter

    def _settle(self) -> None:
        """Whoever waits is told, once nothing more is taken and the thread is done."""
        if self._over and not self._busy:
            waiters, self._waiters = self._waiters, []
            for waiter in waiters:
                waiter.callback(None)

    def block_received(self, block: Block) -> None:
        if self._over:
            return
        if block.offset != self._next or block.offset + block.length > self._expected.limit:
            self.give_up(self._corrupt("sent other bytes than were asked for"))
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
        self._stream = None
        self._complete = True
        self._write_next()

    def stream_failed(self, error: DFSError) -> None:
        self._stream = None
        self.give_up(error)

    def give_up(self, error: BaseException) -> None:
        """Stop the stream.  The first error counts."""
        if self._over:
            return
        self._over = True
        self._error = error
        self._waiting.clear()
        if self._stream is not None:
            self._stream.refuse(error if isinstance(error, DFSError) else Cancelled("the reader failed"))
            self._stream = None
        self._settle()

    def _corrupt(self, what: str) -> ReplicaCorrupt:
        return ReplicaCorrupt(f"{self._expected.node} {what}", nodes=(self._expected.node,))

    def _write_next(self) -> None:
        if self._busy or self._over:
            return
        if self._waiting:
            blocks, self._waiting = self._waiting, []
            self._busy = True
            writing = self._threads.run(self._write, blocks)
            writing.addCallbacks(self._written, self._write_failed)  # type: ignore[unused-awaitable]
        elif self._complete:
            self._verify()

    def _write(self, blocks: list[Block]) -> int:
        """On a thread: check, hash and keep."""
        for block in blocks:
            if not block_is_sound(block):
                raise self._corrupt("sent bytes with a wrong checksum")
            if self._expected.sha256:
                for piece in block.pieces:
                    self._digest.update(piece)
            self._place.write(block.offset, block.pieces)
        return sum(block.length for block in blocks)

    def _written(self, count: int) -> None:
        self._busy = False
        self._held -= count
        if self._held <= HIGH_WATER // 2 and self._stream is not None:
            self._stream.resume()
        self._write_next()
        self._settle()

    def _write_failed(self, failure: Failure) -> None:
        self._busy = False
        self.give_up(failure.value or RuntimeError(str(failure)))
        self._settle()

    def _verify(self) -> None:
        if self._next < self._expected.end:
            self.give_up(self._corrupt("sent too few bytes"))
        elif self._expected.sha256 and self._digest.digest() != self._expected.sha256:
            self.give_up(self._corrupt("holds bytes with another SHA-256 than was committed"))
        else:
            self._over = True
            self._settle()
