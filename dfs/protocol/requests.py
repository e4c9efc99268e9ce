"""Requests in progress on one connection: those that we asked, those that we were asked.

Ids: the dialer counts 1, 3, 5, ..., the listener 2, 4, 6, ...; they only rise, so what
belongs to a request that is over is known for what it is and dropped.

Body of a REQUEST: deadline u32 in ms, then the message.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from attrs import define
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from dfs.protocol import wire
from dfs.protocol.deadlines import Deadlines
from dfs.protocol.errors import BadRequest, Busy, Cancelled, DeadlinePassed, DFSError, Disconnected, InternalError
from dfs.protocol.failures import encode_error
from dfs.protocol.frames import FrameType, encode_frame
from dfs.protocol.limits import MAX_INCOMING, MAX_OUTGOING
from dfs.protocol.port import Port

_log = Logger()
_DEADLINE = struct.Struct(">I")
_MAX_DEADLINE_MS = 0xFFFFFFFF
_LAST_ID = 0xFFFFFFFF


def encode_request(request_id: int, request: object, timeout: float) -> bytes:
    """The REQUEST frame; raises BadRequest where the message breaks a limit."""
    deadline_ms = max(1, min(int(timeout * 1000), _MAX_DEADLINE_MS))
    body = _DEADLINE.pack(deadline_ms) + wire.encode(request)
    return encode_frame(FrameType.REQUEST, wire.code_of(type(request)), request_id, body)


def decode_request(code: int, body: bytes) -> tuple[float, Any]:
    """(seconds until the asker gives up, message)."""
    if len(body) < _DEADLINE.size:
        raise BadRequest("a REQUEST without a deadline")
    message = wire.decode(code, body[_DEADLINE.size :])
    if not wire.is_request(code):
        raise BadRequest(f"{type(message).__name__} is an answer, not a request")
    return _DEADLINE.unpack_from(body)[0] / 1000, message


def encode_failure(request_id: int, error: DFSError) -> bytes:
    """The FAILURE frame."""
    return encode_frame(FrameType.FAILURE, error.code, request_id, encode_error(error))


def to_error(failure: Failure) -> DFSError:
    """What a peer is told of a service's failure: a bug is logged here and stays here."""
    error = failure.value
    if isinstance(error, DFSError):
        return error
    if isinstance(error, CancelledError):
        return Cancelled("the request was given up")
    _log.failure("a request failed in a way that was not foreseen", failure)
    return InternalError("the node failed in a way it did not foresee", hint="its log has the details")


@define(eq=False)
class _Waiting:
    deferred: Deferred[Any]
    answers: tuple[type[Any], ...]
    opened: Callable[[object], object]


def _itself(answer: object) -> object:
    return answer


def _nothing(error: DFSError) -> None:
    """No one else is to be told."""


def _no_more() -> None:
    """Nothing follows an answer."""


def _not_sent(failure: Failure) -> None:
    _log.failure("an answer could not be sent", failure)


class Asked:
    """Requests that we sent and that have no answer yet."""

    def __init__(self, port: Port, first_id: int) -> None:
        self._port = port
        self._next_id = first_id
        self._waiting: dict[int, _Waiting] = {}
        self._deadlines = Deadlines(port.reactor, self._expired)

    def __len__(self) -> int:
        return len(self._waiting)

    def knows(self, request_id: int) -> bool:
        """Whether this id was ever given out."""
        return request_id < self._next_id

    def new_id(self) -> int:
        """The next id; raises Disconnected, and closes the connection, when all are used up."""
        request_id = self._next_id
        if request_id > _LAST_ID:
            self._port.close()
            raise Disconnected("the connection has used up its request numbers")
        self._next_id += 2
        return request_id

    def ask(
        self,
        request_id: int,
        request: object,
        timeout: float,
        opened: Callable[[object], object] = _itself,
        limited: bool = True,
    ) -> Deferred[Any]:
        """Send a request.  ``opened`` makes the result of the answer, before any later frame is looked at;
        ``limited`` False: whoever asks watches the time."""
        if len(self._waiting) >= MAX_OUTGOING:
            raise Busy(f"{MAX_OUTGOING} requests wait for this node already")
        frame = encode_request(request_id, request, timeout)
        deferred: Deferred[Any] = Deferred(lambda _: self.give_up(request_id, Cancelled("the caller gave up")))
        self._waiting[request_id] = _Waiting(deferred, wire.answers_of(request), opened)
        if limited:
            self._deadlines.begin(request_id, timeout)
        self._port.write(frame)
        return deferred

    def _expired(self, request_id: int, timeout: float) -> None:
        self.give_up(request_id, DeadlinePassed(f"no answer within {timeout:g} s"))

    def give_up(self, request_id: int, error: DFSError) -> None:
        """Tell the peer to stop, and fail the request."""
        if request_id in self._waiting:
            self._port.write(encode_frame(FrameType.CANCEL, 0, request_id))
            self.failed(request_id, error)

    def _take(self, request_id: int) -> _Waiting | None:
        self._deadlines.end(request_id)
        return self._waiting.pop(request_id, None)

    def answered(self, request_id: int, code: int, body: bytes) -> None:
        """A RESPONSE came.  Raises DFSError when its bytes are malformed (after failing the request)."""
        waiting = self._take(request_id)
        if waiting is None:
            return
        try:
            answer = wire.decode(code, body)
            if not isinstance(answer, waiting.answers):
                raise BadRequest(f"{type(answer).__name__} does not answer the request")
        except DFSError as error:
            waiting.deferred.errback(error)
            raise
        waiting.deferred.callback(waiting.opened(answer))

    def failed(self, request_id: int, error: DFSError) -> None:
        """A FAILURE came, or something of ours failed."""
        waiting = self._take(request_id)
        if waiting is not None:
            waiting.deferred.errback(error)

    def end(self, error: DFSError) -> None:
        """The connection ended."""
        self._deadlines.stop()
        for request_id in list(self._waiting):
            self.failed(request_id, error)


@define(eq=False)
class _Serving:
    deferred: Deferred[Any]
    cancellable: bool
    failed: Callable[[DFSError], None]
    mute: bool = False


class Served:
    """Requests of the peer in progress.  At the limit the connection is not read (S43)."""

    def __init__(self, port: Port) -> None:
        self._port = port
        self._serving: dict[int, _Serving] = {}
        self._deadlines = Deadlines(port.reactor, self._expired)

    def __len__(self) -> int:
        return len(self._serving)

    def serve(
        self,
        request_id: int,
        deferred: Deferred[Any],
        timeout: float | None,
        failed: Callable[[DFSError], None] = _nothing,
        answered: Callable[[], None] = _no_more,
    ) -> None:
        """Answer with what ``deferred`` gives, or say within ``timeout`` that there is no answer, cancelling it;
        None: it is never cancelled.  ``failed`` is called before a failure is sent, ``answered`` after an answer."""
        serving = _Serving(deferred, timeout is not None, failed)
        self._serving[request_id] = serving

        def succeed(answer: object) -> None:
            if self._over(request_id, serving):
                self.respond(request_id, answer)
                answered()

        def fail(failure: Failure) -> None:
            error = to_error(failure)
            if self._over(request_id, serving):
                failed(error)
                self._port.write(encode_failure(request_id, error))

        serving.deferred = deferred.addCallbacks(succeed, fail).addErrback(_not_sent)
        if request_id not in self._serving:
            return
        if timeout is not None:
            self._deadlines.begin(request_id, timeout)
        if len(self._serving) >= MAX_INCOMING:
            self._port.pause("requests")

    def respond(self, request_id: int, answer: object) -> None:
        """Send an answer; one that breaks a limit becomes a failure."""
        try:
            frame = encode_frame(FrameType.RESPONSE, wire.code_of(type(answer)), request_id, wire.encode(answer))
        except BadRequest as error:
            frame = encode_failure(request_id, InternalError(error.message))
        self._port.write(frame)

    def _over(self, request_id: int, serving: _Serving) -> bool:
        """It ended by itself; returns whether the peer still wants to know."""
        self._serving.pop(request_id, None)
        self._deadlines.end(request_id)
        if len(self._serving) < MAX_INCOMING:
            self._port.resume("requests")
        return not serving.mute

    def _expired(self, request_id: int, timeout: float) -> None:
        error = DeadlinePassed(f"no answer within {timeout:g} s")
        self._serving[request_id].failed(error)
        self._port.write(encode_failure(request_id, error))
        self.cancel(request_id)

    def cancel(self, request_id: int) -> None:
        """The peer does not want the answer any more; it counts as in progress until it really ended."""
        serving = self._serving.get(request_id)
        if serving is not None and not serving.mute:
            serving.mute = True
            self._deadlines.end(request_id)
            if serving.cancellable:
                serving.deferred.cancel()

    def end(self) -> None:
        """The connection ended."""
        self._deadlines.stop()
        for request_id in list(self._serving):
            self.cancel(request_id)
