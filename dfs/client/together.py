"""The requests that small files share: creates, puts, commits, opens and gets of many in one.

A batch that is asked for again, for its answer was lost, is the same operation, so it takes effect once.  Each part has
its own outcome; one that advises to try again is tried again in a later batch, until patience ends.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

from attrs import frozen
from twisted.internet.defer import Deferred
from zope.interface import implementer

from dfs.client.coalescing import Coalescer
from dfs.client.concurrency import cancellable, pause
from dfs.client.errors import Unavailable
from dfs.client.nearness import LAST, RANK
from dfs.protocol.blocks import cut_blocks
from dfs.protocol.errors import (
    BY_CODE,
    Advice,
    Cancelled,
    DFSError,
    FileNotFound,
    InternalError,
    ReplicaCorrupt,
    ReplicaNotFound,
)
from dfs.protocol.interfaces import Block, IBlockSink, IIncomingStream
from dfs.protocol.labels import label_evidence
from dfs.protocol.limits import MAX_BATCH, MAX_TOGETHER
from dfs.protocol.messages import (
    ChunkInfo,
    ChunkOutcome,
    ChunksHead,
    ChunksWritten,
    CommitFiles,
    CommitRefusal,
    CreateUploads,
    FileInfo,
    FilesCommitted,
    FilesOpened,
    FinishedUpload,
    GetChunks,
    GetFile,
    NewUpload,
    OpenedFile,
    OpenFiles,
    Operation,
    PutChunks,
    Refusal,
    Replica,
    SmallChunk,
    UploadOutcome,
    UploadsGranted,
    WantedChunk,
)
from dfs.protocol.values import FileId, Generation, Grant, GrantKind, Label, Target
from dfs.runtime.backoff import Backoff, full_jitter

if TYPE_CHECKING:
    from dfs.client.context import Context

Outcome = TypeVar("Outcome")

ASKED_BYTES = 32 << 10
"""Of names in one request: a stranger's may have 64 KiB."""

PUTS_AT_ONCE = 8
GETS_AT_ONCE = 8


@frozen
class Wanted:
    """An upload to begin."""

    upload: NewUpload
    chunk_size: int
    replication: int


@frozen
class Spot:
    """Where a batch of uploads puts its chunks."""

    lease_ms: int
    targets: tuple[Target, ...]
    quorum: int
    expires_ms: int
    chunk_size: int
    replication: int


@frozen
class Begun:
    """An upload that was granted: of epoch 1; ``generation`` is 0 where it has no bytes."""

    file_id: FileId
    generation: Generation
    mac: bytes
    spot: Spot

    def grant(self, name: str, size: int) -> Grant:
        """Leave to put its chunk alone."""
        evidence = label_evidence(Label(name, size, self.spot.chunk_size, self.spot.replication))
        return Grant(GrantKind.PUT, self.file_id, 0, self.generation, self.spot.expires_ms, evidence, self.mac)


@frozen
class Chunk:
    """A chunk on its way."""

    spot: Spot
    chunk: SmallChunk
    content: bytes


@frozen
class Held:
    """A small chunk that is wanted, and a replica of it."""

    replica: Replica
    chunk: WantedChunk
    length: int
    sha256: bytes


def error_of(refusal: Refusal) -> DFSError:
    """The error that refuses one part."""
    return BY_CODE.get(refusal.code, InternalError)(refusal.message, refusal.hint)


class Together:
    """One client's; made with its context."""

    def __init__(self, context: Context) -> None:
        self._context = context
        reactor = context.runtime.reactor
        self._creates: Coalescer[Wanted, UploadOutcome | Begun] = Coalescer(
            reactor, self._send_creates, _shape, lambda part: len(part.upload.name) * 4 + 16, MAX_TOGETHER, ASKED_BYTES
        )
        self._puts: Coalescer[Chunk, ChunkOutcome] = Coalescer(
            reactor, self._send_puts, lambda part: part.spot, lambda part: part.chunk.length, MAX_TOGETHER, MAX_BATCH,
            PUTS_AT_ONCE,
        )  # fmt: skip
        self._commits: Coalescer[FinishedUpload, CommitRefusal] = Coalescer(
            reactor, self._send_commits, lambda part: None, lambda part: 64, MAX_TOGETHER, ASKED_BYTES
        )
        self._gets: Coalescer[Held, bytes | DFSError] = Coalescer(
            reactor, self._send_gets, lambda part: part.replica, lambda part: part.length, MAX_TOGETHER, MAX_BATCH,
            GETS_AT_ONCE,
        )  # fmt: skip
        self._opens: Coalescer[GetFile, OpenedFile] = Coalescer(
            reactor, self._send_opens, lambda part: None, _name_bytes, MAX_TOGETHER, ASKED_BYTES
        )

    # ---- what one file asks for

    async def create(self, wanted: Wanted) -> Begun:
        """Begin an upload.  Raises FileExists and all that metadata may say."""
        while_refused = Patience(self._context)
        while True:
            outcome = await self._creates.add(wanted)
            if isinstance(outcome, Begun):
                return outcome
            assert outcome.refusal is not None
            await while_refused.wait(error_of(outcome.refusal))

    async def put(self, chunk: Chunk) -> ChunkOutcome:
        """One try to store a chunk.  Raises DFSError where it is not known to be durable and committed."""
        outcome = await self._puts.add(chunk)
        if outcome.refusal is not None:
            raise error_of(outcome.refusal)
        return outcome

    async def commit(self, file: FinishedUpload) -> None:
        """Make a name appear.  Raises FileExists and all that metadata may say."""
        while_refused = Patience(self._context)
        while True:
            outcome = await self._commits.add(file)
            if outcome.refusal is None:
                return
            await while_refused.wait(error_of(outcome.refusal))

    async def open(self, file: GetFile) -> OpenedFile:
        """A file, with its chunk if it has just one.  Raises FileNotFound."""
        opened = await self._opens.add(file)
        if opened.info is None:
            raise FileNotFound(f"there is no file named {file.name!r}")
        return opened

    async def get(self, info: FileInfo, chunk: ChunkInfo) -> bytes:
        """One try to get a small chunk whole, compared with the committed SHA-256.  Files that were begun together are
        asked of one server.  Raises DFSError."""
        best = min((RANK.get(replica.state, LAST) for replica in chunk.replicas), default=LAST)
        sound = [replica for replica in chunk.replicas if RANK.get(replica.state, LAST) == best]
        if not sound:
            raise ReplicaNotFound("no replica is known")
        replica = sound[(info.file_id // MAX_TOGETHER) % len(sound)]
        wanted = WantedChunk(info.file_id, chunk.index, chunk.generation)
        found = await self._gets.add(Held(replica, wanted, chunk.length, chunk.sha256))
        if isinstance(found, DFSError):
            raise found
        return found

    # ---- what goes over the wire

    async def _send_creates(self, parts: Sequence[Wanted]) -> Sequence[UploadOutcome | Begun]:
        first, uploads = parts[0], tuple(part.upload for part in parts)

        def request(operation: Operation) -> CreateUploads:
            return CreateUploads(operation, first.chunk_size, first.replication, uploads)

        answer = await self._context.mutate(request, UploadsGranted)
        spot = Spot(
            answer.lease_ms, answer.targets, answer.quorum, answer.expires_ms, first.chunk_size, first.replication
        )
        return [
            outcome
            if outcome.granted is None
            else Begun(outcome.granted.file_id, outcome.granted.generation, outcome.granted.mac, spot)
            for outcome in _as_many(answer.outcomes, parts)
        ]

    async def _send_commits(self, parts: Sequence[FinishedUpload]) -> Sequence[CommitRefusal]:
        files = tuple(parts)
        answer = await self._context.mutate(lambda operation: CommitFiles(operation, files), FilesCommitted)
        return _as_many(answer.outcomes, parts)

    async def _send_opens(self, parts: Sequence[GetFile]) -> Sequence[OpenedFile]:
        answer = await self._context.ask(OpenFiles(tuple(parts)), FilesOpened)
        return _as_many(answer.files, parts)

    async def _send_puts(self, parts: Sequence[Chunk]) -> Sequence[ChunkOutcome]:
        context, spot = self._context, parts[0].spot
        primary = spot.targets[0]
        request = PutChunks(
            spot.chunk_size,
            spot.replication,
            spot.targets,
            0,
            spot.quorum,
            spot.expires_ms,
            tuple(part.chunk for part in parts),
        )
        content = b"".join(part.content for part in parts)
        connection = await cancellable(context.pool.acquire(primary.address, primary.name), context.pool.release)
        try:
            put = connection.open_put(request, context.idle_timeout)
            for block in cut_blocks(memoryview(content), 0):
                put.write(block)
            put.end(len(content), b"")
            written = await cancellable(put.answer)
        except Exception:
            context.pool.release(connection)
            raise
        context.pool.release(connection)
        if not isinstance(written, ChunksWritten):
            raise InternalError(f"{primary.name} answered a batch with {type(written).__name__}")
        return _as_many(written.outcomes, parts)


    async def _send_gets(self, parts: Sequence[Held]) -> Sequence[bytes | DFSError]:
        context, replica = self._context, parts[0].replica
        connection = await cancellable(context.pool.acquire(replica.address, replica.node), context.pool.release)
        try:
            sink = Gathered()
            request = GetChunks(tuple(part.chunk for part in parts))
            head, stream = await cancellable(connection.open_get(request, sink, context.idle_timeout))
            if not isinstance(head, ChunksHead):
                raise InternalError(f"{replica.node} answered a batch with {type(head).__name__}")
            sink.attach(stream, sum(part.length for part in parts))  # not what the server says of itself
            content = await sink.whole
        except Exception:
            context.pool.release(connection)
            raise
        context.pool.release(connection)
        outcomes: list[bytes | DFSError] = []
        start = 0
        for part, found in zip(parts, _as_many(head.chunks, parts), strict=True):
            piece = content[start : start + found.length]
            start += found.length
            if found.refusal is not None:
                outcomes.append(error_of(found.refusal))
            elif hashlib.sha256(piece).digest() != part.sha256:
                outcomes.append(ReplicaCorrupt(f"{replica.node} sent other bytes than were committed"))
            else:
                outcomes.append(piece)
        return outcomes


@implementer(IBlockSink)
class Gathered:
    """The bytes of a batch as they come, at most as many as were committed."""

    def __init__(self) -> None:
        self.whole: Deferred[bytes] = Deferred(lambda _: self._give_up(Cancelled("the reader gave up")))
        self._pieces: list[memoryview] = []
        self._length = 0
        self._most = MAX_BATCH
        self._stream: IIncomingStream | None = None
        self._over = False

    def attach(self, stream: IIncomingStream, most: int) -> None:
        """The stream that it feeds on, of which ``most`` bytes are expected."""
        self._stream, self._most = stream, most

    def _give_up(self, error: DFSError) -> None:
        if not self._over:
            self._over = True
            if self._stream is not None:
                self._stream.refuse(error)

    def block_received(self, block: Block) -> None:
        """Keep it."""
        self._pieces += block.pieces
        self._length += block.length
        if self._length > self._most and not self._over:
            error = ReplicaCorrupt("more bytes came than were committed")
            self._give_up(error)
            self.whole.errback(error)

    def end_received(self, length: int, sha256: bytes) -> None:
        """All is here."""
        if not self._over:
            self._over = True
            self.whole.callback(b"".join(self._pieces))

    def stream_failed(self, error: DFSError) -> None:
        """It ends too early."""
        if not self._over:
            self._over = True
            self.whole.errback(error)


class Patience:
    """Between the tries of one part: waits, or raises what will not mend, or has lasted too long."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._backoff = Backoff(full_jitter(context.runtime.random, 0.05, 2.0))
        self._since: float | None = None

    async def wait(self, error: DFSError) -> None:
        """Raises the error, or Unavailable."""
        if error.advice is Advice.FAIL:
            raise error
        now = self._context.runtime.reactor.seconds()
        self._since = now if self._since is None else self._since
        if now - self._since >= self._context.patience:
            raise Unavailable(f"no progress for {now - self._since:.0f} s: {error.message}", "check `dfs status`")
        await pause(self._context.runtime.reactor, self._backoff.next_delay())


def _as_many(outcomes: Sequence[Outcome], parts: Sequence[object]) -> Sequence[Outcome]:
    """One outcome a part, or nothing is known of any."""
    if len(outcomes) != len(parts):
        raise InternalError(f"{len(outcomes)} outcomes were answered for {len(parts)} parts")
    return outcomes


def _shape(part: Wanted) -> tuple[int, int]:
    return part.chunk_size, part.replication


def _name_bytes(part: GetFile) -> int:
    return 16 + 4 * len(part.name or "")
