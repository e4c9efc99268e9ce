"""The storage of a member: what survives crashes, and what is refused."""

from __future__ import annotations

import random

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from dfs.raft.codec import encode_entry
from dfs.raft.core.types import HardState, SnapshotMark
from dfs.raft.errors import StorageCorrupt, StorageFailed, WrongCluster
from dfs.raft.identity import Identity, check_identity, check_members
from dfs.raft.membership import Configuration, encode_configuration
from dfs.raft.messages import Entry, EntryKind
from dfs.raft.segment import NoSpace
from dfs.raft.storage import ILogStorage, LogStorage, Write, open_storage
from dfs.raft.test.memorydisk import MemoryDisk, PowerCut

FOLDER = "/raft"
FOUNDER = Identity("a", b"c" * 16, b"i" * 16, b"configuration")
SEGMENT_LENGTH = 4096


def open_on(disk: MemoryDisk) -> LogStorage:
    return open_storage(disk, FOLDER, FOUNDER, SEGMENT_LENGTH, 4096)


def entry(index: int, term: int, payload: bytes = b"x" * 100) -> Entry:
    return encode_entry(index, term, EntryKind.COMMAND, payload, 0)


def entries(first: int, last: int, term: int) -> tuple[Entry, ...]:
    return tuple(entry(index, term, f"{index}/{term}".encode() * 20) for index in range(first, last + 1))


SCRIPT: list[Write | SnapshotMark] = [
    Write(HardState(2, "b")),
    Write(None, None, None, entries(2, 4, 2), 1),
    Write(None, None, None, entries(5, 9, 2), 4),
    Write(HardState(3, None), None, 7, entries(7, 8, 3), 5),
    Write(None, None, None, entries(9, 30, 3), 8),
    SnapshotMark(20, 3),
    Write(None, None, None, entries(31, 60, 3), 30),
    SnapshotMark(45, 3),
    Write(HardState(5, "c"), None, 50, entries(50, 52, 5), 48),
    Write(None, SnapshotMark(100, 6), None, (), 100),
    Write(HardState(6, "a"), None, None, entries(101, 103, 6), 100),
]
"""Every kind of change: votes, appends, overwrites, rotation of segments, compaction, a snapshot's reset."""


class Model:
    """What the storage should hold after a number of steps of the script."""

    def __init__(self) -> None:
        self.hard = HardState(1)
        self.base = SnapshotMark(0, 0)
        self.log: dict[int, Entry] = {1: encode_entry(1, 1, EntryKind.CONFIGURATION, b"configuration", 0)}

    def step(self, change: Write | SnapshotMark) -> None:
        if isinstance(change, SnapshotMark):
            self.base = change
            self.log = {index: found for index, found in self.log.items() if index > change.index}
            return
        self.hard = change.hard_state or self.hard
        if change.reset_to:
            self.base, self.log = change.reset_to, {}
        if change.truncate_from:
            self.log = {index: found for index, found in self.log.items() if index < change.truncate_from}
        self.log |= {found.index: found for found in change.entries}

    def state(self) -> tuple[HardState, SnapshotMark, list[Entry]]:
        return self.hard, self.base, [self.log[index] for index in sorted(self.log)]


def state_of(storage: LogStorage) -> tuple[HardState, SnapshotMark, list[Entry]]:
    first, last = storage.base.index + 1, storage.last_index
    found = storage.read(first, last, 1 << 20) if first <= last else []
    return storage.hard_state, storage.base, found


def carry_out(storage: LogStorage, change: Write | SnapshotMark) -> None:
    if isinstance(change, SnapshotMark):
        storage.compact(change, b"")
    else:
        storage.write(change)


def run_script(disk: MemoryDisk, script: list[Write | SnapshotMark]) -> int:
    """How many steps were acknowledged before the power cut; -1 if founding was not."""
    done = -1
    try:
        storage = open_on(disk)
        done = 0
        for change in script:
            carry_out(storage, change)
            done += 1
    except PowerCut:
        pass
    return done


def allowed(done: int) -> list[tuple[HardState, SnapshotMark, list[Entry]]]:
    """The states that a crash after ``done`` acknowledged steps may leave: that one, the next, and the next one's
    vote or reset without its entries (the vote is durable before the log is touched)."""
    model = Model()
    for change in SCRIPT[: max(done, 0)]:
        model.step(change)
    states = [model.state()]
    following = SCRIPT[max(done, 0)] if done < len(SCRIPT) else None
    if isinstance(following, Write):
        model.step(Write(following.hard_state))
        states.append(model.state())
        model.step(Write(None, following.reset_to))
        states.append(model.state())
    if following is not None:
        model.step(following)
        states.append(model.state())
    return states


class CrashTests(SynchronousTestCase):
    """A crash at every operation of the disk."""

    def crash_everywhere(self, how: str, seeds: int) -> None:
        counting = MemoryDisk()
        self.assertEqual(run_script(counting, SCRIPT), len(SCRIPT))
        for seed in range(seeds):
            chance = random.Random(seed)
            for at in range(counting.operations):
                disk = MemoryDisk()
                disk.stop_at = at
                done = run_script(disk, SCRIPT)
                storage = open_on(disk.survivor(how, chance))
                self.assertIn(state_of(storage), allowed(done), f"{how} at {at}, seed {seed}")

    def test_power_cut(self) -> None:
        """R01 R26 R28 R37: whatever was not synced is lost, and each acknowledged step is there whole."""
        self.crash_everywhere("lost", 1)

    def test_kill(self) -> None:
        """R26: a killed process leaves at most one whole step more than it acknowledged."""
        self.crash_everywhere("kill", 1)

    def test_torn(self) -> None:
        """S30 R29: any choice of the unsynced sectors is recovered from."""
        self.crash_everywhere("torn", 6)

    def test_killed_then_power_cut(self) -> None:
        """R26: what a killed process left unsynced is durable before anything builds on it."""
        counting = MemoryDisk()
        run_script(counting, SCRIPT)
        for at in range(counting.operations):
            disk = MemoryDisk()
            disk.stop_at = at
            run_script(disk, SCRIPT)
            killed = disk.survivor("kill", random.Random(0))
            seen = state_of(open_on(killed))
            after = open_on(killed.survivor("lost", random.Random(0)))
            self.assertEqual(state_of(after), seen, f"at {at}")

    def test_crash_during_recovery(self) -> None:
        """S30: a crash at any operation of recovery itself loses nothing that was acknowledged."""
        chance = random.Random(3)
        counting = MemoryDisk()
        run_script(counting, SCRIPT)
        for at in range(0, counting.operations, 3):
            disk = MemoryDisk()
            disk.stop_at = at
            done = run_script(disk, SCRIPT)
            for again in range(12):
                torn = disk.survivor("torn", chance)
                torn.stop_at = again
                try:
                    open_on(torn)
                except PowerCut:
                    pass
                self.assertIn(state_of(open_on(torn.survivor("torn", chance))), allowed(done), f"{at} {again}")


class StorageTests(SynchronousTestCase):
    """The storage while all is well, or full, or failing."""

    def test_interface(self) -> None:
        """The storage provides its interface."""
        verifyObject(ILogStorage, open_on(MemoryDisk()))

    def test_script(self) -> None:
        """Every step of the script shows in what is read back, before and after a restart."""
        disk, model = MemoryDisk(), Model()
        storage = open_on(disk)
        for change in SCRIPT:
            carry_out(storage, change)
            model.step(change)
            self.assertEqual(state_of(storage), model.state())
            self.assertEqual(state_of(open_on(disk)), model.state())

    def test_one_write_one_sync(self) -> None:
        """R28: a batch, an overwriting one too, is one write and one sync."""
        disk = MemoryDisk()
        storage = open_on(disk)
        storage.write(Write(None, None, None, entries(2, 9, 1)))
        del disk.trace[:]
        storage.write(Write(None, None, 5, entries(5, 7, 2)))
        self.assertEqual([what for what, _path in disk.trace], ["pwrite", "sync"])

    def test_read_is_bounded(self) -> None:
        """A read gives at least one entry and stops before its limit of bytes."""
        storage = open_on(MemoryDisk())
        storage.write(Write(None, None, None, entries(2, 40, 1)))
        length = len(entry(2, 1, b"2/1" * 20).encoded)
        self.assertEqual([found.index for found in storage.read(2, 40, 0)], [2])
        self.assertEqual([found.index for found in storage.read(2, 40, 3 * length)], [2, 3, 4])

    def test_compacted_read(self) -> None:
        """R20: entries that were compacted are told as gone, not as an error."""
        storage = open_on(MemoryDisk())
        storage.write(Write(None, None, None, entries(2, 40, 1)))
        storage.compact(SnapshotMark(20, 1), b"")
        self.assertEqual(storage.read(20, 30, 100), [])

    def test_view(self) -> None:
        """R19: the view tells boundary, runs of terms and tail, also after compaction and restart."""
        disk = MemoryDisk()
        storage = open_on(disk)
        storage.write(Write(HardState(4), None, None, entries(2, 10, 2) + entries(11, 20, 4), 15))
        storage.compact(SnapshotMark(5, 2), b"")
        storage.close()
        view = open_on(disk).view()
        self.assertEqual((view.boundary, view.last_index, view.runs), (SnapshotMark(5, 2), 20, ((6, 2), (11, 4))))
        self.assertEqual(view.tail[-1].index, 20)
        self.assertEqual(view.last_checksum, view.tail[-1].checksum)

    def test_commit_index_is_clamped(self) -> None:
        """R36: a commit index beyond what is durable is never stored."""
        disk = MemoryDisk()
        storage = open_on(disk)
        storage.write(Write(HardState(2), None, None, entries(2, 3, 2), 99))
        storage.mark_commit(99)
        storage.close()
        self.assertEqual(open_on(disk).commit_index, 3)

    def test_failed_sync_is_final(self) -> None:
        """S31 R27: after a failed sync nothing is tried again."""
        disk = MemoryDisk()
        storage = open_on(disk)
        disk.sync_fails = True
        self.assertRaises(StorageFailed, storage.write, Write(None, None, None, entries(2, 3, 1)))
        disk.sync_fails = False
        syncs = disk.syncs
        self.assertRaises(StorageFailed, storage.write, Write(None, None, None, entries(2, 3, 1)))
        self.assertEqual(disk.syncs, syncs)

    def test_full_disk(self) -> None:
        """R32: a full disk changes nothing; when there is room again the same write succeeds."""
        disk = MemoryDisk()
        storage = open_on(disk)
        write = Write(HardState(2), None, None, entries(2, 3, 2))
        disk.full = True
        self.assertRaises(NoSpace, storage.write, write)
        storage.release_reserve()
        self.assertFalse(storage.restore_reserve())
        disk.full = False
        self.assertTrue(storage.restore_reserve())
        storage.write(Write(HardState(2), None, None, entries(2, 2, 2)))
        self.assertEqual(state_of(open_on(disk))[2], [*Model().log.values(), *entries(2, 2, 2)])

    def test_full_at_rotation(self) -> None:
        """R32: no space for a new segment leaves no half-made one behind."""
        disk = MemoryDisk()
        storage = open_on(disk)
        disk.full = True
        self.assertRaises(NoSpace, storage.write, Write(None, None, None, entries(2, 80, 1)))
        segments = [name for name in disk.list_folder(FOLDER) if name.startswith("log-")]
        self.assertEqual(segments, ["log-0000000000000001"])

    def test_vote_never_changes_in_a_term(self) -> None:
        """R03: a term that goes back, or a second vote in one term, halts before it reaches the disk."""
        storage = open_on(MemoryDisk())
        storage.write(Write(HardState(5, "b")))
        self.assertRaises(AssertionError, storage.write, Write(HardState(5, "c")))

    def test_identity(self) -> None:
        """S28 R35: flags that name another member or cluster are refused with a sentence; state on disk wins."""
        disk = MemoryDisk()
        open_on(disk).close()
        other = Identity("a", b"d" * 16, b"j" * 16, b"other")
        found = open_storage(disk, FOLDER, other, SEGMENT_LENGTH, 4096).identity
        self.assertEqual(found, FOUNDER)
        self.assertIn("folder", str(self.assertRaises(WrongCluster, check_identity, found, "b", None)))
        self.assertIn("cluster", str(self.assertRaises(WrongCluster, check_identity, found, "a", b"d" * 16)))

    def test_members(self) -> None:
        """S28: flags that name fewer, more or other members than the folder was founded with are refused, and the
        sentence names those on disk; what cannot be read is corrupt."""
        founding = encode_configuration(Configuration(("a", "b", "c"), cluster=b"c" * 16))
        found = evolve(FOUNDER, configuration=founding)
        check_members(found, {"c": "h:3", "b": "h:2", "a": "h:1"})
        for members in ({"a"}, {"a", "b", "d"}, {"a", "b", "c", "d", "e"}):
            self.assertIn("members a, b, c", str(self.assertRaises(WrongCluster, check_members, found, members)))
        self.assertRaises(StorageCorrupt, check_members, FOUNDER, {"a"})
