"""The replicas of one folder: the shell between the reactor thread and the blocking modules.

Everything here is called on the reactor thread; the disk is touched on threads only.

Invariants:

- A replica is in the index only after its file and name are durable (S05).
- One publish or delete of one generation runs at a time, so a retry beside the
  first try ends with one file and one answer (S08).
- After a failed sync nothing more is written, and the sync is never tried again:
  the store keeps serving reads and says so (S31), and leaves a mark that makes the next
  start refuse until the machine was started anew (see dfs.disk.suspicion).
- A call on a thread is never cancelled, so a file is never used by two threads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from attrs import evolve, frozen
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from dfs.chunkserver import numbers as number_files
from dfs.chunkserver import quarantine, reading, startup
from dfs.chunkserver.damage import Doubts
from dfs.chunkserver.errors import RefusedStart, Unreadable, dfs_error
from dfs.chunkserver.footer import Footer
from dfs.chunkserver.handles import Reading, Writing
from dfs.chunkserver.index import ReplicaIndex
from dfs.chunkserver.layout import Layout
from dfs.chunkserver.locks import RefLocks
from dfs.chunkserver.numbers import NumberLine
from dfs.chunkserver.packing import Packing
from dfs.chunkserver.quarantine import Entry, Quarantine
from dfs.chunkserver.reading import Wanted
from dfs.chunkserver.records import REMOVED, SMALL, Place
from dfs.chunkserver.reservation import Numbers
from dfs.chunkserver.segments import SmallPut
from dfs.chunkserver.smallputs import SmallWriting
from dfs.chunkserver.smallreads import get_batch
from dfs.chunkserver.writing import ChunkWriter, WriteRules, remove
from dfs.disk import suspicion
from dfs.disk.errors import DiskError, NotFound, SyncFailed
from dfs.disk.interfaces import IDisk, Space
from dfs.protocol.errors import DFSError, DiskFailed, Forbidden, ReplicaCorrupt, ReplicaNotFound, StaleGeneration
from dfs.protocol.interfaces import Block
from dfs.protocol.messages import HeldReplica
from dfs.protocol.values import ChunkRef, Description
from dfs.runtime.interfaces import Runtime

_log = Logger()


@frozen
class OpenReport:
    """What a start found: good replicas, temporary files removed, files set aside now and in all, files left alone
    because the disk could not read them, places in segments that hold no replica any more and are kept."""

    replicas: int
    cleaned: int
    set_aside: int
    quarantined: int
    unreadable: int
    damaged: int = 0


class ChunkStore:
    """Replicas on one disk.  :meth:`open` comes first."""

    def __init__(
        self, runtime: Runtime, disk: IDisk, layout: Layout, node: str, rules: WriteRules = WriteRules()
    ) -> None:
        self.index = ReplicaIndex()
        self.quarantine = Quarantine()
        self.time_ms: Callable[[], int] = lambda: 0
        """Cluster time, 0 while it is not known."""
        self.failure = ""
        """Why the disk takes no more writes; "" while it does."""
        self.on_failure: Callable[[str], None] = lambda sentence: None
        self.disk, self.layout = disk, layout
        self._runtime, self._node, self._rules = runtime, node, rules
        self.numbers = Numbers(self.run, disk, layout.numbers, NumberLine(0, 0))
        self.locks = RefLocks()
        self.doubts = Doubts(self, node)
        self.packing = Packing(self, node, rules)
        self._space: Space | None = None
        self._measuring: Deferred[None] | None = None
        self._calls: dict[object, float] = {}  # when each began that has not ended
        self._idle: list[Deferred[None]] = []

    # ---- start ----------------------------------------------------------------------------------

    async def open(self) -> OpenReport:
        """Validate every file, make every name durable, and take the numbers up.  Raises DFSError when the disk
        fails, RefusedStart where nobody but an operator can tell what is true."""
        if doubt := await self.run(suspicion.doubt, self.disk, self.layout.root):
            raise RefusedStart(doubt)
        await self._sync_folders(self.layout.root, self.layout.quarantine)
        cleaned = set_aside = unreadable = highest = 0
        slices = startup.slices(self.disk, self.layout, self._runtime.entropy, self._rules.durable)
        while (found := await self.run(next, slices, None)) is not None:
            cleaned += found.cleaned
            set_aside += len(found.quarantined)
            for held in found.replicas:
                self.index.add(held)
                highest = max(highest, held.number)
            for name, reason in found.quarantined:
                _log.warn("{name} was set aside: {reason}", name=name, reason=reason)
            unreadable += self._check_unreadable(found, unreadable)
        packed, damaged = await self.packing.open()
        highest = max(highest, packed)
        reserved: int | None = await self.run(number_files.read_reserved, self.disk, self.layout.numbers)
        line = number_files.first_line(reserved, highest)
        if reserved is None:
            _log.warn("the file of numbers is damaged: leaping over every number that was ever given")
            await self.run(number_files.format_numbers, self.disk, self.layout.numbers, line.reserved)
            await self.run(self.disk.sync_folder, self.layout.root)
        self.numbers = Numbers(self.run, self.disk, self.layout.numbers, line)
        for entry in await self.run(quarantine.entries, self.disk, self.layout):
            self.quarantine.add(entry)
        await self.packing.settle()
        return OpenReport(len(self.index), cleaned, set_aside, self.quarantined, unreadable, damaged)

    def _check_unreadable(self, found: startup.Scanned, before: int) -> int:
        """How many files of a slice the disk could not read.  Raises RefusedStart where they become too many."""
        for name, reason in found.unreadable:
            _log.error("{name} cannot be read and is left alone: {reason}", name=name, reason=reason)
        if before + len(found.unreadable) > startup.MOST_UNREADABLE:
            name, reason = found.unreadable[-1]
            raise RefusedStart(
                f"the disk of {self.layout.root} cannot read more than {startup.MOST_UNREADABLE} of its files "
                f"({name}: {reason}): check the disk and its connection, then start again"
            )
        return len(found.unreadable)

    async def _sync_folders(self, *folders: str) -> None:
        if self._rules.durable:
            for folder in folders:
                await self.run(self.disk.sync_folder, folder)

    # ---- threads --------------------------------------------------------------------------------

    def run(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        """Call it on a thread; disk errors come as DFSError, a failed sync fails the store for good."""
        call = object()
        self._calls[call] = self._runtime.reactor.seconds()
        return self._runtime.threads.run(self._guarded, function, arguments).addBoth(self._ran, call)

    def idle(self) -> Deferred[None]:
        """Fires when no thread works for this store: its folder may be given to another process."""
        waiting: Deferred[None] = Deferred()
        if self._calls:
            self._idle.append(waiting)
        else:
            waiting.callback(None)
        return waiting

    def _ran(self, result: Any, call: object) -> Any:
        """A call on a thread ended, with a Failure or what it returned."""
        del self._calls[call]
        error = result.value if isinstance(result, Failure) else None
        if isinstance(error, SyncFailed):
            self._fail(f"a sync failed, and what it covered may be lost: {error}")
        if self._idle and not self._calls:
            self._runtime.reactor.callLater(0, self._tell_idle)
        if isinstance(error, NotFound):
            raise ReplicaNotFound(f"{self._node} does not hold this replica", nodes=(self._node,)) from error
        if isinstance(error, DiskError):
            raise dfs_error(error, self._node) from error
        return result

    def _tell_idle(self) -> None:
        """A turn after the last call: who awaited it, or waited behind it, may have begun the next one."""
        waiting, self._idle = ([], self._idle) if self._calls else (self._idle, [])
        for each in waiting:
            each.callback(None)

    @property
    def waited(self) -> float:
        """For how many seconds the oldest call on a thread has waited for the disk."""
        oldest = next(iter(self._calls.values()), None)
        return 0.0 if oldest is None else float(self._runtime.reactor.seconds() - oldest)

    def _guarded(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        """On the thread: after a failed sync nobody may take for durable what the kernel still shows (S31)."""
        try:
            return function(*arguments)
        except SyncFailed:
            suspicion.leave(self.disk, self.layout.root)
            raise

    def _fail(self, sentence: str) -> None:
        if not self.failure:
            self.failure = sentence
            _log.critical("no more writes on this disk: {sentence}", sentence=sentence)
            self.on_failure(sentence)

    def check_writable(self) -> None:
        """Raises DiskFailed once a sync has failed."""
        if self.failure:
            raise DiskFailed(f"{self._node} takes no more writes: its disk failed", nodes=(self._node,))

    def entropy(self, length: int) -> bytes:
        """Random bytes."""
        return self._runtime.entropy(length)

    def nonce(self) -> bytes:
        """8 random bytes that no other file has."""
        return self._runtime.entropy(8)

    # ---- writing --------------------------------------------------------------------------------

    def begin(
        self, ref: ChunkRef, limit: int, expected: int | None, description: Description | None = None
    ) -> Writing | SmallWriting:
        """A new write.  Raises DiskFailed."""
        self.check_writable()
        if self._rules.segments and (expected is None or expected <= SMALL):
            return SmallWriting(self, ref, limit, expected, self.dated(description))
        return self.begin_file(ref, limit, expected, description)

    def put_small(self, puts: Sequence[SmallPut]) -> Deferred[list[HeldReplica | DFSError]]:
        """Make many replicas of at most SMALL bytes durable together; what became of each, in order.  Each that has a
        HeldReplica is durable when this fires (S05); nothing is left of the others."""
        return Deferred.fromCoroutine(self.packing.put_all(puts))

    def dated(self, description: Description | None) -> Description | None:
        """With the time of now, where it has none yet."""
        if description is None or description.written_ms:
            return description
        return evolve(description, written_ms=int(1000 * self._runtime.wall_time()))

    def begin_file(
        self, ref: ChunkRef, limit: int, expected: int | None, description: Description | None = None
    ) -> Writing:
        """A new write with a temporary file of its own."""
        described, nonce = self.dated(description), self.nonce()
        writer = ChunkWriter(self.disk, self.layout, ref, limit, expected, nonce, self._rules, described)
        return Writing(self, ref, writer)

    async def publish(
        self, ref: ChunkRef, writer: ChunkWriter, blocks: Sequence[Block], length: int, sha256: bytes
    ) -> HeldReplica:
        """Make a write durable, or find that the very same replica is there already."""
        async with self.locks.alone(ref):
            self.check_writable()
            there = self.index.get(ref)
            if there is not None:
                await self.run(writer.check, blocks, length, sha256)
                if there.sha256 != sha256:
                    raise StaleGeneration(f"{self._node} holds other bytes under this generation", nodes=(self._node,))
                return there
            number = await self.numbers.take()
            try:
                await self.run(writer.finish, blocks, length, sha256, number)
                self.check_writable()  # a sync that failed beside ours may have been ours: errors are told once
                held = HeldReplica(ref.file_id, ref.index, ref.generation, length, sha256, number)
                self.index.add(held)
                return held
            finally:
                self.numbers.settle(number)

    async def trim(self, ref: ChunkRef, number: int, reason: str) -> int:
        """Set the replica of this number aside, durably; the number of the remove.  A replica of another number
        stays, and one that is not there is gone already (S16)."""
        async with self.locks.alone(ref):
            self.check_writable()
            there = self.index.get(ref)
            if there is not None and there.number != number:
                raise Forbidden(f"{self._node} made this replica anew since the order was given")
            taken = await self.numbers.take()
            place = self.index.place(ref)
            self.index.remove(ref)
            try:
                if there is not None:
                    await self.move_aside(there, place, reason)
            except BaseException:
                if there is not None:
                    self.index.add(there, place)
                raise
            finally:
                self.numbers.settle(taken)
            return taken

    async def delete(self, ref: ChunkRef) -> int:
        """Remove a replica durably; the number of the remove.  A replica that is not there is removed already."""
        async with self.locks.alone(ref):
            self.check_writable()
            number = await self.numbers.take()
            there, place = self.index.get(ref), self.index.place(ref)
            self.index.remove(ref)
            try:
                if place is not None:
                    await self.packing.mark(place, ref, REMOVED)
                else:
                    await self.run(remove, self.disk, self.layout, ref, self._rules.durable)
            except BaseException:
                if there is not None:
                    self.index.add(there, place)
                raise
            finally:
                self.numbers.settle(number)
            return number

    # ---- reading --------------------------------------------------------------------------------

    async def open_reader(self, ref: ChunkRef, wanted: Wanted | None = None) -> Reading:
        """Raises ReplicaNotFound, ReplicaCorrupt and Unreadable (and sets the replica aside), DiskFailed.
        The beginning of what is ``wanted`` is read by the thread that opens."""
        self._check_listed(ref)
        try:
            return await self._open_reader(ref, wanted)
        except (ReplicaCorrupt, ReplicaNotFound, Unreadable) as error:
            if await self.doubt(ref, str(error)) is None:
                raise
            return await self._open_reader(ref, wanted)

    async def _open_reader(self, ref: ChunkRef, wanted: Wanted | None) -> Reading:
        place = self.index.place(ref)
        return Reading(self, ref, *await self.run(reading.begin, self.disk, self.layout, ref, place, wanted))

    async def get_small(self, refs: Sequence[ChunkRef], most: int) -> list[memoryview | DFSError]:
        """Whole small replicas, checked: see :func:`dfs.chunkserver.smallreads.get_batch`.  Raises DiskFailed."""
        found = await get_batch(self, [ref for ref in refs if self.index.get(ref) is not None], most)
        missing = ReplicaNotFound(f"{self._node} does not hold this replica")
        return [found.get(ref, missing) for ref in refs]

    async def verify(self, ref: ChunkRef) -> Footer:
        """Re-read the replica whole; a bad one is set aside.
        Raises ReplicaNotFound, ReplicaCorrupt, Unreadable, DiskFailed."""
        self._check_listed(ref)
        try:
            footer: Footer = await self.run(reading.verify, self.disk, self.layout, ref, self.index.place(ref))
            return footer
        except (ReplicaCorrupt, ReplicaNotFound, Unreadable) as error:
            good = await self.doubt(ref, str(error))
            if good is None:
                raise
            return good

    def _check_listed(self, ref: ChunkRef) -> None:
        if self.index.get(ref) is None:
            raise ReplicaNotFound(f"{self._node} does not hold this replica", nodes=(self._node,))

    async def doubt(self, ref: ChunkRef, why: str) -> Footer | None:
        """Somebody read the replica wrongly: see dfs.chunkserver.damage.  Raises DiskFailed."""
        return await self.doubts.settle(ref, why)

    async def move_aside(self, held: HeldReplica, place: Place | None, reason: str) -> None:
        """Into the quarantine: kept, not served, not listed.  Whoever asks holds the lock."""
        ref, at_ms = ChunkRef(held.file_id, held.index, held.generation), self.time_ms()
        if place is not None:
            await self.packing.move_aside(ref, place, held.length, reason, at_ms)
            return
        path, nonce = self.layout.path(ref), self.nonce()
        entry: Entry | None = await self.run(
            quarantine.set_aside, self.disk, self.layout, path, reason, at_ms, ref, nonce
        )
        if entry is not None:
            self.quarantine.add(entry)

    @property
    def quarantined(self) -> int:
        """Files set aside."""
        return len(self.quarantine)

    # ---- what metadata asks -----------------------------------------------------------------------

    @property
    def number(self) -> int:
        """Every durable add and remove at or below it is in the index."""
        return self.numbers.as_of

    async def space(self) -> Space:
        """Real space; ``free`` is what writes may use, 0 once the disk failed.

        After the first time it answers at once with what was last measured and measures anew: a report must
        not wait for threads that a slow disk holds (S23).
        """
        if self._measuring is None or self._measuring.called:
            self._measuring = Deferred.fromCoroutine(self._measure())
        if self._space is None:
            await self._measure()
        space = self._space
        assert space is not None
        return Space(space.total, 0 if self.failure else max(0, space.free - self._rules.reserve))

    async def _measure(self) -> None:
        try:
            self._space = await self.run(self.disk.space, self.layout.root)
        except DFSError as error:
            _log.warn("the free space cannot be told: {error}", error=error)
            self._space = self._space or Space(0, 0)
