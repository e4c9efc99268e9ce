"""Telling metadata what is held: digests of ranges first, then the replicas of those ranges that differ.

A node whose record is true sends 32 bytes for each thousand replicas, however long it was away.  What is listed is
listed as of the number when its page is made (S06); what is not listed is equal to the record, or is none.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger

from dfs.chunkserver.index import LAST, POSITION
from dfs.chunkserver.store import ChunkStore
from dfs.protocol.errors import Disconnected, UnknownRequest
from dfs.protocol.interfaces import IConnection
from dfs.protocol.messages import CompareInventory, Inventory, InventoryDiffers, InventoryTaken, RangeDigest
from dfs.protocol.values import NodeNumber

_log = Logger()

PAGE = 1000
"""Replicas in one page of an inventory."""

RANGE = 1024
"""Replicas in one range."""

RANGES = 64
"""Ranges in one comparison: metadata looks at as many thousand records before it answers."""

CALL_TIMEOUT = 30.0

FIRST = b"\0" * POSITION.size


class Listing:
    """One inventory.

    :param going_on: whether it is still wanted.
    """

    def __init__(
        self,
        connection: IConnection,
        store: ChunkStore,
        node: NodeNumber,
        incarnation: bytes,
        going_on: Callable[[], bool],
    ) -> None:
        self._connection, self._store = connection, store
        self._node, self._incarnation, self._going_on = node, incarnation, going_on

    async def send(self) -> None:
        """All of it.  Raises DFSError."""
        after = FIRST
        while self._going_on() and after != LAST:
            ranges = self._store.index.ranges(_start(after), RANGES, RANGE)
            for begin, upto in await self._differing(after, ranges):
                await self._list(begin, upto)
            after = ranges[-1].upto

    async def _differing(self, after: bytes, ranges: list[RangeDigest]) -> list[tuple[bytes, bytes]]:
        """The ranges to list, as (after, upto): all of them where metadata does not compare."""
        ends = [after, *(one.upto for one in ranges)]
        try:
            request = CompareInventory(self._node, self._incarnation, after, tuple(ranges))
            answer = await self._connection.call(request, CALL_TIMEOUT)
        except UnknownRequest:
            return [(after, ends[-1])]
        if not isinstance(answer, InventoryDiffers) or any(at >= len(ranges) for at in answer.ranges):
            raise Disconnected("metadata answered a comparison with something else")
        return [(ends[at], ends[at + 1]) for at in answer.ranges]

    async def _list(self, after: bytes, upto: bytes) -> None:
        """One range, in pages; each is as of the number when it was made (S06)."""
        while self._going_on() and after != upto:
            replicas, end = self._store.index.page(_start(after), PAGE, upto)
            page = Inventory(self._node, self._incarnation, self._store.number, after, end, tuple(replicas))
            taken = await self._connection.call(page, CALL_TIMEOUT)
            if isinstance(taken, InventoryTaken) and taken.unknown:
                _log.info("metadata has no record of {count} replicas here: they are kept", count=taken.unknown)
            after = end


def _start(after: bytes) -> bytes:
    """As the index takes it."""
    return b"" if after == FIRST else after
