"""What the store trusts at its start and when it reads: folders, footers and bytes that are not as they should be."""

from __future__ import annotations

import errno
from collections.abc import Callable

from crc32c import crc32c
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from dfs.chunkserver.errors import RefusedStart
from dfs.chunkserver.identity import open_folder
from dfs.chunkserver.layout import Layout
from dfs.chunkserver.store import ChunkStore, OpenReport
from dfs.chunkserver.test.fakes import CLUSTER, REF, RULES, blocks_of, formatted, sha256_of
from dfs.chunkserver.test.storecase import CONTENT, StoreCase
from dfs.disk.errors import DiskError
from dfs.disk.real import RealDisk, RealFile
from dfs.protocol.errors import DiskFailed, ReplicaCorrupt, ReplicaNotFound
from dfs.protocol.values import PIECE, ChunkRef, FileId, Generation


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
        footer[0] = 3
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
