"""The scrub: every replica is read and verified in the background, so that rot is found while others are whole (S11).

One replica at a time, a megabyte at a time, at the pace that :mod:`dfs.chunkserver.scrubpass` allows.  A bad replica
takes the way of every other that was read wrongly (:mod:`dfs.chunkserver.damage`): looked at again, set aside, told.

The order is that of the adds, newest first, and the index is ordered by chunk; so the next BATCH replicas are found by
one walk over the index, in slices, which is also when what is left of the pass is summed up.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from dfs.chunkserver import scrubpass
from dfs.chunkserver.handles import Reading
from dfs.chunkserver.reading import READ, Digest, Wanted
from dfs.chunkserver.scrubpass import Pass
from dfs.chunkserver.store import ChunkStore
from dfs.protocol.errors import DFSError, DiskFailed, ReplicaCorrupt, ReplicaNotFound
from dfs.protocol.messages import HeldReplica
from dfs.protocol.values import ChunkRef, FileId, Generation
from dfs.runtime.interfaces import Runtime

_log = Logger()

BATCH = 4096
"""Replicas chosen by one walk over the index."""

SLICE = 2048
"""Records of the index looked at in one turn of the reactor."""

STEP = 1.0
"""Longest wait in seconds before the pace is asked for anew."""

SAVE_INTERVAL = 60.0

WAIT = 60.0
"""Longest wait in seconds between two passes, and the wait after a disk's error."""


class Scrubber:
    """:param period: seconds from one pass to the next.
    :param busy: whether others use the disk now.
    :ivar state: the pass as it stands; None until its file was read.
    """

    def __init__(self, runtime: Runtime, store: ChunkStore, period: float, busy: Callable[[], bool]) -> None:
        self.state: Pass | None = None
        self._store, self._period, self._busy = store, period, busy
        self._clock = runtime.reactor
        self._path = store.layout.scrub
        self._slot = 0
        self._remaining = 0
        self._counted = self._saved = 0.0
        self._running = False
        self._task: Deferred[None] | None = None
        self._sleep: Deferred[None] | None = None
        self._timer: IDelayedCall | None = None

    @property
    def progress(self) -> tuple[int, int]:
        """Bytes verified in this pass, and about how many it will be in all."""
        done = 0 if self.state is None else self.state.done
        return done, done + self._remaining

    def start(self) -> None:
        """Go on where the process before stopped."""
        self._running = True
        self._task = Deferred.fromCoroutine(self._run())

    async def stop(self) -> None:
        """No read begins after this; fires when the last one ended and the cursor is saved."""
        self._running = False
        self._wake()
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        try:
            loaded, self._slot = await self._store.run(scrubpass.load, self._store.disk, self._path)
        except DFSError as error:
            _log.warn("where the scrub stood cannot be read, it begins anew: {error}", error=error)
            loaded = None
        self.state = loaded or Pass(0, 0, 0, self._period, 0).next(self._store.number)
        self._counted = self._saved = self._clock.seconds()
        while self._running:
            try:
                await self._round()
            except DFSError as error:
                _log.warn("the scrub waits: {error}", error=error)
                await self._wait(WAIT)
            except Exception:  # noqa: BLE001 - a defect must not end the scrub for good
                _log.failure("a round of the scrub failed")
                await self._wait(WAIT)
        await self._save()

    async def _round(self) -> None:
        """One batch, or a wait for the next pass."""
        state = self._count()
        batch = await self._choose(state.left)
        if not batch:
            if state.left:
                _log.info(
                    "scrub: pass {number} is done, {bytes} bytes verified", number=state.number, bytes=state.done
                )
                self.state = state = evolve(state, left=0)
                await self._save()
            if state.elapsed >= self._period:
                self.state = state.next(self._store.number)
                return
            await self._wait(min(WAIT, self._period - state.elapsed))
            await self._save_if_due()
            return
        for held in batch:
            if not self._running:
                return
            await self._scrub(held)
            if not self._running:
                return
            state = self._count()
            self.state = state.verified(held.number, held.length)
            self._remaining = max(0, self._remaining - held.length)
            await self._save_if_due()

    def _count(self) -> Pass:
        """Add the time since the last call to the pass."""
        assert self.state is not None
        now = self._clock.seconds()
        self.state = evolve(self.state, elapsed=self.state.elapsed + now - self._counted)
        self._counted = now
        return self.state

    async def _choose(self, highest: int) -> list[HeldReplica]:
        """The newest replicas at or below a number, newest first; sums up what is left on the way."""
        chosen: list[tuple[int, int, int, int]] = []
        remaining, after = 0, b""
        while self._running and highest and after != b"\xff" * 12:
            replicas, after = self._store.index.page(after, SLICE)
            for held in replicas:
                if held.number > highest:
                    continue
                remaining += held.length
                one = (held.number, held.file_id, held.index, held.generation)
                if len(chosen) < BATCH:
                    heapq.heappush(chosen, one)
                elif one > chosen[0]:
                    heapq.heapreplace(chosen, one)
            await self._wait(0.0)
        self._remaining = remaining
        refs = (ChunkRef(FileId(file_id), at, Generation(made)) for _, file_id, at, made in sorted(chosen)[::-1])
        return [held for held in map(self._store.index.get, refs) if held is not None]

    async def _scrub(self, held: HeldReplica) -> None:
        """Verify one replica.  What is bad was told when this returns; what is deleted meanwhile is no matter."""
        ref = ChunkRef(held.file_id, held.index, held.generation)
        if self._store.index.get(ref) != held:
            return
        digest = hashlib.sha256()
        try:
            reading = await self._store.open_reader(ref, Wanted(0, held.length, digest))
            try:
                await self._read(ref, reading, digest)
            finally:
                reading.close()
        except (ReplicaCorrupt, ReplicaNotFound):
            return  # told by the store
        except DiskFailed as error:
            _log.warn("the scrub passes over {ref}: {error}", ref=ref, error=error)
            await self._wait(STEP)

    async def _read(self, ref: ChunkRef, reading: Reading, digest: Digest) -> None:
        length = reading.footer.length
        for offset in range(0, length, READ):
            if not self._running:
                return
            await reading.read(offset, READ, digest)
            await self._pay(min(READ, length - offset))
        if self._running and digest.digest() != reading.footer.sha256:
            await self._store.doubt(ref, "the bytes on disk do not match the SHA-256 of the footer")

    async def _pay(self, length: int) -> None:
        """Wait as long as ``length`` bytes take at the present pace, which may change meanwhile."""
        debt = float(length)
        while debt > 0 and self._running:
            speed = scrubpass.rate(self._remaining, self._count().elapsed, self._period, self._busy())
            before = self._clock.seconds()
            await self._wait(min(debt / speed, STEP))
            debt -= max(1.0, speed * (self._clock.seconds() - before))

    async def _save_if_due(self) -> None:
        if self._clock.seconds() - self._saved >= SAVE_INTERVAL:
            await self._save()

    async def _save(self) -> None:
        """Now and then, and at the end; a cursor that cannot be written costs a second reading and no more."""
        self._saved, slot = self._clock.seconds(), self._slot
        self._slot = 1 - slot
        try:
            await self._store.run(scrubpass.save, self._store.disk, self._path, self._count(), slot)
        except DFSError as error:
            _log.warn("where the scrub stands cannot be written: {error}", error=error)

    async def _wait(self, seconds: float) -> None:
        if self._running:
            self._sleep = Deferred()
            self._timer = self._clock.callLater(seconds, self._wake)
            await self._sleep

    def _wake(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
        sleep, self._sleep = self._sleep, None
        if sleep is not None:
            sleep.callback(None)
