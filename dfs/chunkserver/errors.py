"""The disk's errors as the wire's, in one table; and what only this room raises."""

from __future__ import annotations

from dfs.disk.errors import DiskError, DiskFull, ReadOnly
from dfs.protocol.errors import DFSError, DiskFailed, NoSpace, ReplicaCorrupt


class RefusedStart(Exception):
    """The server cannot start on this folder or with these settings; the sentence says what to do."""


TABLE: tuple[tuple[type[DiskError], type[DFSError], str], ...] = (
    (DiskFull, NoSpace, "no space is left on the disk"),
    (ReadOnly, DiskFailed, "the data folder cannot be written"),
    (DiskError, DiskFailed, "the disk failed"),
)
"""First match wins: the disk's class, the wire's, the sentence."""


def dfs_error(error: DiskError, node: str) -> DFSError:
    """What a peer hears of a disk error at ``node``; the path stays in our log."""
    for disk_class, wire_class, sentence in TABLE:
        if isinstance(error, disk_class):
            return wire_class(f"{node}: {sentence} ({error.reason})", nodes=(node,))
    raise AssertionError(error)


class CorruptPiece(ReplicaCorrupt):
    """On the wire a ReplicaCorrupt.  ``offset`` is that of the first bad piece."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.offset = offset


class Unreadable(DiskFailed):
    """A media error (EIO) in one replica: on the wire a DiskFailed.  ``offset`` is that of the first piece that the
    disk does not read, None where it is not even opened or its footer is concerned."""

    def __init__(self, message: str, offset: int | None) -> None:
        super().__init__(message)
        self.offset = offset
