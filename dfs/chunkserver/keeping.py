"""What becomes of replicas in quarantine: kept, admitted again, or deleted; metadata's record decides.

Every entry is looked at now and then, less and less often.  One that is whole by then, by its own footer, is offered to
metadata, which says whether its bytes are the committed ones and are wanted (ADMIT).  One whose time is over is deleted
only when metadata says that the chunk has its full replication elsewhere, or that its file has ended (DELETE); and
without asking only where the very same replica is listed here, and was just verified.  What metadata does not know is
never deleted, nor what nobody can name (S16).

A replica is admitted by a copy within the disk, under a new number: an inventory that was made while it was away proves
nothing of it (S06).  The copy is durable before its source goes (S17).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from twisted.logger import Logger

from dfs.chunkserver import quarantine, reading
from dfs.chunkserver.errors import Unreadable
from dfs.chunkserver.footer import Footer
from dfs.chunkserver.quarantine import Entry
from dfs.chunkserver.reading import READ, ChunkReader
from dfs.chunkserver.rounds import Rounds
from dfs.chunkserver.store import ChunkStore
from dfs.protocol.errors import DFSError, ReplicaCorrupt, ReplicaNotFound
from dfs.protocol.messages import HeldReplica, QuarantineVerdict, SetAside
from dfs.protocol.values import ChunkRef, FileId, Generation, may_delete
from dfs.runtime.interfaces import Runtime

_log = Logger()

LOOKS = 8
"""Rounds in the time that an entry is kept."""

LONGEST_INTERVAL = 600.0
SHORTEST_INTERVAL = 1.0

BATCH = 64
"""Entries looked at in one round."""

SLOWEST_LOOKS = 64
"""Intervals between two looks at an entry that was looked at often."""


class Keeper:
    """:param period: seconds that an entry is kept at least.
    :param ask: metadata's verdicts on entries, one for each; raises DFSError.
    :param admitted: told of each replica that is served again.
    """

    def __init__(
        self,
        runtime: Runtime,
        node: str,
        store: ChunkStore,
        period: float,
        ask: Callable[[tuple[SetAside, ...]], Awaitable[Sequence[QuarantineVerdict]]],
        admitted: Callable[[HeldReplica], None],
    ) -> None:
        self._runtime, self._node, self._store, self._period = runtime, node, store, period
        self._ask, self._admitted = ask, admitted
        self._interval = min(LONGEST_INTERVAL, max(SHORTEST_INTERVAL, period / LOOKS))
        self._looks: dict[str, tuple[int, float]] = {}  # by name: how many, and when the next is due
        self._rounds = Rounds(runtime, self._interval, self.round, "quarantine")

    def start(self) -> None:
        self._rounds.start()

    async def stop(self) -> None:
        """No step begins after this; fires when the last one ended."""
        await self._rounds.stop()

    async def round(self) -> None:
        """Look at what is due, ask, and do as metadata says.  Raises DFSError."""
        now_ms = self._store.time_ms()
        if not now_ms:
            return
        await self._stamp(now_ms)
        await self._take_up()
        asked: list[tuple[Entry, ChunkRef, SetAside]] = []
        for entry, ref in self._due(now_ms):
            if self._rounds.stopped:
                return
            expired = self._expired(entry, now_ms)
            if self._store.index.get(ref) is not None:
                if expired:
                    await self._drop_duplicate(entry, ref)
                continue
            asked.append((entry, ref, await self._offer(entry, ref, expired)))
        if asked and not self._rounds.stopped:
            verdicts = await self._ask(tuple(offer for _, _, offer in asked))
            for (entry, ref, offer), verdict in zip(asked, verdicts, strict=True):
                await self._obey(entry, ref, offer, verdict)

    def _expired(self, entry: Entry, now_ms: int) -> bool:
        return now_ms - entry.at_ms >= self._period * 1000

    async def _stamp(self, now_ms: int) -> None:
        """Entries of unknown time begin to age."""
        store = self._store
        for entry in [entry for entry in store.quarantine.all() if not entry.at_ms][:BATCH]:
            stamped = await store.run(quarantine.stamp, store.disk, store.layout, entry, now_ms, store.nonce())
            store.quarantine.discard(entry)
            store.quarantine.add(stamped)

    async def _take_up(self) -> None:
        """Packed replicas that the disk did not read, and reads now, become entries."""
        for place in list(self._store.packing.unread)[:BATCH]:
            if self._rounds.stopped:
                return
            try:
                await self._store.packing.take_up(place)
            except DFSError as error:
                _log.warn("{node} leaves a record where it is: {error}", node=self._node, error=error)

    def _due(self, now_ms: int) -> list[tuple[Entry, ChunkRef]]:
        """At most BATCH entries whose look is due; each is looked at for the first time an interval after it came."""
        now = self._runtime.reactor.seconds()
        entries = self._store.quarantine.all()
        looks = {entry.name: self._looks.get(entry.name, (0, now + self._interval)) for entry in entries}
        due: list[tuple[Entry, ChunkRef]] = []
        for entry in entries:
            count, at = looks[entry.name]
            if entry.ref is None or (now < at and not (count == 0 and self._expired(entry, now_ms))):
                continue
            if len(due) < BATCH:
                due.append((entry, entry.ref))
                looks[entry.name] = (count + 1, now + self._next_look(entry, count, now_ms))
        self._looks = looks
        return due

    def _next_look(self, entry: Entry, count: int, now_ms: int) -> float:
        """Seconds: twice as long each time, but not past the moment when its time is over."""
        left = (entry.at_ms - now_ms) / 1000 + self._period
        later = self._interval * min(SLOWEST_LOOKS, 1 << count)
        return min(later, left) if left > 0 else later

    async def _offer(self, entry: Entry, ref: ChunkRef, expired: bool) -> SetAside:
        footer = await self._look(entry, ref)
        length, sha256 = (0, bytes(32)) if footer is None else (footer.length, footer.sha256)
        return SetAside(ref.file_id, ref.index, ref.generation, length, sha256, footer is not None, expired)

    async def _look(self, entry: Entry, ref: ChunkRef) -> Footer | None:
        """The footer where the file is whole, by itself."""
        store = self._store
        try:
            footer: Footer = await store.run(reading.verify, store.disk, store.layout, ref, self._path(entry))
            return footer
        except DFSError:
            return None

    async def _obey(self, entry: Entry, ref: ChunkRef, offer: SetAside, verdict: QuarantineVerdict) -> None:
        if self._rounds.stopped or entry not in self._store.quarantine:
            return
        if verdict is QuarantineVerdict.ADMIT and offer.whole:
            self._admitted(await self.admit(entry, ref, offer.sha256))
        elif verdict is QuarantineVerdict.DELETE and offer.expired:
            _log.info("{node} deletes what was set aside: {name}", node=self._node, name=entry.name)
            await self.remove(entry)

    async def _drop_duplicate(self, entry: Entry, ref: ChunkRef) -> None:
        """The same generation is listed here: it must be whole before what was set aside goes."""
        try:
            await self._store.verify(ref)
        except (ReplicaCorrupt, ReplicaNotFound, Unreadable):
            return  # told by the store
        await self.remove(entry)

    def _path(self, entry: Entry) -> str:
        return f"{self._store.layout.quarantine}/{entry.name}"

    # ---- what orders ask

    async def remove(self, entry: Entry) -> None:
        """Delete the file for good.  Raises DFSError."""
        store = self._store
        store.check_writable()
        await store.run(quarantine.remove, store.disk, store.layout, entry)
        store.quarantine.discard(entry)

    async def admit(self, entry: Entry, ref: ChunkRef, sha256: bytes) -> HeldReplica:
        """Serve it again, if its bytes are those of ``sha256``: when this returns the new replica is durable and what
        was set aside is gone.  Raises ReplicaCorrupt, NoSpace, DiskFailed."""
        store = self._store
        reader: ChunkReader = await store.run(ChunkReader, store.disk, store.layout, ref, self._path(entry))
        try:
            held = await self._copy(reader, ref, sha256)
        except Exception:
            await store.run(reader.close)
            raise
        await store.run(reader.close)
        _log.info("{node} serves {ref} again", node=self._node, ref=ref)
        await self.remove(entry)
        return held

    async def _copy(self, reader: ChunkReader, ref: ChunkRef, sha256: bytes) -> HeldReplica:
        length = reader.footer.length
        if reader.footer.sha256 != sha256:
            raise ReplicaCorrupt(f"{self._node} has other bytes than were committed", nodes=(self._node,))
        writing = self._store.begin(ref, max(1, length), length, reader.footer.description)
        try:
            for offset in range(0, length, READ):
                await writing.append(await self._store.run(reader.read, offset, READ))
        except Exception:
            await writing.abort()
            raise
        return await writing.finish((), length, sha256)

    async def restore(self, ref: ChunkRef, sha256: bytes) -> HeldReplica:
        """Serve a replica again that was trimmed, or is to be: under a new number, so that an order to trim the old one
        reaches nothing.  Raises ReplicaNotFound, ReplicaCorrupt, NoSpace, DiskFailed."""
        listed = self._store.index.get(ref)
        if listed is not None:
            await self._store.trim(ref, listed.number, "surplus")
        for entry in self._store.quarantine.of(ref)[::-1]:
            if await self._look(entry, ref) is not None:
                return await self.admit(entry, ref, sha256)
        raise ReplicaNotFound(f"{self._node} has no whole replica to serve again", nodes=(self._node,))

    async def garbage(self, file_id: FileId, index: int, bound: Generation) -> None:
        """The file has ended: what is set aside of its chunk goes, generations of ``bound``'s history up to it."""
        for generation, entry in self._store.quarantine.of_chunk(self._store.layout.cluster, file_id, index):
            if may_delete(bound, generation):
                await self.remove(entry)
