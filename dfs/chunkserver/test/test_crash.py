"""Power cuts at every single operation of the disk: a chunk is whole or absent, never half."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from random import Random

from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from dfs.chunkserver import quarantine
from dfs.chunkserver.errors import RefusedStart
from dfs.chunkserver.identity import claim, open_folder
from dfs.chunkserver.keeping import Keeper
from dfs.chunkserver.layout import Layout
from dfs.chunkserver.store import ChunkStore
from dfs.chunkserver.test.fakes import (
    CLUSTER,
    REF,
    RULES,
    InlineThreads,
    blocks_of,
    content_of,
    fake_runtime,
    formatted,
    opened,
    put,
    sha256_of,
)
from dfs.disk.real import RealDisk
from dfs.protocol.errors import DiskFailed
from dfs.protocol.interfaces import Block
from dfs.protocol.messages import QuarantineVerdict, SetAside
from dfs.protocol.values import PIECE, ChunkRef, FileId, Generation
from dfs.runtime.interfaces import ILane, IThreads
from dfs.simulation.disk import SimulatedCrash, SimulatedDisk

ROOT = "/srv/data"
CONTENT = content_of(2 * PIECE + 100)
OTHER = ChunkRef(FileId(8), 0, Generation(1))
MOST = 60
"""More operations than any of the steps here has."""


@implementer(IThreads)
class DyingThreads:
    """Runs calls at once; when the power goes, nothing is ever answered."""

    def __init__(self) -> None:
        self.dead = False

    def run(self, function: Callable[..., object], *arguments: object) -> Deferred[object]:
        try:
            return succeed(function(*arguments))
        except SimulatedCrash:
            self.dead = True
            return Deferred()
        except Exception:
            return fail()

    def lane(self, name: str) -> ILane:
        raise NotImplementedError(name)

    def stop(self) -> Deferred[None]:
        return succeed(None)


def keeper_of(store: ChunkStore) -> Keeper:
    """Whoever decides about the store's quarantine."""

    async def ask(offers: tuple[SetAside, ...]) -> tuple[QuarantineVerdict, ...]:
        return (QuarantineVerdict.KEEP,) * len(offers)

    return Keeper(fake_runtime(), "chunk-1", store, 1.0, ask, lambda held: None)


def number_of(store: ChunkStore) -> int:
    """Of the replica of OTHER."""
    held = store.index.get(OTHER)
    assert held is not None
    return held.number


def trimmed(disk: SimulatedDisk) -> None:
    """Move the replica of OTHER aside, durably, behind the back of whoever has it open."""
    layout = Layout(ROOT, CLUSTER)
    quarantine.set_aside(disk, layout, layout.path(OTHER), "surplus", 1, OTHER, b"12345678")


class CrashTests(SynchronousTestCase):
    def machine(self) -> tuple[SimulatedDisk, ChunkStore, DyingThreads]:
        """A disk with one replica of OTHER, and its store."""
        disk, threads = SimulatedDisk(), DyingThreads()
        store = self.successResultOf(Deferred.fromCoroutine(opened(fake_runtime(threads=threads), disk, ROOT)))
        self.successResultOf(Deferred.fromCoroutine(put(store, OTHER, CONTENT)))
        return disk, store, threads

    def cut(
        self,
        count: int,
        step: Callable[[ChunkStore], Awaitable[object]],
        prepare: Callable[[SimulatedDisk], None] = lambda disk: None,
    ) -> tuple[ChunkStore, bool, bool]:
        """Cut the power in the place of the step's ``count``-th operation; the store after the restart, whether
        the step was answered before, and whether the power went at all."""
        disk, store, threads = self.machine()
        answers: list[object] = []

        async def run() -> None:
            answers.append(await step(store))

        prepare(disk)
        if store.index.get(OTHER) is not None and not disk.exists(Layout(ROOT, CLUSTER).path(OTHER)):
            store = self.successResultOf(Deferred.fromCoroutine(opened(fake_runtime(threads=threads), disk, ROOT)))
        disk.crash_at(count)
        task = Deferred.fromCoroutine(run())
        self.assertIsNotNone(task)
        disk.crash(Random(count))
        after = self.successResultOf(Deferred.fromCoroutine(opened(fake_runtime(), disk, ROOT)))
        return after, bool(answers), threads.dead

    def whole(self, store: ChunkStore, ref: ChunkRef) -> bool:
        """Whether the replica is there; if it is, every byte of it."""
        if store.index.get(ref) is None:
            return False
        footer = self.successResultOf(Deferred.fromCoroutine(store.verify(ref)))
        self.assertEqual(footer.sha256, sha256_of(CONTENT))
        return True

    def test_every_step_of_a_write(self) -> None:
        """A power cut at any operation of a write leaves the chunk whole or absent, and whole if it was
        answered; no temporary file and no number come back (S05, S09)."""
        outcomes = set()
        for count in range(1, MOST):
            store, answered, died = self.cut(count, lambda store: put(store, REF, CONTENT))
            there = self.whole(store, REF)
            self.assertTrue(there or not answered, count)
            self.assertTrue(self.whole(store, OTHER), count)
            self.assertEqual(store.quarantined, 0, count)
            outcomes.add((there, answered))
            self.successResultOf(Deferred.fromCoroutine(put(store, ChunkRef(FileId(9), 0, Generation(1)), CONTENT)))
            numbers = [held.number for held in store.index.page(b"", 10)[0]]
            self.assertEqual(len(set(numbers)), len(numbers))
            if not died:
                break
        else:
            self.fail("the write never ended")
        self.assertLessEqual({(False, False), (True, True)}, outcomes)

    def test_every_step_of_a_delete(self) -> None:
        """A power cut at any operation of a delete leaves the chunk whole or absent, absent if it was answered."""
        for count in range(1, MOST):
            store, answered, died = self.cut(count, lambda store: store.delete(OTHER))
            self.assertFalse(self.whole(store, OTHER) and answered, count)
            if not died:
                break
        else:
            self.fail("the delete never ended")

    def test_every_step_of_a_quarantine(self) -> None:
        """A power cut at any operation of a setting aside loses no file: it is in its place or in the quarantine."""

        def spoil(disk: SimulatedDisk) -> None:
            disk.flip_bits(Layout(ROOT, CLUSTER).path(OTHER), 5)

        for count in range(1, MOST):
            store, _, died = self.cut(count, lambda store: store.doubt(OTHER, "a test"), spoil)
            self.assertEqual((store.index.get(OTHER) is not None) + store.quarantined, 1, count)
            if not died:
                break
        else:
            self.fail("the setting aside never ended")
        self.flushLoggedErrors()

    def test_every_step_of_a_trim(self) -> None:
        """A power cut at any operation of a trim leaves the replica in its place or in the quarantine, and in the
        quarantine if it was answered (S17)."""
        for count in range(1, MOST):
            store, answered, died = self.cut(count, lambda store: store.trim(OTHER, number_of(store), "surplus"))
            listed = self.whole(store, OTHER)
            self.assertEqual(listed + store.quarantined, 1, count)
            self.assertFalse(listed and answered, count)
            if not died:
                break
        else:
            self.fail("the trim never ended")

    def test_every_step_of_an_admission(self) -> None:
        """A power cut at any operation of the way back out of the quarantine leaves the replica whole in its place, if
        that was answered, or in the quarantine; nothing is lost at any step (S17)."""
        outcomes = set()
        for count in range(1, MOST):

            async def restore(store: ChunkStore) -> object:
                return await keeper_of(store).restore(OTHER, sha256_of(CONTENT))

            store, answered, died = self.cut(count, restore, trimmed)
            listed = self.whole(store, OTHER)
            self.assertTrue(listed or (store.quarantined and not answered), count)
            outcomes.add((listed, store.quarantined))
            if not listed:
                restored = Deferred.fromCoroutine(keeper_of(store).restore(OTHER, sha256_of(CONTENT)))
                self.successResultOf(restored)
                self.assertTrue(self.whole(store, OTHER), count)
            if not died:
                break
        else:
            self.fail("the admission never ended")
        self.assertLessEqual({(False, 1), (True, 1), (True, 0)}, outcomes)

    def test_every_step_of_a_removal(self) -> None:
        """A power cut at any operation of a deletion from the quarantine leaves the file whole or absent, absent if
        it was answered."""
        for count in range(1, MOST):

            async def remove(store: ChunkStore) -> object:
                await keeper_of(store).garbage(OTHER.file_id, OTHER.index, OTHER.generation)
                return None

            store, answered, died = self.cut(count, remove, trimmed)
            self.assertFalse(store.quarantined and answered, count)
            self.assertFalse(self.whole(store, OTHER))
            if not died:
                break
        else:
            self.fail("the removal never ended")

    def test_every_step_of_a_format(self) -> None:
        """A power cut at any operation of a format leaves a folder that the next start formats or opens (S09)."""
        seen: set[bool] = set()
        for count in range(1, 1100, 14):
            disk = SimulatedDisk()
            disk.crash_at(count)
            try:
                folder = open_folder(disk, ROOT, "chunk-1", CLUSTER)
                claim(disk, folder, "chunk-1", CLUSTER, b"i" * 16)
                seen.add(True)
            except SimulatedCrash:
                seen.add(False)
            disk.crash(Random(count))
            store = ChunkStore(fake_runtime(), disk, formatted(disk, ROOT), "chunk-1", RULES)
            self.successResultOf(Deferred.fromCoroutine(store.open()))
        self.assertEqual(seen, {True, False})


class RottenStreamTests(SynchronousTestCase):
    def test_flip_of_any_kind_is_seen(self) -> None:
        """A bit flipped anywhere between the client's checksum and the disk is refused, at each piece (S07)."""
        root = self.mktemp()
        store = self.successResultOf(Deferred.fromCoroutine(opened(fake_runtime(), RealDisk(), root)))
        for offset in (0, PIECE - 1, PIECE, len(CONTENT) - 1):
            spoiled = bytearray(CONTENT)
            spoiled[offset] ^= 4
            blocks = [
                Block(block.offset, block.length, block.crcs, (memoryview(bytes(spoiled))[block.offset :],))
                for block in blocks_of(CONTENT)
            ]
            writing = store.begin(REF, len(CONTENT), None)
            finish = writing.finish(blocks, len(CONTENT), sha256_of(CONTENT))
            failure = self.failureResultOf(Deferred.fromCoroutine(finish))
            self.assertIn(f"offset {offset // PIECE * PIECE}", str(failure.value))


class KillThenCutTests(SynchronousTestCase):
    """A process that is killed loses nothing, and the kernel shows the next one what a power cut takes away."""

    def start(self, disk: SimulatedDisk, threads: IThreads | None = None) -> ChunkStore:
        return self.successResultOf(Deferred.fromCoroutine(opened(fake_runtime(threads=threads), disk, ROOT)))

    def killed(self, step: Callable[[ChunkStore], Awaitable[object]], before: bool) -> SimulatedDisk:
        """A disk whose process was killed in the place of the first sync of a folder in ``step``.

        :param before: OTHER is stored, durably, before.
        """
        disk, threads = SimulatedDisk(), DyingThreads()
        store = self.start(disk, threads)
        if before:
            self.successResultOf(Deferred.fromCoroutine(put(store, OTHER, CONTENT)))

        def die(path: str) -> None:
            raise SimulatedCrash(path)

        async def run() -> None:
            await step(store)

        patch = self.patch(disk, "sync_folder", die)
        self.assertNoResult(Deferred.fromCoroutine(run()))
        patch.restore()
        self.assertTrue(threads.dead)
        disk.end_process()
        return disk

    def test_put_again_after_a_kill(self) -> None:
        """A put killed before its folder's sync, and answered when it is sent again, survives a power cut (S05)."""
        for seed in range(20):
            disk = self.killed(lambda store: put(store, REF, CONTENT), before=False)
            store = self.start(disk)
            self.assertIsNotNone(store.index.get(REF))
            self.successResultOf(Deferred.fromCoroutine(put(store, REF, CONTENT)))
            disk.crash(Random(seed))
            self.assertIsNotNone(self.start(disk).index.get(REF), seed)

    def test_delete_again_after_a_kill(self) -> None:
        """A delete killed before its folder's sync, and answered when it is ordered again, does not come back with
        a power cut (S15)."""
        for seed in range(20):
            disk = self.killed(lambda store: store.delete(OTHER), before=True)
            unsynced = ChunkStore(fake_runtime(), disk, formatted(disk, ROOT), "chunk-1", RULES)  # open() would sync
            self.successResultOf(Deferred.fromCoroutine(unsynced.delete(OTHER)))
            disk.crash(Random(seed))
            self.assertIsNone(self.start(disk).index.get(OTHER), seed)

    def test_format_again_after_a_kill(self) -> None:
        """What a store wrote into a folder whose format was killed and begun again is there after a power cut (S09)."""
        for count in range(3, 1100, 60):
            disk = SimulatedDisk()
            disk.crash_at(count)
            with contextlib.suppress(SimulatedCrash):
                folder = open_folder(disk, ROOT, "chunk-1", CLUSTER)
                claim(disk, folder, "chunk-1", CLUSTER, b"i" * 16)
            disk.end_process()
            self.successResultOf(Deferred.fromCoroutine(put(self.start(disk), REF, CONTENT)))
            disk.crash(Random(count))
            self.assertIsNotNone(self.start(disk).index.get(REF), count)

    def test_failed_sync_refuses_the_next_start(self) -> None:
        """After a failed sync of a folder no start vouches for what the kernel shows, until the machine was started
        anew (S31)."""
        disk = SimulatedDisk()
        store = self.start(disk)
        disk.inject("sync_folder", f"{ROOT}/chunks")
        self.failureResultOf(Deferred.fromCoroutine(put(store, REF, CONTENT)), DiskFailed)
        disk.end_process()
        again = ChunkStore(fake_runtime(), disk, formatted(disk, ROOT), "chunk-1", RULES)
        refused = self.failureResultOf(Deferred.fromCoroutine(again.open()), RefusedStart)
        self.assertIn("reboot", str(refused.value))
        disk.crash(Random(1))
        self.start(disk)
        self.assertEqual([name for name in disk.list_folder(ROOT) if name.startswith("sync-failed")], [])
        self.flushLoggedErrors()

    def test_failed_sync_beside_another(self) -> None:
        """A put whose sync seemed to succeed while another's failed is not answered: the kernel tells an error only
        once (S31)."""
        disk, threads = SimulatedDisk(), InlineThreads()
        store = self.start(disk, threads)
        writings = [store.begin(ref, len(CONTENT), len(CONTENT)) for ref in (REF, OTHER)]
        for writing in writings:
            self.successResultOf(writing.append(blocks_of(CONTENT)))
        threads.held = True
        ends = [Deferred.fromCoroutine(each.finish([], len(CONTENT), sha256_of(CONTENT))) for each in writings]
        threads.waiting.pop(0)()  # numbers are reserved
        finishes = threads.waiting
        self.assertEqual(len(finishes), 2)
        disk.inject("sync", f"{ROOT}/chunks")
        threads.release()
        threads.release()  # the failed put removes what it wrote
        for end in ends:
            self.failureResultOf(end, DiskFailed)
        self.flushLoggedErrors()
