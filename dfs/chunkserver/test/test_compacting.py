"""Space of removed records given back, and nothing else lost on the way."""

from __future__ import annotations

from random import Random

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from dfs.chunkserver import compacting
from dfs.chunkserver.compacting import INTERVAL, Compactor, read_body
from dfs.chunkserver.records import PAGE, Place
from dfs.chunkserver.segments import Added
from dfs.chunkserver.store import ChunkStore
from dfs.chunkserver.test.fakes import fake_runtime
from dfs.chunkserver.test.packed import PACK, PackedCase, ref, small
from dfs.chunkserver.test.test_crash import DyingThreads
from dfs.protocol.errors import DiskFailed, NoSpace, ReplicaCorrupt, ReplicaNotFound
from dfs.runtime.interfaces import IThreads
from dfs.simulation.disk import SimulatedDisk


class CompactingCase(PackedCase):
    """A segment of four replicas, of which two were removed; another life writes elsewhere."""

    rules = evolve(PACK, segment_size=5 * PAGE)

    def setUp(self) -> None:
        super().setUp()
        self.fill()

    def fill(self, threads: IThreads | None = None) -> None:
        self.disk.end_process()
        self.store = self.start(threads)
        self.successResultOf(self.store.put_small([small(file_id) for file_id in (1, 2, 3, 4)]))
        for file_id in (1, 3):
            self.run_now(self.store.delete(ref(file_id)))

    def compact(self) -> int:
        return self.run_now(Compactor(fake_runtime(), self.store).round())

    def names(self) -> list[str]:
        return self.disk.list_folder(self.layout.segments)


class CompactingTests(CompactingCase):
    def test_space_comes_back(self) -> None:
        """A segment of which half is removed goes when the rest has another place; numbers, digests and bytes stay as
        they were (S06, S17)."""
        index = self.store.index
        before = index.page(b"", 10)[0], index.ranges(b"", 10, 10), self.store.number
        self.assertEqual(self.compact(), 1)
        self.assertEqual(self.names(), ["00000002.seg"])
        self.assertEqual((index.page(b"", 10)[0], index.ranges(b"", 10, 10), self.store.number), before)
        self.assertTrue(self.holds(2) and self.holds(4))
        self.assertEqual(self.compact(), 0)
        self.restart()
        self.assertEqual(self.held(), [2, 4])
        self.assertTrue(self.holds(2) and self.holds(4))

    def test_empty(self) -> None:
        """A segment with nothing left in it goes without a copy, on a full disk too (S21)."""
        for file_id in (2, 4):
            self.run_now(self.store.delete(ref(file_id)))
        self.disk.capacity = self.disk.used
        self.assertEqual(self.compact(), 1)
        self.assertEqual(self.names(), [])

    def test_full_disk(self) -> None:
        """Without room for the copies everything stays as it is (S21)."""
        self.disk.capacity = self.disk.used
        failure = self.failureResultOf(Deferred.fromCoroutine(Compactor(fake_runtime(), self.store).round()))
        self.assertIsInstance(failure.value, NoSpace)
        self.assertEqual(self.held(), [2, 4])
        self.assertTrue(self.holds(2) and self.holds(4))

    def test_rotten(self) -> None:
        """A replica that rotted keeps its segment: what is left of it is there for whoever sets it aside (S11)."""
        self.disk.flip_bits(self.segment(), self.offset(2) + 200)
        self.compact()
        self.assertIn("00000001.seg", self.names())
        self.assertTrue(self.holds(4))
        place = self.store.index.place(ref(2))
        assert place is not None
        self.assertEqual(place.segment, 1)

    def test_off_the_list(self) -> None:
        """A replica that is off the list and could not be set aside keeps its segment."""
        self.store.index.remove(ref(2))
        self.compact()
        self.assertEqual(self.names(), ["00000001.seg", "00000002.seg"])
        self.restart()
        self.assertEqual(self.held(), [2, 4])

    def test_bad_place(self) -> None:
        """A segment with a damaged place is never removed."""
        self.disk.flip_bits(self.segment(), 2 * PAGE)
        self.compact()
        self.assertIn("00000001.seg", self.names())

    def test_bad_copy(self) -> None:
        """A copy that does not read back as it was written takes nobody's place, and does not come back (S17)."""
        spoiled: list[Place] = []
        grown = self.store.packing.grown

        def spoil(place: Place, body: int) -> None:
            if not spoiled:
                spoiled.append(place)
                self.disk.flip_bits(self.segment(place.segment), place.offset + 300)
            grown(place, body)

        self.patch(self.store.packing, "grown", spoil)
        self.failureResultOf(Deferred.fromCoroutine(Compactor(fake_runtime(), self.store).round()))
        self.assertEqual((len(spoiled), self.names()), (1, ["00000001.seg", "00000002.seg"]))
        self.assertTrue(self.holds(2) and self.holds(4))
        for file_id in (2, 4):
            self.run_now(self.store.delete(ref(file_id)))
        self.restart()
        self.assertEqual(self.held(), [])

    def test_mark_made_up_for(self) -> None:
        """An old place that could not be marked is marked by a later round, so that nothing comes back from there after
        its removal (S15)."""
        self.cut_short()
        self.assertEqual(self.compact(), 1)
        self.assertEqual(self.names(), ["00000002.seg"])
        for file_id in (2, 4):
            self.assertTrue(self.holds(file_id))
            self.run_now(self.store.delete(ref(file_id)))
        self.restart()
        self.assertEqual(self.held(), [])

    def test_mark_not_made_up_for(self) -> None:
        """It is not marked where the new place does not hold the same bytes whole any more (S17)."""
        self.cut_short()
        self.disk.flip_bits(self.segment(2), self.offset(2) + 300)
        self.compact()
        self.assertEqual(self.names(), ["00000001.seg", "00000002.seg"])
        self.failureResultOf(Deferred.fromCoroutine(self.store.verify(ref(2))), ReplicaCorrupt)
        self.restart()
        self.assertTrue(self.holds(2) and self.holds(4))
        self.flushLoggedErrors()

    def cut_short(self) -> None:
        """A round that moves replicas and cannot mark them in their old place."""

        async def refuse(*arguments: object) -> None:
            raise DiskFailed("too many open files")

        patch = self.patch(self.store.packing, "mark", refuse)
        self.failureResultOf(Deferred.fromCoroutine(Compactor(fake_runtime(), self.store).round()), DiskFailed)
        patch.restore()
        self.assertEqual(self.store.index.place(ref(2)), Place(2, PAGE))

    def test_empty_ones_first(self) -> None:
        """A segment with nothing left goes before one that gives back more but needs room for what it holds (S21)."""
        self.put(5)
        self.run_now(self.store.delete(ref(5)))
        self.restart()
        self.disk.capacity = self.disk.used
        self.assertEqual(self.compact(), 2)
        self.assertEqual(self.names(), ["00000001.seg", "00000001.sum"])

    def test_begun_only(self) -> None:
        """A segment that was begun and holds no byte goes too."""
        self.disk.open(self.segment(2), create=True).close()
        self.restart()
        self.assertEqual((self.compact(), self.report.damaged), (2, 0))
        self.assertNotIn("00000002.seg", self.names())

    def test_open_reader(self) -> None:
        """A reader that is in a record reads it to its end though the segment goes, and the next one finds the new
        place."""
        reading = self.run_now(self.store.open_reader(ref(2)))
        self.compact()
        self.assertEqual(self.run_now(reading.read(0, 1000))[0].length, 1000)
        reading.close()
        reading = self.run_now(self.store.open_reader(ref(2)))
        self.assertEqual(self.run_now(reading.read(0, 1000))[0].length, 1000)
        reading.close()

    def test_short_segments(self) -> None:
        """Short segments that former processes left are put together; a single one is left as it is."""
        self.patch(compacting, "SHORT", 1)
        self.compact()
        self.restart()
        self.assertEqual(self.compact(), 0)
        self.put(5)
        while self.compact():
            pass
        self.assertEqual(len(self.names()), 1)
        self.assertEqual(self.held(), [2, 4, 5])

    def test_in_the_background(self) -> None:
        """It looks for a segment every half a minute, and for none after its stop."""
        clock = Clock()
        compactor = Compactor(fake_runtime(clock), self.store)
        compactor.start()
        clock.advance(INTERVAL)
        self.assertEqual((compactor.removed, compactor.moved), (1, 2))
        self.run_now(compactor.stop())
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_removed_meanwhile(self) -> None:
        """What is removed while its segment is compacted stays removed."""
        self.run_now(self.store.delete(ref(2)))
        self.compact()
        self.restart()
        self.failureResultOf(Deferred.fromCoroutine(self.store.open_reader(ref(2))), ReplicaNotFound)
        self.assertTrue(self.holds(4))


class TwiceTests(PackedCase):
    def twice(self, spoil: int) -> None:
        """Replica 1 in two places with one number, as a compaction leaves it that was cut short; one is spoilt."""
        self.put(1, 2)
        first = self.content()
        held = self.store.index.get(ref(1))
        assert held is not None
        body = read_body(self.disk, self.layout, ref(1), Place(1, PAGE))
        self.restart()
        self.put(3)
        self.successResultOf(self.store.packing.groups.add(Added(held, body)))
        self.assertEqual(self.content(), first)
        self.disk.flip_bits(self.segment(spoil), 2 * PAGE + 300 if spoil == 2 else PAGE + 300)
        self.put(4)

    def test_older_is_bad(self) -> None:
        """A start keeps the newer place, and the older one does not come back."""
        self.twice(1)
        number = self.store.number
        self.restart()
        self.assertEqual(self.store.index.place(ref(1)), Place(2, 2 * PAGE))
        self.assertGreaterEqual(self.store.number, number)
        self.assertTrue(self.holds(1))
        self.run_now(self.store.delete(ref(1)))
        self.restart()
        self.assertEqual(self.held(), [2, 3, 4])

    def test_newer_is_bad(self) -> None:
        """A start goes back to the older place where the newer one is bad, which it sets aside; and no number is given
        again (S06, S11)."""
        self.twice(2)
        number = self.store.number
        self.restart()
        self.assertEqual(self.store.index.place(ref(1)), Place(1, PAGE))
        self.assertTrue(self.holds(1))
        self.assertEqual(self.store.quarantined, 1)
        self.assertGreater(self.store.number, number)
        self.flushLoggedErrors()


class PowerCutTests(CompactingCase):
    def cut(self, count: int, seed: int) -> bool:
        """Cut the power in the place of the compaction's ``count``-th operation; whether it went at all."""
        self.disk, threads = SimulatedDisk(), DyingThreads()
        self.store: ChunkStore = self.start()
        self.fill(threads)
        self.disk.crash_at(count)
        task = Deferred.fromCoroutine(Compactor(fake_runtime(), self.store).round())
        self.assertIsNotNone(task)
        self.disk.crash(Random(count * 1000 + seed))
        self.store = self.start()
        return threads.dead

    def test_every_step(self) -> None:
        """A power cut at any operation of a compaction loses no replica and brings none back, and none comes back after
        it was removed then (S09, S15, S17)."""
        for count in range(1, 200):
            died = False
            for seed in range(3):
                died = self.cut(count, seed)
                where = f"operation {count}, seed {seed}"
                self.assertEqual(self.held(), [2, 4], where)
                self.assertTrue(self.holds(2) and self.holds(4), where)
                self.run_now(self.store.delete(ref(2)))
                self.restart()
                self.assertEqual(self.held(), [4], where)
                self.assertTrue(self.holds(4), where)
            if not died:
                self.assertGreater(count, 10)
                return
        self.fail("the compaction never ended")
