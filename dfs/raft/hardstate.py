"""Term and vote: what must never go back (R01, R03).

Kept apart from the log in two checksummed copies (:mod:`dfs.raft.twin`), file
``term-and-vote``.  Payload, big endian::

    offset size
       0     8   term
       8     8   commit index, at most what was durable in the log (R36)
      16     2   length of the vote's name, at most 255
      18     n   the member voted for in this term, UTF-8; none if the length is 0
"""

from __future__ import annotations

import struct

from construct import Bytes, Int16ub, Int64ub, this
from construct import Struct as Layout

from dfs.disk.interfaces import IDisk
from dfs.raft.core.types import HardState
from dfs.raft.twin import TwinRecord

FILE_NAME = "term-and-vote"
KIND = 1
_HEAD = struct.Struct(">QQH")

hard_state_layout = Layout(
    "term" / Int64ub,
    "commit" / Int64ub,
    "length" / Int16ub,
    "vote" / Bytes(this.length),
)


def encode_hard_state(state: HardState, commit: int) -> bytes:
    """The payload of the record."""
    vote = (state.vote or "").encode()
    return _HEAD.pack(state.term, commit, len(vote)) + vote


def decode_hard_state(payload: bytes) -> tuple[HardState, int]:
    """The reverse: the state and the commit index.  The record's checksum was verified."""
    term, commit, length = _HEAD.unpack_from(payload)
    vote = payload[_HEAD.size : _HEAD.size + length].decode()
    return HardState(term, vote or None), commit


class HardStateFile:
    """The record on disk.  ``state`` and ``commit`` are what is durable.  Every method blocks."""

    def __init__(self, record: TwinRecord) -> None:
        self._record = record
        self.state, self.commit = decode_hard_state(record.payload)

    @classmethod
    def create(cls, disk: IDisk, folder: str, state: HardState, commit: int) -> HardStateFile:
        """Durable but for the name: the caller syncs the folder."""
        return cls(TwinRecord.create(disk, f"{folder}/{FILE_NAME}", KIND, encode_hard_state(state, commit)))

    @classmethod
    def open(cls, disk: IDisk, folder: str) -> HardStateFile:
        """Raises NotFound, StorageCorrupt."""
        return cls(TwinRecord.open(disk, f"{folder}/{FILE_NAME}", KIND))

    def write(self, state: HardState, commit: int) -> None:
        """Replace it; durable when it returns.  A term or a vote within a term never goes back (asserted)."""
        now = self.state
        assert state.term >= now.term, (state, now)
        assert state.term > now.term or now.vote in (None, state.vote), (state, now)
        self._record.write(encode_hard_state(state, commit))
        self.state, self.commit = state, commit

    def close(self) -> None:
        """Release the file."""
        self._record.close()
