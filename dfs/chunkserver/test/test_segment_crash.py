"""Power cuts, torn writes and rot in segments: each replica is whole or absent, and none hides another."""

from __future__ import annotations

import errno
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from dfs.chunkserver import packing, reading, segmentscan
from dfs.chunkserver.layout import Layout
from dfs.chunkserver.records import BODY, PAGE, Place
from dfs.chunkserver.segmentscan import Found
from dfs.chunkserver.store import ChunkStore
from dfs.chunkserver.test.fakes import CLUSTER, put, sha256_of
from dfs.chunkserver.test.packed import ROOT, PackedCase, bytes_of, open_packed, ref, small
from dfs.chunkserver.test.test_crash import DyingThreads, keeper_of
from dfs.disk.errors import DiskError
from dfs.protocol.errors import DiskFailed, ReplicaCorrupt
from dfs.simulation.disk import SimulatedCrash, SimulatedDisk, SimulatedFile

MOST = 60
"""More operations than any of the steps here has."""

Step = Callable[[ChunkStore], Coroutine[Any, Any, object]]


async def put_one(store: ChunkStore) -> object:
    return await store.put_small([small(1)])


async def delete_nine(store: ChunkStore) -> object:
    return await store.delete(ref(9))


class PowerCutTests(PackedCase):
    """Replica 9 is there, durably, before each step."""

    def cut(self, count: int, step: Step, fresh: bool = False, seed: int = 0) -> tuple[bool, bool]:
        """Cut the power in the place of the step's ``count``-th operation, and start again; whether the step was
        answered before, and whether the power went at all.

        :param fresh: the step begins a segment.
        """
        self.disk, threads = SimulatedDisk(), DyingThreads()
        self.store = self.start(threads)
        self.run_now(put(self.store, ref(9), bytes_of(9)))
        if fresh:
            self.disk.end_process()
            self.store = self.start(threads)
        answers: list[object] = []

        async def run() -> None:
            answers.append(await step(self.store))

        self.disk.crash_at(count)
        task = Deferred.fromCoroutine(run())
        self.assertIsNotNone(task)
        self.disk.crash(Random(count * 1000 + seed))
        self.store = self.start()
        return bool(answers), threads.dead

    def each_cut(self, step: Step, check: Callable[[bool, str], None], fresh: bool = False, seeds: int = 5) -> None:
        """Look at what is left after a cut at every operation."""
        for count in range(1, MOST):
            died = False
            for seed in range(seeds):
                answered, died = self.cut(count, step, fresh, seed)
                check(answered, f"operation {count}, seed {seed}")
            if not died:
                self.assertGreater(count, 2)
                self.flushLoggedErrors()
                return
        self.fail("the step never ended")

    def test_put(self) -> None:
        """A power cut at any operation of a put leaves the replica whole or absent, and whole if it was answered, also
        where it begins a segment; its neighbour stays whole (S05, S09)."""
        outcomes = set()

        def check(answered: bool, where: str) -> None:
            there = self.holds(1)
            self.assertTrue(there or not answered, where)
            self.assertTrue(self.holds(9), where)
            self.assertEqual((self.store.quarantined, self.report.damaged), (0, 0), where)
            outcomes.add((there, answered))
            self.put(5)
            numbers = [held.number for held in self.store.index.page(b"", 10)[0]]
            self.assertEqual(len(set(numbers)), len(numbers), where)

        for fresh in (False, True):
            self.each_cut(put_one, check, fresh)
        self.assertLessEqual({(False, False), (True, True), (True, False)}, outcomes)

    def test_group(self) -> None:
        """The same of a group of several: each is whole or absent, all are whole if that was answered (S05, S09)."""
        seen = set()

        def check(answered: bool, where: str) -> None:
            there = [self.holds(file_id, 5000) for file_id in (1, 2, 3)]
            self.assertTrue(all(there) or not answered, where)
            self.assertTrue(self.holds(9), where)
            self.assertEqual(self.report.damaged, 0, where)
            seen.add(tuple(there))

        async def put_three(store: ChunkStore) -> object:
            return await store.put_small([small(file_id, 5000) for file_id in (1, 2, 3)])

        self.each_cut(put_three, check, fresh=True, seeds=20)
        self.assertTrue(any(len(set(each)) == 2 for each in seen), seen)

    def test_delete(self) -> None:
        """A power cut at any operation of a removal leaves the replica whole or absent, absent if it was answered
        (S09, S15)."""
        outcomes = set()

        def check(answered: bool, where: str) -> None:
            there = self.holds(9)
            self.assertFalse(there and answered, where)
            outcomes.add((there, answered))

        self.each_cut(delete_nine, check)
        self.assertLessEqual({(True, False), (False, True)}, outcomes)

    def test_trim(self) -> None:
        """A power cut at any operation of a trim leaves the replica in its place or in the quarantine, whole, and in
        the quarantine only if it was answered (S16, S17)."""

        def check(answered: bool, where: str) -> None:
            listed = self.holds(9)
            kept = [entry for entry in self.store.quarantine.of(ref(9)) if self.is_whole(entry.name)]
            self.assertTrue(listed or kept, where)
            self.assertFalse(listed and answered, where)

        async def trim(store: ChunkStore) -> object:
            held = store.index.get(ref(9))
            assert held is not None
            return await store.trim(ref(9), held.number, "surplus")

        self.each_cut(trim, check)

    def test_admission(self) -> None:
        """A power cut at any operation of the way back out of the quarantine loses nothing (S17)."""

        def check(answered: bool, where: str) -> None:
            kept = [entry for entry in self.store.quarantine.of(ref(9)) if self.is_whole(entry.name)]
            self.assertTrue(self.holds(9) or (kept and not answered), where)

        async def restore(store: ChunkStore) -> object:
            return await keeper_of(store).restore(ref(9), sha256_of(bytes_of(9)))

        self.each_cut(restore, check)

    def is_whole(self, name: str) -> bool:
        try:
            reading.verify(self.disk, self.layout, ref(9), f"{self.layout.quarantine}/{name}")
        except ReplicaCorrupt:
            return False
        return True


class KillThenCutTests(PackedCase):
    """A process that is killed loses nothing, and the kernel shows the next one what a power cut takes away."""

    def killed(self, step: Step, operation: str) -> None:
        """A process was killed in the place of the step's first such operation; replica 9 was there before."""
        self.disk, threads = SimulatedDisk(), DyingThreads()
        self.store = self.start(threads)
        self.run_now(put(self.store, ref(9), bytes_of(9)))
        self.disk.end_process()
        self.store = self.start(threads)
        self.store.numbers.settle(self.run_now(self.store.numbers.take()))  # numbers are reserved
        target, name = (SimulatedFile, "sync") if operation == "file" else (self.disk, "sync_folder")

        def die(*arguments: object) -> None:
            raise SimulatedCrash(operation)

        async def run() -> None:
            await step(self.store)

        patch = self.patch(target, name, die)
        self.assertNoResult(Deferred.fromCoroutine(run()))
        patch.restore()
        self.assertTrue(threads.dead)
        self.restart()

    def test_put_again(self) -> None:
        """A put killed before its sync, or its folder's, and answered when it is sent again, survives a power cut
        (S05)."""
        for seed in range(20):
            for operation in ("file", "folder"):
                self.killed(put_one, operation)
                self.run_now(put_one(self.store))
                self.disk.crash(Random(seed))
                self.store = self.start()
                self.assertTrue(self.holds(1), f"{operation} {seed}")

    def test_delete_again(self) -> None:
        """A removal killed before its sync, and answered when it is ordered again, does not come back with a power cut
        (S15)."""
        for seed in range(20):
            self.killed(delete_nine, "file")
            self.run_now(delete_nine(self.store))
            self.disk.crash(Random(seed))
            self.store = self.start()
            self.assertFalse(self.holds(9), str(seed))


class FailedWriteTests(PackedCase):
    def test_trim_not_marked(self) -> None:
        """Where a trim ends between the copy and the mark, the copy counts among what is set aside (S16, S17)."""
        self.put(1)
        held = self.store.index.get(ref(1))
        assert held is not None
        self.disk.inject("open", self.segment(), DiskError, errno.EMFILE, count=None)
        self.patch(packing, "_raw_body", lambda *arguments: bytes_of(1))
        self.failureResultOf(Deferred.fromCoroutine(self.store.trim(ref(1), held.number, "surplus")), DiskFailed)
        self.disk.recover()
        self.assertEqual((self.holds(1), self.store.quarantined), (True, 1))

    def test_folder_not_opened(self) -> None:
        """What was written where its name could not be made durable is not written over: the next group gets another
        segment (S09)."""

        def refuse(path: str) -> None:
            raise DiskError(path, "Too many open files", errno.EMFILE)

        patch = self.patch(self.disk, "sync_folder", refuse)
        self.assertIsInstance(self.successResultOf(self.store.put_small([small(1), small(2)]))[0], DiskFailed)
        patch.restore()
        content = self.content()
        self.put(3)
        self.assertEqual((self.content(), self.store.index.place(ref(3))), (content, Place(2, PAGE)))


class ScanTests(SynchronousTestCase):
    """Segments of three groups; each is looked through as a start does."""

    def setUp(self) -> None:
        self.disk, self.layout = SimulatedDisk(), Layout(ROOT, CLUSTER)
        store, _ = self.successResultOf(Deferred.fromCoroutine(open_packed(self.disk)))
        for group in ((1,), (2, 3), (4, 5)):
            self.successResultOf(store.put_small([small(file_id, 300) for file_id in group]))
        self.places = {file_id: store.index.place(ref(file_id)) for file_id in range(1, 6)}
        path = self.layout.segment("00000001.seg")
        file = self.disk.open(path)
        self.content = file.pread(file.size(), 0)
        self.file = file

    def scan(self) -> Found:
        return segmentscan.scan(self.disk, self.layout, 1, durable=False)

    def good(self) -> list[int]:
        """Files whose replica is listed and reads as it was written; what is listed and bad is refused."""
        found = []
        for head in self.scan().replicas:
            try:
                footer = reading.verify(self.disk, self.layout, head.ref, head.place)
            except ReplicaCorrupt:
                continue
            self.assertEqual(footer.sha256, sha256_of(bytes_of(head.held.file_id, 300)))
            found.append(int(head.held.file_id))
        return found

    def where(self, at: int) -> int:
        """The file whose record a byte belongs to, 0 for the segment's head."""
        return at // PAGE

    def test_whole(self) -> None:
        """What was written is found."""
        found = self.scan()
        self.assertEqual([head.held.file_id for head in found.replicas], [1, 2, 3, 4, 5])
        self.assertEqual([head.group // PAGE for head in found.replicas], [1, 2, 2, 4, 4])
        self.assertTrue(found.whole)

    def test_flipped_bits(self) -> None:
        """A bit that flipped costs the replica that it belongs to at most, wherever it is; what is bad before the
        newest group is told as damage (S11)."""
        for at in [*range(40), *(PAGE * page + byte for page in range(1, 6) for byte in range(BODY + 420))]:
            self.file.pwrite([bytes([self.content[at] ^ (1 << at % 8)])], at)
            others = [file_id for file_id in range(1, 6) if file_id != self.where(at)]
            self.assertLessEqual(set(others), set(self.good()), at)
            found, page = self.scan(), at // PAGE * PAGE
            self.assertLessEqual(len(found.damaged) + len(found.torn), 1, at)
            if at % PAGE < 36 or (at % PAGE < 100 and page):  # in a head
                self.assertEqual(found.torn if page >= 4 * PAGE else found.damaged, [page], at)
            self.file.pwrite([self.content[at : at + 1]], at)

    def test_cut_anywhere(self) -> None:
        """A segment that was cut at any byte has every replica before the cut (S09, S10)."""
        for length in range(len(self.content) - 1, -1, -7):
            self.file.truncate(length)
            last = (length - BODY - 300 - 112) // PAGE  # 112: the footer
            self.assertEqual(self.good(), list(range(1, last + 1)), length)

    def test_zeros(self) -> None:
        """Pages of zeros, as a file system leaves them, hide none behind them, and are damage where they are older than
        the newest group (S10)."""
        for page in range(6):
            self.file.pwrite([bytes(PAGE)], page * PAGE)
            self.assertEqual(self.good(), [file_id for file_id in range(1, 6) if file_id != page])
            found = self.scan()
            self.assertEqual([*found.damaged, *found.torn], [page * PAGE])
            self.assertEqual(bool(found.torn), page >= 4)
            self.file.pwrite([self.content[page * PAGE : (page + 1) * PAGE]], page * PAGE)

    def test_stranger_inside(self) -> None:
        """Bytes in a chunk that look like a record are none."""
        store, _ = self.successResultOf(Deferred.fromCoroutine(self.again()))
        self.successResultOf(Deferred.fromCoroutine(put(store, ref(7), self.content[PAGE : PAGE * 6])))
        self.disk.flip_bits(self.layout.segment("00000002.seg"), PAGE + 10)
        found = segmentscan.scan(self.disk, self.layout, 2, durable=False)
        self.assertEqual(found.replicas, [])
        self.assertEqual((found.damaged, found.torn), ([], [PAGE]))

    async def again(self) -> tuple[ChunkStore, object]:
        self.disk.end_process()
        return await open_packed(self.disk)


