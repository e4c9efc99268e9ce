"""Reads that say beforehand what they will read."""

from __future__ import annotations

import hashlib

from twisted.internet.defer import Deferred

from dfs.chunkserver.errors import CorruptPiece
from dfs.chunkserver.handles import Reading
from dfs.chunkserver.reading import READ, Wanted
from dfs.chunkserver.test.fakes import REF
from dfs.chunkserver.test.storecase import CONTENT, StoreCase
from dfs.protocol.errors import ReplicaCorrupt
from dfs.protocol.interfaces import Block


def joined(blocks: list[Block]) -> bytes:
    return b"".join(bytes(view) for block in blocks for view in block.pieces)


class AheadTests(StoreCase):
    def open(self, offset: int, length: int) -> Reading:
        return self.successResultOf(Deferred.fromCoroutine(self.store.open_reader(REF, Wanted(offset, length))))

    def bytes_of(self, reading: Reading, offset: int, length: int) -> bytes:
        return joined(self.successResultOf(Deferred.fromCoroutine(reading.read(offset, length))))

    def test_one_call(self) -> None:
        """What was named is read by the thread that opens the file, and closes it: no thread is asked again."""
        self.put()
        self.disk.calls.clear()
        reading = self.open(0, len(CONTENT))
        self.threads.held = True
        self.assertEqual(self.bytes_of(reading, 0, len(CONTENT)), CONTENT)
        reading.close()
        self.assertEqual(self.threads.waiting, [])

    def test_hashed_once(self) -> None:
        """What was read ahead is in the digest that was named with it, once: the sum is that of all bytes (S11)."""
        self.put()
        digest = hashlib.sha256()
        wanted = Wanted(0, len(CONTENT), digest)
        reading = self.successResultOf(Deferred.fromCoroutine(self.store.open_reader(REF, wanted)))
        self.successResultOf(Deferred.fromCoroutine(reading.read(0, READ, digest)))
        self.assertEqual(digest.digest(), hashlib.sha256(CONTENT).digest())

    def test_more_than_one_call_reads(self) -> None:
        """Of what is longer than one call reads the rest comes from the disk, as ever."""
        content = bytes(READ) + CONTENT
        self.put(content=content)
        reading = self.open(0, len(content))
        read = [self.bytes_of(reading, offset, READ) for offset in range(0, len(content), READ)]
        reading.close()
        self.assertEqual(b"".join(read), content)

    def test_beyond_the_end(self) -> None:
        """Where more is named than there is the replica is just opened: whoever asked refuses the request."""
        self.put()
        reading = self.open(0, len(CONTENT) + 1)
        self.assertEqual(self.bytes_of(reading, 0, len(CONTENT)), CONTENT)
        reading.close()

    def test_rotten(self) -> None:
        """S07: bytes that do not match their checksum are not given out, and the replica is set aside (S11)."""
        self.put()
        self.spoil(0)
        opening = Deferred.fromCoroutine(self.store.open_reader(REF, Wanted(0, len(CONTENT))))
        self.failureResultOf(opening, ReplicaCorrupt, CorruptPiece)
        self.assertIsNone(self.store.index.get(REF))
