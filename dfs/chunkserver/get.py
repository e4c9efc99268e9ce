"""Answering GetChunk: the head first, then whole pieces around the range.

A corrupt piece is never sent: the reader hears ReplicaCorrupt and goes elsewhere; the
store sets the replica aside and has metadata told (S11).
"""

from __future__ import annotations

from collections import Counter

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from dfs.chunkserver.handles import Reading
from dfs.chunkserver.putmany import refusal_of
from dfs.chunkserver.reading import Digest, Wanted, covering
from dfs.chunkserver.sending import Sender
from dfs.chunkserver.store import ChunkStore
from dfs.chunkserver.traffic import ClientTraffic
from dfs.protocol.blocks import cut_blocks
from dfs.protocol.errors import BadRequest, Busy, DFSError, InternalError
from dfs.protocol.interfaces import Block, IOutgoingStream
from dfs.protocol.limits import MAX_BATCH
from dfs.protocol.messages import ChunkHead, ChunksHead, FoundChunk, GetChunk, GetChunks
from dfs.protocol.values import ChunkRef

_log = Logger()

MOST_GETS = 256
"""Replicas open for reading at once; each is one file descriptor and at most 2 MiB."""

MOST_A_HOST = 128
"""Of these for one address: no stranger has all places (S43)."""


class Content:
    """Bytes that were read and checked already, for a Sender."""

    def __init__(self, content: bytes) -> None:
        self.length = len(content)
        self._content = memoryview(content)

    async def read(self, offset: int, length: int, digest: Digest | None = None) -> list[Block]:
        """Blocks of them."""
        return cut_blocks(self._content[offset : offset + length], offset)


class Gets:
    """The reads in progress."""

    def __init__(self, clock: IReactorTime, store: ChunkStore) -> None:
        self._clock, self._store = clock, store
        self.traffic = ClientTraffic()
        self._opening = 0
        self._hosts: Counter[str] = Counter()  # places of each address
        self._running: dict[Reading | Content, Deferred[None] | None] = {}

    def __len__(self) -> int:
        return self._opening + len(self._running)

    async def open(self, request: GetChunk, stream: IOutgoingStream, host: str) -> ChunkHead:
        """The head; the blocks follow from the next turn of the reactor on.  ``host`` is the reader's address.
        Raises ReplicaNotFound, ReplicaCorrupt, BadRequest, Busy, DiskFailed."""
        self._check_room(host)
        ref = ChunkRef(request.file_id, request.index, request.generation)
        self._opening += 1  # until it is among the running
        self._hosts[host] += 1
        try:
            reading = await self._store.open_reader(ref, Wanted(request.offset, request.length))
        except BaseException:
            self._leave(host)
            raise
        finally:
            self._opening -= 1
        footer = reading.footer
        if request.offset + request.length > footer.length:
            reading.close()
            self._leave(host)
            raise BadRequest(f"bytes up to {request.offset + request.length} of {footer.length} were asked for")
        self._clock.callLater(0, self._start, request, ref, reading, stream, host)
        return ChunkHead(footer.length, footer.sha256)

    async def open_many(self, request: GetChunks, stream: IOutgoingStream, host: str) -> ChunksHead:
        """The head of many small chunks; their bytes follow from the next turn of the reactor on.  It counts as one
        read.  Raises Busy, DiskFailed."""
        self._check_room(host)
        self._opening += 1  # until it is among the running
        self._hosts[host] += 1
        try:
            refs = [ChunkRef(each.file_id, each.index, each.generation) for each in request.chunks]
            found = await self._store.get_small(refs, MAX_BATCH)
        except BaseException:
            self._leave(host)
            raise
        finally:
            self._opening -= 1
        content = Content(b"".join(each for each in found if not isinstance(each, DFSError)))
        self._clock.callLater(0, self._start_many, content, stream, host)
        return ChunksHead(
            tuple(
                FoundChunk(0, refusal_of(each)) if isinstance(each, DFSError) else FoundChunk(len(each), None)
                for each in found
            )
        )

    def _start_many(self, content: Content, stream: IOutgoingStream, host: str) -> None:
        self._running[content] = None
        task = Deferred.fromCoroutine(self._run_many(content, stream)).addBoth(lambda _: self._leave(host))
        if content in self._running:
            self._running[content] = task

    async def _run_many(self, content: Content, stream: IOutgoingStream) -> None:
        try:
            await Sender(self._clock, content, stream, 0, content.length).run()
            self.traffic.count(content.length)
            stream.end(content.length, b"")
        except DFSError as error:
            stream.abort(error)
        except Exception:  # noqa: BLE001 - as in _run
            _log.failure("sending many small chunks failed")
            stream.abort(InternalError("a read failed"))
        finally:
            del self._running[content]

    def _check_room(self, host: str) -> None:
        if len(self) >= MOST_GETS:
            raise Busy(f"{MOST_GETS} reads are in progress")
        if self._hosts[host] >= MOST_A_HOST:
            raise Busy(f"{MOST_A_HOST} reads are in progress for {host}")

    def _leave(self, host: str) -> None:
        self._hosts[host] -= 1
        if not self._hosts[host]:
            del self._hosts[host]

    def _start(
        self, request: GetChunk, ref: ChunkRef, reading: Reading, stream: IOutgoingStream, host: str
    ) -> None:
        self._running[reading] = None
        running = self._run(request, ref, reading, stream)
        task = Deferred.fromCoroutine(running).addBoth(lambda _: self._leave(host))
        if reading in self._running:
            self._running[reading] = task

    async def _run(self, request: GetChunk, ref: ChunkRef, reading: Reading, stream: IOutgoingStream) -> None:
        footer = reading.footer
        start, end = covering(request.offset, request.length, footer.length)
        try:
            await Sender(self._clock, reading, stream, start, end).run()
            self.traffic.count(end - start)
            whole = (start, end) == (0, footer.length)
            stream.end(end - start, footer.sha256 if whole else b"")
        except DFSError as error:
            stream.abort(error)
        except Exception:  # noqa: BLE001 - a defect of ours must not leave the reader waiting
            _log.failure("reading {ref} failed", ref=ref)
            stream.abort(InternalError("a read failed"))
        finally:
            del self._running[reading]
            reading.close()
