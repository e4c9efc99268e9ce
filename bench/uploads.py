"""Clients at work for a benchmark: uploads, one after the other, so many at once."""

from __future__ import annotations

import io
import os
import time
from bisect import bisect_left

from twisted.internet.defer import Deferred

from dfs.client.api import Client

MIB = 1 << 20


class _Counted(io.BytesIO):
    """Tells how many bytes are taken from it, and when."""

    def __init__(self, body: bytes, taken: list[tuple[float, int]]) -> None:
        super().__init__(body)
        self._taken = taken

    def read(self, size: int | None = -1, /) -> bytes:
        piece = super().read(size)
        self._taken.append((time.monotonic(), len(piece)))
        return piece


class Uploads:
    """Each of ``count`` writers uploads a file of ``size`` bytes, deletes it, and begins again."""

    def __init__(self, client: Client, count: int, size: int = 16 * MIB) -> None:
        self._client, self._body, self._going = client, os.urandom(size), True
        self._taken: list[tuple[float, int]] = []
        self._running = [Deferred.fromCoroutine(self._write(number)) for number in range(count)]

    async def _write(self, writer: int) -> None:
        number = 0
        while self._going:
            name = f"uploads/{writer}/{number}"
            await self._client.upload(_Counted(self._body, self._taken), name, parallel=2, resume=False)
            await self._client.delete(name)
            number += 1

    async def stop(self) -> None:
        """Let each end its file.  Raises what a write raised."""
        self._going = False
        for running in self._running:
            await running

    def rate(self, first: float, last: float) -> float:
        """Bytes/s that the writers took on between two moments of the monotonic clock."""
        begin, end = (bisect_left(self._taken, (moment, 0)) for moment in (first, last))
        return sum(length for _, length in self._taken[begin:end]) / max(0.001, last - first)
