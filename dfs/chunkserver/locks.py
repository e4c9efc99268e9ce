"""One thing at a time for each generation of a chunk."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from twisted.internet.defer import DeferredLock

from dfs.protocol.values import ChunkRef


class RefLocks:
    """A lock for each generation that somebody works on now, and none for the others."""

    def __init__(self) -> None:
        self._locks: dict[ChunkRef, tuple[DeferredLock, int]] = {}

    @asynccontextmanager
    async def alone(self, ref: ChunkRef) -> AsyncIterator[None]:
        """One publish, delete or setting aside of this generation at a time."""
        lock, users = self._locks.get(ref, (DeferredLock(), 0))
        self._locks[ref] = (lock, users + 1)
        try:
            await lock.acquire()
            try:
                yield
            finally:
                lock.release()
        finally:
            lock, users = self._locks.pop(ref)
            if users > 1:
                self._locks[ref] = (lock, users - 1)
