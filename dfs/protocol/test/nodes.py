"""A little world for tests: two simulated hosts, a recording service, connections between them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from crc32c import crc32c
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol
from zope.interface import implementer

from dfs.protocol.dial import connect
from dfs.protocol.errors import DFSError
from dfs.protocol.interfaces import (
    Block,
    IBlockSink,
    IConnection,
    Identity,
    IIncomingStream,
    IOutgoingStream,
    IService,
)
from dfs.protocol.listen import ServerFactory
from dfs.protocol.messages import ChunkHead, ChunkWritten, GetChunk, Lease, PutChunk, RenewLease
from dfs.protocol.values import BLOCK, PIECE, FileId, Generation, Grant, GrantKind, Purpose, Role
from dfs.simulation.host import SimulatedHost, World

KEY = b"k" * 32
CLUSTER = b"c" * 16
PORT = 7000
BULK_PORT = 7001
ASK = RenewLease(FileId(1), 1)


def identity(role: Role, name: str, key: bytes = KEY, cluster: bytes = CLUSTER) -> Identity:
    """Who a node of the test says it is."""
    return Identity(role, name, cluster, b"i" * 16, key)


def put_request(length: int | None = None) -> PutChunk:
    """A PutChunk with nothing special in it."""
    grant = Grant(GrantKind.PUT, FileId(1), 0, Generation(1), 1, 0, bytes(32))
    return PutChunk(FileId(1), 0, Generation(1), length, 64 << 20, (), 0, 1, False, grant)


def get_request() -> GetChunk:
    """A GetChunk with nothing special in it."""
    return GetChunk(FileId(1), 0, Generation(1), 0, 1)


def blocks(length: int) -> list[Block]:
    """A chunk of this length, of zeros, as blocks with true checksums."""
    zeros = bytes(BLOCK)
    found = []
    for offset in range(0, length, BLOCK):
        data = zeros[: min(BLOCK, length - offset)]
        crcs = tuple(crc32c(data[start : start + PIECE]) for start in range(0, len(data), PIECE))
        found.append(Block(offset, len(data), crcs, (memoryview(data),)))
    return found


@implementer(IBlockSink)
class Sink:
    """Records what it is given.  ``pause_at``: pauses its stream for good once so many bytes came."""

    def __init__(self, events: list[Any], pause_at: int | None = None) -> None:
        self.events = events
        self.pause_at = pause_at
        self.length = 0
        self.stream: IIncomingStream | None = None

    def block_received(self, block: Block) -> None:
        self.length += block.length
        if self.pause_at is not None and self.length >= self.pause_at and self.stream is not None:
            self.stream.pause()

    def end_received(self, length: int, sha256: bytes) -> None:
        self.events.append(("end", self.length, length, sha256))

    def stream_failed(self, error: DFSError) -> None:
        self.events.append(("stream failed", type(error).__name__))


@implementer(IService)
class Service:
    """Answers as the test tells it, and records the rest.

    :ivar answer: what ``handle`` gives: a Deferred, a message, or a function of the request.
    """

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.answer: Any = Lease(7)
        self.connections: list[IConnection] = []
        self.sink = Sink(self.events)
        self.put_answer: Deferred[Any] = Deferred()
        self.head: Deferred[Any] = succeed(ChunkHead(1, bytes(32)))
        self.outgoing: IOutgoingStream | None = None

    def connected(self, connection: IConnection) -> None:
        self.events.append(("connected", connection.peer.name, connection.peer.trusted))
        self.connections.append(connection)

    def disconnected(self, connection: IConnection) -> None:
        self.events.append(("disconnected", connection.peer.name))

    def handle(self, connection: IConnection, request: object) -> Any:
        self.events.append(("request", type(request).__name__))
        answer = self.answer(request) if callable(self.answer) else self.answer
        return answer if isinstance(answer, Deferred) else succeed(answer)

    def put_opened(
        self, connection: IConnection, request: object, stream: IIncomingStream
    ) -> tuple[IBlockSink, Deferred[object]]:
        self.events.append("put")
        self.sink.stream = stream
        return self.sink, self.put_answer

    def get_opened(self, connection: IConnection, request: object, stream: IOutgoingStream) -> Deferred[object]:
        self.events.append("get")
        self.outgoing = stream
        return self.head

    def message_received(self, connection: IConnection, payload: bytes) -> None:
        self.events.append(("message", payload))


@implementer(IPushProducer)
class Source:
    """Writes blocks to a stream as fast as it is let, then ends it.  ``peak``: the most that was ever unsent."""

    def __init__(self, stream: IOutgoingStream, length: int) -> None:
        self.stream = stream
        self.left = blocks(length)
        self.length = length
        self.running = True
        self.stopped = False
        self.peak = 0

    def start(self) -> None:
        self.stream.register_producer(self)
        self.resumeProducing()

    def resumeProducing(self) -> None:
        self.running = True
        while self.running and self.left:
            self.stream.write(self.left.pop(0))
            self.peak = max(self.peak, self.stream.buffered)
            if not self.left:
                self.stream.end(self.length, bytes(32))

    def pauseProducing(self) -> None:
        self.running = False

    def stopProducing(self) -> None:
        self.running = False
        self.stopped = True


class Room:
    """A metadata node and, at ``bulk_address``, a chunk server on one host, with one service; who dials on another."""

    def __init__(self, listener: Identity | None = None, seed: int = 1) -> None:
        self.world = World(seed)
        self.here: SimulatedHost = self.world.host("here")
        self.there: SimulatedHost = self.world.host("there")
        self.service = Service()
        self.address = f"{self.there.ip}:{PORT}"
        self.factory = ServerFactory(
            self.there.runtime, listener or identity(Role.META, "meta-1"), self.service, lambda: 4711
        )
        self.world.run_until(TCP4ServerEndpoint(self.there.reactor, PORT).listen(self.factory))
        self.bulk_address = f"{self.there.ip}:{BULK_PORT}"
        self.bulk = ServerFactory(self.there.runtime, identity(Role.CHUNK, "chunk-9"), self.service, lambda: 4711)
        self.world.run_until(TCP4ServerEndpoint(self.there.reactor, BULK_PORT).listen(self.bulk))

    def dial(
        self, who: Identity | None = None, purpose: Purpose = Purpose.CONTROL, service: Any = None, expect: str = ""
    ) -> Any:
        """A connection that finished Hello; raises what connect fails with."""
        who = who or identity(Role.CHUNK, "chunk-1")
        address = self.bulk_address if purpose is Purpose.BULK else self.address
        return self.world.run_until(connect(self.here.runtime, address, who, purpose, service, expect))

    def raw(self, protocol: Protocol) -> Any:
        """A connection that speaks whatever the test writes."""
        from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol

        self.world.run_until(
            connectProtocol(TCP4ClientEndpoint(self.here.reactor, self.there.ip, PORT), protocol)
        )
        return protocol

    def run(self, seconds: float = 1.0) -> None:
        """Let time pass."""
        self.world.run(seconds)

    def until(self, condition: Callable[[], Any] | Deferred[Any]) -> Any:
        """Let time pass until something is so."""
        return self.world.run_until(condition)


def written(length: int) -> ChunkWritten:
    """The answer to a put."""
    return ChunkWritten(length, bytes(32), (), ())
