"""Summaries of segments: true, or not believed."""

from __future__ import annotations

from random import Random

from crc32c import crc32c
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from dfs.chunkserver import records, segmentscan, summaries
from dfs.chunkserver.compacting import Compactor
from dfs.chunkserver.errors import RefusedStart
from dfs.chunkserver.records import PAGE, REPLICA, Place, RecordHead, SegmentHead
from dfs.chunkserver.segmentscan import Found
from dfs.chunkserver.test.fakes import fake_runtime
from dfs.chunkserver.test.packed import PackedCase, open_packed, ref
from dfs.chunkserver.test.test_crash import DyingThreads
from dfs.disk.errors import DiskFull
from dfs.protocol.messages import HeldReplica
from dfs.protocol.values import FileId, Generation
from dfs.simulation.disk import SimulatedDisk

SEGMENT = SegmentHead(3, bytes(16), b"12345678")
HELD = HeldReplica(FileId(5), 2, Generation(9), 1000, bytes(range(32)), 77)
SAMPLE = Found(3, 3 * PAGE, [RecordHead(REPLICA, 2, Place(3, 8192), b"12345678", PAGE, 1112, HELD)], gone=PAGE)
GOLDEN = (
    "01444658 00000003 3132333435363738 0000000000003000 0000000000001000 00000001 00000002"
    "00002000 00000458 0000000000000005 00000002 0000000000000009 000000000000004d 000003e8"
    "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
)


class SummaryTests(PackedCase):
    """The first segment has replicas 1 to 3, and a summary after the first restart."""

    def setUp(self) -> None:
        super().setUp()
        self.put(1, 2, 3)
        self.restart()

    def summary(self) -> bytes:
        file = self.disk.open(self.layout.summary(1))
        return file.pread(file.size(), 0)

    def unscanned(self) -> list[int]:
        """What a start lists that looks through no segment."""

        def refuse(*arguments: object) -> None:
            raise AssertionError("a segment is looked through")

        patch = self.patch(segmentscan, "scan", refuse)
        self.restart()
        patch.restore()
        return self.held()

    def test_golden(self) -> None:
        """The bytes are those of doc/formats-chunk.md (S39)."""
        body = bytes.fromhex(GOLDEN)
        content = body + crc32c(body).to_bytes(4, "big")
        self.assertEqual(summaries.encode(SAMPLE, b"12345678"), content)
        self.assertEqual(summaries.decode(content, SEGMENT, 3 * PAGE), SAMPLE)

    def test_another_segments(self) -> None:
        """A summary of another segment, of another nonce or length, and one that is flipped or cut, is none."""
        content = summaries.encode(SAMPLE, b"12345678")
        for other in (SegmentHead(4, bytes(16), b"12345678"), SegmentHead(3, bytes(16), b"12345679")):
            self.assertIsNone(summaries.decode(content, other, 3 * PAGE))
        self.assertIsNone(summaries.decode(content, SEGMENT, 4 * PAGE))
        for at in range(len(content)):
            self.assertIsNone(summaries.decode(content[:at], SEGMENT, 3 * PAGE), at)
            for bit in range(8):
                flipped = bytearray(content)
                flipped[at] ^= 1 << bit
                self.assertIsNone(summaries.decode(bytes(flipped), SEGMENT, 3 * PAGE), (at, bit))

    def test_start(self) -> None:
        """A start takes what a summary says, places, numbers and bytes, and looks through nothing."""
        before = self.store.index.page(b"", 10)[0]
        self.assertEqual(self.unscanned(), [1, 2, 3])
        self.assertEqual(self.store.index.page(b"", 10)[0], before)
        self.assertTrue(all(self.holds(file_id) for file_id in (1, 2, 3)))
        self.run_now(self.store.delete(ref(2)))
        self.restart()
        self.assertEqual(self.held(), [1, 3])

    def test_flipped_on_disk(self) -> None:
        """A summary that rotted is not believed; the segment is looked through and gets another (S11)."""
        self.disk.flip_bits(self.layout.summary(1), 60)
        self.restart()
        self.assertTrue(all(self.holds(file_id) for file_id in (1, 2, 3)))
        self.assertEqual(self.unscanned(), [1, 2, 3])

    def test_not_for_damage(self) -> None:
        """A segment with a bad place has no summary, so that every start tells of it."""
        self.run_now(self.store.delete(ref(3)))
        self.disk.flip_bits(self.segment(), 2 * PAGE)
        for _ in range(2):
            self.restart()
            self.assertEqual((self.held(), self.report.damaged), ([1], 1))
            self.assertFalse(self.disk.exists(self.layout.summary(1)))
        self.flushLoggedErrors()

    def test_newer_segment(self) -> None:
        """A segment that a newer program wrote refuses the start with a sentence, with a summary too (S39)."""
        self.assertTrue(self.disk.exists(self.layout.summary(1)))
        head = bytes([records.VERSION + 1]) + self.content()[1:32]
        self.disk.open(self.segment()).pwrite([head + crc32c(head).to_bytes(4, "big")], 0)
        self.disk.end_process()
        failure = self.failureResultOf(Deferred.fromCoroutine(open_packed(self.disk)), RefusedStart)
        self.assertIn("newer", str(failure.value))

    def test_full_disk(self) -> None:
        """Without room for a summary a start goes on without one (S21)."""
        self.run_now(self.store.delete(ref(3)))
        self.disk.inject("pwrite", self.layout.summary(1), DiskFull, 28, count=None)
        self.restart()
        self.assertEqual(self.held(), [1, 2])
        self.restart()
        self.assertEqual(self.held(), [1, 2])

    def test_every_step_of_a_delete(self) -> None:
        """A power cut at any operation of a removal from a segment with a summary leaves the replica whole or absent,
        absent if it was answered, at this start and the next (S09, S15)."""
        outcomes = set()
        for count in range(1, 40):
            for seed in range(5):
                self.disk, threads = SimulatedDisk(), DyingThreads()
                self.store = self.start()
                self.put(1, 2)
                self.disk.end_process()
                self.store = self.start(threads)
                self.assertTrue(self.disk.exists(self.layout.summary(1)))
                self.store.numbers.settle(self.run_now(self.store.numbers.take()))  # numbers are reserved
                self.disk.crash_at(count)
                deleted = Deferred.fromCoroutine(self.store.delete(ref(2)))
                answered = bool(deleted.called)
                self.disk.crash(Random(100 * count + seed))
                self.store = self.start()
                there = self.holds(2)
                self.assertFalse(there and answered, (count, seed))
                self.assertTrue(self.holds(1))
                self.restart()
                self.assertEqual(self.holds(2), there, (count, seed))
                outcomes.add((there, answered))
            if not threads.dead:
                self.assertLessEqual({(True, False), (False, True)}, outcomes)
                return
        self.fail("the removal never ended")

    def test_in_the_background(self) -> None:
        """A segment that is full, or was marked, gets its summary from a process that goes on for long."""
        clock = Clock()
        compactor = Compactor(fake_runtime(clock), self.store, interval=1.0)
        compactor.start()
        self.addCleanup(lambda: self.run_now(compactor.stop()))
        self.run_now(self.store.delete(ref(3)))
        self.assertFalse(self.disk.exists(self.layout.summary(1)))
        clock.advance(1.0)
        self.assertTrue(self.disk.exists(self.layout.summary(1)))
        self.assertEqual(self.run_now(self.store.packing.summarise()), 0)
        self.assertEqual(self.unscanned(), [1, 2])
