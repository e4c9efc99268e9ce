"""The store of replicas, on the real disk and on one that fails on order."""

from __future__ import annotations

import errno
from collections.abc import Callable

from crc32c import crc32c
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from dfs.chunkserver.errors import RefusedStart
from dfs.chunkserver.identity import open_folder
from dfs.chunkserver.layout import Layout
from dfs.chunkserver.numbers import LEAP, SLOT, read_reserved
from dfs.chunkserver.store import ChunkStore, OpenReport
from dfs.chunkserver.test.fakes import (
    CLUSTER,
    REF,
    RULES,
    InlineThreads,
    blocks_of,
    content_of,
    fake_runtime,
    faulty,
    formatted,
    opened,
    put,
    sha256_of,
)
from dfs.chunkserver.writing import WriteRules
from dfs.disk.errors import DiskError, DiskFull, SyncFailed
from dfs.disk.real import RealDisk, RealFile
from dfs.protocol.errors import BadRequest, DiskFailed, NoSpace, ReplicaCorrupt, ReplicaNotFound, StaleGeneration
from dfs.protocol.messages import HeldReplica
from dfs.protocol.values import PIECE, ChunkRef, FileId, Generation

CONTENT = content_of(3 * PIECE + 5)


class StoreCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.root = self.mktemp()
        self.disk = faulty(RealDisk())
        self.threads = InlineThreads()
        self.runtime = fake_runtime(threads=self.threads)
        self.layout = formatted(self.disk, self.root)
        self.store = self.reopened()

    def reopened(self) -> ChunkStore:
        """The store as a new process would see the folder."""
        return self.successResultOf(Deferred.fromCoroutine(opened(self.runtime, self.disk, self.root)))

    def put(self, ref: ChunkRef = REF, content: bytes = CONTENT) -> HeldReplica:
        self.successResultOf(Deferred.fromCoroutine(put(self.store, ref, content)))
        held = self.store.index.get(ref)
        assert held is not None
        return held

    def put_fails(self, error: type[Exception], ref: ChunkRef = REF, content: bytes = CONTENT) -> None:
        self.failureResultOf(Deferred.fromCoroutine(put(self.store, ref, content)), error)

    def read(self, ref: ChunkRef = REF) -> bytes:
        async def whole() -> bytes:
            reading = await self.store.open_reader(ref)
            try:
                blocks = [
                    block
                    for offset in range(0, reading.footer.length, 2 * PIECE)
                    for block in await reading.read(offset, 2 * PIECE)
                ]
            finally:
                reading.close()
            return b"".join(bytes(view) for block in blocks for view in block.pieces)

        return self.successResultOf(Deferred.fromCoroutine(whole()))

    def left(self, ref: ChunkRef = REF) -> list[str]:
        """Names in the folder of a replica."""
        return RealDisk().list_folder(self.layout.folder(ref))

    def spoil(self, offset: int, ref: ChunkRef = REF) -> None:
        """Flip a bit of a replica on disk."""
        file = RealDisk().open(self.layout.path(ref))
        byte = file.pread(1, offset)
        file.pwrite([bytes([byte[0] ^ 1])], offset)
        file.close()


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
        self.assertNoResult(resting)
        self.threads.release()
        self.threads.release()
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


class StartTests(StoreCase):
    def test_sets_aside_what_cannot_be_trusted(self) -> None:
        """Empty, zero-filled, cut, foreign and misnamed files are set aside, kept and counted; good ones stay (S10)."""
        good = ChunkRef(FileId(1), 0, Generation(1))
        self.put(good)
        self.put()
        disk, path = RealDisk(), self.layout.path(REF)
        whole = self.slurp(path)
        foreign = Layout(self.root, b"another-cluster!")
        cases = {
            "empty": b"",
            "zeros": bytes(len(whole)),
            "truncated": whole[: len(whole) - PIECE],
            "damaged": whole[:-1] + bytes([whole[-1] ^ 1]),
        }
        for count, (reason, content) in enumerate(cases.items(), 1):
            self.spit(path, content)
            store = self.reopened()
            self.assertIsNone(store.index.get(REF), reason)
            self.assertIsNotNone(store.index.get(good))
            self.assertEqual(store.quarantined, count)
            aside = [name for name in disk.list_folder(self.layout.quarantine) if f".{reason}." in name]
            self.assertEqual(len(aside), 1)
            self.assertEqual(self.slurp(f"{self.layout.quarantine}/{aside[0]}"), content)
        for name in (self.layout.name(ChunkRef(FileId(7), 4, Generation(11))), "notes.txt", foreign.name(REF)):
            self.spit(f"{self.layout.folder(REF)}/{name}", whole)
        store = self.reopened()
        self.assertEqual((len(store.index), store.quarantined), (1, 7))
        self.assertEqual(self.left(), [])

    def test_foreign_cluster(self) -> None:
        """A replica of another cluster in the right place refuses the start: nothing is moved (S28)."""
        self.put()
        other = ChunkStore(self.runtime, self.disk, Layout(self.root, b"another-cluster!"), "chunk-1", RULES)
        self.failureResultOf(Deferred.fromCoroutine(other.open()), RefusedStart)
        self.assertEqual(self.left(), [self.layout.name(REF)])

    def test_newer_footer(self) -> None:
        """A replica that a newer program wrote refuses the start: nothing is moved (S39)."""
        self.put()
        path = self.layout.path(REF)
        whole = self.slurp(path)
        footer = bytearray(whole[len(CONTENT) : -4])
        footer[0] = 2
        self.spit(path, whole[: len(CONTENT)] + bytes(footer) + crc32c(bytes(footer)).to_bytes(4, "big"))
        self.refused()
        self.assertEqual(self.left(), [self.layout.name(REF)])

    def test_error_of_the_moment_is_no_verdict(self) -> None:
        """A start that runs out of descriptors is refused and moves nothing; the next one finds every replica (S10)."""
        for index in range(10):
            self.put(ChunkRef(FileId(1), index, Generation(1)))
        self.fail_open(errno.EMFILE, 10)
        self.failureResultOf(self.opening(), DiskFailed)
        self.fail_open(errno.EMFILE, 0)
        self.store = self.reopened()
        self.assertEqual((len(self.store.index), self.store.quarantined), (10, 0))

    def test_media_errors(self) -> None:
        """A few files with media errors are left alone and not listed; many refuse the start; nothing is moved, and
        all counts again when it can be read."""
        for index in range(10):
            self.put(ChunkRef(FileId(1), index, Generation(1)))
        self.fail_open(errno.EIO, 8)
        report = self.successResultOf(self.opening())
        self.assertEqual((report.replicas, report.unreadable, report.quarantined), (2, 8, 0))
        self.fail_open(errno.EIO, 9)
        self.failureResultOf(self.opening(), RefusedStart)
        self.fail_open(errno.EIO, 0)
        self.assertEqual(len(self.reopened().index), 10)
        self.flushLoggedErrors()

    def opening(self) -> Deferred[OpenReport]:
        """A start as a new process makes it."""
        store = ChunkStore(self.runtime, self.disk, self.layout, "chunk-1", RULES)
        return Deferred.fromCoroutine(store.open())

    def refused(self) -> None:
        self.failureResultOf(self.opening(), RefusedStart)

    def fail_open(self, number: int, count: int) -> None:
        """The next ``count`` replicas that are opened fail with the system's error ``number``."""
        left = [count]

        def note(operation: str, path: str) -> None:
            if operation == "open" and path.endswith(".chunk") and left[0]:
                left[0] -= 1
                raise DiskError(path, "an error", number)

        self.patch(self.disk, "note", note)

    def test_removes_temporary_files(self) -> None:
        """What a killed write left behind is removed at the next start (S09)."""
        writing = self.store.begin(REF, len(CONTENT), None)
        self.successResultOf(writing.append(blocks_of(CONTENT)))
        self.assertEqual(len(self.left()), 1)
        store = ChunkStore(self.runtime, self.disk, self.layout, "chunk-1", RULES)
        report = self.successResultOf(Deferred.fromCoroutine(store.open()))
        self.assertEqual((report.replicas, report.cleaned), (0, 1))
        self.assertEqual(self.left(), [])

    def slurp(self, path: str) -> bytes:
        file = RealDisk().open(path, writable=False)
        content = file.pread(1 << 22, 0)
        file.close()
        return content

    def spit(self, path: str, content: bytes) -> None:
        file = RealDisk().open(path, create=True)
        file.truncate(0)
        file.pwrite([content], 0)
        file.close()


class CorruptTests(StoreCase):
    def test_read_sets_a_corrupt_replica_aside(self) -> None:
        """A flipped bit is never served: the reader hears ReplicaCorrupt, the replica goes to the quarantine (S11)."""
        added = self.put()
        self.spoil(PIECE + 3)

        async def read() -> None:
            reading = await self.store.open_reader(REF)
            await reading.read(0, 1 << 20)

        self.failureResultOf(Deferred.fromCoroutine(read()), ReplicaCorrupt)
        self.assertIsNone(self.store.index.get(REF))
        self.assertEqual((self.store.quarantined, self.left()), (1, []))
        self.assertGreater(self.store.number, added.number)
        self.failureResultOf(Deferred.fromCoroutine(self.store.open_reader(REF)), ReplicaNotFound)
        self.flushLoggedErrors()

    def test_verify(self) -> None:
        """Verify finds a flipped bit of bytes or footer, and is content with a good replica (S11)."""
        footer_at = len(CONTENT) + 50
        for offset in (0, len(CONTENT) - 1, footer_at):
            self.put()
            found = self.successResultOf(Deferred.fromCoroutine(self.store.verify(REF)))
            self.assertEqual(found.sha256, sha256_of(CONTENT))
            self.spoil(offset)
            self.failureResultOf(Deferred.fromCoroutine(self.store.verify(REF)), ReplicaCorrupt)
            self.assertIsNone(self.store.index.get(REF))
        self.flushLoggedErrors()


    def test_one_bad_read_moves_nothing(self) -> None:
        """A bit that flipped on the way from the disk, in the footer or in the bytes, is looked at again through a
        new descriptor: the reader gets the right bytes and the replica stays (S11)."""
        self.put()
        for what in (self.read, self.verified):
            for place, count in ((-20, 1), (0, 3)):  # the footer; bytes, which a reader looks at twice by itself
                left = self.flip_reads(place, count)
                self.assertEqual(what(), CONTENT)
                self.assertEqual(left, [0])
                self.assertEqual((self.store.quarantined, self.left()), (0, [self.layout.name(REF)]))

    def flip_reads(self, place: int, count: int) -> list[int]:
        """Flip a bit of what the next ``count`` reads of replicas return; how many are left to come."""
        left = [count]
        real: Callable[[RealFile, int, int], bytes] = RealFile.pread

        def pread(file: RealFile, length: int, offset: int) -> bytes:
            content = bytearray(real(file, length, offset))
            if file.path.endswith(".chunk") and left[0]:
                left[0] -= 1
                content[place] ^= 1
            return bytes(content)

        self.patch(RealFile, "pread", pread)
        return left

    def verified(self) -> bytes:
        """The content, if verify finds it."""
        footer = self.successResultOf(Deferred.fromCoroutine(self.store.verify(REF)))
        return CONTENT if footer.sha256 == sha256_of(CONTENT) else b""


class FolderTests(SynchronousTestCase):
    def test_other_cluster_layout_is_separate(self) -> None:
        """The chunk id binds the cluster: one folder never names another cluster's chunk."""
        self.assertNotEqual(Layout("/d", CLUSTER).name(REF), Layout("/d", b"another-cluster!").name(REF))

    def test_reopens_with_its_identity(self) -> None:
        """What was claimed once is found again."""
        root = self.mktemp()
        formatted(RealDisk(), root)
        folder = open_folder(RealDisk(), root, "chunk-1", CLUSTER)
        assert folder.identity is not None
        self.assertEqual((folder.identity.cluster, folder.identity.incarnation), (CLUSTER, b"i" * 16))
        folder.lock.release()
