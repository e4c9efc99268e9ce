"""Which replicas this server holds, in memory: packed, ordered, 72 bytes each.

A dict of objects would take 500 bytes a replica; 2.6 million replicas (10 TiB in
4 MiB chunks) fit in 190 MB here.  Records are kept in key order in blocks of at
most 512, so that an inventory page is a slice and an insert moves at most 36 KiB.

Each block keeps the sum of its replicas' hashes (dfs.protocol.digests), so the digests that an inventory begins with
cost no look at the replicas.

Record: file id u64, index u32, generation u64 (the key), length u32, number u64, SHA-256; segment u32 and offset u32
of a packed replica, 0 where it has a file of its own.
Pure; used on the reactor thread only.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from itertools import takewhile

from dfs.chunkserver.records import Place
from dfs.protocol.digests import digest_of, replica_hash
from dfs.protocol.messages import HeldReplica, RangeDigest
from dfs.protocol.values import ChunkRef, FileId, Generation

RECORD = struct.Struct(">QIQIQ32sII")
PLACE = struct.Struct(">II")
KEY = struct.Struct(">QIQ")
POSITION = struct.Struct(">QI")  # of a page: file id, index
WIDTH = RECORD.size
BLOCK_RECORDS = 512
LAST = b"\xff" * POSITION.size  # above every position


class ReplicaIndex:
    """An ordered map from ChunkRef to HeldReplica."""

    def __init__(self) -> None:
        self._blocks: list[bytearray] = [bytearray()]
        self._firsts: list[bytes] = [b""]  # the lowest key that belongs to each block
        self._sums: list[int] = [0]  # of each block
        self._count = 0
        self.bytes = 0
        """Length of all held chunks together."""

    def __len__(self) -> int:
        return self._count

    def get(self, ref: ChunkRef) -> HeldReplica | None:
        """The replica of exactly this generation, or None."""
        key = KEY.pack(ref.file_id, ref.index, ref.generation)
        block = self._blocks[self._block_of(key)]
        at = _search(block, key)
        if block[at : at + KEY.size] != key:
            return None
        return _held(block, at)

    def place(self, ref: ChunkRef) -> Place | None:
        """Where the replica is packed; None where it has a file of its own, or is not held."""
        key = KEY.pack(ref.file_id, ref.index, ref.generation)
        block = self._blocks[self._block_of(key)]
        at = _search(block, key)
        if block[at : at + KEY.size] != key:
            return None
        segment, offset = PLACE.unpack_from(block, at + WIDTH - PLACE.size)
        return Place(segment, offset) if segment else None

    def generations(self, file_id: FileId, index: int) -> list[HeldReplica]:
        """Every generation held of a chunk, lowest first; looks at no more than these and the next record."""
        high = KEY.pack(file_id, index, (1 << 64) - 1)
        return list(takewhile(lambda held: _key(held) <= high, self._from(KEY.pack(file_id, index, 0))))

    def add(self, held: HeldReplica, place: Place | None = None) -> None:
        """Add the replica, or replace the record of the same generation.

        :param place: where it is packed.
        """
        where = (0, 0) if place is None else (place.segment, place.offset)
        record = RECORD.pack(held.file_id, held.index, held.generation, held.length, held.number, held.sha256, *where)
        key = record[: KEY.size]
        position = self._block_of(key)
        block = self._blocks[position]
        at = _search(block, key)
        if block[at : at + KEY.size] == key:
            former = _held(block, at)
            self.bytes -= former.length
            self._sums[position] -= _hash(former)
            block[at : at + WIDTH] = record
        else:
            block[at:at] = record
            self._count += 1
        self.bytes += held.length
        self._sums[position] += _hash(held)
        if len(block) > BLOCK_RECORDS * WIDTH:
            self._split(position)

    def remove(self, ref: ChunkRef) -> bool:
        """Take the replica out; False if it was not there."""
        key = KEY.pack(ref.file_id, ref.index, ref.generation)
        position = self._block_of(key)
        block = self._blocks[position]
        at = _search(block, key)
        if block[at : at + KEY.size] != key:
            return False
        former = _held(block, at)
        self.bytes -= former.length
        self._sums[position] -= _hash(former)
        del block[at : at + WIDTH]
        self._count -= 1
        if not block and len(self._blocks) > 1:
            del self._blocks[position], self._firsts[position], self._sums[position]
            self._firsts[0] = b""
        return True

    def page(self, after: bytes, limit: int, upto: bytes = LAST) -> tuple[list[HeldReplica], bytes]:
        """Replicas above position ``after`` (12 bytes; b"" is the start) up to and including ``upto``, and the last
        position covered: ``upto`` at the end.  All generations of one chunk are on one page, so a page may pass
        ``limit`` by a few."""
        low = after + b"\xff" * 8 if after else b""
        replicas: list[HeldReplica] = []
        for held in self._from(low):
            if _position(held) > upto:
                break
            if len(replicas) >= limit and _position(held) != _position(replicas[-1]):
                return replicas, _position(replicas[-1])
            replicas.append(held)
        return replicas, upto

    def ranges(self, after: bytes, limit: int, size: int) -> list[RangeDigest]:
        """Digests of at most ``limit`` ranges that follow one another above position ``after`` (b"" is the start), of
        ``size`` replicas or a block more each; all generations of a chunk are in one.  The last of all ends at
        12 x ff."""
        low = after + b"\xff" * 8 if after else b""
        position = self._block_of(low)
        at = _search(self._blocks[position], low)
        found: list[RangeDigest] = []
        count = total = 0
        while position < len(self._blocks):
            block = self._blocks[position]
            count += (len(block) - at) // WIDTH
            total += self._sums[position] if at == 0 else _sum(block, at)
            position, at = position + 1, 0
            last = bytes(block[-WIDTH:][: POSITION.size])
            if count >= size and position < len(self._blocks) and last != self._first(position):
                found.append(RangeDigest(last, count, digest_of(total)))
                count = total = 0
                if len(found) == limit:
                    return found
        found.append(RangeDigest(LAST, count, digest_of(total)))
        return found

    def _first(self, position: int) -> bytes:
        """The lowest position in a block."""
        return bytes(self._blocks[position][: POSITION.size])

    def _from(self, low: bytes) -> _Scan:
        return _Scan(self._blocks, self._block_of(low), low)

    def _block_of(self, key: bytes) -> int:
        return max(0, bisect_right(self._firsts, key) - 1)

    def _split(self, position: int) -> None:
        block = self._blocks[position]
        middle = len(block) // WIDTH // 2 * WIDTH
        upper = block[middle:]
        del block[middle:]
        self._blocks.insert(position + 1, upper)
        self._firsts.insert(position + 1, bytes(upper[: KEY.size]))
        moved = _sum(upper, 0)
        self._sums[position] -= moved
        self._sums.insert(position + 1, moved)


class _Scan:
    """Iterates the records from the first key at or above ``low``; the index must not change meanwhile."""

    def __init__(self, blocks: list[bytearray], position: int, low: bytes) -> None:
        self._blocks, self._position = blocks, position
        self._at = _search(blocks[position], low)

    def __iter__(self) -> _Scan:
        return self

    def __next__(self) -> HeldReplica:
        while self._at >= len(self._blocks[self._position]):
            if self._position + 1 >= len(self._blocks):
                raise StopIteration
            self._position, self._at = self._position + 1, 0
        self._at += WIDTH
        return _held(self._blocks[self._position], self._at - WIDTH)


def _search(block: bytearray, key: bytes) -> int:
    """Offset of the first record whose key is at or above ``key``."""
    low, high = 0, len(block) // WIDTH
    while low < high:
        middle = (low + high) // 2
        if block[middle * WIDTH : middle * WIDTH + KEY.size] < key:
            low = middle + 1
        else:
            high = middle
    return low * WIDTH


def _held(block: bytearray, at: int) -> HeldReplica:
    file_id, index, generation, length, number, sha256, _, _ = RECORD.unpack_from(block, at)
    return HeldReplica(FileId(file_id), index, Generation(generation), length, sha256, number)


def _hash(held: HeldReplica) -> int:
    return replica_hash(held.file_id, held.index, held.number)


def _sum(block: bytearray, at: int) -> int:
    """Of the records from offset ``at`` on."""
    return sum(_hash(_held(block, place)) for place in range(at, len(block), WIDTH))


def _key(held: HeldReplica) -> bytes:
    return KEY.pack(held.file_id, held.index, held.generation)


def _position(held: HeldReplica) -> bytes:
    return POSITION.pack(held.file_id, held.index)
