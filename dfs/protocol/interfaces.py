"""How rooms speak through a connection: requests, streams of blocks, one-way messages.

A connection is symmetrical: after Hello either side may ask.  On a BULK connection
at most one stream runs at a time, so the transport's own flow control *is* the
stream's: a slow sink pauses its transport, TCP fills, and the far producer is paused.

Everything here is called and fires on the reactor thread.
"""

from __future__ import annotations

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from zope.interface import Attribute, Interface

from dfs.protocol.errors import DFSError
from dfs.protocol.values import Purpose, Role

SPOKEN = (1, 1)
"""The lowest and the highest version of the protocol that this program speaks."""


@frozen
class PeerInfo:
    """Who is at the other end, as Hello established it.  ``trusted``: it proved the cluster key.
    ``name`` of an untrusted peer is only what it says of itself."""

    role: Role
    name: str
    purpose: Purpose
    incarnation: bytes
    trusted: bool
    address: str  # of the socket, for logs
    founding: bytes = b""  # of its cluster, b"" where it does not know


@frozen
class Identity:
    """What we say of ourselves in Hello.  ``cluster`` b"" means: not known yet (a client learns it from the
    first answer).  ``key`` b"" means that we can prove nothing (clients).  ``founding`` (16 bytes, b"": not
    known) tells two clusters of one key apart: nodes of different ones refuse one another.  ``versions``: the lowest
    and the highest version of the protocol that this node speaks (S39)."""

    role: Role
    name: str
    cluster: bytes
    incarnation: bytes
    key: bytes
    founding: bytes = b""
    versions: tuple[int, int] = SPOKEN


@frozen
class Block:
    """A run of a chunk's bytes on its way.  ``offset`` is a multiple of PIECE; ``pieces`` are memoryviews in
    order with ``length`` bytes together (at most BLOCK), cut anywhere; ``crcs`` has one CRC-32C for each PIECE
    of data, the last one perhaps shorter.  Nobody has checked them yet: the sink does, off the reactor thread."""

    offset: int
    length: int
    crcs: tuple[int, ...]
    pieces: tuple[memoryview, ...]


class IIncomingStream(Interface):
    """The receiver's hold on a stream."""

    def pause() -> None:
        """Stop reading from the transport (idempotent).  At most one receive buffer more arrives."""

    def resume() -> None:
        """Go on (idempotent)."""

    def refuse(error: DFSError) -> None:
        """Tell the sender to stop, with the reason; the sink gets no more calls.  Blocks on their way are dropped."""


class IBlockSink(Interface):
    """Takes a stream's blocks.  Exactly one of end_received and stream_failed comes last."""

    def block_received(block: Block) -> None:
        """The next block.  It must return at once; whoever is behind pauses the stream."""

    def end_received(length: int, sha256: bytes) -> None:
        """The sender sent all: this many bytes with this SHA-256 (whole chunk; b"" for a range)."""

    def stream_failed(error: DFSError) -> None:
        """The sender aborted, the connection ended, or its bytes were malformed."""


class IOutgoingStream(Interface):
    """The sender's hold on a stream."""

    buffered = Attribute("Bytes written and not yet taken by the kernel, an int.")

    def write(block: Block) -> None:
        """Queue a block; the pieces must not change afterwards.  Ignored after the stream failed."""

    def end(length: int, sha256: bytes) -> None:
        """No more blocks."""

    def abort(error: DFSError) -> None:
        """Give the stream up, telling the other side why; idempotent; the connection stays usable."""

    def register_producer(producer: IPushProducer) -> None:
        """pauseProducing and resumeProducing are called as the transport fills and drains (high-water mark 1 MiB);
        stopProducing when the stream failed or the connection is gone."""

    def unregister_producer() -> None:
        """Idempotent."""


class IPut(IOutgoingStream):
    """A chunk on its way to a chunk server."""

    answer = Attribute("Deferred[ChunkWritten]; fails with DFSError, also before all was sent: then stop sending.")


class IConnection(Interface):
    """One open connection that has finished Hello."""

    peer = Attribute("PeerInfo")
    cluster = Attribute("The cluster id of the other side, 16 bytes, b\"\" when it does not know it yet.")
    cluster_time_ms = Attribute("The other side's cluster time at Hello, an int.")
    streaming = Attribute("True while a stream runs in either direction.")

    def call(request: object, timeout: float) -> Deferred[object]:
        """Ask and get the answer, a class of dfs.protocol.messages.  Fails with DFSError (DeadlinePassed after
        ``timeout`` seconds, Disconnected).  Cancelling tells the other side to stop."""

    def open_put(request: object, timeout: float) -> IPut:
        """Open a PutChunk stream; ``timeout`` bounds the time without any progress, in seconds."""

    def open_get(request: object, sink: IBlockSink, timeout: float) -> Deferred[tuple[object, IIncomingStream]]:
        """Ask for a GetChunk stream: fires with (ChunkHead, the stream) before the first block comes.
        ``timeout`` bounds the time without any progress, while not paused by us.  Cancelling ends it."""

    def send(payload: bytes) -> None:
        """A one-way message of opaque bytes (RAFT and SNAPSHOT connections).  Never raises."""

    def close() -> None:
        """Finish what is written, then close."""

    def abort() -> None:
        """Close now."""

    def when_closed() -> Deferred[DFSError]:
        """A new Deferred that fires with the reason once the connection has ended."""


class IService(Interface):
    """What a listening node gives to its connections.  Methods may be coroutines (``async def``) where a Deferred is
    named.  An exception that is no DFSError is logged and reaches the peer as InternalError without details."""

    def connected(connection: IConnection) -> None:
        """Hello succeeded."""

    def disconnected(connection: IConnection) -> None:
        """It ended."""

    def handle(connection: IConnection, request: object) -> Deferred[object]:
        """Answer a request.  Cancelled when the peer cancels, its deadline passes or the connection ends."""

    def put_opened(
        connection: IConnection, request: object, stream: IIncomingStream
    ) -> tuple[IBlockSink, Deferred[object]]:
        """A peer opens a PutChunk: the sink for its blocks, and the answer (which may fail early).  The answer is
        never cancelled: a stream that ends early says so to the sink, and what became whole goes on."""

    def get_opened(connection: IConnection, request: object, stream: IOutgoingStream) -> Deferred[object]:
        """A peer asks for a GetChunk: fires with ChunkHead; blocks may be written to ``stream`` from then on
        (writing before it fires is an error), ended by ``end`` or ``abort``."""

    def message_received(connection: IConnection, payload: bytes) -> None:
        """A one-way message."""
