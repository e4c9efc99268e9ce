"""One file of checksummed batch records: what the semidbm and the memory store keep on disk.

The file is one that semidbm 0.5.1 can read (its own records hold ours), because its
loader and its checked reads are used on it.  All integers are big endian.

==========  =====  ===============================================================
offset      bytes  the file
==========  =====  ===============================================================
0           4      ``SEMI``
4           2, 2   semidbm's version: 1, 1
8           ...    batch records, one after the other
==========  =====  ===============================================================

==========  =====  ===============================================================
offset      bytes  a batch record (a semidbm record with a key of 24 bytes)
==========  =====  ===============================================================
0           4      24, the key's length
4           4      n, the payload's length
8           8      ``dfsbatc`` and our version, 1
16          8      sequence: one more than the record before it
24          8      synced: the file was durable up to this offset when this was written
32          n      payload: changes, one after the other
32 + n      4      CRC-32 (zlib) of the bytes from 8 to 32 + n
==========  =====  ===============================================================

==========  =====  ===============================================================
offset      bytes  a change (laid out like a semidbm record, so its checked read works on it)
==========  =====  ===============================================================
0           4      k, the key's length
4           4      v, the value's length; -1: the key is deleted
8           k, v   key, value
8 + k + v   4      CRC-32 (zlib) of key and value (R31)
==========  =====  ===============================================================

A batch is one record, so it is there or it is not.  The first record that fails its
check ends the file, *unless* a later good record says that the file was synced beyond
that point: then it is no torn tail but damage, and :class:`~dfs.kv.errors.StoreCorrupt`
says where (R29 makes the same distinction for the log).  A clean close appends an empty
batch, so that damage to the last batch is told apart too.  Left: damage to what was
synced last before a crash looks torn; a shorter prefix is then replayed from the log.

The tail is cut *and the cut synced* before anything is appended; otherwise a power cut
could leave old records standing in line behind new ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from struct import Struct
from zlib import crc32

from dfs.disk.interfaces import IDisk, IDiskFile
from dfs.kv.errors import StoreCorrupt
from dfs.kv.interfaces import MAX_BATCH, MAX_KEY, MAX_VALUE

DATA = "data"
REPLACEMENT = "data.new"
HEADER = b"SEMI\x00\x01\x00\x01"
MAGIC = b"dfsbatc\x01"
DELETED = -1
COMPACT_AT = 4 << 20  # bytes beyond twice the live ones before a compaction pays
REWRITE_PIECE = 1 << 20
WINDOW = 1 << 20

_HEAD = Struct("!ii8sQQ")  # on the path of every batch: construct would cost ten times as much
_LENGTHS = Struct("!ii")
_CRC = Struct("!I")
_CHANGE_COST = _LENGTHS.size + _CRC.size
# no change is shorter than a key of one byte, so this bounds any record of a batch within its limits
_MAX_PAYLOAD = MAX_BATCH * (1 + _CHANGE_COST)

Change = tuple[bytes, bytes | None]
Place = tuple[bytes, int, int]  # key, offset of its value in the file, the value's length or DELETED


def change_cost(key_length: int, value_length: int) -> int:
    """Bytes that a change takes in the file."""
    return _CHANGE_COST + key_length + value_length


def encode_record(sequence: int, synced: int, changes: Iterable[Change], offset: int = 0) -> tuple[bytes, list[Place]]:
    """The record's bytes for a file position, and where in the file each value will lie."""
    pieces = [b""]
    places: list[Place] = []
    position = offset + _HEAD.size
    for key, value in changes:
        if value is None:
            piece = b"".join((_LENGTHS.pack(len(key), DELETED), key, _CRC.pack(crc32(key))))
            places.append((key, position + _LENGTHS.size + len(key), DELETED))
        else:
            pair = key + value
            piece = b"".join((_LENGTHS.pack(len(key), len(value)), pair, _CRC.pack(crc32(pair))))
            places.append((key, position + _LENGTHS.size + len(key), len(value)))
        pieces.append(piece)
        position += len(piece)
    length = position - offset - _HEAD.size
    pieces[0] = _HEAD.pack(24, length, MAGIC, sequence, synced)
    body = b"".join(pieces)
    return body + _CRC.pack(crc32(memoryview(body)[_LENGTHS.size :])), places


def decode_payload(payload: bytes, offset: int) -> Iterator[Place]:
    """Where the values of a checked payload, which begins at ``offset`` of the file, lie."""
    position = 0
    while position < len(payload):
        key_length, length = _LENGTHS.unpack_from(payload, position)
        start = position + _LENGTHS.size
        end = start + key_length
        following = end + max(length, 0) + _CRC.size
        if not 0 < key_length <= MAX_KEY or not DELETED <= length <= MAX_VALUE or following > len(payload):
            raise StoreCorrupt(f"a batch record's change at offset {offset + position} has impossible lengths")
        yield payload[start:end], offset + end, length
        position = following


class _Window:
    """Sequential reads of a file through one buffer."""

    def __init__(self, file: IDiskFile, size: int) -> None:
        self.file = file
        self._buffer = b""
        self._start = 0
        self.size = size

    def read(self, offset: int, length: int) -> bytes:
        """Exactly ``length`` bytes, or fewer at the end of the file."""
        skip = offset - self._start
        if skip < 0 or skip + length > len(self._buffer):
            self._buffer = self.file.pread(max(length, WINDOW), offset)
            self._start, skip = offset, 0
        return self._buffer[skip : skip + length]


def _record_at(window: _Window, offset: int) -> tuple[int, int, bytes] | None:
    """Sequence, synced and payload of the good record at ``offset``; None where there is none."""
    head = window.read(offset, _HEAD.size)
    if len(head) < _HEAD.size:
        return None
    key_length, length, magic, sequence, synced = _HEAD.unpack(head)
    if key_length != 24 or magic != MAGIC or not 0 <= length <= min(_MAX_PAYLOAD, window.size - offset - _HEAD.size):
        return None
    rest = window.read(offset + _HEAD.size, length + _CRC.size)
    payload = rest[:length]
    if len(rest) < length + _CRC.size or crc32(payload, crc32(head[8:])) != _CRC.unpack_from(rest, length)[0]:
        return None
    return sequence, synced, payload


def _is_damage(window: _Window, bad: int) -> bool:
    """True if a good record after ``bad`` proves that the file was durable beyond it."""
    probe = _Window(window.file, window.size)
    offset = bad + 1
    while offset < window.size:
        piece = window.read(offset, min(WINDOW, window.size - offset))
        at = piece.find(MAGIC)
        while at >= 0:
            start = offset + at - _LENGTHS.size
            record = _record_at(probe, start) if start > bad else None
            if record is not None and bad < record[1] <= start:
                return True
            at = piece.find(MAGIC, at + 1)
        offset += max(len(piece) - len(MAGIC) + 1, 1)
    return False


class BatchFile:
    """The open file: load it once, then append, sync, rewrite.  Raises DiskError as the disk does."""

    def __init__(self, disk: IDisk, folder: str) -> None:
        """Open ``folder``/data, made if it is missing; its name and header are durable before it exists."""
        self._disk = disk
        self._folder = folder
        self.path = f"{folder}/{DATA}"
        disk.make_folders(folder)
        if disk.exists(f"{folder}/{REPLACEMENT}"):
            disk.unlink(f"{folder}/{REPLACEMENT}")
        self.end = len(HEADER)
        self.sequence = 0
        self.live = 0  # bytes of changes that still count; kept by the store
        if disk.exists(self.path):
            disk.sync_folder(folder)  # who put it there may have been killed before
        else:
            self._swap(self._begin())
        self._file = disk.open(self.path)
        self._synced = 0
        self._marked = 0

    def load(self) -> Iterator[Place]:
        """The changes of all good records in order; at the end the torn tail is cut and the file is durable.

        Raises StoreCorrupt for damage.
        """
        window = _Window(self._file, self._file.size())
        if window.read(0, len(HEADER)) != HEADER:
            raise StoreCorrupt(f"{self.path}: offset 0: not the header of a batch file")
        self.end = len(HEADER)
        first = True
        while (record := _record_at(window, self.end)) is not None:
            sequence, _synced, payload = record
            if not first and sequence != self.sequence + 1:
                raise StoreCorrupt(f"{self.path}: offset {self.end}: batch {sequence} follows batch {self.sequence}")
            first = False
            self.sequence = sequence
            yield from decode_payload(payload, self.end + _HEAD.size)
            self.end += _HEAD.size + len(payload) + _CRC.size
        if self.end < window.size:
            if _is_damage(window, self.end):
                raise StoreCorrupt(f"{self.path}: offset {self.end}: a durable batch record fails its check")
            self._file.truncate(self.end)
        self._file.sync()
        self._synced = self.end

    def read(self, offset: int, length: int) -> bytes:
        """Bytes of a value at a place that :meth:`load` gave."""
        return self._file.pread(length, offset)

    def append(self, changes: Iterable[Change]) -> list[Place]:
        """Write one batch; durable after :meth:`sync`."""
        record, places = encode_record(self.sequence + 1, self._synced, changes, self.end)
        self._file.pwrite([record], self.end)
        self.sequence += 1
        self.end += len(record)
        return places

    def sync(self) -> None:
        """Make every batch so far durable."""
        if self._synced != self.end:
            self._file.sync()
            self._synced = self.end

    @property
    def wants_compaction(self) -> bool:
        """True where more than half of the file, and enough to matter, is dead."""
        return self.end > 2 * self.live + COMPACT_AT

    def rewrite(self, pairs: Iterable[tuple[bytes, bytes]]) -> Iterator[Place]:
        """Write the pairs to a new file, make it durable, put it in the place of this one.

        The caller exhausts the iterator of new places; only then the old file is gone.
        """
        file = self._begin()
        self.end, self._synced = len(HEADER), 0
        piece: list[Change] = []
        length = 0
        for key, value in pairs:
            piece.append((key, value))
            length += len(key) + len(value)
            if length >= REWRITE_PIECE:
                yield from self._append_to(file, piece)
                piece, length = [], 0
        yield from self._append_to(file, piece)
        self._file.close()
        self._swap(file)
        self._file = self._disk.open(self.path)
        self._synced = self._marked = self.end

    def close(self) -> None:
        """Sync, mark the clean end, release."""
        self.sync()
        if self._marked != self.end:
            self.append(())
            self.sync()
        self._file.close()

    def release(self) -> None:
        """Close without syncing: after a failure nothing can be promised."""
        self._file.close()

    def _begin(self) -> IDiskFile:
        file = self._disk.open(f"{self._folder}/{REPLACEMENT}", create=True, exclusive=True)
        file.pwrite([HEADER], 0)
        return file

    def _append_to(self, file: IDiskFile, changes: list[Change]) -> list[Place]:
        record, places = encode_record(self.sequence + 1, 0, changes, self.end)
        file.pwrite([record], self.end)
        self.sequence += 1
        self.end += len(record)
        return places

    def _swap(self, file: IDiskFile) -> None:
        """Write, sync, rename, sync the folder (R37): a crash between any two leaves one whole file."""
        file.sync()
        file.close()
        self._disk.rename(f"{self._folder}/{REPLACEMENT}", self.path)
        self._disk.sync_folder(self._folder)
