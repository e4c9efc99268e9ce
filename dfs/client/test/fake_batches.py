"""What the fakes make of batches: each part as if it had come alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from zope.interface import implementer

from dfs.protocol import messages as m
from dfs.protocol.errors import Cancelled, DFSError, Disconnected
from dfs.protocol.interfaces import Block, IPut
from dfs.protocol.values import FileId, Generation, Grant, GrantKind, Target, file_digest

if TYPE_CHECKING:
    from dfs.client.test.fake_servers import FakeConnection
    from dfs.client.test.fakes import FakeMetadata


def refusal_of(error: DFSError) -> m.Refusal:
    return m.Refusal(error.code, error.message, error.hint)


def create_uploads(metadata: FakeMetadata, request: m.CreateUploads) -> m.UploadsGranted:
    """``part_faults`` of the metadata: names whose next part is refused."""
    outcomes = []
    targets: tuple[Target, ...] = ()
    for part in request.uploads:
        count = 1 if part.size else 0
        asked = m.CreateUpload(request.operation, part.name, part.size, request.chunk_size, request.replication, count)
        try:
            if metadata.part_faults.get(part.name):
                raise metadata.part_faults[part.name].pop(0)
            granted = metadata._CreateUpload(asked)
        except DFSError as error:
            outcomes.append(m.UploadOutcome(None, refusal_of(error)))
            continue
        generation = granted.placements[0].generation if count else Generation(0)
        targets = granted.placements[0].targets if count else targets
        outcomes.append(m.UploadOutcome(m.GrantedUpload(granted.file_id, generation, bytes(32)), None))
    return m.UploadsGranted(60_000, targets, 2, 10**12, tuple(outcomes))


def commit_files(metadata: FakeMetadata, request: m.CommitFiles) -> m.FilesCommitted:
    outcomes = []
    for part in request.files:
        asked = m.CommitFile(request.operation, part.file_id, part.epoch, part.size, part.count, part.digest)
        try:
            metadata._CommitFile(asked)
        except DFSError as error:
            outcomes.append(m.CommitRefusal(refusal_of(error)))
        else:
            outcomes.append(m.CommitRefusal(None))
    return m.FilesCommitted(tuple(outcomes))


def open_files(metadata: FakeMetadata, request: m.OpenFiles) -> m.FilesOpened:
    opened = []
    for each in request.files:
        try:
            info = metadata._GetFile(each)
        except DFSError:
            opened.append(m.OpenedFile(None, None))
            continue
        page = metadata._ListChunks(m.ListChunks(info.file_id, 0, 1))
        opened.append(m.OpenedFile(info, page.chunks[0] if info.count == 1 else None))
    return m.FilesOpened(tuple(opened))


@implementer(IPut)
class FakePutMany:
    """A batch on its way to a FakeServer."""

    buffered = 0

    def __init__(self, connection: FakeConnection, request: m.PutChunks) -> None:
        self._connection = connection
        self._request = request
        self._pieces: list[bytes] = []
        self.answer: Deferred[object] = Deferred()
        connection.streaming = True

    def write(self, block: Block) -> None:
        self._pieces += [bytes(piece) for piece in block.pieces]

    def end(self, length: int, sha256: bytes) -> None:
        assert length == sum(map(len, self._pieces))
        self._connection.later(0.001, self._arrived)

    def _arrived(self) -> None:
        server, request, data = self._connection.server, self._request, b"".join(self._pieces)
        self._connection.streaming = False
        server.cluster.events.append(f"put {len(request.chunks)} together at {server.name}")
        outcomes = []
        for chunk in request.chunks:
            content, data = data[: chunk.length], data[chunk.length :]
            if server.put_faults:
                outcomes.append(m.ChunkOutcome((), False, refusal_of(server.put_faults.pop(0))))
                continue
            grant = Grant(GrantKind.PUT, FileId(chunk.file_id), 0, chunk.generation, request.expires_ms, 0, chunk.mac)
            single = m.PutChunk(
                chunk.file_id, 0, chunk.generation, chunk.length, chunk.length, request.targets, 0, 2, True, grant
            )
            written = server.store(single, content)
            outcomes.append(m.ChunkOutcome(written.replicas, self._finish(chunk, written.sha256), None))
        if server.lose_answer:
            server.lose_answer = False
            self.answer.errback(Disconnected("the answer was lost"))
        else:
            self.answer.callback(m.ChunksWritten(tuple(outcomes), ()))

    def _finish(self, chunk: m.SmallChunk, sha256: bytes) -> bool:
        """Whether the file has its name now, as metadata would have it."""
        metadata = self._connection.server.cluster.metadata
        if not metadata.finishes:
            return False
        operation, digest = m.Operation(bytes(16), 1, 1), file_digest(sha256)
        try:
            metadata._CommitFile(m.CommitFile(operation, chunk.file_id, 1, chunk.length, 1, digest))
        except DFSError:
            return False
        return True

    def abort(self, error: DFSError) -> None:
        if not self.answer.called:
            self._connection.streaming = False
            self.answer.errback(Cancelled("the batch was given up"))

    def register_producer(self, producer: Any) -> None:
        """It never pauses."""

    def unregister_producer(self) -> None:
        """Nothing is registered."""
