"""The one stream that a connection may carry at a time, and the frames that concern it.

Opening a second one is a mistake of whoever opens it: ours fails at once, the peer's
ends the connection.  The slot is free again as soon as the stream is over, whatever is still on its way.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail, maybeDeferred
from twisted.python.failure import Failure

from dfs.protocol.errors import BadRequest, DFSError, Disconnected, InternalError
from dfs.protocol.failures import decode_error
from dfs.protocol.frames import Frame
from dfs.protocol.interfaces import IBlockSink, IConnection, IIncomingStream, IPut, IService
from dfs.protocol.limits import STREAM_TIMEOUT
from dfs.protocol.messages import ChunkHead, ChunksHead, GetChunk, GetChunks, PutChunk, PutChunks
from dfs.protocol.port import Port
from dfs.protocol.requests import Asked, Served, encode_failure
from dfs.protocol.streams import IncomingStream, OutgoingStream, Put, encode_abort


class StreamSlot:
    """:param bulk: whether the connection may carry streams at all.

    :ivar theirs: the highest request id of the peer so far, kept by the connection.
    """

    def __init__(self, port: Port, asked: Asked, served: Served, bulk: bool, dialer: bool) -> None:
        self.theirs = 0
        self._port = port
        self._asked = asked
        self._served = served
        self._bulk = bulk
        self._dialer = dialer
        self._incoming: IncomingStream | None = None
        self._outgoing: OutgoingStream | None = None
        self._opening = 0  # id of the GetChunk of ours whose head has not come

    @property
    def taken(self) -> bool:
        return self._incoming is not None or self._outgoing is not None or self._opening != 0

    def check_free(self) -> None:
        """Raises BadRequest when no stream may be opened here now, Disconnected when the connection is closed."""
        if self._port.closing:
            raise Disconnected("the connection is closed")
        if not self._bulk:
            raise BadRequest("a stream on a connection that is not for bulk data")
        if self.taken:
            raise BadRequest("a second stream on one connection")

    def _over(self, stream: IncomingStream | OutgoingStream) -> None:
        if self._incoming is stream:
            self._incoming = None
        if self._outgoing is stream:
            self._outgoing = None

    def end(self, error: DFSError) -> None:
        """The connection ended."""
        if self._incoming is not None:
            self._incoming.fail(error)
        if self._outgoing is not None:
            self._outgoing.fail(error)

    # ---- opened by us

    def open_put(self, request: object, timeout: float) -> IPut:
        """Ask for a PutChunk; the put fails at once where it cannot be opened."""
        put = Put(self._port, 0, self._over)
        try:
            self.check_free()
            put.stream_id = self._asked.new_id()
            asked = self._asked.ask(put.stream_id, request, timeout, limited=False)
        except DFSError as error:
            put.fail(error)
            return put
        self._outgoing = put
        put.start(asked, lambda error: self._asked.failed(put.stream_id, error), timeout)
        return put

    def open_get(
        self, request: object, sink: IBlockSink, timeout: float
    ) -> Deferred[tuple[object, IIncomingStream]]:
        """Ask for a GetChunk."""

        def opened(head: object) -> tuple[object, IncomingStream]:
            stream = IncomingStream(self._port, request_id, timeout, encode_abort, self._over)
            stream.feed(sink)
            self._opening = 0
            self._incoming = stream
            return head, stream

        def not_opened(failure: Failure) -> Failure:
            if self._opening == request_id:
                self._opening = 0
            return failure

        try:
            self.check_free()
            request_id = self._asked.new_id()
            asked = self._asked.ask(request_id, request, timeout, opened)
        except DFSError as error:
            return fail(error)
        self._opening = request_id
        return asked.addErrback(not_opened)

    # ---- opened by the peer

    def put_came(
        self, connection: IConnection, service: IService, request_id: int, request: PutChunk | PutChunks, timeout: float
    ) -> None:
        """A PutChunk came.  Raises BadRequest when it may not be opened."""
        self.check_free()

        def refusal(refused_id: int, error: DFSError) -> bytes:
            self._served.cancel(refused_id)
            return encode_failure(refused_id, error)

        stream = IncomingStream(self._port, request_id, min(timeout, STREAM_TIMEOUT), refusal, self._over)
        self._incoming = stream
        try:
            sink, answer = service.put_opened(connection, request, stream)
        except Exception:  # noqa: BLE001  # whatever a service raises becomes an answer
            stream.finish()
            self._served.serve(request_id, fail(Failure()), timeout)
            return
        stream.feed(sink)
        self._served.serve(request_id, as_deferred(answer).addCallback(_whole, stream), None, stream.fail)

    def get_came(
        self, connection: IConnection, service: IService, request_id: int, request: GetChunk | GetChunks, timeout: float
    ) -> None:
        """A GetChunk came.  Raises BadRequest when it may not be opened."""
        self.check_free()
        stream = OutgoingStream(self._port, request_id, self._over)
        self._outgoing = stream

        def head_answered(head: object) -> object:
            if not isinstance(head, ChunkHead | ChunksHead):
                raise InternalError("a get was not answered with a head")
            return head

        head = maybeDeferred(service.get_opened, connection, request, stream).addCallback(head_answered)
        self._served.serve(request_id, head, timeout, stream.fail, stream.open)

    # ---- frames

    def cancelled(self, request_id: int) -> None:
        """A CANCEL came: the reader of a get does not wait for its head any more."""
        if self._outgoing is not None and self._outgoing.stream_id == request_id:
            self._outgoing.fail(BadRequest("the reader gave up"))

    def wants(self, stream_id: int) -> bool:
        """Whether a BLOCK of this stream has a reader.  Raises BadRequest for a stream that never was."""
        return self._incoming_of(stream_id) is not None

    def block_came(self, frame: Frame) -> None:
        """Raises BadRequest for a part of a stream that never was."""
        stream = self._incoming_of(frame.request)
        if stream is not None and frame.block is not None:
            stream.block(frame.block)

    def end_came(self, frame: Frame) -> None:
        """Raises BadRequest for a part of a stream that never was."""
        stream = self._incoming_of(frame.request)
        if stream is not None:
            stream.end(frame.body)

    def abort_came(self, frame: Frame) -> None:
        """The sender of a put or a get, or the reader of a get, gave up."""
        error = decode_error(frame.code, frame.body)
        if self._outgoing is not None and self._outgoing.stream_id == frame.request:
            self._outgoing.fail(error)
            return
        stream = self._incoming_of(frame.request)
        self._served.cancel(frame.request)
        if stream is not None:
            stream.fail(error)

    def _incoming_of(self, stream_id: int) -> IncomingStream | None:
        """The stream of this id, None if it is over.  Raises BadRequest for an id that never was."""
        if self._incoming is not None and self._incoming.stream_id == stream_id:
            return self._incoming
        from_peer = stream_id % 2 == (0 if self._dialer else 1)
        if stream_id == 0 or not (stream_id <= self.theirs if from_peer else self._asked.knows(stream_id)):
            raise BadRequest(f"a part of stream {stream_id}, which was never opened")
        return None


def as_deferred(answer: Any) -> Deferred[Any]:
    """A service may give a coroutine where a Deferred is named."""
    return answer if isinstance(answer, Deferred) else Deferred.fromCoroutine(answer)


def _whole(answer: object, stream: IncomingStream) -> object:
    if not stream.ended:
        raise InternalError("a put was answered before it ended")
    return answer
