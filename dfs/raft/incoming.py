"""Which configuration the snapshot brought that the state machine is switching to.

The state machine knows entries, not members.  Between its switch to a snapshot and the moment at which the log has
begun anew after the snapshot's mark, nothing else on disk says who belonged to the group as of then.  So this is
written *before* the switch (R37, R38).  The record is the file ``incoming`` in two copies (:mod:`dfs.raft.twin`,
kind 4), made when a first snapshot comes; big endian::

    offset size
       0     8   index of the snapshot's mark
       8     8   its term
      16     n   payload of the configuration as of the mark
"""

from __future__ import annotations

import struct

from construct import GreedyBytes, Int64ub
from construct import Struct as Layout

from dfs.disk.errors import DiskFull
from dfs.disk.interfaces import IDisk
from dfs.raft.core.types import SnapshotMark
from dfs.raft.segment import NoSpace
from dfs.raft.twin import TwinRecord

FILE_NAME = "incoming"
KIND = 4
_HEAD = struct.Struct(">QQ")

incoming_layout = Layout("index" / Int64ub, "term" / Int64ub, "configuration" / GreedyBytes)


class IncomingFile:
    """The record, if there is one.  Every method blocks."""

    def __init__(self, disk: IDisk, folder: str) -> None:
        self._disk, self._folder = disk, folder
        self._path = f"{folder}/{FILE_NAME}"
        self._record = TwinRecord.open(disk, self._path, KIND) if disk.exists(self._path) else None

    def configuration(self, mark: SnapshotMark) -> bytes:
        """The payload that came with the snapshot at ``mark``; b"" where it was another one, or none."""
        if self._record is None:
            return b""
        found = SnapshotMark(*_HEAD.unpack_from(self._record.payload))
        return self._record.payload[_HEAD.size :] if found == mark else b""

    def write(self, mark: SnapshotMark, configuration: bytes) -> None:
        """Durable when it returns.  Raises NoSpace with nothing changed."""
        payload = _HEAD.pack(mark.index, mark.term) + configuration
        if self._record is not None:
            self._record.write(payload)
            return
        try:
            TwinRecord.create(self._disk, f"{self._path}.new", KIND, payload).close()
        except DiskFull as error:
            raise NoSpace(str(error)) from error
        self._disk.sync_folder(self._folder)
        self._disk.rename(f"{self._path}.new", self._path)
        self._disk.sync_folder(self._folder)
        self._record = TwinRecord.open(self._disk, self._path, KIND)

    def close(self) -> None:
        """Release the file."""
        if self._record is not None:
            self._record.close()
