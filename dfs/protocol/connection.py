"""One open connection: Hello, then requests, streams and one-way messages, over frames.

The shell around the pure parts: :mod:`~dfs.protocol.frames` cuts the bytes,
:mod:`~dfs.protocol.hello` says who is there, :mod:`~dfs.protocol.requests` and
:mod:`~dfs.protocol.streams` hold what is in progress, and this module hands each frame to the
one that it is for (the literal table ``_FRAMES`` at the end).

Malformed bytes end this connection and nothing else (S43): the peer is told in
a FAILURE with request id 0, and everything that waited here fails with Disconnected.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from twisted.internet.defer import Deferred, fail, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure
from zope.interface import implementer

from dfs.protocol import wire
from dfs.protocol.errors import BadRequest, DFSError, Disconnected, Forbidden, UnknownRequest
from dfs.protocol.failures import decode_error
from dfs.protocol.frames import Frame, FrameDecoder, FrameType, encode_frame
from dfs.protocol.hello import UNKNOWN, Established, Handshake
from dfs.protocol.interfaces import IBlockSink, IConnection, IIncomingStream, IPut, IService, PeerInfo
from dfs.protocol.keepalive import KeepAlive
from dfs.protocol.limits import (
    BULK_BUFFER,
    CONTROL_BUFFER,
    HELLO_TIMEOUT,
    MAX_BODY,
    MAX_ONE_WAY_BUFFER,
    MAX_STRANGER_BODY,
)
from dfs.protocol.messages import GetChunk, GetChunks, PutChunk, PutChunks
from dfs.protocol.port import Port
from dfs.protocol.requests import Asked, Served, decode_request, encode_failure
from dfs.protocol.slot import StreamSlot
from dfs.protocol.values import Purpose, Role

_log = Logger()

#: Reasons that a caller cannot mend by trying again: what waits fails with them as they are.
_FINAL = (Forbidden,)


@implementer(IConnection)
class Connection(Protocol):
    """:param established: called once Hello is finished, with no argument; :param ended: with the reason, once, also
    when Hello never finished."""

    def __init__(
        self,
        reactor: IReactorTime,
        handshake: Handshake,
        dialer: bool,
        service: IService | None,
        established: Callable[[], None],
        ended: Callable[[DFSError], None],
    ) -> None:
        self._reactor = reactor
        self._handshake = handshake
        self._dialer = dialer
        self._service = service
        self._established = established
        self._ended = ended
        self._decoder = FrameDecoder()
        self._pumping = False
        self._pump_call: Any = None
        self._reason: DFSError | None = None
        self._over = False
        self._watchers: list[Deferred[DFSError]] = []
        self.dropped = 0
        self.cluster = b""
        self.cluster_time_ms = 0

    # ---- Twisted's side

    def connectionMade(self) -> None:
        self._port = Port(self._reactor, self.transport, self._schedule_pump)
        self._port.configure(CONTROL_BUFFER)
        self._asked = Asked(self._port, 1 if self._dialer else 2)
        self._served = Served(self._port)
        self._slot = StreamSlot(self._port, self._asked, self._served, False, self._dialer)
        self._keep_alive = KeepAlive(self._port, self._decoder, self._is_busy, self._give_up)
        self._hello_timer = self._reactor.callLater(HELLO_TIMEOUT, self._hello_expired)
        if self._dialer:
            self._port.write(self._handshake.start())

    def dataReceived(self, data: bytes) -> None:
        if not self._port.closing:
            self._decoder.receive(data)
        self._received()

    def _received(self) -> None:
        """There is something new in the decoder."""
        self._port.last_received = self._reactor.seconds()
        if not self._port.closing:
            self._pump()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._over = True
        self._port.lost()
        self._keep_alive.stop()
        if self._hello_timer.active():
            self._hello_timer.cancel()
        if self._pump_call is not None and self._pump_call.active():
            self._pump_call.cancel()
        error = self._reason or Disconnected(f"the connection to {self._address()} ended")
        self._reason = error
        waiting_error = error if isinstance(error, _FINAL) else Disconnected(error.message, error.hint)
        self._slot.end(waiting_error)
        self._asked.end(waiting_error)
        self._served.end()
        if self._service is not None and self._handshake.established is not None:
            self._service.disconnected(self)
        watchers, self._watchers = self._watchers, []
        for watcher in watchers:
            watcher.callback(error)
        self._ended(error)

    # ---- frames

    def _schedule_pump(self) -> None:
        if not self._pumping and (self._pump_call is None or not self._pump_call.active()):
            self._pump_call = self._reactor.callLater(0, self._pump)

    def _pump(self) -> None:
        """Hand out whole frames while we read."""
        if self._pumping:
            return
        self._pumping = True
        try:
            while self._port.reading and not self._port.closing:
                frame = self._decoder.next_frame()
                if frame is None:
                    break
                self._keep_alive.frame_received()
                self._frame_received(frame)
        except DFSError as error:
            self._fail(error)
        finally:
            self._pumping = False

    def _frame_received(self, frame: Frame) -> None:
        if self._handshake.established is None:
            self._port.write(self._handshake.receive(frame))
            established = cast("Established | None", self._handshake.established)
            if established is not None:
                self._hello_finished(established)
        else:
            _FRAMES[frame.type](self, frame)

    def _hello_finished(self, established: Established) -> None:
        self._hello_timer.cancel()
        theirs = established.theirs
        role = theirs.role
        self.peer = PeerInfo(
            role, theirs.name, theirs.purpose, theirs.incarnation, established.trusted, self._address(),
            b"" if established.founding == UNKNOWN else established.founding,
        )  # fmt: skip
        self.cluster = b"" if theirs.cluster == UNKNOWN else theirs.cluster
        self.cluster_time_ms = theirs.cluster_time_ms
        bulk = theirs.purpose is Purpose.BULK
        self._slot = StreamSlot(self._port, self._asked, self._served, bulk, self._dialer)
        self._decoder.blocks, self._decoder.wanted = bulk, self._slot.wants
        self._decoder.limit = MAX_BODY if established.trusted or self._dialer else MAX_STRANGER_BODY
        self._port.configure(BULK_BUFFER if bulk else CONTROL_BUFFER, gathers=theirs.purpose is Purpose.CONTROL)
        if bulk:
            self._port.take_over(self._decoder, self._received)
        self._keep_alive.start(closes_idle=bulk and not self._dialer)
        if self._service is not None:
            self._service.connected(self)
        self._established()

    def _hello_expired(self) -> None:
        self._reason = Disconnected(f"{self._address()} did not finish Hello within {HELLO_TIMEOUT:g} s")
        self._port.abort()

    def _fail(self, error: DFSError) -> None:
        """The peer broke a rule, or told us that we did: end this connection."""
        self._reason = error
        if not self._port.closing:
            level = LogLevel.info if self._handshake.established is not None else LogLevel.debug
            _log.emit(level, "connection with {address} ends: {reason}", address=self._address(), reason=error.message)
            self._port.write(encode_failure(0, error))
            self._port.close()

    def _give_up(self, error: DFSError) -> None:
        """The peer is not there any more: nothing could be told to it."""
        self._reason = error
        self._port.abort()

    def _address(self) -> str:
        peer: Any = cast(Any, self.transport).getPeer()
        host, port = getattr(peer, "host", None), getattr(peer, "port", None)
        return f"{host}:{port}" if host is not None else str(peer)

    @property
    def expendable(self) -> bool:
        """Whether a listener that is full may cut it off: the peer proved nothing, and nothing is in progress."""
        established = self._handshake.established
        return established is None or not (established.trusted or self._is_busy())

    def _is_busy(self) -> bool:
        return self.streaming or len(self._asked) > 0 or len(self._served) > 0

    # ---- what came

    def _request_came(self, frame: Frame) -> None:
        request_id = frame.request
        if request_id % 2 == (1 if self._dialer else 0) or request_id <= self._slot.theirs:
            raise BadRequest(f"request id {request_id} after {self._slot.theirs}")
        self._slot.theirs = request_id
        try:
            timeout, request = decode_request(frame.code, frame.body)
            role = self.peer.role if self.peer.trusted else Role.CLIENT
            purpose = self.peer.purpose
            if not wire.may_ask(role, purpose, frame.code):
                asked = f"{type(request).__name__} on a {purpose.name} connection"
                raise Forbidden(f"a {role.name} may not ask for {asked}")
            if self._service is None:
                raise UnknownRequest("this side takes no requests")
        except DFSError as error:
            self._port.write(encode_failure(request_id, error))
            return
        if isinstance(request, PutChunk | PutChunks):
            self._slot.put_came(self, self._service, request_id, request, timeout)
        elif isinstance(request, GetChunk | GetChunks):
            self._slot.get_came(self, self._service, request_id, request, timeout)
        else:
            self._served.serve(request_id, maybeDeferred(self._service.handle, self, request), timeout)

    def _response_came(self, frame: Frame) -> None:
        self._asked.answered(frame.request, frame.code, frame.body)

    def _failure_came(self, frame: Frame) -> None:
        error = decode_error(frame.code, frame.body)
        if frame.request == 0:
            self._reason = error
            self._port.close()
        else:
            self._asked.failed(frame.request, error)

    def _cancel_came(self, frame: Frame) -> None:
        self._served.cancel(frame.request)
        self._slot.cancelled(frame.request)

    def _block_came(self, frame: Frame) -> None:
        self._slot.block_came(frame)

    def _end_came(self, frame: Frame) -> None:
        self._slot.end_came(frame)

    def _abort_came(self, frame: Frame) -> None:
        self._slot.abort_came(frame)

    def _message_came(self, frame: Frame) -> None:
        if self.peer.purpose not in (Purpose.RAFT, Purpose.SNAPSHOT) or not self.peer.trusted:
            raise BadRequest("a one-way message on a connection that is not for them")
        if self._service is not None:
            self._service.message_received(self, frame.body)

    def _ping_came(self, frame: Frame) -> None:
        """It showed that the peer is alive, which dataReceived has noted."""

    def _unexpected_came(self, frame: Frame) -> None:
        raise BadRequest(f"{frame.type.name} after Hello")

    # ---- IConnection

    @property
    def streaming(self) -> bool:
        return self._slot.taken

    def call(self, request: object, timeout: float) -> Deferred[object]:
        if self._port.closing:
            return fail(self._gone())
        try:
            return self._asked.ask(self._asked.new_id(), request, timeout)
        except DFSError as error:
            return fail(error)

    def open_put(self, request: object, timeout: float) -> IPut:
        return self._slot.open_put(request, timeout)

    def open_get(
        self, request: object, sink: IBlockSink, timeout: float
    ) -> Deferred[tuple[object, IIncomingStream]]:
        return self._slot.open_get(request, sink, timeout)

    def send(self, payload: bytes) -> None:
        if self._port.unsent > MAX_ONE_WAY_BUFFER or len(payload) > MAX_BODY:
            self.dropped += 1
        else:
            self._port.write(encode_frame(FrameType.MESSAGE, 0, 0, payload))

    def close(self) -> None:
        self._port.close()

    def abort(self) -> None:
        self._port.abort()

    def when_closed(self) -> Deferred[DFSError]:
        watcher: Deferred[DFSError] = Deferred(lambda cancelled: self._watchers.remove(cancelled))
        if self._over:
            watcher.callback(self._gone())
        else:
            self._watchers.append(watcher)
        return watcher

    def _gone(self) -> DFSError:
        return self._reason or Disconnected(f"the connection to {self._address()} is closed")


_FRAMES: dict[FrameType, Callable[[Connection, Frame], None]] = {
    FrameType.HELLO: Connection._unexpected_came,
    FrameType.WELCOME: Connection._unexpected_came,
    FrameType.PROOF: Connection._unexpected_came,
    FrameType.REQUEST: Connection._request_came,
    FrameType.RESPONSE: Connection._response_came,
    FrameType.FAILURE: Connection._failure_came,
    FrameType.CANCEL: Connection._cancel_came,
    FrameType.BLOCK: Connection._block_came,
    FrameType.END: Connection._end_came,
    FrameType.ABORT: Connection._abort_came,
    FrameType.MESSAGE: Connection._message_came,
    FrameType.PING: Connection._ping_came,
}
