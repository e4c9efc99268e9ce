"""Placements, asked for ahead of the writers in ranges."""

from __future__ import annotations

from collections.abc import Iterable

from twisted.internet.defer import DeferredLock

from dfs.client.session import Session
from dfs.protocol.leader import LeaderCaller
from dfs.protocol.messages import AllocateChunks, Placement, Placements, ReplaceChunk, UploadGranted

AHEAD = 16  # indexes asked for at once


class PlacementsAhead:
    """Where each chunk of one upload goes.

    :param count: chunks in all, or None while unknown.
    """

    def __init__(self, caller: LeaderCaller, session: Session, granted: UploadGranted, count: int | None) -> None:
        self._caller = caller
        self._session = session
        self._granted = granted
        self._count = count
        self._lock = DeferredLock()
        self._known: dict[int, Placement] = {}
        self._keep(granted.placements)

    def _keep(self, placements: Iterable[Placement]) -> None:
        for placement in placements:
            self._known[placement.index] = placement

    async def take(self, index: int) -> Placement:
        """The placement of a chunk; each index is taken once."""
        await self._lock.acquire()
        try:
            if index not in self._known:
                await self._allocate(index)
            return self._known.pop(index)
        finally:
            self._lock.release()

    async def _allocate(self, index: int) -> None:
        count = AHEAD if self._count is None else min(AHEAD, self._count - index)
        with self._session.operation() as operation:
            answer = await self._caller.call(
                AllocateChunks(operation, self._granted.file_id, self._granted.epoch, index, max(1, count))
            )
        assert isinstance(answer, Placements)
        self._keep(answer.placements)

    async def replace(self, failed: Placement, avoid: Iterable[str]) -> Placement:
        """Another placement after a failed write, or the news that it was committed after all."""
        with self._session.operation() as operation:
            answer = await self._caller.call(
                ReplaceChunk(
                    operation,
                    self._granted.file_id,
                    self._granted.epoch,
                    failed.index,
                    failed.generation,
                    tuple(sorted(avoid)),
                )
            )
        assert isinstance(answer, Placements)
        return answer.placements[0]
