"""Tests of what a snapshot holds in memory."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from dfs.kv.interfaces import Batch
from dfs.kv.memory import MemoryStore


class SnapshotMemoryTests(SynchronousTestCase):
    """Before-images are bounded by what is overwritten ahead of the position."""

    def setUp(self) -> None:
        self.store = MemoryStore()
        self.store.apply(Batch({b"%03d" % i: b"old" for i in range(100)}))
        self.snapshot = self.store.snapshot()

    def test_one_image_a_key(self) -> None:
        """However often a key is overwritten, one image of it is held (S33)."""
        for round_number in range(50):
            self.store.apply(Batch({b"%03d" % i: b"%d" % round_number for i in range(10)}))
        self.assertEqual(self.snapshot.image_count, 10)

    def test_images_go_as_they_are_passed(self) -> None:
        """What was delivered is held no longer, and what lies behind the position is never saved."""
        self.store.apply(Batch({b"%03d" % i: b"new" for i in range(100)}))
        self.assertEqual(len(self.snapshot.read(60)), 10)
        self.assertEqual(self.snapshot.image_count, 90)
        self.store.apply(Batch({b"000": b"newer", b"0001": b"behind"}))
        self.assertEqual(self.snapshot.image_count, 90)

    def test_nothing_is_held_after_the_end(self) -> None:
        """After the last slice, and after the close, nothing is saved any more."""
        self.assertEqual(len(self.snapshot.read(1 << 20)), 100)
        self.store.apply(Batch({b"zzz": b"", b"000": None}))
        self.assertEqual((self.snapshot.image_count, self.snapshot.read(10)), (0, []))
        self.snapshot.close()
        again = self.store.snapshot()
        again.close()
        self.store.apply(Batch({b"zzz": b"1"}))
        self.assertEqual((again.image_count, again.is_open, again.read(10)), (0, False, []))
