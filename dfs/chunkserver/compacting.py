"""Giving the space of removed records back: what is left of a segment moves to another, then the segment goes.

No healthy byte goes before its replacement is proven (S17): a record is read and compared with its checksums, appended
elsewhere with the same number, synced, read back and compared again; only then is it listed in its new place, and the
old one marked as removed, so that it does not come back.  A crash in between leaves replicas in two places, which the
next start settles (dfs.chunkserver.packing).  A segment goes when nothing but removed records is left in it.

A segment with a bad place is left alone: what is damaged there is kept as it is.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger

from dfs.chunkserver import reading, recordfile, segments, segmentscan
from dfs.chunkserver.errors import Unreadable
from dfs.chunkserver.layout import Layout
from dfs.chunkserver.packing import Usage
from dfs.chunkserver.records import PAGE, REMOVED, Place, RecordHead
from dfs.chunkserver.rounds import Rounds
from dfs.chunkserver.segments import Added
from dfs.chunkserver.segmentscan import Found
from dfs.chunkserver.store import ChunkStore
from dfs.disk.errors import NotFound
from dfs.disk.interfaces import IDisk
from dfs.protocol.errors import DFSError, ReplicaCorrupt, ReplicaNotFound
from dfs.protocol.values import ChunkRef
from dfs.runtime.interfaces import Runtime

_log = Logger()

INTERVAL = 30.0
"""Seconds from one segment to the next."""

BATCH = 64
"""Records moved at once; at most 4 MiB of memory."""

SHORT = 64
"""A segment that nobody writes to any more is moved to another, however full, if it has less than this part of what a
segment may have."""


def is_empty(usage: Usage) -> bool:
    """Whether all of a segment is removed."""
    return usage.gone >= usage.length - PAGE


def is_sparse(usage: Usage) -> bool:
    """Whether half of a segment is removed."""
    return 2 * usage.gone >= usage.length - PAGE


def is_due(usage: Usage, size: int) -> bool:
    """Whether a segment that is not written any more should go: half of it is removed, or it is short."""
    return usage.whole and (is_sparse(usage) or usage.length * SHORT < size)


class Compactor:
    """Looks after the segments of a store.

    :param interval: seconds from one segment to the next.
    :ivar moved: records that got another place, since the start.
    :ivar removed: segments that went.
    """

    def __init__(self, runtime: Runtime, store: ChunkStore, interval: float = INTERVAL) -> None:
        self.moved = self.removed = 0
        self._store = store
        self._rounds = Rounds(runtime, interval, self._round, "compaction")

    def start(self) -> None:
        self._rounds.start()

    async def stop(self) -> None:
        """No step begins after this; fires when the last one ended."""
        await self._rounds.stop()

    async def _round(self) -> None:
        await self.round()
        await self._store.packing.summarise()

    async def round(self) -> int:
        """Compact the segment that gives back most, if one is due, those first that need no room (S21); its number, 0
        for none.  Raises DFSError."""
        packing = self._store.packing
        due = [
            number
            for number, usage in packing.usage.items()
            if is_due(usage, packing.size) and number != packing.current
        ]
        if not due or self._alone(due):
            return 0
        number = max(due, key=lambda each: (is_empty(packing.usage[each]), packing.usage[each].gone, -each))
        await self._compact(number)
        return number

    def _alone(self, due: list[int]) -> bool:
        """Whether there is only one short segment, which would just get another number."""
        packing = self._store.packing
        return len(due) == 1 and not packing.current and not is_sparse(packing.usage[due[0]])

    async def _compact(self, number: int) -> None:
        store, packing = self._store, self._store.packing
        store.check_writable()
        found = await self._scan(number)
        for at in range(0, len(found.replicas), BATCH):
            if self._rounds.stopped:
                return
            with packing.groups.together():
                moves = [Deferred.fromCoroutine(self._move(head)) for head in found.replicas[at : at + BATCH]]
            outcomes: list[tuple[bool, Any]] = await DeferredList(moves, consumeErrors=True)
            for failure in (outcome for ok, outcome in outcomes if not ok):
                failure.raiseException()
        left = await self._scan(number)
        if left.whole and not left.replicas:
            await store.run(remove_segment, store.disk, store.layout, number)
            del packing.usage[number]
            self.removed += 1
        else:  # something in it is bad or kept: not before the next start
            packing.usage[number].whole = False

    async def _scan(self, number: int) -> Found:
        store = self._store
        try:
            found: Found = await store.run(segmentscan.scan, store.disk, store.layout, number, False)
        except ReplicaNotFound:
            del store.packing.usage[number]  # gone without our doing: whoever reads of it is told
            raise
        self._store.packing.usage[number] = Usage(found.length, found.gone, found.whole, False)
        return found

    async def _move(self, head: RecordHead) -> None:
        """Give one record another place, if it is listed there and whole.  Raises DFSError."""
        store, packing, ref = self._store, self._store.packing, head.ref
        async with store.locks.alone(ref):
            store.check_writable()
            if store.index.place(ref) != head.place:
                await self._mark_moved(head)
                return
            try:
                body: bytes = await store.run(read_body, store.disk, store.layout, ref, head.place)
            except (ReplicaCorrupt, ReplicaNotFound, Unreadable) as error:
                _log.warn("{ref} stays where it is: {error}", ref=ref, error=error)
                return
            place: Place = await packing.groups.add(Added(head.held, body))
            packing.grown(place, len(body))
            try:
                await store.run(reading.verify, store.disk, store.layout, ref, place)
            except DFSError:
                await packing.mark(place, ref, REMOVED)  # else it would come back after the other one's removal
                raise
            store.index.add(head.held, place)
            self.moved += 1
            await packing.mark(head.place, ref, REMOVED)


    async def _mark_moved(self, head: RecordHead) -> None:
        """Where a former round gave it another place and could not mark it here, that is made up for; what is not
        listed, or is not whole where it is, stays.  Whoever asks holds the lock."""
        store, ref = self._store, head.ref
        listed = store.index.get(ref)
        if listed is None or listed.sha256 != head.held.sha256:
            return
        try:
            await store.run(reading.verify, store.disk, store.layout, ref, store.index.place(ref))
        except DFSError as error:
            _log.warn("{ref} stays in two places: {error}", ref=ref, error=error)
            return
        await store.packing.mark(head.place, ref, REMOVED)


def read_body(disk: IDisk, layout: Layout, ref: ChunkRef, place: Place) -> bytes:
    """Chunk and footer of a record, compared with its checksums; blocking.  Raises ReplicaCorrupt, Unreadable,
    NotFound, DiskError."""
    reading.verify(disk, layout, ref, place)
    record = recordfile.open_record(disk, layout, ref, place)
    try:
        return record.pread(record.size(), 0)
    finally:
        record.close()


def remove_segment(disk: IDisk, layout: Layout, number: int) -> None:
    """Unlink a segment, durably; blocking.  Raises DiskError."""
    segments.forget_summary(disk, layout, number)
    try:
        disk.unlink(layout.segment(segments.name_of(number)))
    except NotFound:
        pass  # whoever removed it may have died before the sync
    disk.sync_folder(layout.segments)
