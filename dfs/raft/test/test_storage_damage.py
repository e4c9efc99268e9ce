"""The storage of a member: damage at rest, seen or harmless."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from dfs.raft.core.types import HardState
from dfs.raft.errors import StorageCorrupt, StorageFailed
from dfs.raft.storage import Write
from dfs.raft.test.memorydisk import MemoryDisk
from dfs.raft.test.test_storage import FOLDER, entry, open_on, state_of


class DamageTests(SynchronousTestCase):
    """Damage at rest is seen or harmless, never silently wrong."""

    def small(self) -> MemoryDisk:
        disk = MemoryDisk()
        storage = open_on(disk)
        storage.write(Write(HardState(2, "b")))
        for index in range(2, 6):
            storage.write(Write(None, None, None, (entry(index, 2, b"payload %d" % index),), index - 1))
        storage.close()
        return disk

    def test_flipped_bits(self) -> None:
        """S30 R29 R30: a bit flipped anywhere in the log leaves every entry, drops the last batch, or is refused."""
        whole = state_of(open_on(self.small()))
        path = f"{FOLDER}/log-0000000000000001"
        length = len(self.small().content(path))
        refused = dropped = 0
        for offset in range(length):
            disk = self.small()
            disk.content(path)[offset] ^= 1 << (offset % 8)
            try:
                hard, base, found = state_of(open_on(disk))
            except StorageCorrupt:
                refused += 1
                continue
            self.assertEqual((hard, base), whole[:2])
            self.assertIn(found, (whole[2], whole[2][:-1]))
            dropped += len(found) < len(whole[2])
        self.assertGreater(refused, 4 * 48)
        self.assertGreater(dropped, 48)

    def test_cut_anywhere(self) -> None:
        """S30: the segment cut at any byte is refused below the committed entries and never invents anything."""
        whole = state_of(open_on(self.small()))[2]
        path = f"{FOLDER}/log-0000000000000001"
        length = len(self.small().content(path))
        for offset in range(length):
            disk = self.small()
            del disk.content(path)[offset:]
            try:
                found = state_of(open_on(disk))[2]
            except StorageCorrupt:
                continue
            self.assertEqual(found, whole[: len(found)])

    def test_marker_protects_the_last_batch(self) -> None:
        """R29: after a commit marker, damage in the last entries is corruption, not a torn tail."""
        disk = self.small()
        storage = open_on(disk)
        storage.mark_commit(5)
        storage.close()
        content = disk.content(f"{FOLDER}/log-0000000000000001")
        content[content.index(b"payload 5")] ^= 1
        error = self.assertRaises(StorageCorrupt, open_on, disk)
        self.assertIn("doc/raft.md", str(error))

    def test_corruption_changes_nothing(self) -> None:
        """S30: a corrupt record in the middle is refused without a byte changed on disk."""
        disk = self.small()
        path = f"{FOLDER}/log-0000000000000001"
        disk.content(path)[disk.content(path).index(b"payload 3")] ^= 1
        before = bytes(disk.content(path))
        self.assertRaises(StorageCorrupt, open_on, disk)
        self.assertEqual(bytes(disk.content(path)), before)

    def test_read_back_is_checked(self) -> None:
        """R30: rot that appears while the node runs is seen when the entry is read."""
        disk = self.small()
        storage = open_on(disk)
        content = disk.content(f"{FOLDER}/log-0000000000000001")
        content[content.index(b"payload 3")] ^= 1
        self.assertRaises(StorageCorrupt, storage.read, 3, 3, 100)
        self.assertRaises(StorageFailed, storage.write, Write(HardState(9)))

    def test_vote_copies(self) -> None:
        """R04: either copy of term and vote may rot; with both gone the node refuses to start."""
        path = f"{FOLDER}/term-and-vote"
        for offset in range(30):
            for base in (0, 4096):
                disk = self.small()
                disk.content(path)[base + offset] ^= 1 << (offset % 8)
                self.assertEqual(open_on(disk).hard_state, HardState(2, "b"))
        disk = self.small()
        disk.content(path)[20] ^= 1
        disk.content(path)[4096 + 20] ^= 1
        self.assertRaises(StorageCorrupt, open_on, disk)

    def test_missing_files(self) -> None:
        """R04: a folder that lost its vote, its identity, its boundary or a segment is refused."""
        for name in ("term-and-vote", "identity", "boundary", "log-0000000000000001"):
            disk = self.small()
            disk.unlink(f"{FOLDER}/{name}")
            self.assertRaises(StorageCorrupt, open_on, disk)

    def test_committed_entries_lost(self) -> None:
        """R29 R36: a log that ends below what was committed and durable is refused."""
        disk = self.small()
        storage = open_on(disk)
        storage.write(Write(HardState(3, "a"), None, None, (), 5))
        storage.close()
        content = disk.content(f"{FOLDER}/log-0000000000000001")
        del content[content.index(b"payload 5") - 60 :]
        self.assertRaises(StorageCorrupt, open_on, disk)
