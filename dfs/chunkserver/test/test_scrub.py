"""The scrub: its order and pace, its file, and what it finds."""

from __future__ import annotations

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from dfs.chunkserver import footer as footers
from dfs.chunkserver import scrubbing, scrubpass
from dfs.chunkserver.damage import Damage
from dfs.chunkserver.reading import Wanted, read_footer
from dfs.chunkserver.scrubbing import Scrubber
from dfs.chunkserver.scrubpass import IDLE_RATE, MAX_RATE, SLOT, Pass
from dfs.chunkserver.test.fakes import content_of, fake_runtime
from dfs.chunkserver.test.storecase import StoreCase
from dfs.disk.errors import DiskError
from dfs.protocol.messages import DamageKind
from dfs.protocol.values import PIECE, ChunkRef, FileId, Generation
from dfs.simulation.disk import SimulatedDisk

PERIOD = 1000.0
U64 = st.integers(0, 2**64 - 1)


def ref(index: int) -> ChunkRef:
    return ChunkRef(FileId(1), index, Generation(1))


class PaceTests(SynchronousTestCase):
    def test_rate(self) -> None:
        """S11: with clients at work the scrub takes what the period demands and no more; in quiet it goes ahead; it is
        never faster than its limit, nor still."""
        gib = 1 << 30
        self.assertEqual(scrubpass.rate(9 * gib, 0.0, 1e6, busy=True), 9 * gib / 9e5)
        self.assertEqual(scrubpass.rate(9 * gib, 0.0, 1e6, busy=False), IDLE_RATE)
        self.assertEqual(scrubpass.rate(9000 * gib, 0.0, 1e6, busy=True), 9000 * gib / 9e5)
        self.assertEqual(scrubpass.rate(9000 * gib, 2e6, 1e6, busy=True), MAX_RATE)
        self.assertEqual(scrubpass.rate(0, 0.0, 1e6, busy=True), 1.0)


class CursorTests(SynchronousTestCase):
    @given(U64, U64, U64, st.integers(0, 2**50), U64, st.integers(0, 52 * 8 - 1))
    def test_slot(self, number: int, top: int, left: int, elapsed_ms: int, done: int, bit: int) -> None:
        """A pass comes back from its slot as it was; a slot with any flipped bit is no slot."""
        state = Pass(number, top, left, elapsed_ms / 1000, done)
        slot = scrubpass.encode_slot(state)
        self.assertEqual(scrubpass.decode_slot(slot), state)
        spoiled = bytearray(slot)
        spoiled[bit // 8] ^= 1 << bit % 8
        self.assertIsNone(scrubpass.decode_slot(bytes(spoiled)))

    def test_golden(self) -> None:
        """The bytes of version 1."""
        slot = scrubpass.encode_slot(Pass(2, 300, 40, 5.5, 6))
        golden = "014446560000000000000000000000020000000000" "00012c0000000000000028000000000000157c0000000000000006"
        self.assertEqual(slot[:48].hex(), golden)
        self.assertEqual((len(slot), slot[52:]), (SLOT, bytes(SLOT - 52)))

    def test_torn_write(self) -> None:
        """S09: slots are written in turn, so a torn one leaves the one before it."""
        disk = SimulatedDisk()
        disk.make_folders("/d")
        self.assertEqual(scrubpass.load(disk, "/d/scrub"), (None, 0))
        first, second = Pass(1, 9, 5, 1.0, 10), Pass(1, 9, 4, 2.0, 20)
        scrubpass.save(disk, "/d/scrub", first, 0)
        scrubpass.save(disk, "/d/scrub", second, 1)
        self.assertEqual(scrubpass.load(disk, "/d/scrub"), (second, 0))
        disk.flip_bits("/d/scrub", SLOT + 20)
        self.assertEqual(scrubpass.load(disk, "/d/scrub"), (first, 1))


class ScrubTests(StoreCase):
    def setUp(self) -> None:
        super().setUp()
        self.clock = Clock()
        self.runtime = fake_runtime(self.clock, self.threads)
        self.store = self.reopened()
        self.busy = False
        self.told: list[Damage] = []
        self.seen: list[int] = []

    def scrubber(self) -> Scrubber:
        """A process with its scrub; ``seen`` gets the indexes of the chunks that it opens."""
        self.store = self.reopened()
        self.store.doubts.on_damage = self.told.append
        real = self.store.open_reader

        async def open_reader(ref: ChunkRef, wanted: Wanted | None = None) -> object:
            self.seen.append(ref.index)
            return await real(ref, wanted)

        self.patch(self.store, "open_reader", open_reader)
        scrubber = Scrubber(self.runtime, self.store, PERIOD, lambda: self.busy)
        scrubber.start()
        return scrubber

    def stop(self, scrubber: Scrubber) -> None:
        self.successResultOf(Deferred.fromCoroutine(scrubber.stop()))

    def pump(self, seconds: float, step: float = 0.25) -> None:
        self.clock.pump([step] * int(seconds / step))

    def test_newest_first(self) -> None:
        """S11: a pass reads every replica once, the most recently written first, and the next one comes a period
        later."""
        self.patch(scrubbing, "BATCH", 3)
        self.patch(scrubbing, "SLICE", 2)
        order = [3, 0, 6, 1, 5, 2, 4]
        for index in order:
            self.put(ref(index))
        scrubber = self.scrubber()
        self.pump(60)
        self.assertEqual(self.seen, order[::-1])
        self.assertEqual(scrubber.progress, (7 * (3 * PIECE + 5),) * 2)
        self.pump(PERIOD - 70, 5.0)
        self.assertEqual(len(self.seen), 7)
        self.pump(80)
        self.assertEqual(self.seen, order[::-1] * 2)
        self.stop(scrubber)

    def test_goes_on_after_a_restart(self) -> None:
        """S11: a restart in the middle of a pass goes on where it stood; replicas that are new wait for the next
        pass."""
        for index in range(20):
            self.put(ref(index), content_of(PIECE))
        self.busy = True
        scrubber = self.scrubber()
        self.pump(300)
        self.stop(scrubber)
        first, self.seen = self.seen, []
        self.assertTrue(3 < len(first) < 15, len(first))
        self.put(ref(99))
        self.busy = False
        scrubber = self.scrubber()
        self.pump(30)
        self.stop(scrubber)
        self.assertEqual(self.seen[0], first[-1])  # that one was not read to its end
        self.assertEqual(sorted({*first, *self.seen}), list(range(20)))
        self.assertLessEqual(len(first) + len(self.seen), 21)

    def test_finds_rot(self) -> None:
        """S11: rot and a vanished file are found without any reader, told with the offset of the bad piece, and the
        pass goes on."""
        for index in range(4):
            self.put(ref(index))
        self.spoil(2 * PIECE + 1, ref(2))
        scrubber = self.scrubber()
        self.disk.unlink(self.layout.path(ref(1)))
        self.pump(60)
        told = [(damage.replica.index, damage.kind, damage.offset) for damage in self.told]
        self.assertEqual(told, [(2, DamageKind.CORRUPT, 2 * PIECE), (1, DamageKind.MISSING, None)])
        self.assertEqual(self.seen, [3, 2, 1, 0])
        self.stop(scrubber)
        self.flushLoggedErrors()

    def test_wrong_sum_of_right_pieces(self) -> None:
        """S07: pieces that all match their checksums and are not the chunk that was hashed are found by the scrub."""
        self.put(ref(0))
        self.respell(ref(0))
        scrubber = self.scrubber()
        self.pump(30)
        self.assertEqual([damage.kind for damage in self.told], [DamageKind.CORRUPT])
        self.stop(scrubber)
        self.flushLoggedErrors()

    def respell(self, which: ChunkRef) -> None:
        """Give a replica's footer another SHA-256 and a right checksum."""
        file = self.disk.open(self.layout.path(which))
        footer = read_footer(file)
        file.pwrite([footers.encode(evolve(footer, sha256=b"\x01" * 32))], footer.length)
        file.close()

    def test_yields(self) -> None:
        """S11: while clients are at work the scrub reads no faster than its period demands; when they stop it speeds
        up within seconds."""
        for index in range(30):
            self.put(ref(index), content_of(PIECE))
        self.busy = True
        scrubber = self.scrubber()
        self.pump(90)
        self.assertTrue(2 <= len(self.seen) <= 5, len(self.seen))
        self.busy = False
        self.pump(10)
        self.assertEqual(len(self.seen), 30)
        self.stop(scrubber)

    def test_errors_of_the_disk(self) -> None:
        """S11: a disk that cannot open files for a while ends no pass and condemns nothing."""
        for index in range(3):
            self.put(ref(index))
        scrubber = self.scrubber()
        self.disk.fail("pread", DiskError("/x", "no memory", 12))
        self.pump(20)
        del self.disk.faults["pread"]
        self.assertEqual((self.told, len(self.store.index)), ([], 3))
        self.pump(PERIOD + 100, 5.0)
        self.assertEqual(self.seen[-3:], [2, 1, 0])
        self.stop(scrubber)
        self.flushLoggedErrors()
