"""Both ends of streams, made by hand, that write down what happens to them."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from dfs.protocol.errors import Cancelled, DFSError
from dfs.protocol.interfaces import Block, IConnection, IIncomingStream, IPut, PeerInfo
from dfs.protocol.messages import ChunkWritten, DurableReplica, PutChunk
from dfs.protocol.values import Purpose, Role


@implementer(IIncomingStream)
class FakeIncoming:
    """An incoming stream; ``paused`` is what a sender would feel."""

    def __init__(self) -> None:
        self.paused = False
        self.refused: DFSError | None = None

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def refuse(self, error: DFSError) -> None:
        self.refused = error


@implementer(IPut)
class FakePut:
    """A put at a child: ``stall`` pauses its producer, ``finish`` answers."""

    def __init__(self, request: PutChunk) -> None:
        self.request = request
        self.answer: Deferred[object] = Deferred()
        self.blocks: list[Block] = []
        self.buffered = 0
        self.ended: tuple[int, bytes] | None = None
        self.aborted: DFSError | None = None
        self.producer: IPushProducer | None = None

    def write(self, block: Block) -> None:
        self.blocks.append(block)

    def end(self, length: int, sha256: bytes) -> None:
        self.ended = (length, sha256)

    def abort(self, error: DFSError) -> None:
        if self.aborted is None and not self.answer.called:
            self.aborted = error
            self.answer.errback(error)

    def register_producer(self, producer: IPushProducer) -> None:
        self.producer = producer

    def unregister_producer(self) -> None:
        self.producer = None

    def stall(self) -> None:
        """The transport is full."""
        self.buffered = 1 << 20
        assert self.producer is not None
        self.producer.pauseProducing()

    def drain(self) -> None:
        """The transport has drained."""
        self.buffered = 0
        assert self.producer is not None
        self.producer.resumeProducing()

    def finish(self, number: int = 1) -> None:
        """The child and all below it are durable."""
        assert self.ended is not None
        replicas = tuple(DurableReplica(target.node, number) for target in self.request.targets)
        self.answer.callback(ChunkWritten(*self.ended, replicas, ()))

    def fail(self, error: DFSError) -> None:
        """The child reports an error."""
        self.answer.errback(error)


class FakeConnection:
    """A connection that only opens puts."""

    def __init__(self, put: FakePut | None = None) -> None:
        self.put = put
        self.aborted = False
        self.peer = PeerInfo(Role.CLIENT, "client", Purpose.BULK, b"", False, "")

    def open_put(self, request: Any, timeout: float) -> FakePut:
        self.put = FakePut(request)
        return self.put

    def abort(self) -> None:
        self.aborted = True
        if self.put is not None:
            self.put.abort(Cancelled("the connection was cut"))


class FakePool:
    """A pool whose connections are made at once, or when the test says so."""

    def __init__(self) -> None:
        self.connections: dict[str, Any] = {}
        self.released: list[str] = []
        self.refuse: dict[str, DFSError] = {}
        self.slow: dict[str, Deferred[IConnection]] = {}

    def acquire(self, address: str, expect: str = "") -> Deferred[IConnection]:
        if address in self.refuse:
            raise self.refuse[address]
        if address in self.slow:
            return self.slow[address]
        connection: Any = FakeConnection()
        self.connections[address] = connection
        return succeed(connection)

    def release(self, connection: IConnection) -> None:
        self.released += [address for address, one in self.connections.items() if one is connection]

    def put_at(self, address: str) -> FakePut:
        """The put that was opened to an address."""
        put: FakePut = self.connections[address].put
        return put
