"""One segment file of the log: made, appended to, read.

Space for a whole segment is reserved when it is made, so a full disk shows
itself there and not in the middle of a batch (R32).  All methods block.
"""

from __future__ import annotations

from collections.abc import Iterator

from dfs.disk.errors import DiskFull
from dfs.disk.interfaces import IDisk, IDiskFile
from dfs.raft.errors import RaftError, StorageCorrupt
from dfs.raft.log_format import (
    HEADER_LENGTH,
    SECTOR,
    BadRecord,
    SegmentHeader,
    decode_batch_header,
    decode_entries,
    decode_segment_header,
    encode_segment_header,
)
from dfs.raft.messages import Entry

PREFIX = "log-"


class NoSpace(RaftError):
    """The disk is full: nothing was appended, and the log is as it was (R32)."""


def segment_name(sequence: int) -> str:
    """The file's name; names sort as sequences do."""
    return f"{PREFIX}{sequence:016d}"


def segment_sequences(disk: IDisk, folder: str) -> list[int]:
    """The sequences of all segment files, ascending."""
    names = [name for name in disk.list_folder(folder) if name.startswith(PREFIX)]
    return sorted(int(name[len(PREFIX) :]) for name in names)


class Segment:
    """An open segment file.  ``header`` is what opens it."""

    def __init__(self, file: IDiskFile, header: SegmentHeader) -> None:
        self.file = file
        self.header = header

    @classmethod
    def create(
        cls, disk: IDisk, folder: str, sequence: int, link: int, incarnation: bytes, first_batch: int, length: int
    ) -> Segment:
        """Make the file with its header and reserve ``length`` bytes; durable, name and all, when it returns.

        Raises NoSpace, with no file left behind.
        """
        path = f"{folder}/{segment_name(sequence)}"
        sector, checksum = encode_segment_header(link, sequence, incarnation, first_batch)
        try:
            file = disk.open(path, create=True)
            file.truncate(0)
            file.allocate(length)
            file.pwrite([sector], 0)
        except DiskFull as error:
            if disk.exists(path):
                disk.unlink(path)
            raise NoSpace(f"no space for a new log segment: {error}") from error
        file.sync()
        disk.sync_folder(folder)
        return cls(file, SegmentHeader(link, sequence, incarnation, first_batch, checksum))

    @classmethod
    def open(cls, disk: IDisk, folder: str, sequence: int) -> Segment:
        """Open an existing one.  Raises BadRecord if its header is not valid."""
        file = disk.open(f"{folder}/{segment_name(sequence)}")
        try:
            header = decode_segment_header(file.pread(SECTOR, 0))
            if header.sequence != sequence:
                raise BadRecord(f"it says that it is segment {header.sequence}")
        except BadRecord:
            file.close()
            raise
        return cls(file, header)

    def append(self, pieces: list[bytes], offset: int) -> None:
        """One write and one sync: durable when it returns.  Raises NoSpace before anything is durable, SyncFailed."""
        try:
            self.file.pwrite(pieces, offset)
        except DiskFull as error:
            raise NoSpace(f"no space to append to the log: {error}") from error
        self.file.sync()

    def entries(self, start: int, end: int) -> Iterator[Entry]:
        """All entries of the batches between two batch offsets.  Raises StorageCorrupt: they were valid once."""
        data = memoryview(self.file.pread(end - start, start))
        offset = 0
        link: int | None = None
        try:
            while offset < end - start:
                header = decode_batch_header(data[offset : offset + HEADER_LENGTH], self.header.checksum)
                if link is not None and header.link != link:
                    raise BadRecord("a batch does not follow the one before it")
                yield from decode_entries(data[offset:], header)
                link = header.checksum
                offset += header.length
        except BadRecord as error:
            raise corrupt(self.file.path, start + offset, str(error)) from error


def corrupt(path: str, offset: int, reason: str) -> StorageCorrupt:
    """The sentence for the operator."""
    return StorageCorrupt(
        f"{path} at offset {offset}: {reason}. What was durable has been lost, so this member must not vote with this "
        "folder: stop it, keep the folder for inspection, and check the disk; the other members hold the entries, and "
        "doc/raft.md tells how to bring the member back."
    )
