"""Where an upload's bytes come from: a path, a file object or an async iterator of bytes.

A source yields :class:`ChunkBody` objects in order.  A body can be read again, so
a chunk whose write failed is sent anew: a path's body re-reads the file, a
stream's body holds its bytes (at most ``parallel`` chunks are held at once).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from io import BytesIO
from typing import Any, BinaryIO, Protocol

from attrs import frozen
from twisted.internet.defer import DeferredLock
from zope.interface import Attribute, Interface, implementer

from dfs.client.concurrency import locked
from dfs.client.errors import LocalFileChanged, LocalFileError
from dfs.disk.errors import DiskError
from dfs.disk.interfaces import IDisk, IDiskFile
from dfs.runtime.interfaces import IThreads

READ = 1 << 20


class ChunkBody(Protocol):
    """One chunk's bytes.  ``read`` blocks: it is called on a thread."""

    index: int
    length: int
    last: bool  # no chunk follows

    def read(self, offset: int, length: int) -> memoryview:
        """Exactly ``length`` bytes from ``offset`` within the chunk.  Raises LocalFileError."""


class ISource(Interface):
    """An upload's bytes, chunk by chunk."""

    size = Attribute("Bytes in all, or None while it is not known.")

    def next_body() -> Any:
        """A coroutine: the next ChunkBody, or None at the end.  Safe to call from several coroutines."""

    def check_unchanged() -> Any:
        """A coroutine: raises LocalFileChanged if the bytes read may not be one state of the file."""

    def close() -> None:
        """Release it."""


@frozen
class FileBody:
    """A range of a file."""

    file: IDiskFile
    index: int
    start: int
    length: int
    last: bool

    def read(self, offset: int, length: int) -> memoryview:
        try:
            data = self.file.pread(length, self.start + offset)
        except DiskError as error:
            raise LocalFileError(f"cannot read {error}") from error
        if len(data) != length:
            raise LocalFileChanged(f"{self.file.path} became shorter while it was uploaded", "upload it again")
        return memoryview(data)


@frozen
class BufferedBody:
    """Bytes held in memory, in segments of READ (the last one perhaps shorter)."""

    index: int
    length: int
    segments: tuple[bytes, ...]
    last: bool

    def read(self, offset: int, length: int) -> memoryview:
        first, within = divmod(offset, READ)
        if within + length <= READ:
            return memoryview(self.segments[first])[within : within + length]
        last = (offset + length - 1) // READ
        joined = b"".join(self.segments[first : last + 1])
        return memoryview(joined)[within : within + length]


@implementer(ISource)
class PathSource:
    """A regular file, read at any offset.  ``stat`` is what it was when it was opened."""

    def __init__(self, disk: IDisk, threads: IThreads, path: str, chunk_size: int) -> None:
        self._disk = disk
        self._threads = threads
        self._path = path
        self._chunk_size = chunk_size
        self._file: IDiskFile | None = None
        self._next = 0
        self.size: int | None = None
        self.modified = 0.0

    async def open(self) -> None:
        """Open it.  Raises LocalFileError."""
        try:
            stat = await self._threads.run(self._disk.stat, self._path)
            if stat.is_folder:
                raise LocalFileError(f"{self._path} is a folder", "name a file")
            self._file = await self._threads.run(self._disk.open, self._path, False, False, False)
            if stat.length == 0 and await self._threads.run(self._file.pread, 1, 0):
                raise LocalFileError(f"{self._path} is not a regular file", "give it as a stream: --file - is stdin")
        except DiskError as error:
            raise LocalFileError(f"cannot read {error}", "check the path and its permissions") from error
        self.size, self.modified = stat.length, stat.modified

    def set_chunk_size(self, chunk_size: int) -> None:
        """Cut differently (an upload that is resumed keeps the chunk size that it began with)."""
        self._chunk_size = chunk_size
        self._next = 0

    def body(self, index: int) -> FileBody:
        """The body of a chunk by its index."""
        assert self._file is not None and self.size is not None
        start = index * self._chunk_size
        length = min(self._chunk_size, self.size - start)
        return FileBody(self._file, index, start, length, start + length == self.size)

    async def next_body(self) -> FileBody | None:
        assert self.size is not None
        index = self._next
        if index * self._chunk_size >= self.size:
            return None
        self._next += 1
        return self.body(index)

    async def check_unchanged(self) -> None:
        try:
            stat = await self._threads.run(self._disk.stat, self._path)
        except DiskError as error:
            raise LocalFileChanged(f"the file went away while it was uploaded: {error}", "upload it again") from error
        if (stat.length, stat.modified) != (self.size, self.modified):  # S40
            raise LocalFileChanged(f"{self._path} changed while it was uploaded", "upload it again")

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


@implementer(ISource)
class StreamSource:
    """Bytes that come once: ``pull`` is a coroutine function giving some bytes, b"" at the end."""

    def __init__(self, pull: Callable[[], Any], chunk_size: int) -> None:
        self._pull = pull
        self._chunk_size = chunk_size
        self._lock = DeferredLock()
        self._rest = memoryview(b"")
        self._ended = False
        self._next = 0
        self._taken = 0
        self.size: int | None = None

    async def next_body(self) -> BufferedBody | None:
        return await locked(self._lock, self._fill)

    async def _fill(self) -> BufferedBody | None:
        """Gather one chunk as segments of exactly READ bytes (the last one perhaps shorter)."""
        segments: list[bytes] = []
        gathered = 0
        while gathered < self._chunk_size:
            segment = await self._segment(min(READ, self._chunk_size - gathered))
            if not segment:
                break
            segments.append(segment)
            gathered += len(segment)
        self._taken += gathered
        if not gathered:
            self.size = self._taken
            return None
        index = self._next
        self._next += 1
        return BufferedBody(index, gathered, tuple(segments), await self._at_end())

    async def _at_end(self) -> bool:
        """Whether no byte follows: a full chunk waits for the next byte, so that the last one is known as such."""
        while not self._rest and not self._ended:
            piece = await self._pull()
            self._rest = memoryview(bytes(piece))
            self._ended = not piece
        return not self._rest

    async def _segment(self, length: int) -> bytes:
        """``length`` bytes, fewer only at the end.  Each byte is copied once or twice however the pieces are cut."""
        pieces: list[memoryview] = []
        missing = length
        while missing:
            if not self._rest:
                if self._ended:
                    break
                piece = await self._pull()
                if not piece:
                    self._ended = True
                    break
                self._rest = memoryview(bytes(piece))
            pieces.append(self._rest[:missing])
            self._rest = self._rest[missing:]
            missing -= len(pieces[-1])
        return b"".join(pieces)

    async def check_unchanged(self) -> None:
        """A stream has only one state."""

    def close(self) -> None:
        """Whoever opened the stream closes it."""


def from_file_object(file: BinaryIO, threads: IThreads, chunk_size: int) -> StreamSource:
    """A source over anything with ``read(n)``, called on a thread unless it only copies memory."""

    async def pull() -> bytes:
        if type(file) is BytesIO:
            return file.read(READ)
        try:
            data: Any = await threads.run(file.read, READ)
        except OSError as error:
            raise LocalFileError(f"cannot read the input: {error}") from error
        if not isinstance(data, bytes | bytearray | memoryview):
            reason = "it is non-blocking" if data is None else f"it gives {type(data).__name__}, not bytes"
            raise LocalFileError(f"cannot read the input: {reason}", "give a blocking, binary stream")
        return bytes(data)

    return StreamSource(pull, chunk_size)


def from_iterator(pieces: AsyncIterator[bytes], chunk_size: int) -> StreamSource:
    """A source over an async iterator of bytes; empty pieces are skipped."""

    async def pull() -> bytes:
        async for piece in pieces:
            if piece:
                return piece
        return b""

    return StreamSource(pull, chunk_size)
