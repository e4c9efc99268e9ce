"""Small replicas in segments: stored, read, taken away, found again."""

from __future__ import annotations

import errno

from attrs import evolve
from twisted.internet.defer import Deferred

from dfs.chunkserver import groups, records, segmentscan, summaries
from dfs.chunkserver.damage import Damage
from dfs.chunkserver.errors import RefusedStart
from dfs.chunkserver.handles import Writing
from dfs.chunkserver.identity import read
from dfs.chunkserver.layout import Layout
from dfs.chunkserver.records import BODY, PAGE, SMALL, Place
from dfs.chunkserver.segments import SmallPut
from dfs.chunkserver.smallputs import SmallWriting
from dfs.chunkserver.test.fakes import InlineThreads, blocks_of, put, sha256_of
from dfs.chunkserver.test.packed import PACK, ROOT, PackedCase, bytes_of, open_packed, ref, small
from dfs.chunkserver.test.test_crash import keeper_of
from dfs.chunkserver.writing import WriteRules
from dfs.disk.errors import DiskFull
from dfs.protocol.errors import (
    Busy,
    DFSError,
    DiskFailed,
    NoSpace,
    ReplicaCorrupt,
    ReplicaNotFound,
    StaleGeneration,
)
from dfs.protocol.interfaces import Block
from dfs.protocol.messages import HeldReplica
from dfs.protocol.values import Description, Label
from dfs.simulation.disk import SimulatedDisk


class StoreTests(PackedCase):
    def syncs(self) -> int:
        return self.store.packing.groups.syncs

    def test_small_is_packed(self) -> None:
        """Chunks of up to 64 KiB go into a segment and are read back with the client's checksums; longer ones, known to
        be so or not, get a file of their own (S07)."""
        for file_id, length in ((1, 0), (2, 1), (3, SMALL), (4, SMALL + 1)):
            content = bytes_of(file_id, length)
            writing = self.store.begin(ref(file_id), 1 << 20, length if file_id % 2 else None)
            self.run_now(writing.finish(blocks_of(content), length, sha256_of(content)))
            reading = self.run_now(self.store.open_reader(ref(file_id)))
            blocks = self.run_now(reading.read(0, length)) if length else []
            reading.close()
            self.assertEqual(b"".join(bytes(view) for block in blocks for view in block.pieces), content)
            self.assertEqual([block.crcs for block in blocks], [block.crcs for block in blocks_of(content)])
        places = [self.store.index.place(ref(file_id)) for file_id in (1, 2, 3, 4)]
        self.assertEqual(places, [Place(1, PAGE), Place(1, 2 * PAGE), Place(1, 3 * PAGE), None])

    def test_stream_in_parts(self) -> None:
        """A chunk whose length nobody knew goes over to a file with its first bytes when it becomes too long; a short
        one stays in memory until its end."""
        content = bytes_of(1, 3 * SMALL + 5)
        writing = self.store.begin(ref(1), 1 << 20, None)
        for block in blocks_of(content, size=SMALL):
            self.run_now(appended(writing, block))
        self.run_now(writing.finish((), len(content), sha256_of(content)))
        self.assertEqual(self.run_now(self.store.verify(ref(1))).length, len(content))
        self.assertIsNone(self.store.index.place(ref(1)))
        self.assertEqual(self.disk.list_folder(self.layout.segments), [])

    def test_refused(self) -> None:
        """Bytes that are not what the client sent are not stored, whatever is wrong with them, and cost nobody else in
        the group his put (S07)."""
        good, bad = small(1), small(2)
        wrong = [
            SmallPut(bad.ref, bad.content, (bad.crcs[0] ^ 1,), bad.sha256),
            SmallPut(bad.ref, bad.content, bad.crcs, good.sha256),
            SmallPut(bad.ref, bad.content, (), bad.sha256),
        ]
        outcomes = self.successResultOf(self.store.put_small([*wrong[:1], good, *wrong[1:]]))
        kinds = [type(outcome) for outcome in outcomes]
        self.assertEqual(kinds, [ReplicaCorrupt, HeldReplica, ReplicaCorrupt, ReplicaCorrupt])
        self.restart()
        self.assertEqual(self.held(), [1])

    def test_group(self) -> None:
        """What comes while a sync is under way shares the next one; each hears of its own, and the inventory claims no
        number that is under way (S05, S06)."""
        threads = InlineThreads()
        self.disk.end_process()
        self.store = self.start(threads)
        first = self.successResultOf(self.store.put_small([small(1)]))
        threads.held = True
        done = [self.store.put_small([small(file_id)]) for file_id in range(2, 30)]
        before = self.syncs()
        self.assertNoResult(done[0])
        self.assertIsInstance(first[0], HeldReplica)
        self.assertEqual(self.store.number, first[0].number)  # type: ignore[union-attr]
        threads.release()  # the first of them alone
        self.assertIsInstance(self.successResultOf(done[0])[0], HeldReplica)
        self.assertNoResult(done[1])
        threads.release()
        self.assertEqual(self.syncs() - before, 1)
        for each in done[1:]:
            self.assertIsInstance(self.successResultOf(each)[0], HeldReplica)
        self.assertEqual(self.held(), list(range(1, 30)))

    def test_at_rest(self) -> None:
        """The store is at rest when what waits behind a sync is done as well, and nothing begins after that: another
        process may have the folder then (S19)."""
        threads = InlineThreads()
        self.disk.end_process()
        self.store = self.start(threads)
        self.put(9)
        threads.held = True
        done = [self.store.put_small([small(file_id)]) for file_id in (1, 2)]
        resting = self.store.idle()
        threads.release()
        self.clock.advance(0)
        self.successResultOf(done[0])
        self.assertNoResult(resting)
        threads.release()
        self.clock.advance(0)
        self.successResultOf(done[1])
        self.successResultOf(resting)
        self.assertEqual(threads.waiting, [])

    def test_put_again(self) -> None:
        """The same generation with the same bytes is answered with the same number, with others refused (S08)."""
        first, again, other = (
            self.successResultOf(self.store.put_small([each]))[0]
            for each in (small(1), small(1), SmallPut(ref(1), *small_fields(2)))
        )
        self.assertEqual(first, again)
        self.assertIsInstance(other, StaleGeneration)

    def test_restart(self) -> None:
        """A start lists what was there, with the same numbers, and goes on in a segment of its own (S05, S06)."""
        self.put(1, 2, 3)
        before = self.store.index.page(b"", 10)[0]
        self.restart()
        self.assertEqual(self.store.index.page(b"", 10)[0], before)
        self.assertEqual((self.report.replicas, self.report.damaged), (3, 0))
        self.put(4)
        self.assertEqual(self.store.index.place(ref(4)), Place(2, PAGE))
        self.assertGreater(self.store.number, before[-1].number)
        self.restart()
        self.assertTrue(all(self.holds(file_id) for file_id in (1, 2, 3, 4)))

    def test_off_again(self) -> None:
        """Where nothing is packed any more, what was packed is served and removed; new ones get files."""
        self.put(1, 2)
        self.disk.end_process()
        self.store = self.start(rules=WriteRules(reserve=0))
        self.put(3)
        self.assertIsInstance(self.successResultOf(self.store.put_small([small(4)]))[0], HeldReplica)
        self.assertEqual([self.holds(file_id) for file_id in (1, 2, 3, 4)], [True] * 4)
        self.assertIsNone(self.store.index.place(ref(3)))
        self.run_now(self.store.delete(ref(1)))
        self.restart()
        self.assertEqual(self.held(), [2, 3, 4])

    def test_identity(self) -> None:
        """A folder that may have segments says so in its identity before it has one, so that a program that knows none
        refuses it; one without stays as it was (S39)."""
        disk = SimulatedDisk()
        self.run_now(open_packed(disk, rules=WriteRules(reserve=0)))
        self.assertEqual((read(disk, ROOT).version, disk.exists(self.layout.segments)), (1, False))
        disk.end_process()
        self.run_now(open_packed(disk))
        self.assertEqual((read(disk, ROOT).version, disk.exists(self.layout.segments)), (2, True))

    def test_delete(self) -> None:
        """A removed replica is gone, also after a start, and its neighbours stay; a removal needs no free space (S15,
        S21)."""
        self.put(1, 2, 3)
        self.disk.capacity = self.disk.used
        number = self.run_now(self.store.delete(ref(2)))
        self.assertEqual(self.store.number, number)
        self.failureResultOf(Deferred.fromCoroutine(self.store.open_reader(ref(2))), ReplicaNotFound)
        self.restart()
        self.assertEqual(self.held(), [1, 3])
        self.assertTrue(self.holds(1) and self.holds(3))

    def test_trim_and_restore(self) -> None:
        """A trimmed replica is kept in the quarantine, with its bytes, and served again from there under a new number
        (S16, S17)."""
        self.put(1, 2)
        former = self.store.index.get(ref(1))
        assert former is not None
        self.run_now(self.store.trim(ref(1), former.number, "surplus"))
        self.assertEqual((self.held(), self.store.quarantined), ([2], 1))
        self.restart()
        self.assertEqual((self.held(), self.store.quarantined), ([2], 1))
        again = self.run_now(keeper_of(self.store).restore(ref(1), former.sha256))
        self.assertGreater(again.number, former.number)
        self.assertEqual((self.holds(1), self.store.quarantined), (True, 0))

    def test_trim_on_a_full_disk(self) -> None:
        """Without room for a copy a trim is refused, the replica stays, and nothing half is left (S17, S21)."""
        self.put(1)
        held = self.store.index.get(ref(1))
        assert held is not None
        self.disk.capacity = self.disk.used + 500
        self.failureResultOf(Deferred.fromCoroutine(self.store.trim(ref(1), held.number, "surplus")), NoSpace)
        self.assertTrue(self.holds(1))
        self.assertEqual(self.disk.list_folder(self.layout.quarantine), [])

    def test_rot(self) -> None:
        """A record that rotted is never served; it is told with its offset and set aside, and nobody else suffers
        (S11)."""
        self.put(1, 2)
        told: list[Damage] = []
        self.store.doubts.on_damage = told.append
        self.disk.flip_bits(self.segment(), self.offset(1) + 200)
        reading = self.run_now(self.store.open_reader(ref(1)))
        self.failureResultOf(Deferred.fromCoroutine(reading.read(0, 1000)), ReplicaCorrupt)
        self.assertEqual([(damage.replica.file_id, damage.offset) for damage in told], [(1, 0)])
        self.assertEqual((self.held(), self.store.quarantined), ([2], 1))
        self.restart()
        self.assertEqual((self.held(), self.store.quarantined), ([2], 1))
        self.flushLoggedErrors()

    def test_rotten_head(self) -> None:
        """So is one whose head rotted; its bytes are in the quarantine."""
        self.put(1, 2)
        self.disk.flip_bits(self.segment(), self.offset(1) + 20)
        self.failureResultOf(Deferred.fromCoroutine(self.store.verify(ref(1))), ReplicaCorrupt)
        self.assertEqual((self.held(), self.store.quarantined), ([2], 1))
        entry = self.store.quarantine.of(ref(1))[0]
        kept = self.disk.open(f"{self.layout.quarantine}/{entry.name}", writable=False)
        self.assertEqual(kept.pread(1000, 0), bytes_of(1))
        self.flushLoggedErrors()

    def test_rotten_head_of_a_named_file(self) -> None:
        """What is kept of a record whose head rotted is whole, with all that its footer says, so that it can be served
        again: nobody else may have the chunk (S11, S17)."""
        described = Description(Label("a file's name", 1000, 1 << 16, 2), True, 5)
        self.successResultOf(self.store.put_small([evolve(small(1), description=described), small(2)]))
        self.disk.flip_bits(self.segment(), self.offset(1) + 20)
        self.failureResultOf(Deferred.fromCoroutine(self.store.verify(ref(1))), ReplicaCorrupt)
        again = self.run_now(keeper_of(self.store).restore(ref(1), sha256_of(bytes_of(1))))
        self.assertEqual((again, self.holds(1)), (self.store.index.get(ref(1)), True))
        self.assertEqual(self.run_now(self.store.verify(ref(1))).description, described)
        self.flushLoggedErrors()

    def test_unreadable(self) -> None:
        """A record that the disk does not read is set aside in its place, over restarts, and the disk is not given up;
        as soon as it can be read it is in the quarantine, where it is offered and served again (S11)."""
        self.put(1, 2)
        before = self.store.index.get(ref(1))
        assert before is not None
        at = self.offset(1)
        fault = self.disk.inject("pread", self.segment(), count=None, area=(at + BODY, at + BODY + 1))
        failure = Deferred.fromCoroutine(self.store.verify(ref(1)))
        self.failureResultOf(failure, DiskFailed)
        self.assertEqual((self.held(), self.store.failure, self.holds(2)), ([2], "", True))
        self.restart()
        keeper = keeper_of(self.store)
        self.store.time_ms = lambda: 1000
        self.run_now(keeper.round())
        self.assertEqual((self.held(), self.store.quarantined), ([2], 0))
        self.disk.recover(fault)
        self.run_now(keeper.round())
        self.assertEqual((self.held(), self.store.quarantined, self.store.packing.unread), ([2], 1, {}))
        self.restart()
        self.assertEqual((self.held(), self.store.quarantined), ([2], 1))
        self.run_now(keeper_of(self.store).restore(ref(1), before.sha256))
        self.assertTrue(self.holds(1))
        self.flushLoggedErrors()

    def test_taken_away(self) -> None:
        """Somebody deletes the segment that is being written: once one of its replicas is missed nothing more goes to
        what has no name, and what is stored then is there at the next start (S11, S05)."""
        self.put(1)
        self.disk.unlink(self.segment())
        self.failureResultOf(Deferred.fromCoroutine(self.store.verify(ref(1))), ReplicaNotFound)
        self.put(2)
        self.restart()
        self.assertEqual(self.held(), [2])
        self.assertTrue(self.holds(2))
        self.flushLoggedErrors()

    def test_full_disk(self) -> None:
        """A group that finds no room is refused, whatever of it was written; what was stored before is whole, and when
        there is room again the next one is stored (S21)."""
        self.put(1)
        self.disk.capacity = self.disk.used + 6000
        outcomes = self.successResultOf(self.store.put_small([small(2), small(3)]))
        self.assertEqual([type(outcome) for outcome in outcomes], [HeldReplica, NoSpace])
        self.disk.capacity = 1 << 30
        self.disk.inject("pwrite", self.segment(), DiskFull, errno.ENOSPC)
        self.assertIsInstance(self.successResultOf(self.store.put_small([small(4)]))[0], NoSpace)
        self.put(5)
        self.restart()
        self.assertEqual((self.held(), self.report.damaged), ([1, 2, 5], 0))
        self.assertTrue(all(self.holds(file_id) for file_id in (1, 2, 5)))

    def test_full_in_the_middle(self) -> None:
        """A write that ran out of space half way leaves nothing behind the last group (S21)."""
        self.put(1)
        before = self.content()
        self.disk.capacity = self.disk.used + 6000
        self.patch(self.store.packing._writer, "room", lambda: 1 << 30)
        outcomes = self.successResultOf(self.store.put_small([small(2), small(3)]))
        self.assertEqual([type(outcome) for outcome in outcomes], [NoSpace, NoSpace])
        self.assertEqual(self.content(), before)

    def test_failed_sync(self) -> None:
        """After a failed sync nobody hears that his replica is durable, nothing more is written, nor what waited, and a
        start refuses before a reboot (S31)."""
        threads = InlineThreads()
        self.disk.end_process()
        self.store = self.start(threads)
        self.put(9)
        threads.held = True
        done = [self.store.put_small([small(file_id)]) for file_id in (1, 2, 3)]
        self.disk.inject("sync", self.layout.segments)
        threads.release()
        length = len(self.content())
        threads.release()
        for each in done:
            self.assertIsInstance(self.successResultOf(each)[0], DiskFailed)
        self.assertEqual((self.held(), len(self.content())), ([9], length))
        self.assertEqual(self.disk.list_folder(self.layout.segments), ["00000001.seg"])
        self.assertTrue(self.store.failure)
        self.disk.end_process()
        self.failureResultOf(Deferred.fromCoroutine(open_packed(self.disk)), RefusedStart)
        self.flushLoggedErrors()

    def test_rotation(self) -> None:
        """A segment has a bounded size: then another begins, also in the middle of a group."""
        self.disk.end_process()
        self.rules = evolve(PACK, segment_size=5 * PAGE)
        self.store = self.start()
        self.successResultOf(self.store.put_small([small(file_id) for file_id in range(1, 12)]))
        self.assertEqual(len(self.disk.list_folder(self.layout.segments)), 3)
        self.restart()
        self.assertEqual(self.held(), list(range(1, 12)))
        self.assertTrue(all(self.holds(file_id) for file_id in range(1, 12)))

    def test_foreign(self) -> None:
        """A segment of another cluster, or a file that is none, refuses the start and nothing is moved (S28)."""
        self.put(1)
        self.disk.end_process()
        file = self.disk.open(f"{self.layout.segments}/notes.txt", create=True)
        file.close()
        self.failureResultOf(Deferred.fromCoroutine(open_packed(self.disk)), RefusedStart)
        self.disk.unlink(f"{self.layout.segments}/notes.txt")
        self.disk.end_process()
        self.assertEqual(self.restart().index.place(ref(1)), Place(1, PAGE))
        theirs = Layout(ROOT, b"another-cluster!")
        self.assertRaises(RefusedStart, segmentscan.scan, self.disk, theirs, 1, True)
        self.assertIsNone(summaries.load(self.disk, theirs, 1))

    def test_newer(self) -> None:
        """A record, or a footer in one, that a newer program wrote refuses the start, and nothing is moved (S39)."""
        self.put(1)
        head = records.decode_head(self.content()[PAGE:], Place(1, PAGE), None)
        assert head is not None
        for changed in (evolve(head, footer_version=99), evolve(head, kind=99)):
            self.disk.end_process()
            file = self.disk.open(self.segment())
            file.pwrite([records.encode_head(changed)], PAGE)
            self.failureResultOf(Deferred.fromCoroutine(open_packed(self.disk)), RefusedStart)
            self.assertEqual(self.disk.list_folder(self.layout.segments), ["00000001.seg"])

    def test_many_wait(self) -> None:
        """Work that waits for the disk is bounded: beyond it the sender hears Busy."""
        self.patch(groups, "WAITING", 3000)
        threads = InlineThreads()
        self.disk.end_process()
        self.store = self.start(threads)
        self.successResultOf(self.store.put_small([small(1)]))
        threads.held = True
        done = self.store.put_small([small(file_id) for file_id in range(2, 8)])
        while threads.waiting:
            threads.release()
        refused = [outcome for outcome in self.successResultOf(done) if isinstance(outcome, DFSError)]
        self.assertEqual([type(outcome) for outcome in refused], [Busy] * 3)

    def test_stored_through_put(self) -> None:
        """The ordinary way in packs as well."""
        self.run_now(put(self.store, ref(1), bytes_of(1)))
        self.assertEqual(self.store.index.place(ref(1)), Place(1, PAGE))
        self.assertEqual(PACK.segments, True)


def small_fields(file_id: int) -> tuple[bytes, tuple[int, ...], bytes]:
    """Of another put's bytes."""
    other = small(file_id)
    return other.content, other.crcs, other.sha256


async def appended(writing: Writing | SmallWriting, block: Block) -> None:
    await writing.append([block])
