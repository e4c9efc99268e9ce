"""Placements, asked for ahead of the writers in ranges."""

from __future__ import annotations

from collections.abc import Iterable

from twisted.internet.defer import DeferredLock

from dfs.client.concurrency import locked
from dfs.client.context import Context
from dfs.protocol.errors import InternalError
from dfs.protocol.messages import AllocateChunks, Placement, Placements, ReplaceChunk, UploadGranted

AHEAD = 16  # indexes asked for at once


class PlacementsAhead:
    """Where each chunk of one upload goes.

    :param count: chunks in all, or None while unknown.
    """

    def __init__(self, context: Context, granted: UploadGranted, count: int | None) -> None:
        self._context = context
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
        if index not in self._known:
            await locked(self._lock, lambda: self._allocate(index))
        if index not in self._known:
            raise InternalError(f"metadata gave no place for chunk {index}", "run the same command again")
        return self._known.pop(index)

    async def _allocate(self, index: int) -> None:
        if index in self._known:
            return  # another writer asked for it meanwhile
        count = AHEAD if self._count is None else max(1, min(AHEAD, self._count - index))
        upload = self._granted
        answer = await self._context.mutate(
            lambda operation: AllocateChunks(operation, upload.file_id, upload.epoch, index, count), Placements
        )
        self._keep(answer.placements)

    async def replace(self, failed: Placement, avoid: Iterable[str]) -> Placement:
        """Another placement after a failed write, or the news that it was committed after all."""
        upload, index, generation = self._granted, failed.index, failed.generation
        names = tuple(sorted(avoid))
        answer = await self._context.mutate(
            lambda operation: ReplaceChunk(operation, upload.file_id, upload.epoch, index, generation, names),
            Placements,
        )
        if [placement.index for placement in answer.placements] != [index]:
            raise InternalError(f"metadata gave no other place for chunk {index}", "run the same command again")
        return answer.placements[0]
