"""Small replicas in segments: the shell between the reactor thread and dfs.chunkserver.segments.

It works for a store (dfs.chunkserver.store), whose invariants hold here too: a replica is in the index only after it is
durable (S05), each add and remove has its number, one publish or removal of a generation runs at a time (S08).
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from attrs import define, evolve
from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger
from twisted.python.failure import Failure

from dfs.chunkserver import footer as footers
from dfs.chunkserver import identity, quarantine, recordfile, records, segments, segmentscan, summaries
from dfs.chunkserver.errors import dfs_error
from dfs.chunkserver.footer import BadFooter
from dfs.chunkserver.groups import Groups
from dfs.chunkserver.layout import Layout
from dfs.chunkserver.quarantine import Entry
from dfs.chunkserver.records import ASIDE, BODY, REMOVED, Place, RecordHead
from dfs.chunkserver.segments import Alone, Marked, Put, SegmentWriter, SmallPut, Work
from dfs.chunkserver.segmentscan import Found
from dfs.chunkserver.writing import WriteRules
from dfs.disk.errors import DiskError
from dfs.disk.interfaces import IDisk
from dfs.protocol.errors import DFSError, InternalError, StaleGeneration
from dfs.protocol.interfaces import Block
from dfs.protocol.messages import HeldReplica
from dfs.protocol.values import ChunkRef

if TYPE_CHECKING:
    from dfs.chunkserver.store import ChunkStore

_log = Logger()


@define
class Usage:
    """Of a segment: its length, the bytes of removed records, whether all of it is whole, and whether it has a summary
    or can have none."""

    length: int
    gone: int
    whole: bool
    summarised: bool


class Packing:
    """The packed replicas of a store.

    :ivar usage: by number of the segment.
    :ivar unread: what the disk did not read and is set aside in its place: the chunk, and its length.
    :ivar groups: what shares syncs.
    """

    def __init__(self, store: ChunkStore, node: str, rules: WriteRules) -> None:
        self.usage: dict[int, Usage] = {}
        self.unread: dict[Place, tuple[ChunkRef, int]] = {}
        self._store, self._node, self._rules = store, node, rules
        self._writer: SegmentWriter | None = None
        self._twice: list[tuple[Place, HeldReplica]] = []
        self.groups = Groups(self._perform, lambda error: dfs_error(error, node))

    # ---- start ----------------------------------------------------------------------------------

    async def open(self) -> tuple[int, int]:
        """List what the segments hold.  The highest number of an add, and how many records are bad and kept.  Raises
        DFSError, RefusedStart."""
        store = self._store
        numbers: Sequence[int] = await store.run(segmentscan.numbers_of, store.disk, store.layout)
        if numbers or self._rules.segments:
            await store.run(_make_folder, store.disk, store.layout)
        highest = bad = 0
        for number in numbers:
            found: Found = await store.run(summaries.look, store.disk, store.layout, number, self._rules.durable)
            self.usage[number] = Usage(found.length, found.gone, found.whole, True)
            bad += self._tell(found)
            self.unread |= {head.place: (head.ref, head.held.length) for head in found.aside}
            for head in found.replicas:
                highest = max(highest, head.held.number)
                self._list(head)
        self._writer = SegmentWriter(
            store.disk, store.layout, self._rules, store.entropy, max(numbers, default=0)
        )
        return highest, bad

    async def settle(self) -> None:
        """What :meth:`open` found in two places is in one; the numbers were taken up before.  Raises DFSError."""
        twice, self._twice = self._twice, []
        for place, held in twice:
            await self._settle(place, held)

    def _tell(self, found: Found) -> int:
        """How many places of a segment are bad."""
        name = segments.name_of(found.number)
        if not found.length:
            _log.warn("{name} is empty: it was begun and not written to", name=name)
        for offset in found.damaged:
            _log.error("{name} is damaged at offset {offset}: kept, not listed", name=name, offset=offset)
        for offset in found.torn:
            _log.warn("{name} has an unfinished write at offset {offset}: kept, not listed", name=name, offset=offset)
        for offset, reason in found.unreadable:
            _log.error("{name} cannot be read at {offset}: {reason}", name=name, offset=offset, reason=reason)
        return len(found.damaged) + len(found.unreadable)

    def _list(self, head: RecordHead) -> None:
        """Into the index; of a replica that is there twice the older one waits to be settled."""
        index, ref = self._store.index, head.ref
        there, former = index.get(ref), index.place(ref)
        if there is not None and (former is None or there.number > head.held.number):
            self._twice.append((head.place, head.held))
            return
        if there is not None and former is not None:
            self._twice.append((former, there))
        index.add(head.held, head.place)

    async def _settle(self, place: Place, held: HeldReplica) -> None:
        """A crash left a replica in two places: the older one goes when the newer one was read whole (S17), so that it
        does not come back after a removal; where that is bad, it takes its place."""
        ref = ChunkRef(held.file_id, held.index, held.generation)
        try:
            await self._store.verify(ref)
        except DFSError as error:
            _log.error("{ref} is there twice and one is bad: {error}", ref=ref, error=error)
            if self._store.index.get(ref) is None:
                self._store.index.add(held, place)
            return
        await self.mark(place, ref, REMOVED)

    # ---- writing --------------------------------------------------------------------------------

    def _perform(self, work: Sequence[Work]) -> Deferred[Any]:
        assert self._writer is not None, "the store is not open"
        self._store.check_writable()  # what waits when a sync fails is not written any more
        return self._store.run(segments.perform, self._writer, self._store.layout.cluster, work)

    async def put(self, small: SmallPut) -> HeldReplica:
        """Make a small replica durable, or find that the very same one is there already.  Raises ReplicaCorrupt,
        StaleGeneration, NoSpace, Busy, DiskFailed."""
        store = self._store
        async with store.locks.alone(small.ref):
            store.check_writable()
            there = store.index.get(small.ref)
            if there is not None:
                await store.run(small.check)
                if there.sha256 != small.sha256:
                    raise StaleGeneration(f"{self._node} holds other bytes under this generation", nodes=(self._node,))
                return there
            number = await store.numbers.take()
            try:
                place: Place = await self.groups.add(Put(small, number))
                store.check_writable()  # a sync that failed beside ours may have been ours: errors are told once
                held = small.held(number)
                store.index.add(held, place)
                self.grown(place, len(small.content) + footers.footer_length(len(small.content), small.description))
                return held
            finally:
                store.numbers.settle(number)

    async def _put_alone(self, small: SmallPut) -> HeldReplica:
        """As :meth:`put`, into a file of its own: where nothing is packed."""
        length = len(small.content)
        writing = self._store.begin_file(small.ref, max(1, length), length, small.description)
        block = Block(0, length, small.crcs, (memoryview(small.content),))
        return await writing.finish([block] if length else [], length, small.sha256)

    async def put_all(self, puts: Sequence[SmallPut]) -> list[HeldReplica | DFSError]:
        """As :meth:`put` for many at once, which share syncs; an outcome for each, in order."""
        one = self.put if self._rules.segments else self._put_alone
        dated = [evolve(each, description=self._store.dated(each.description)) for each in puts]
        with self.groups.together():
            begun = [Deferred.fromCoroutine(one(each)) for each in dated]
        done = await DeferredList(begun, consumeErrors=True)
        return [outcome_of(ok, result) for ok, result in done]

    def grown(self, place: Place, body: int) -> None:
        """A record with a body of that length was appended there."""
        usage = self.usage.setdefault(place.segment, Usage(records.PAGE, 0, True, False))
        usage.length = max(usage.length, place.offset + records.record_size(body))

    @property
    def size(self) -> int:
        """Bytes at which a segment is full."""
        return self._rules.segment_size

    @property
    def current(self) -> int:
        """The segment that is written, 0 for none."""
        return 0 if self._writer is None else self._writer.current

    async def forsake(self, number: int) -> None:
        """Somebody took a segment away: what is stored from now on goes to another one.  Raises DiskFailed."""
        if self._writer is not None and number == self.current:
            await self.groups.add(Alone(self._writer.close))

    # ---- taking away ----------------------------------------------------------------------------

    async def mark(self, place: Place, ref: ChunkRef, kind: int) -> None:
        """Change the kind of a record, durably.  Raises DiskFailed."""
        freed: int = await self.groups.add(Marked(place, ref, kind))
        usage = self.usage.get(place.segment)
        if usage is not None:
            usage.summarised = False
            usage.gone += freed if kind == REMOVED else 0
            usage.whole &= kind == REMOVED

    async def summarise(self) -> int:
        """Write the summary of one segment that has none and is not appended to any more; its number, 0 for none.
        Raises DFSError."""
        store = self._store
        for number, usage in self.usage.items():
            if usage.whole and not usage.summarised and number != self.current:
                usage.summarised = True  # unless it is marked meanwhile
                await self.groups.add(Alone(partial(summaries.summarise, store.disk, store.layout, number, False)))
                return number
        return 0

    async def move_aside(self, ref: ChunkRef, place: Place, length: int, reason: str, at_ms: int) -> None:
        """Into the quarantine, then away from its segment; what the disk does not read is set aside in its place.
        Raises NoSpace, DiskFailed."""
        store = self._store
        entry: Entry | None = await store.run(
            _copy_aside, store.disk, store.layout, ref, place, length, reason, at_ms, store.nonce()
        )
        if entry is None:
            await self.mark(place, ref, ASIDE)
            self.unread[place] = (ref, length)
        else:
            store.quarantine.add(entry)  # before the mark: where that fails the copy is there all the same
            await self.mark(place, ref, REMOVED)

    async def take_up(self, place: Place) -> None:
        """What was set aside in its place goes into the quarantine, if the disk reads it by now.  Raises NoSpace,
        DiskFailed."""
        store, (ref, length) = self._store, self.unread[place]
        async with store.locks.alone(ref):
            store.check_writable()
            entry: Entry | None = await store.run(
                _copy_aside, store.disk, store.layout, ref, place, length, "unreadable", store.time_ms(), store.nonce()
            )
            if entry is not None:
                store.quarantine.add(entry)
                del self.unread[place]
                await self.mark(place, ref, REMOVED)


def outcome_of(ok: bool, result: Any) -> HeldReplica | DFSError:
    """Of one put among many."""
    if ok:
        held: HeldReplica = result
        return held
    assert isinstance(result, Failure)
    if isinstance(result.value, DFSError):
        return result.value
    _log.failure("storing a small chunk failed in a way that was not foreseen", result)
    return InternalError("a small chunk could not be stored; the node's log tells why")


def _make_folder(disk: IDisk, layout: Layout) -> None:
    """The folder of segments, durably; before there is one, the identity says so, so that a program that knows none
    does not start here and miss replicas (S39).  Raises DiskError, RefusedStart."""
    identity.mark_segments(disk, layout.root)
    disk.make_folders(layout.segments)
    disk.sync_folder(layout.segments)


def _copy_aside(
    disk: IDisk, layout: Layout, ref: ChunkRef, place: Place, length: int, reason: str, at_ms: int, nonce: bytes
) -> Entry | None:
    """The body of a record as a file in the quarantine; None where the disk does not read it."""
    try:
        body = _raw_body(disk, layout, ref, place, length)
    except DiskError as error:
        if error.errno != errno.EIO:
            raise
        return None
    return quarantine.keep(disk, layout, ref, body, reason, at_ms, nonce)


def _raw_body(disk: IDisk, layout: Layout, ref: ChunkRef, place: Place, length: int) -> bytes:
    """What is there of chunk and footer, right or wrong."""
    try:
        record = recordfile.open_record(disk, layout, ref, place, aside=True)
    except BadFooter:
        return _without_head(disk, layout, place, length)
    try:
        return record.pread(record.size(), 0)
    finally:
        record.close()


def _without_head(disk: IDisk, layout: Layout, place: Place, length: int) -> bytes:
    """The same where no head tells how long the footer is."""
    most = length + footers.footer_length(length) + footers.MAX_DESCRIPTION
    file = disk.open(layout.segment(segments.name_of(place.segment)), writable=False)
    try:
        found = file.pread(most, place.offset + BODY)
    finally:
        file.close()
    return found[: length + footers.told_length(found, length)]
