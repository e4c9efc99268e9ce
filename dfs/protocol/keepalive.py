"""Finds the peer that is gone without a word, or that only drips.

Each side says PING when it has said nothing for a while, and needs no answer:
a peer that is alive is heard.  Whoever hears nothing for longer, while reading, ends the
connection; so does whoever waits too long for one frame to become whole, or for the peer to take
what it was sent.  A side that has paused its reading cannot judge silence.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dfs.protocol.buffers import BUFFERS
from dfs.protocol.errors import DFSError, Disconnected
from dfs.protocol.frames import FrameDecoder, FrameType, encode_frame
from dfs.protocol.limits import FRAME_TIMEOUT, IDLE_BULK_TIMEOUT, PING_INTERVAL, SILENCE_TIMEOUT, STALL_TIMEOUT
from dfs.protocol.port import Port

_PING = encode_frame(FrameType.PING, 0, 0)


class KeepAlive:
    """:param busy: whether a request or stream is in progress; :param give_up: ends the connection at once."""

    def __init__(
        self, port: Port, decoder: FrameDecoder, busy: Callable[[], bool], give_up: Callable[[DFSError], None]
    ) -> None:
        self._port = port
        self._decoder = decoder
        self._busy = busy
        self._give_up = give_up
        self._closes_idle = False
        now = port.reactor.seconds()
        self._frame_since = self._used = self._taken_since = now
        self._taken = 0
        self._timer: Any = None

    def start(self, closes_idle: bool) -> None:
        """Hello is finished.  ``closes_idle``: close the connection when it is not used for long."""
        self._closes_idle = closes_idle
        self._timer = self._port.reactor.callLater(PING_INTERVAL, self._tick)

    def stop(self) -> None:
        """Idempotent."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def frame_received(self) -> None:
        """A frame became whole."""
        self._frame_since = self._port.reactor.seconds()

    def _tick(self) -> None:
        now = self._port.reactor.seconds()
        self._note(now)
        sentence = self._complaint(now)
        if sentence:
            self._give_up(Disconnected(sentence))
        elif self._closes_idle and now - self._used >= IDLE_BULK_TIMEOUT:
            self._port.close()
        else:
            if now - self._port.last_sent >= PING_INTERVAL:
                self._port.write(_PING)
            due = self._port.last_sent + PING_INTERVAL - now
            self._timer = self._port.reactor.callLater(max(due, 1.0), self._tick)

    def _note(self, now: float) -> None:
        if self._busy():
            self._used = now
        elif self._decoder.blocks:
            BUFFERS.give_back()
        if not self._decoder.buffered or not self._port.reading:
            self._frame_since = now
        taken = self._port.taken
        if taken != self._taken or not self._port.unsent:
            self._taken = taken
            self._taken_since = now

    def _complaint(self, now: float) -> str:
        if self._port.reading:
            if now - max(self._port.last_received, self._port.reading_since) >= SILENCE_TIMEOUT:
                return f"the peer said nothing for {SILENCE_TIMEOUT:g} s"
            if now - self._frame_since >= FRAME_TIMEOUT:
                return f"one frame took more than {FRAME_TIMEOUT:g} s"
        if now - self._taken_since >= STALL_TIMEOUT:
            return f"the peer took nothing for {STALL_TIMEOUT:g} s"
        return ""
