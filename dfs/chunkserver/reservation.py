"""Numbers for durable adds and removes, with their reservation kept ahead on disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, DeferredLock

from dfs.chunkserver.numbers import RANGE, NumberLine, reserve
from dfs.disk.interfaces import IDisk


class Numbers:
    """Gives numbers, each backed by a durable reservation.

    :param run: calls a function on a thread; its Deferred fails with a DFSError.
    """

    def __init__(self, run: Callable[..., Deferred[Any]], disk: IDisk, path: str, line: NumberLine) -> None:
        self._run, self._disk, self._path = run, disk, path
        self._line = line
        self._extending = DeferredLock()

    @property
    def as_of(self) -> int:
        """The highest number with everything at or below it in the index."""
        return self._line.as_of

    async def take(self) -> int:
        """The next number, open until :meth:`settle`.  What it counts must not be durable before this returns."""
        while self._line.left == 0:
            await self._extending.acquire()
            try:
                await self._extend()
            except Exception:
                self._extending.release()
                raise
            self._extending.release()  # not in a finally: one that is dropped with its program passes it to nobody
        return self._line.give()

    async def _extend(self) -> None:
        """Reserve more, unless another did while we waited for the lock."""
        if self._line.left == 0:
            wanted = self._line.reserved + RANGE
            await self._run(reserve, self._disk, self._path, wanted)
            self._line.reserved = wanted

    def settle(self, number: int) -> None:
        """What the number counts is in the index, or will never be."""
        self._line.settle(number)
