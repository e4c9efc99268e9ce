"""Replicas that the disk does not read, that rot, or whose files vanish."""

from __future__ import annotations

import errno
from collections.abc import Callable

from twisted.internet.defer import Deferred

from dfs.chunkserver.damage import MOST_UNREADABLE, TROUBLED, Damage
from dfs.chunkserver.errors import Unreadable
from dfs.chunkserver.test.fakes import REF
from dfs.chunkserver.test.storecase import CONTENT, StoreCase
from dfs.disk.errors import DiskError
from dfs.disk.real import RealDisk, RealFile
from dfs.protocol.errors import DiskFailed, ReplicaCorrupt, ReplicaNotFound
from dfs.protocol.failures import decode_error, encode_error
from dfs.protocol.messages import DamageKind
from dfs.protocol.values import PIECE, ChunkRef, FileId, Generation


class DamageTests(StoreCase):
    def setUp(self) -> None:
        super().setUp()
        self.told: list[Damage] = []
        self.store.doubts.on_damage = self.told.append

    def bad_sector(self, at: int, times: int = -1, number: int = errno.EIO) -> None:
        """Reads of replicas that touch the byte at ``at`` fail, ``times`` times; -1 is always."""
        left = [times]
        real: Callable[[RealFile, int, int], bytes] = RealFile.pread

        def pread(file: RealFile, length: int, offset: int) -> bytes:
            if file.path.endswith(".chunk") and offset <= at < offset + length and left[0]:
                left[0] -= 1
                raise DiskError(file.path, "Input/output error", number)
            return real(file, length, offset)

        self.patch(RealFile, "pread", pread)

    def reading(self, ref: ChunkRef = REF) -> Deferred[object]:
        async def read() -> object:
            reading = await self.store.open_reader(ref)
            try:
                return await reading.read(0, 1 << 20)
            finally:
                reading.close()

        return Deferred.fromCoroutine(read())

    def test_unreadable_sector(self) -> None:
        """S11: a sector that the disk does not read costs this replica its place, and no other: it is set aside and
        told with the piece's offset; writes go on and others are read."""
        other = ChunkRef(FileId(1), 0, Generation(1))
        held = self.put()
        self.put(other)
        self.bad_sector(PIECE + 9, times=5)  # the read and where in it, then the second look and where in it
        failure = self.failureResultOf(self.reading(), Unreadable)
        self.assertIsInstance(decode_error(failure.value.code, encode_error(failure.value)), DiskFailed)
        self.assertEqual(self.told, [Damage(held, DamageKind.UNREADABLE, PIECE)])
        self.assertEqual((self.store.quarantined, self.left()), (1, []))
        self.assertEqual(self.store.failure, "")
        self.assertEqual(self.read(other), CONTENT)
        self.put(ChunkRef(FileId(1), 1, Generation(1)))
        self.flushLoggedErrors()

    def test_one_error_moves_nothing(self) -> None:
        """S11: a read error that is gone at the second look costs nothing, and nobody is told."""
        self.put()
        self.bad_sector(PIECE + 9, times=2)
        self.successResultOf(self.reading())
        self.assertEqual((self.told, self.store.quarantined, self.store.doubts.unreadable), ([], 0, 0))

    def test_other_errors_are_no_verdict(self) -> None:
        """S10, S11: out of descriptors or memory, a replica is neither set aside nor told of."""
        self.put()
        self.bad_sector(PIECE + 9, number=errno.ENOMEM)
        failure = self.failureResultOf(self.reading(), DiskFailed)
        self.assertNotIsInstance(failure.value, Unreadable)
        self.assertEqual((self.told, self.left()), ([], [self.layout.name(REF)]))

    def test_many_tell_of_the_disk(self) -> None:
        """S11: a few unreadable replicas are set aside, then the node says that its disk is in trouble; beyond the
        limit files stay where they are, off the list, and a start that can read them lists them again."""
        count = MOST_UNREADABLE + 2
        refs = [ChunkRef(FileId(1), index, Generation(1)) for index in range(count)]
        for ref in refs:
            self.put(ref)
        self.bad_sector(9)
        for number, ref in enumerate(refs, 1):
            self.failureResultOf(self.reading(ref), Unreadable)
            self.assertEqual(self.store.doubts.trouble != "", number >= TROUBLED)
        self.assertEqual((len(self.told), len(self.store.index)), (count, 0))
        self.assertEqual(self.store.quarantined, MOST_UNREADABLE)
        self.assertEqual([len(self.left(ref)) for ref in refs[-2:]], [1, 1])
        self.bad_sector(0, times=0)
        self.assertEqual(len(self.reopened().index), 2)
        self.flushLoggedErrors()

    def test_missing(self) -> None:
        """S11: a replica whose file is gone without our doing is off the list and told at the first who asks."""
        held = self.put()
        RealDisk().unlink(self.layout.path(REF))
        self.failureResultOf(self.reading(), ReplicaNotFound)
        self.assertEqual(self.told, [Damage(held, DamageKind.MISSING, None)])
        self.assertEqual((self.store.quarantined, len(self.store.index)), (0, 0))
        self.flushLoggedErrors()

    def test_offset_of_rot(self) -> None:
        """S11: of rotten bytes the offset of the bad piece is told, also in the last, short one."""
        for place in (0, PIECE - 1, PIECE, 3 * PIECE + 4):
            self.put()
            self.spoil(place)
            self.failureResultOf(Deferred.fromCoroutine(self.store.verify(REF)), ReplicaCorrupt)
            self.assertEqual(self.told.pop().offset, place // PIECE * PIECE)
        self.assertEqual(self.store.doubts.rotten, 4)
        self.flushLoggedErrors()
