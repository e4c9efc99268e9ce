"""What a start finds in the segments: which replicas are packed where, and what is not whole.

Everything here blocks.  Only heads are read, and the bodies of the newest group: all that an older group holds was
durable before it was written, so what is bad there rotted (S11), and what is bad in the newest group may be what a
power cut tore, which nobody was promised (S09).  Either stays where it is: no start destroys anything, and the process
writes to segments of its own.  A bad record hides none behind it: the next head is looked for from page to page.

Bytes that the disk does not read (EIO) are judged as those of a file: left alone, and not listed.
"""

from __future__ import annotations

import errno
import hashlib

from attrs import Factory, define

from dfs.chunkserver import footer as footers
from dfs.chunkserver import records
from dfs.chunkserver.errors import RefusedStart
from dfs.chunkserver.footer import BadFooter
from dfs.chunkserver.layout import Layout
from dfs.chunkserver.records import BODY, PAGE, REPLICA, NewerRecord, Place, RecordHead
from dfs.chunkserver.segments import name_of, number_of
from dfs.disk.errors import DiskError
from dfs.disk.interfaces import IDisk, IDiskFile
from dfs.protocol.blocks import piece_crc

WINDOW = 32 << 10
"""Bytes read by one call of the disk: the heads of several short records, and not all of a long one."""


@define
class Found:
    """What a segment holds.

    :ivar replicas: heads of replicas that are to be listed.
    :ivar damaged: offsets at which something durable is bad; ``torn``: of what may never have been durable;
        ``unreadable``: of what the disk does not read.
    :ivar gone: bytes of records that were removed.
    :ivar aside: heads of records that were set aside in their place.
    """

    number: int
    length: int = 0
    replicas: list[RecordHead] = Factory(list)
    damaged: list[int] = Factory(list)
    torn: list[int] = Factory(list)
    unreadable: list[tuple[int, str]] = Factory(list)
    gone: int = 0
    aside: list[RecordHead] = Factory(list)

    @property
    def whole(self) -> bool:
        """Whether nothing in it is bad or kept: only then may it be removed once its replicas are elsewhere."""
        return not (self.damaged or self.torn or self.unreadable or self.aside)


def numbers_of(disk: IDisk, layout: Layout) -> list[int]:
    """The segments of a folder, oldest first; none where there is no folder of them.  Raises RefusedStart for a file
    that is none."""
    if not disk.exists(layout.segments):
        return []
    names = disk.list_folder(layout.segments)
    numbers = [(name, number_of(name)) for name in names if not name.endswith(".sum")]
    for name, number in numbers:
        if number is None:
            raise RefusedStart(f"{layout.segment(name)} is no segment: move it away, then start again")
    return sorted(number for _, number in numbers if number is not None)


def scan(disk: IDisk, layout: Layout, number: int, durable: bool) -> Found:
    """Look through a segment; what it shows is durable before this returns, unless ``durable`` is False: the process
    before may have died between a write and its sync.  Raises RefusedStart, DiskError."""
    file = disk.open(layout.segment(name_of(number)), writable=False)
    try:
        if durable:
            file.sync()
        return _Scan(file, layout, number).run()
    except NewerRecord as error:
        raise RefusedStart(f"{file.path}: {error}; use the program that wrote it, or newer") from error
    finally:
        file.close()


class _Scan:
    """One look through one segment."""

    def __init__(self, file: IDiskFile, layout: Layout, number: int) -> None:
        self._file, self._layout = file, layout
        self._found = Found(number, file.size())
        self._window, self._start = b"", 0
        self._nonce: bytes | None = None
        self._heads: list[RecordHead] = []
        self._bad: list[int] = []

    def run(self) -> Found:
        found = self._found
        self._read_segment_head()
        self._walk()
        newest = max((head.group for head in self._heads), default=PAGE)
        for at in self._bad:  # the segment's head came with the first group
            (found.torn if max(at, PAGE) >= newest else found.damaged).append(at)
        for head in self._heads:
            if head.kind == REPLICA:
                self._judge(head, newest)
            elif head.kind == records.REMOVED:
                found.gone += head.end - head.place.offset
            else:
                found.aside.append(head)
        return found

    def _read_segment_head(self) -> None:
        """Raises RefusedStart for another cluster's segment.  Where the head is not whole, the records tell."""
        if not self._found.length:
            return  # begun, and nothing was ever durable in it
        content = self._at(0, PAGE)
        head = None if content is None else records.decode_segment(content)
        if head is None:
            self._bad += [] if content is None else [0]
            return
        if head.cluster != self._layout.cluster:
            raise RefusedStart(
                f"{self._file.path} is a segment of cluster {head.cluster.hex()}, and the key is that of "
                f"{self._layout.cluster.hex()}: choose the folder, or the key file, of this cluster"
            )
        self._nonce = head.nonce

    def _walk(self) -> None:
        """From record to record; over what is none, from page to page."""
        at, bad = PAGE, False
        while at < self._found.length:
            content = self._at(at, BODY)
            head = None
            if content is not None:
                head = records.decode_head(content, Place(self._found.number, at), self._nonce)
            if head is None or head.place.offset + BODY + head.body > self._found.length:
                if not bad and content is not None:
                    self._bad.append(at)
                bad, at = True, at + PAGE
                continue
            self._nonce = head.nonce
            self._heads.append(head)
            bad, at = False, head.end

    def _judge(self, head: RecordHead, newest: int) -> None:
        if head.footer_version > footers.VERSION:
            raise NewerRecord(f"the footer at offset {head.place.offset} has version {head.footer_version}")
        if head.group < newest or self._is_whole(head):
            self._found.replicas.append(head)
        else:
            self._found.torn.append(head.place.offset)

    def _is_whole(self, head: RecordHead) -> bool:
        """Whether the body is the chunk that the head tells of; what the disk does not read is not."""
        body = self._at(head.place.offset + BODY, head.body)
        if body is None:
            return False
        content = body[: head.held.length]
        try:
            footer = footers.decode(body, len(body))
        except BadFooter:
            return False
        return (
            footer.ref == head.ref
            and footer.cluster == self._layout.cluster
            and footer.crcs == ((piece_crc(memoryview(content)),) if content else ())
            and hashlib.sha256(content).digest() == footer.sha256 == head.held.sha256
        )

    def _at(self, offset: int, length: int) -> bytes | None:
        """Bytes of the segment through a window; None where the disk does not read them, which is noted."""
        if not self._start <= offset or offset + length > self._start + len(self._window):
            try:
                self._window, self._start = self._file.pread(max(WINDOW, length), offset), offset
            except DiskError as error:
                if error.errno != errno.EIO:
                    raise
                return self._alone(offset, length)
        at = offset - self._start
        return self._window[at : at + length]

    def _alone(self, offset: int, length: int) -> bytes | None:
        """The same without those around, which one bad sector must not take along."""
        try:
            return self._file.pread(length, offset)
        except DiskError as error:
            if error.errno != errno.EIO:
                raise
            self._found.unreadable.append((offset, error.reason))
            return None
