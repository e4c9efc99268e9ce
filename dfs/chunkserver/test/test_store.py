"""The store of replicas, on the real disk and on one that fails on order."""

from __future__ import annotations

import errno

from twisted.internet.defer import Deferred

from dfs.chunkserver.numbers import LEAP, SLOT, read_reserved
from dfs.chunkserver.store import ChunkStore
from dfs.chunkserver.test.fakes import REF, RULES, blocks_of, content_of, put, sha256_of
from dfs.chunkserver.test.storecase import CONTENT, StoreCase
from dfs.chunkserver.writing import WriteRules
from dfs.disk.errors import DiskError, DiskFull, SyncFailed
from dfs.disk.real import RealDisk
from dfs.protocol.errors import BadRequest, DiskFailed, NoSpace, ReplicaCorrupt, StaleGeneration
from dfs.protocol.values import PIECE, ChunkRef, FileId, Generation


class WriteTests(StoreCase):
    def test_every_boundary(self) -> None:
        """Chunks of 0 and 1 bytes, whole pieces, one more and one less come back whole, also after a restart (S45)."""
        lengths = (0, 1, PIECE - 1, PIECE, PIECE + 1, 4 * PIECE, 4 * PIECE + 1, 9 * PIECE - 1)
        for index, length in enumerate(lengths):
            ref = ChunkRef(FileId(1), index, Generation(1))
            self.put(ref, content_of(length, index))
        self.store = self.reopened()
        self.assertEqual(len(self.store.index), len(lengths))
        for index, length in enumerate(lengths):
            self.assertEqual(self.read(ChunkRef(FileId(1), index, Generation(1))), content_of(length, index))

    def test_order_of_durability(self) -> None:
        """Bytes are synced before the rename, the folder after it, and only then does anybody hear of it (S05)."""
        self.disk.calls.clear()
        self.threads.held = True
        result = Deferred.fromCoroutine(put(self.store, REF, CONTENT))
        while self.threads.waiting:
            self.assertIsNone(self.store.index.get(REF))
            self.threads.release()
        self.successResultOf(result)
        done = [operation for operation, name in self.disk.calls if name != "numbers" and operation != "space"]
        self.assertEqual(done, ["open", "allocate", "pwrite", "pwrite", "sync", "close", "rename", "sync_folder"])

    def test_two_writers_of_one_chunk(self) -> None:
        """A retry beside the first try: each has its own temporary file, both get the same answer (S08)."""
        first = self.store.begin(REF, len(CONTENT), len(CONTENT))
        second = self.store.begin(REF, len(CONTENT), len(CONTENT))
        blocks = blocks_of(CONTENT)
        self.successResultOf(first.append(blocks[:1]))
        self.successResultOf(second.append(blocks[:1]))
        self.assertEqual(len(set(self.left())), 2)
        answers = []
        for writing in (second, first):
            finish = Deferred.fromCoroutine(writing.finish(blocks[1:], len(CONTENT), sha256_of(CONTENT)))
            answers.append(self.successResultOf(finish))
        self.assertEqual(answers[0], answers[1])
        self.assertEqual(self.left(), [self.layout.name(REF)])
        self.assertEqual(self.read(), CONTENT)

    def test_same_generation_other_bytes(self) -> None:
        """Other bytes under a generation that is held never replace it."""
        self.put()
        self.put_fails(StaleGeneration, content=content_of(len(CONTENT), 9))
        self.assertEqual(self.read(), CONTENT)
        self.assertEqual(self.left(), [self.layout.name(REF)])

    def test_bad_crc(self) -> None:
        """A block that does not match its CRC-32C is refused and nothing is left."""
        spoiled = blocks_of(content_of(len(CONTENT), 1))[0]
        good = blocks_of(CONTENT)[0]
        writing = self.store.begin(REF, len(CONTENT), None)
        block = type(good)(0, good.length, good.crcs, spoiled.pieces)
        self.failureResultOf(writing.append([block]), ReplicaCorrupt)
        self.successResultOf(Deferred.fromCoroutine(writing.abort()))
        self.assertEqual(self.left(), [])

    def test_bad_sha(self) -> None:
        """Bytes that are not what the sender hashed are never published (S07)."""
        writing = self.store.begin(REF, len(CONTENT), None)
        finish = Deferred.fromCoroutine(writing.finish(blocks_of(CONTENT), len(CONTENT), b"x" * 32))
        self.failureResultOf(finish, ReplicaCorrupt)
        self.assertEqual(self.left(), [])

    def test_gaps_and_limits(self) -> None:
        """A gap, a piece cut short in the middle, more than the limit and a wrong length are refused."""
        blocks = blocks_of(CONTENT, size=PIECE)
        cases = [([blocks[1]], 10**6), ([blocks[3], blocks[0]], 10**6), (blocks, PIECE)]
        for wrong, limit in cases:
            writing = self.store.begin(REF, limit, None)
            self.failureResultOf(writing.append(wrong), BadRequest)
            self.successResultOf(Deferred.fromCoroutine(writing.abort()))
        writing = self.store.begin(REF, 10**6, len(CONTENT) + 1)
        finish = Deferred.fromCoroutine(writing.finish(blocks, len(CONTENT), sha256_of(CONTENT)))
        self.failureResultOf(finish, BadRequest)
        self.assertEqual(self.left(), [])

    def test_disk_full_in_the_middle(self) -> None:
        """A disk that fills up in the middle of a chunk: NoSpace, and nothing half is left (S21)."""
        writing = self.store.begin(REF, len(CONTENT), None)
        blocks = blocks_of(CONTENT, size=PIECE)
        self.successResultOf(writing.append(blocks[:1]))
        self.disk.fail("pwrite", DiskFull("/x", "no space", 28))
        self.failureResultOf(writing.append(blocks[1:]), NoSpace)
        self.successResultOf(Deferred.fromCoroutine(writing.abort()))
        self.assertEqual(self.left(), [])
        self.assertEqual(self.store.failure, "")

    def test_reserve(self) -> None:
        """Writes leave the reserve free (S21)."""
        self.store = ChunkStore(self.runtime, self.disk, self.layout, "chunk-1", WriteRules(reserve=1 << 60))
        self.put_fails(NoSpace)

    def test_failed_sync_is_final(self) -> None:
        """After a failed fdatasync the server takes no write and never syncs that file again (S31)."""
        self.put(ChunkRef(FileId(1), 0, Generation(1)))
        told: list[str] = []
        self.store.on_failure = told.append
        self.disk.fail("sync", SyncFailed("/x", "input/output error", 5))
        self.put_fails(DiskFailed)
        syncs = [call for call in self.disk.calls if call[0] == "sync"]
        self.put_fails(DiskFailed, ChunkRef(FileId(1), 1, Generation(1)))
        self.assertEqual([call for call in self.disk.calls if call[0] == "sync"], syncs)
        self.assertEqual(len(told), 1)
        self.assertEqual(self.successResultOf(Deferred.fromCoroutine(self.store.space())).free, 0)
        self.assertEqual(self.read(ChunkRef(FileId(1), 0, Generation(1))), CONTENT)
        self.flushLoggedErrors()


class RestTests(StoreCase):
    def test_idle(self) -> None:
        """The store is at rest when its last call on a thread ended, and at once where none runs: only then may
        another process have the folder (S19)."""
        self.successResultOf(self.store.idle())
        self.threads.held = True
        deleting = Deferred.fromCoroutine(self.store.delete(REF))
        resting = self.store.idle()
        for _ in ("its number", "the file"):
            self.assertNoResult(resting)
            self.threads.release()
            self.clock.advance(0)
        self.successResultOf(deleting)
        self.successResultOf(resting)


class DeleteTests(StoreCase):
    def test_durable_and_numbered(self) -> None:
        """A delete syncs the folder, gets a number above the add's, and succeeds again when all is gone (S15)."""
        added = self.put()
        self.disk.calls.clear()
        number = self.successResultOf(Deferred.fromCoroutine(self.store.delete(REF)))
        self.assertGreater(number, added.number)
        self.assertEqual([call[0] for call in self.disk.calls], ["unlink", "sync_folder"])
        self.assertGreater(self.successResultOf(Deferred.fromCoroutine(self.store.delete(REF))), number)
        self.assertEqual(len(self.reopened().index), 0)

    def test_on_a_full_disk(self) -> None:
        """Deletes need no space (S21)."""
        self.put()
        full = DiskFull("/x", "no space", 28)
        self.store = self.reopened()
        self.disk.fail("allocate", full)
        self.disk.fail("rename", full)
        self.successResultOf(Deferred.fromCoroutine(self.store.delete(REF)))
        self.assertEqual(self.left(), [])

    def test_failed_unlink_keeps_the_record(self) -> None:
        """A replica that could not be removed is still listed."""
        held = self.put()
        self.disk.fail("unlink", DiskError("/x", "input/output error", 5))
        self.failureResultOf(Deferred.fromCoroutine(self.store.delete(REF)), DiskFailed)
        self.assertEqual(self.store.index.get(REF), held)


class NumberTests(StoreCase):
    def test_never_go_back(self) -> None:
        """Numbers of adds and removes rise over restarts, also where the highest was a remove (S06)."""
        highest = 0
        for _ in range(3):
            added = self.put().number
            removed = self.successResultOf(Deferred.fromCoroutine(self.store.delete(REF)))
            self.assertLess(highest, added)
            self.assertLess(added, removed)
            highest = removed
            self.store = self.reopened()

    def test_killed_after_the_leap(self) -> None:
        """A start that leapt over damaged slots and was killed before its first write is followed by one that begins
        no lower (S06)."""
        file = self.disk.open(self.layout.numbers)
        file.pwrite([b"\xff" * 2 * SLOT], 0)
        file.close()
        leapt = self.reopened().number
        self.assertGreater(leapt, LEAP)
        self.assertGreaterEqual(self.reopened().number, leapt)

    def test_unreadable_numbers_are_not_written_over(self) -> None:
        """An error of the moment while the numbers are read refuses the start; the reservation stays (S06)."""
        self.put()
        reserved = read_reserved(RealDisk(), self.layout.numbers)

        def note(operation: str, path: str) -> None:
            if operation == "pread" and path == self.layout.numbers:
                raise DiskError(path, "input/output error", errno.EIO)

        self.patch(self.disk, "note", note)
        store = ChunkStore(self.runtime, self.disk, self.layout, "chunk-1", RULES)
        self.failureResultOf(Deferred.fromCoroutine(store.open()), DiskFailed)
        self.assertEqual(read_reserved(RealDisk(), self.layout.numbers), reserved)

    def test_as_of_during_a_write(self) -> None:
        """While an add is on its way to the disk, an inventory is as of a number below it (S06)."""
        self.put(ChunkRef(FileId(1), 0, Generation(1)))
        before = self.store.number
        self.threads.held = True
        refs = [ChunkRef(FileId(2), index, Generation(1)) for index in range(2)]
        results = [Deferred.fromCoroutine(put(self.store, ref, CONTENT)) for ref in refs]
        self.threads.waiting.pop()()
        self.assertIsNotNone(self.store.index.get(refs[1]))
        self.assertEqual(self.store.number, before)
        self.threads.release()
        self.assertEqual(self.store.number, before + 2)
        for result in results:
            self.successResultOf(result)
