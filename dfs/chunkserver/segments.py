"""Segment files: many small replicas made durable by one sync, taken away by a mark in their place.

Everything here blocks and runs on a thread, one call at a time.  The order that makes an acknowledgement true after a
crash at any step (S05, S09):

1. the records of a group are written behind the last group, in pages of their own;
2. fdatasync: the whole group is durable;
3. where the segment is new, fsync of its folder: so is its name.

A removal rewrites the head of its record and syncs the segment: it needs no free space (S21) and touches nobody else's
bytes.  A process begins segments of its own and never writes behind what an older one left, so a group that a power
cut tore is the last of its segment, and nothing of it is ever overwritten.  After a failed sync nothing more is written
at all (S31): the store sees to that.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from typing import TypeAlias

from attrs import define, evolve, frozen

from dfs.chunkserver import footer as footers
from dfs.chunkserver import records
from dfs.chunkserver.layout import Layout
from dfs.chunkserver.records import BODY, PAGE, REPLICA, Place, RecordHead, SegmentHead
from dfs.chunkserver.writing import WriteRules
from dfs.disk.errors import DiskError, SyncFailed
from dfs.disk.interfaces import IDisk, IDiskFile
from dfs.protocol.blocks import piece_crc
from dfs.protocol.errors import DFSError, NoSpace, ReplicaCorrupt
from dfs.protocol.messages import HeldReplica
from dfs.protocol.values import ChunkRef, Description

_NAME = re.compile(r"([0-9]{8})\.seg")


@frozen
class SmallPut:
    """One small replica to store: its bytes, the client's checksums (one, or none for no bytes) and SHA-256, and what
    the footer says of the file, None where nobody told."""

    ref: ChunkRef
    content: bytes
    crcs: tuple[int, ...]
    sha256: bytes
    description: Description | None = None

    def check(self) -> None:
        """Compare the bytes with checksum and hash (S07).  Raises ReplicaCorrupt."""
        if len(self.crcs) != footers.piece_count(len(self.content)):
            raise ReplicaCorrupt(f"{len(self.content)} bytes came with {len(self.crcs)} checksums")
        if self.crcs and piece_crc(memoryview(self.content)) != self.crcs[0]:
            raise ReplicaCorrupt("the piece at offset 0 does not match its CRC-32C")
        if hashlib.sha256(self.content).digest() != self.sha256:
            raise ReplicaCorrupt(f"the SHA-256 of the {len(self.content)} bytes received is not the sender's")

    def held(self, number: int) -> HeldReplica:
        """What the index lists of it under that number."""
        ref = self.ref
        return HeldReplica(ref.file_id, ref.index, ref.generation, len(self.content), self.sha256, number)


@frozen
class Added:
    """A replica to append: ``body`` is what its file would be."""

    held: HeldReplica
    body: bytes

    @property
    def size(self) -> int:
        """Bytes that its record takes."""
        return records.record_size(len(self.body))


@frozen
class Marked:
    """A record whose kind is to change."""

    place: Place
    ref: ChunkRef
    kind: int


@define
class _Open:
    """The segment that is written; ``end`` is where the next group begins."""

    file: IDiskFile
    head: SegmentHead
    end: int


def name_of(number: int) -> str:
    """The file name of a segment."""
    return f"{number:08d}.seg"


def number_of(name: str) -> int | None:
    """The number in a segment's file name; None for any other name."""
    found = _NAME.fullmatch(name)
    return None if found is None else int(found[1])


def forget_summary(disk: IDisk, layout: Layout, number: int) -> None:
    """A segment is about to change: its summary is gone, durably, when this returns.  Raises DiskError."""
    if disk.exists(layout.summary(number)):
        disk.unlink(layout.summary(number))
        disk.sync_folder(layout.segments)


def body_of(cluster: bytes, put: SmallPut, number: int) -> bytes:
    """Chunk and footer.  Raises ReplicaCorrupt where the bytes are not what the client sent."""
    put.check()
    ref, length = put.ref, len(put.content)
    footer = footers.Footer(
        cluster,
        ref.file_id,
        ref.index,
        ref.generation,
        length,
        number,
        put.sha256,
        put.crcs,
        description=put.description,
    )
    return put.content + footers.encode(footer)


class SegmentWriter:
    """Appends to the segments of one folder and marks records in them."""

    def __init__(
        self, disk: IDisk, layout: Layout, rules: WriteRules, entropy: Callable[[int], bytes], last: int
    ) -> None:
        """:param last: the highest number that a segment has had."""
        self._disk, self._layout, self._rules, self._entropy = disk, layout, rules, entropy
        self._last = last
        self._open: _Open | None = None

    @property
    def current(self) -> int:
        """The number of the segment that is written, 0 for none."""
        segment = self._open  # a thread may end it meanwhile
        return 0 if segment is None else segment.head.number

    def append(self, added: Sequence[Added]) -> list[Place | DiskError]:
        """Make replicas durable; for each its place, or why it is not stored.  Raises SyncFailed."""
        outcomes: list[Place | DiskError] = []
        while len(outcomes) < len(added):
            group: Sequence[Added] = added[len(outcomes) :]
            try:
                segment = self._writable()
                group = self._fitting(segment, group)
                outcomes += self._write(segment, group)
            except SyncFailed:
                self._forget()
                raise
            except DiskError as error:
                outcomes += [error] * len(group)
        return outcomes

    def _fitting(self, segment: _Open, added: Sequence[Added]) -> Sequence[Added]:
        """As many as the segment has room for, and one at least."""
        end = segment.end
        for count, each in enumerate(added):
            end += each.size
            if end > self._rules.segment_size and count:
                return added[:count]
        return added

    def _write(self, segment: _Open, group: Sequence[Added]) -> list[Place | DiskError]:
        """One write and one sync; the name of a new segment is synced before anybody hears of it."""
        start = at = segment.end
        fresh = start == PAGE
        pieces: list[bytes] = [records.encode_segment(segment.head)] if fresh else []
        places: list[Place | DiskError] = []
        for each in group:
            place = Place(segment.head.number, at)
            version = each.body[each.held.length]
            head = RecordHead(REPLICA, version, place, segment.head.nonce, start, len(each.body), each.held)
            pieces += (records.encode_head(head), each.body, bytes(each.size - BODY - len(each.body)))
            places.append(place)
            at += each.size
        try:
            segment.file.pwrite(pieces, 0 if fresh else start)
        except DiskError as error:
            self._take_back(segment, start)
            raise error
        if self._rules.durable:
            self._sync(segment, fresh)
        segment.end = at
        if at >= self._rules.segment_size:
            self._forget()
        return places

    def _sync(self, segment: _Open, fresh: bool) -> None:
        """The last group is durable when this returns.  After an error nobody knows whether it is, and nothing is
        written over it: the next group gets another segment.  Raises DiskError."""
        try:
            segment.file.sync()
            if fresh:
                self._disk.sync_folder(self._layout.segments)
        except DiskError:
            self._forget()
            raise

    def _take_back(self, segment: _Open, end: int) -> None:
        """Cut off what a write that failed left behind the last group; what cannot be cut off stays, and the next group
        gets another segment.  Raises SyncFailed."""
        try:
            segment.file.truncate(0 if end == PAGE else end)
            if self._rules.durable:
                segment.file.sync()
        except SyncFailed:
            raise
        except DiskError:
            self._forget()

    def _writable(self) -> _Open:
        """The segment to write to, a new one if need be."""
        if self._open is not None and self._open.end < self._rules.segment_size:
            return self._open
        self._forget()
        number = self._last + 1
        file = self._disk.open(self._layout.segment(name_of(number)), create=True, exclusive=True)
        self._last = number
        self._open = _Open(file, SegmentHead(number, self._layout.cluster, self._entropy(8)), PAGE)
        return self._open

    def _forget(self) -> None:
        segment, self._open = self._open, None
        if segment is not None:
            segment.file.close()

    close = _forget

    def room(self) -> int:
        """Bytes that may be written before what is left is in reserve (S21).  Raises DiskError."""
        return self._disk.space(self._layout.root).free - self._rules.reserve

    def mark(self, marks: Sequence[Marked]) -> list[int | DiskError]:
        """Change the kind of records, durably; for each the bytes that it takes (0 where it is no record any more), or
        why it did not come to be.  One sync for each segment.  Raises SyncFailed."""
        outcomes: dict[Marked, int | DiskError] = {}
        for number in sorted({each.place.segment for each in marks}):
            of_segment = [each for each in marks if each.place.segment == number]
            try:
                outcomes |= self._mark(number, of_segment)
            except SyncFailed:
                raise
            except DiskError as error:
                outcomes |= dict.fromkeys(of_segment, error)
        return [outcomes[each] for each in marks]

    def _mark(self, number: int, marks: Sequence[Marked]) -> dict[Marked, int]:
        forget_summary(self._disk, self._layout, number)
        file = self._disk.open(self._layout.segment(name_of(number)))
        sizes: dict[Marked, int] = {}
        try:
            for each in marks:
                head = records.decode_head(file.pread(BODY, each.place.offset), each.place, None)
                sizes[each] = 0
                if head is not None and head.ref == each.ref:  # one that is no head any more lists nothing at a start
                    file.pwrite([records.encode_head(evolve(head, kind=each.kind))], each.place.offset)
                    sizes[each] = head.end - head.place.offset
            if self._rules.durable:
                file.sync()
        finally:
            file.close()
        return sizes


@frozen
class Put:
    """A put under the number that it was given."""

    put: SmallPut
    number: int


@frozen
class Alone:
    """Something that must not run beside appends and marks."""

    call: Callable[[], object]


Work: TypeAlias = Put | Added | Marked | Alone
Outcome: TypeAlias = Place | int | DFSError | DiskError
"""Of an add its place, of a mark the bytes of its record, or an error."""


def _alone(work: Alone) -> Outcome:
    try:
        work.call()
    except DiskError as error:
        return error
    return 0


def perform(writer: SegmentWriter, cluster: bytes, work: Sequence[Work]) -> list[Outcome]:
    """All of it, with one sync for what is added; durable when this returns.  Raises SyncFailed."""
    outcomes: dict[int, Outcome] = {}
    added: dict[int, Added] = {}
    marks = {at: each for at, each in enumerate(work) if isinstance(each, Marked)}
    outcomes |= {at: _alone(each) for at, each in enumerate(work) if isinstance(each, Alone)}
    room = writer.room()
    for at, each in enumerate(work):
        if isinstance(each, Put):
            try:
                add = Added(each.put.held(each.number), body_of(cluster, each.put, each.number))
            except DFSError as error:
                outcomes[at] = error
                continue
            if add.size > room:
                outcomes[at] = NoSpace("no space is left on the disk, but for what is kept in reserve")
                continue
            added[at], room = add, room - add.size
        elif isinstance(each, Added):
            added[at] = each
    outcomes |= dict(zip(added, writer.append(list(added.values())), strict=True))
    outcomes |= dict(zip(marks, writer.mark(list(marks.values())), strict=True))
    return [outcomes[at] for at in range(len(work))]
