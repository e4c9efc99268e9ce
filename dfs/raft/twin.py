"""A small record that must never be lost: two checksummed copies in one file.

Copy A is written and synced before copy B is touched, so at every moment at
least one copy is whole.  The copy with the higher sequence is the newer one.
Opening repairs the other copy before anything else happens; so a copy that
fails its check later was either the one being written (never promised to
anybody) or has rotted while its twin holds the same or the newer value (R04).

One copy, at offset 0 and again at offset 4,096 (big endian)::

    offset size
       0     1   version, 1
       1     1   kind: which record this is (see the users)
       2     2   length of the payload, at most 3,968
       4     8   sequence, one more at every write
      12     4   CRC-32C of bytes 0 to 11 and the payload
      16     n   payload
"""

from __future__ import annotations

import struct

from attrs import frozen
from construct import Bytes, Const, Int8ub, Int16ub, Int32ub, Int64ub, this
from construct import Struct as Layout
from crc32c import crc32c

from dfs.disk.interfaces import IDisk, IDiskFile
from dfs.raft.errors import StorageCorrupt

VERSION = 1
COPY_OFFSETS = (0, 4096)
MAX_PAYLOAD = 3968
_HEAD = struct.Struct(">BBHQ")
_CHECKSUM = struct.Struct(">I")
_HEAD_LENGTH = _HEAD.size + _CHECKSUM.size

copy_layout = Layout(
    "version" / Const(VERSION, Int8ub),
    "kind" / Int8ub,
    "length" / Int16ub,
    "sequence" / Int64ub,
    "checksum" / Int32ub,
    "payload" / Bytes(this.length),
)


@frozen
class Copy:
    """One valid copy."""

    sequence: int
    payload: bytes


def encode_copy(kind: int, sequence: int, payload: bytes) -> bytes:
    """The bytes of one copy."""
    assert len(payload) <= MAX_PAYLOAD, len(payload)
    head = _HEAD.pack(VERSION, kind, len(payload), sequence)
    return head + _CHECKSUM.pack(crc32c(payload, crc32c(head))) + payload


def decode_copy(kind: int, data: bytes) -> Copy | None:
    """The copy at the start of ``data``, or None if it is torn, corrupt or of another kind."""
    if len(data) < _HEAD_LENGTH:
        return None
    version, found_kind, length, sequence = _HEAD.unpack_from(data)
    payload = data[_HEAD_LENGTH : _HEAD_LENGTH + length]
    if (version, found_kind) != (VERSION, kind) or len(payload) != length:
        return None
    if crc32c(payload, crc32c(data[: _HEAD.size])) != _CHECKSUM.unpack_from(data, _HEAD.size)[0]:
        return None
    return Copy(sequence, payload)


class TwinRecord:
    """The record in one file.  Every method blocks; one thread at a time."""

    def __init__(self, file: IDiskFile, kind: int, sequence: int, payload: bytes) -> None:
        self._file = file
        self._kind = kind
        self._sequence = sequence
        self.payload = payload

    @classmethod
    def create(cls, disk: IDisk, path: str, kind: int, payload: bytes) -> TwinRecord:
        """Make the file with both copies, durable but for its name: the caller syncs the folder."""
        record = cls(disk.open(path, create=True), kind, 0, payload)
        record.write(payload)
        return record

    @classmethod
    def open(cls, disk: IDisk, path: str, kind: int) -> TwinRecord:
        """Read the newer valid copy and make both durable.  Raises NotFound, or StorageCorrupt if neither is valid."""
        file = disk.open(path)
        copies = [decode_copy(kind, file.pread(_HEAD_LENGTH + MAX_PAYLOAD, offset)) for offset in COPY_OFFSETS]
        valid = [copy for copy in copies if copy is not None]
        if not valid:
            file.close()
            raise StorageCorrupt(
                f"{path}: both copies fail their checks. This member must not vote again with this folder: keep it for "
                "inspection; doc/raft.md tells how to bring the member back."
            )
        newest = max(valid, key=lambda copy: copy.sequence)
        record = cls(file, kind, newest.sequence, newest.payload)
        record._repair(copies, newest)
        return record

    def write(self, payload: bytes) -> None:
        """Replace the value; both copies are durable when it returns.  After an error the record is not used again."""
        self._sequence += 1
        data = encode_copy(self._kind, self._sequence, payload)
        for offset in COPY_OFFSETS:
            self._file.pwrite([data], offset)
            self._file.sync()
        self.payload = payload

    def close(self) -> None:
        """Release the file."""
        self._file.close()

    def _repair(self, copies: list[Copy | None], newest: Copy) -> None:
        """Make both copies equal and durable.  What was read may never have been synced, so that comes
        first: else a crash while the older copy is rewritten could take both."""
        self._file.sync()
        data = encode_copy(self._kind, newest.sequence, newest.payload)
        for copy, offset in zip(copies, COPY_OFFSETS, strict=True):
            if copy != newest:
                self._file.pwrite([data], offset)
                self._file.sync()
