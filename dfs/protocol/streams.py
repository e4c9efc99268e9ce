"""Streams of blocks on a BULK connection, at most one at a time.

========================  ==========================================================
frame with the id         means
========================  ==========================================================
BLOCK, END                from the sender: data; all was sent
ABORT from the sender     it gave up, and why; the stream is over
FAILURE of a put          the receiver gave up, and why; the stream is over
ABORT from a reader       the same for a get
========================  ==========================================================

Flow control is TCP's: a sink that is behind pauses its transport, the kernel's buffers
fill, and the far producer is paused at its transport's high-water mark.

A stream that is over may still have blocks on their way; their id is known and they
are skipped, so the connection stays usable.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from dfs.protocol.errors import BadRequest, Cancelled, DeadlinePassed, DFSError
from dfs.protocol.failures import encode_error
from dfs.protocol.frames import FrameType, block_frame, decode_end, encode_end, encode_frame
from dfs.protocol.interfaces import Block, IBlockSink, IIncomingStream, IOutgoingStream, IPut
from dfs.protocol.limits import ANSWER_TIMEOUT
from dfs.protocol.port import Port, Watch


def encode_abort(request_id: int, error: DFSError) -> bytes:
    """The ABORT frame."""
    return encode_frame(FrameType.ABORT, error.code, request_id, encode_error(error))


@implementer(IIncomingStream)
class IncomingStream:
    """Blocks that come to us.

    :param refusal: the frame that tells the sender why we stop: FAILURE for a put, ABORT for a get.
    :param over: called once, when no more blocks are wanted.
    """

    def __init__(
        self,
        port: Port,
        stream_id: int,
        timeout: float,
        refusal: Callable[[int, DFSError], bytes],
        over: Callable[[IncomingStream], None],
    ) -> None:
        self.stream_id = stream_id
        self.ended = False
        self._port = port
        self.refusal = refusal
        self._over = over
        self._sink: IBlockSink | None = None
        self._done = False
        self._paused = False
        self._next_offset: int | None = None
        self._blocks = 0
        self._watch = Watch(port.reactor, timeout, self._mark, self._expired)
        self._timeout = timeout

    def feed(self, sink: IBlockSink) -> None:
        """The sink of the blocks; before it is known none may come."""
        self._sink = sink

    def _mark(self) -> object:
        return None if self._paused else self._blocks

    def _expired(self) -> None:
        error = DeadlinePassed(f"no data came for {self._timeout:g} s")
        self._port.write(self.refusal(self.stream_id, error))
        self.fail(error)

    def pause(self) -> None:
        if not self._done and not self._paused:
            self._paused = True
            self._port.pause("stream")

    def resume(self) -> None:
        if self._paused:
            self._paused = False
            self._port.resume("stream")

    def refuse(self, error: DFSError) -> None:
        if not self._done:
            self._port.write(self.refusal(self.stream_id, error))
            self.finish()

    def block(self, block: Block) -> None:
        """A BLOCK came.  Raises BadRequest when it does not follow the one before."""
        if self._done:
            return
        if self._next_offset is not None and block.offset != self._next_offset:
            raise BadRequest(f"a BLOCK from {block.offset} where {self._next_offset} follows")
        self._next_offset = block.offset + block.length
        self._blocks += 1
        if self._sink is not None:
            self._sink.block_received(block)

    def end(self, body: bytes) -> None:
        """An END came."""
        length, sha256 = decode_end(body)
        if not self._done:
            self.ended = True
            self.finish()
            if self._sink is not None:
                self._sink.end_received(length, sha256)

    def fail(self, error: DFSError) -> None:
        """The stream failed: the sink is told, nobody else."""
        if not self._done:
            self.finish()
            if self._sink is not None:
                self._sink.stream_failed(error)

    def finish(self) -> None:
        """No more calls to the sink; reading goes on."""
        if not self._done:
            self._done = True
            self._watch.stop()
            self.resume()
            self._over(self)


@implementer(IOutgoingStream)
class OutgoingStream:
    """Blocks that go from us.

    :param over: called once, when nothing more can be written.
    """

    def __init__(self, port: Port, stream_id: int, over: Callable[[OutgoingStream], None]) -> None:
        self.stream_id = stream_id
        self.opened = False
        self._port = port
        self._over = over
        self._done = False
        self._producer: IPushProducer | None = None

    @property
    def buffered(self) -> int:
        return self._port.unsent

    def open(self) -> None:
        """The head was answered: blocks may follow."""
        self.opened = True

    def write(self, block: Block) -> None:
        if not self._done:
            self._check_opened()
            self._port.write_pieces(block_frame(self.stream_id, block))

    def end(self, length: int, sha256: bytes) -> None:
        if not self._done:
            self._check_opened()
            self._port.write(encode_end(self.stream_id, length, sha256))
            self._ended()

    def _check_opened(self) -> None:
        if not self.opened:
            raise RuntimeError("a stream is written to before its head was answered")

    def _ended(self) -> None:
        self.finish()

    def abort(self, error: DFSError) -> None:
        if not self._done:
            if self.opened:
                self._port.write(encode_abort(self.stream_id, error))
            self.fail(error)

    def fail(self, error: DFSError) -> None:
        """The other side wants no more, or the connection ended: stop the producer."""
        if not self._done:
            producer = self._producer
            self.finish()
            if producer is not None:
                producer.stopProducing()

    def finish(self) -> None:
        """Nothing more is written."""
        if not self._done:
            self._done = True
            self.unregister_producer()
            self._over(self)

    def register_producer(self, producer: IPushProducer) -> None:
        if self._done:
            producer.stopProducing()
            return
        self._producer = producer
        self._port.produce(producer)

    def unregister_producer(self) -> None:
        if self._producer is not None:
            self._producer = None
            self._port.produce(None)


@implementer(IPut)
class Put(OutgoingStream):
    """A chunk on its way.  It is over when it is answered, not when all was sent.

    The peer makes progress while it takes bytes of the stream.  Once it has all of them, it may be silent for
    ANSWER_TIMEOUT, however short the caller's own timeout is: it waits for others (S23).
    """

    def __init__(self, port: Port, stream_id: int, over: Callable[[OutgoingStream], None]) -> None:
        super().__init__(port, stream_id, over)
        self.answer: Deferred[object] = Deferred(self._cancelled)
        self.opened = True
        self._sent_all = False
        self._end: float = math.inf
        self._timeout = 0.0
        self._watch: Watch | None = None
        self._request: Deferred[None] | None = None
        self._gave_up: Callable[[DFSError], None] = lambda error: None

    def start(self, request: Deferred[object], gave_up: Callable[[DFSError], None], timeout: float) -> None:
        """``request`` fires with the answer; ``gave_up`` forgets it."""
        self._gave_up = gave_up
        self._timeout = timeout
        self._watch = Watch(self._port.reactor, timeout, self._mark, lambda: self._expired(timeout))
        self._request = request.addCallbacks(self._answered, lambda failure: self.fail(failure.value))

    def _mark(self) -> object:
        if not self._sent_all and not self._port.unsent:
            return None  # the source is slow, not the peer
        return min(self._port.taken, self._end)  # what follows the END, a PING say, is no progress of the put

    def _expired(self, timeout: float) -> None:
        self.abort(DeadlinePassed(f"no progress for {timeout:g} s"))

    def _cancelled(self, answer: Deferred[object]) -> None:
        self.abort(Cancelled("the caller gave up"))

    def _ended(self) -> None:
        self._sent_all = True
        self._end = self._port.taken + self._port.unsent
        self.unregister_producer()
        if self._watch is not None:
            self._watch.stop()
            timeout = max(self._timeout, ANSWER_TIMEOUT)
            self._watch = Watch(self._port.reactor, timeout, self._mark, lambda: self._expired(timeout))

    def _answered(self, answer: object) -> None:
        if not self._sent_all:
            self.abort(BadRequest("a put was answered before all was sent"))
            return
        self.finish()
        self.answer.callback(answer)

    def fail(self, error: DFSError) -> None:
        if not self._done:
            super().fail(error)
            self._gave_up(error)
            self.answer.errback(error)

    def finish(self) -> None:
        if self._watch is not None:
            self._watch.stop()
        super().finish()
