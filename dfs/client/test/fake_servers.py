"""Chunk servers made by hand: connections, puts and streams whose faults are scripted by node."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from dfs.client.test.fake_batches import FakePutMany
from dfs.protocol import messages as m
from dfs.protocol.blocks import cut_blocks
from dfs.protocol.errors import Cancelled, DFSError, Disconnected, ReplicaNotFound
from dfs.protocol.interfaces import Block, IBlockSink, Identity, IIncomingStream, IPut
from dfs.protocol.values import PIECE, Role

if TYPE_CHECKING:
    from dfs.client.test.fakes import FakeCluster


class FakeServer:
    """A chunk server.

    :ivar down: connecting fails with this.
    :ivar put_faults: what the next puts end with instead of an answer, once all was sent.
    :ivar put_faults_alone: the same for single chunks only.
    :ivar lose_answer: the next put is committed and its answer lost.
    :ivar heads_after: seconds until a read is answered; None: never.
    :ivar served: bytes of a replica as they are sent, made of those that are stored.
    """

    def __init__(self, name: str, cluster: FakeCluster) -> None:
        self.name = name
        self.cluster = cluster
        self.data: dict[tuple[int, int, int], bytes] = {}
        self.down: DFSError | None = None
        self.put_faults: list[DFSError] = []
        self.put_faults_alone: list[DFSError] = []
        self.lose_answer = False
        self.says_sha: bytes | None = None
        self.heads_after: float | None = 0.0
        self.stalls = False
        self.served: Callable[[bytes], bytes] = lambda data: data

    def store(self, request: m.PutChunk, data: bytes) -> m.ChunkWritten:
        """Durable at every target, committed."""
        sha256 = hashlib.sha256(data).digest()
        file = self.cluster.metadata.files[request.file_id]
        assert file.generations[request.index] == request.generation
        nodes = [target.name for target in request.targets]
        for node in nodes:
            self.cluster.servers[node].data[(request.file_id, request.index, request.generation)] = data
        committed = m.CommittedChunk(request.index, request.generation, len(data), sha256)
        self.cluster.metadata.commit(request.file_id, committed, nodes)
        replicas = tuple(m.DurableReplica(target.node, 1) for target in request.targets)
        return m.ChunkWritten(len(data), self.says_sha or sha256, replicas, ())


@implementer(IPut)
class FakePut:
    """A put on its way to a FakeServer."""

    buffered = 0

    def __init__(self, connection: FakeConnection, request: m.PutChunk) -> None:
        self._connection = connection
        self._request = request
        connection.server.cluster.puts.append(request)
        self._pieces: list[bytes] = []
        self.answer: Deferred[object] = Deferred()
        self.producer: Any = None
        self.aborted: DFSError | None = None
        connection.streaming = True

    def write(self, block: Block) -> None:
        self._pieces += [bytes(piece) for piece in block.pieces]

    def end(self, length: int, sha256: bytes) -> None:
        self._connection.later(0.001, self._arrived, length, sha256)

    def _arrived(self, length: int, sha256: bytes) -> None:
        server = self._connection.server
        data = b"".join(self._pieces)
        if self.aborted is not None:
            return
        self._connection.streaming = False
        server.cluster.events.append(f"put {self._request.index} at {server.name}")
        if server.put_faults_alone:
            self.answer.errback(server.put_faults_alone.pop(0))
            return
        if server.put_faults:
            self.answer.errback(server.put_faults.pop(0))
            return
        assert (len(data), hashlib.sha256(data).digest()) == (length, sha256)
        written = server.store(self._request, data)
        if server.lose_answer:
            server.lose_answer = False
            self.answer.errback(Disconnected("the answer was lost"))
        else:
            self.answer.callback(written)

    def abort(self, error: DFSError) -> None:
        if self.aborted is None and not self.answer.called:
            self.aborted = error
            self._connection.streaming = False
            self._connection.server.cluster.events.append(f"abort {self._request.index}")
            self.answer.errback(error)

    def register_producer(self, producer: Any) -> None:
        self.producer = producer

    def unregister_producer(self) -> None:
        self.producer = None


@implementer(IIncomingStream)
class FakeStream:
    """A replica on its way from a FakeServer: a block each millisecond while it is not paused."""

    def __init__(self, connection: FakeConnection, sink: IBlockSink, blocks: list[Block]) -> None:
        self._connection = connection
        self._sink = sink
        self._blocks = blocks
        self.paused = False
        self.pauses = 0
        self.refused: DFSError | None = None

    def step(self) -> None:
        """The next block, or the end."""
        if self.refused is not None or self._connection.server.stalls:
            return
        if not self.paused:
            if not self._blocks:
                self._connection.streaming = False
                self._sink.end_received(0, b"")
                return
            self._sink.block_received(self._blocks.pop(0))
        self._connection.later(0.001, self.step)

    def pause(self) -> None:
        self.pauses += not self.paused
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def refuse(self, error: DFSError) -> None:
        self.refused = error
        self._connection.streaming = False
        self._connection.server.cluster.events.append(f"refuse {self._connection.server.name}")


class FakeConnection:
    """A BULK connection."""

    def __init__(self, server: FakeServer) -> None:
        self.server = server
        self.streaming = False
        self.later = server.cluster.host.reactor.callLater

    def open_put(self, request: m.PutChunk | m.PutChunks, timeout: float) -> FakePut | FakePutMany:
        return FakePutMany(self, request) if isinstance(request, m.PutChunks) else FakePut(self, request)

    def open_get(self, request: m.GetChunk | m.GetChunks, sink: IBlockSink, timeout: float) -> Deferred[Any]:
        server = self.server
        if isinstance(request, m.GetChunks):
            return self._open_many(request, sink)
        server.cluster.events.append(f"get {request.index} at {server.name}")
        opened: Deferred[Any] = Deferred(lambda waiting: waiting.errback(Cancelled("the caller gave up")))
        key = (request.file_id, request.index, request.generation)
        if key not in server.data:
            return fail(ReplicaNotFound(f"{server.name} has no such replica"))
        data = server.data[key]
        start = request.offset - request.offset % PIECE
        end = request.offset + request.length
        served = memoryview(server.served(data))[start : end if end < len(data) else None]
        blocks = cut_blocks(served, start)

        def answer() -> None:
            if not opened.called:
                stream = FakeStream(self, sink, blocks)
                server.cluster.streams.append(stream)
                self.streaming = True
                opened.callback((m.ChunkHead(len(data), hashlib.sha256(data).digest()), stream))
                self.later(0.001, stream.step)

        if server.heads_after is not None:
            self.later(server.heads_after, answer)
        return opened


    def _open_many(self, request: m.GetChunks, sink: IBlockSink) -> Deferred[Any]:
        server = self.server
        server.cluster.events.append(f"get {len(request.chunks)} together at {server.name}")
        found = [server.data.get((each.file_id, each.index, each.generation)) for each in request.chunks]
        refusal = m.Refusal(ReplicaNotFound.code, "not here", "")
        head = m.ChunksHead(
            tuple(
                m.FoundChunk(0, refusal) if data is None else m.FoundChunk(len(server.served(data)), None)
                for data in found
            )
        )
        content = b"".join(server.served(data) for data in found if data is not None)
        stream = FakeStream(self, sink, cut_blocks(memoryview(content), 0))
        self.streaming = True
        self.later(0.001, stream.step)
        return succeed((head, stream))


class FakePool:
    """Connections that were taken and are to be given back."""

    def __init__(self, cluster: FakeCluster) -> None:
        self.identity = Identity(Role.CLIENT, "test", b"", bytes(16), b"")
        self.out: list[FakeConnection] = []
        self._cluster = cluster

    def acquire(self, address: str, expect: str = "") -> Deferred[FakeConnection]:
        server = self._cluster.servers[expect]
        if server.down is not None:
            return fail(server.down)
        connection = FakeConnection(server)
        self.out.append(connection)
        return succeed(connection)

    def release(self, connection: FakeConnection) -> None:
        self.out.remove(connection)

    def stop(self) -> Deferred[None]:
        return succeed(None)
