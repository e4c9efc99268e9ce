"""The quarantine: names, ages, verdicts, and replicas that are served again."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from dfs.chunkserver.keeping import Keeper
from dfs.chunkserver.quarantine import Entry, parse
from dfs.chunkserver.test.fakes import CLUSTER, REF, fake_runtime, sha256_of
from dfs.chunkserver.test.storecase import CONTENT, StoreCase
from dfs.disk.real import RealDisk
from dfs.protocol.errors import Forbidden, ReplicaCorrupt, ReplicaNotFound, Unavailable
from dfs.protocol.messages import HeldReplica, QuarantineVerdict, SetAside
from dfs.protocol.values import HISTORY_SHIFT, ChunkRef, FileId, Generation, chunk_id

KEEP, ADMIT, DELETE = QuarantineVerdict.KEEP, QuarantineVerdict.ADMIT, QuarantineVerdict.DELETE
PERIOD = 80.0
OTHER = ChunkRef(FileId(8), 1, Generation(5))


class KeepingCase(StoreCase):
    def setUp(self) -> None:
        super().setUp()
        self.clock = Clock()
        self.runtime = fake_runtime(self.clock, self.threads)
        self.now_ms = 5_000
        self.verdict = KEEP
        self.asked: list[SetAside] = []
        self.served: list[HeldReplica] = []
        self.restart()

    def restart(self) -> None:
        """A new process on the folder."""
        self.store = self.reopened()
        self.store.time_ms = lambda: self.now_ms

        async def ask(offers: tuple[SetAside, ...]) -> Sequence[QuarantineVerdict]:
            self.asked += offers
            return [self.verdict] * len(offers)

        self.keeper = Keeper(self.runtime, "chunk-1", self.store, PERIOD, ask, self.served.append)

    def age(self, seconds: float) -> None:
        """So long later, the rounds of that time are over."""
        for _ in range(int(seconds / 10)):
            self.now_ms += 10_000
            self.clock.advance(10.0)
            self.successResultOf(Deferred.fromCoroutine(self.keeper.round()))

    def aside(self, ref: ChunkRef = REF, rotten: bool = False) -> HeldReplica:
        """A replica in quarantine, whole or rotten."""
        held = self.put(ref)
        if rotten:
            self.spoil(5, ref)
        self.successResultOf(Deferred.fromCoroutine(self.store.trim(ref, held.number, "surplus")))
        return held

    def files(self) -> list[str]:
        """Names in the quarantine on disk."""
        return RealDisk().list_folder(self.layout.quarantine)


class NameTests(KeepingCase):
    def test_every_name(self) -> None:
        """A name says why, when and of which chunk a file came; older and foreign names are taken as they are."""
        was = f"{chunk_id(CLUSTER, REF.file_id, REF.index).hex()}.11.chunk"
        tail = "0123456789abcdef"
        name = f"{was}.surplus.77.7-3.{tail}"
        self.assertEqual(parse(name, 9), Entry(name, was, "surplus", 77, REF, 9))
        name = f"{was}.truncated.0.x.{tail}"
        self.assertEqual(parse(name, 9), Entry(name, was, "truncated", 0, None, 9))
        name = f"{was}.corrupt.{tail}"
        self.assertEqual(parse(name, 9), Entry(name, was, "corrupt", 0, None, 9))
        for name in ("", "a", "a.b", f".surplus.1.1-1.{tail}", f"x.surplus.1.1-1.{tail}", "é" * 80):
            self.assertIsNone(parse(name, 1).ref)

    def test_found_again(self) -> None:
        """Reason, time, chunk and length are the same after a restart, and the space is counted (S09)."""
        self.aside()
        (before,) = self.store.quarantine.all()
        self.assertEqual((before.reason, before.at_ms, before.ref), ("surplus", 5_000, REF))
        self.restart()
        self.assertEqual(self.store.quarantine.all(), [before])
        self.assertEqual((self.store.quarantine.bytes, self.store.quarantined), (before.length, 1))
        self.assertGreater(before.length, len(CONTENT))

    def test_unknown_time(self) -> None:
        """What came before the server knew the time begins to age when it does, and not before."""
        self.now_ms = 0
        self.aside()
        self.age(0)
        self.now_ms = 1_000_000
        self.verdict = DELETE
        self.age(PERIOD - 10)
        self.assertEqual(len(self.files()), 1)
        self.age(30)
        self.assertEqual(self.files(), [])


class VerdictTests(KeepingCase):
    def test_deleted_after_its_time(self) -> None:
        """S16: what is set aside stays for its time whatever metadata says, and then goes on metadata's word."""
        self.aside()
        self.verdict = DELETE
        self.age(PERIOD - 10)
        self.assertEqual(len(self.files()), 1)
        self.assertNotIn(True, [offer.expired for offer in self.asked])
        self.age(20)
        self.assertEqual((self.files(), self.store.quarantine.bytes), ([], 0))

    def test_kept_without_leave(self) -> None:
        """S16: without metadata's leave it stays, however old it is; so does what nobody can name."""
        self.aside()
        foreign = self.disk.open(f"{self.layout.quarantine}/stranger", create=True)
        foreign.close()
        self.restart()
        self.age(PERIOD * 10)
        self.assertTrue(self.asked[-1].expired)
        self.assertEqual(len(self.files()), 2)
        self.assertLess(len(self.asked), 40)  # it is looked at less and less often

    def test_unreachable_metadata(self) -> None:
        """S16: while nobody answers, nothing goes."""
        self.aside()

        async def ask(offers: tuple[SetAside, ...]) -> Sequence[QuarantineVerdict]:
            raise Unavailable("no leader")

        self.keeper = Keeper(self.runtime, "chunk-1", self.store, PERIOD, ask, self.served.append)
        self.keeper.start()
        self.now_ms += 10 * int(PERIOD * 1000)
        self.clock.pump([1.0] * 100)
        self.assertEqual(len(self.files()), 1)

    def test_whole_is_admitted(self) -> None:
        """S11: a replica that is whole after all is served again when metadata wants it, under a new number, and what
        was set aside goes only then."""
        held = self.aside()
        self.verdict = ADMIT
        self.age(30)
        (again,) = self.served
        self.assertEqual(self.store.index.get(REF), again)
        self.assertGreater(again.number, held.number)
        self.assertEqual((self.read(), self.files()), (CONTENT, []))
        self.assertTrue(self.asked[0].whole)

    def test_rotten_is_not_admitted(self) -> None:
        """S07, S11: what is not whole is never served again, whatever metadata says."""
        self.aside(rotten=True)
        self.verdict = ADMIT
        self.age(PERIOD * 2)
        self.assertEqual({offer.whole for offer in self.asked}, {False})
        self.assertEqual((self.served, self.store.index.get(REF), len(self.files())), ([], None, 1))

    def test_duplicate_of_what_is_listed(self) -> None:
        """S16: where the same replica was made anew here, what was set aside goes after its time, if the new one is
        whole; else it stays."""
        for rotten in (False, True):
            self.aside()
            self.put()
            if rotten:
                self.spoil(5)
            self.age(PERIOD + 20)
            self.assertEqual(self.asked[:1] if not rotten else [], [])
            self.assertEqual(len(self.files()), 2 if rotten else 0)
        self.flushLoggedErrors()


class OrderTests(KeepingCase):
    def restored(self, sha256: bytes = sha256_of(CONTENT)) -> Deferred[HeldReplica]:
        return Deferred.fromCoroutine(self.keeper.restore(REF, sha256))

    def test_restore(self) -> None:
        """S17: a trimmed replica is served again under a new number, also where the trim never came; then the order to
        trim the old number reaches nothing."""
        numbers = {self.aside().number}
        for _ in range(2):
            held = self.successResultOf(self.restored())
            self.assertNotIn(held.number, numbers)
            self.assertEqual((self.read(), self.files()), (CONTENT, []))
            for number in numbers:
                self.failureResultOf(Deferred.fromCoroutine(self.store.trim(REF, number, "surplus")), Forbidden)
            numbers.add(held.number)
        self.restart()
        self.assertEqual(self.store.index.get(REF), held)

    def test_restore_refuses(self) -> None:
        """S07: other bytes than the committed ones, rotten ones and absent ones are not served again."""
        self.failureResultOf(self.restored(), ReplicaNotFound)
        self.aside()
        self.failureResultOf(self.restored(b"\x01" * 32), ReplicaCorrupt)
        self.successResultOf(self.restored())
        held = self.store.index.get(REF)
        assert held is not None
        self.spoil(5)
        self.failureResultOf(self.restored(), ReplicaNotFound)
        self.assertEqual(len(self.files()), 1)

    def test_garbage(self) -> None:
        """S15, S16: the end of a file takes what is set aside of it too, up to the bound and of its history only."""
        old = Generation((1 << HISTORY_SHIFT) + 7)
        refs = [ChunkRef(FileId(7), 3, generation) for generation in (Generation(11), Generation(12), old)]
        for ref in (*refs, OTHER):
            self.aside(ref)
        self.successResultOf(Deferred.fromCoroutine(self.keeper.garbage(FileId(7), 3, Generation(11))))
        self.assertEqual([entry.ref for entry in self.store.quarantine.all()], [*refs[1:], OTHER])
        self.restart()
        self.assertEqual(len(self.store.quarantine), 3)
