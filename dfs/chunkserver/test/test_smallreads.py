"""Small replicas read together: what one of them lacks costs no other, and is not passed over."""

from __future__ import annotations

import errno

from attrs import evolve
from twisted.internet.defer import Deferred

from dfs.chunkserver.compacting import Compactor
from dfs.chunkserver.damage import Damage
from dfs.chunkserver.errors import CorruptPiece, Unreadable
from dfs.chunkserver.records import PAGE
from dfs.chunkserver.test.fakes import InlineThreads, fake_runtime
from dfs.chunkserver.test.packed import PACK, PackedCase, bytes_of, ref, small
from dfs.disk.errors import DiskError
from dfs.protocol.errors import DFSError, DiskFailed, ReplicaCorrupt

MOST = 1 << 20


class SmallReadTests(PackedCase):
    """Replicas 1 to 4 in a segment."""

    rules = evolve(PACK, segment_size=5 * PAGE)

    def setUp(self) -> None:
        super().setUp()
        self.threads = InlineThreads()
        self.disk.end_process()
        self.store = self.start(self.threads)
        self.successResultOf(self.store.put_small([small(file_id) for file_id in (1, 2, 3, 4)]))
        self.told: list[Damage] = []
        self.store.doubts.on_damage = self.told.append

    def get(self, *file_ids: int, most: int = MOST) -> Deferred[list[memoryview | DFSError]]:
        return Deferred.fromCoroutine(self.store.get_small([ref(file_id) for file_id in file_ids], most))

    def got(self, *file_ids: int, most: int = MOST) -> list[bytes | type[DFSError]]:
        return [told_apart(each) for each in self.successResultOf(self.get(*file_ids, most=most))]

    def test_bad_ones_are_told(self) -> None:
        """A replica that is found bad in a batch is set aside and told, as one that is read alone; the reader has the
        others (S11)."""
        self.disk.flip_bits(self.segment(), self.offset(2) + 200)
        self.disk.flip_bits(self.segment(), self.offset(3) + 20)
        self.assertEqual(self.got(1, 2, 3, 4), [bytes_of(1), CorruptPiece, ReplicaCorrupt, bytes_of(4)])
        self.assertEqual([damage.replica.file_id for damage in self.told], [2, 3])
        self.assertEqual((self.held(), self.store.quarantined), ([1, 4], 2))
        self.flushLoggedErrors()

    def test_unreadable_ones_are_told(self) -> None:
        """So is one that the disk does not read, and the disk is not given up for it."""
        self.disk.inject("pread", self.segment(), DiskError, errno.EIO, count=None)
        self.assertEqual(self.got(1), [Unreadable])
        self.assertEqual([damage.replica.file_id for damage in self.told], [1])
        self.disk.recover()
        self.assertEqual((self.got(2), self.store.failure), ([bytes_of(2)], ""))
        self.flushLoggedErrors()

    def test_no_verdict(self) -> None:
        """What another error of the disk keeps from being read proves nothing of the replica."""
        self.disk.inject("open", self.segment(), DiskError, errno.EMFILE, count=None)
        self.assertEqual(self.got(1), [DiskFailed])
        self.disk.recover()
        self.assertEqual((self.told, self.got(1)), ([], [bytes_of(1)]))

    def test_read_wrongly_once(self) -> None:
        """A replica that is whole at the second look is given after all."""
        self.disk.inject("pread", self.segment(), DiskError, errno.EIO, count=2)
        self.assertEqual(self.got(1, 2), [bytes_of(1), bytes_of(2)])
        self.assertEqual((self.told, self.held()), ([], [1, 2, 3, 4]))

    def test_moved_meanwhile(self) -> None:
        """A replica that gets another place before the batch comes to it is found there."""
        self.threads.held = True
        reading = self.get(2, 4)
        self.threads.held = False
        for file_id in (1, 3):
            self.run_now(self.store.delete(ref(file_id)))
        self.assertEqual(self.run_now(Compactor(fake_runtime(), self.store).round()), 1)
        self.threads.release()
        self.assertEqual([told_apart(each) for each in self.successResultOf(reading)], [bytes_of(2), bytes_of(4)])
        self.assertEqual(self.told, [])


def told_apart(each: memoryview | DFSError) -> bytes | type[DFSError]:
    return type(each) if isinstance(each, DFSError) else bytes(each)
