"""One packed replica, read as if it had a file of its own: chunk and footer from offset 0 on.

Everything here blocks.  An open record keeps its segment's descriptor, so that it can be read to its end though the
segment is removed meanwhile.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence

from zope.interface import implementer

from dfs.chunkserver import records
from dfs.chunkserver.footer import BadFooter
from dfs.chunkserver.layout import Layout
from dfs.chunkserver.records import ASIDE, BODY, REPLICA, NewerRecord, Place, RecordHead
from dfs.chunkserver.segments import name_of
from dfs.disk.errors import DiskError, NotFound, ReadOnly
from dfs.disk.interfaces import IDisk, IDiskFile
from dfs.protocol.values import ChunkRef


@implementer(IDiskFile)
class RecordFile:
    """The body of a record; only to be read."""

    def __init__(self, file: IDiskFile, head: RecordHead) -> None:
        self.path = file.path
        self._file, self._head = file, head

    def size(self) -> int:
        return self._head.body

    def pread(self, length: int, offset: int) -> bytes:
        length = max(0, min(length, self._head.body - offset))
        return self._file.pread(length, self._head.place.offset + BODY + offset)

    def pwrite(self, pieces: Sequence[bytes | memoryview | bytearray], offset: int) -> int:
        raise self._read_only()

    def allocate(self, length: int) -> None:
        raise self._read_only()

    def truncate(self, length: int) -> None:
        raise self._read_only()

    def sync(self) -> None:
        raise self._read_only()

    def close(self) -> None:
        self._file.close()

    def _read_only(self) -> DiskError:
        return ReadOnly(self.path, "a packed replica is only read", errno.EROFS)


def open_record(disk: IDisk, layout: Layout, ref: ChunkRef, place: Place, aside: bool = False) -> RecordFile:
    """The replica in a record, ``aside``: also one that was set aside there.  Raises BadFooter where the record is not
    whole or another's, NotFound where it was taken away, DiskError."""
    file = disk.open(layout.segment(name_of(place.segment)), writable=False)
    try:
        head = records.decode_head(file.pread(BODY, place.offset), place, None)
        if head is None:
            raise BadFooter("damaged", f"there is no head of a record at offset {place.offset} of {file.path}")
        if head.ref != ref:
            raise BadFooter("foreign", "the record is another chunk's")
        if head.kind != REPLICA and not (aside and head.kind == ASIDE):
            raise NotFound(file.path, "the record was removed", errno.ENOENT)
        return RecordFile(file, head)
    except NewerRecord as error:
        file.close()
        raise BadFooter("version", str(error)) from error
    except BaseException:
        file.close()
        raise
