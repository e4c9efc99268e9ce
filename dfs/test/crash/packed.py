"""A chunk server's segments under trial: groups of small puts, removals, compaction, restarts (S05, S09, S15, S17)."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations
from random import Random

from attrs import evolve, frozen
from crc32c import crc32c

from dfs.chunkserver.compacting import Compactor
from dfs.chunkserver.errors import RefusedStart
from dfs.chunkserver.segments import SmallPut
from dfs.chunkserver.store import ChunkStore
from dfs.chunkserver.test.fakes import fake_runtime, put, sha256_of
from dfs.chunkserver.test.packed import PACK, open_packed
from dfs.disk.errors import DiskError
from dfs.disk.interfaces import IDisk
from dfs.protocol.errors import DFSError
from dfs.protocol.messages import HeldReplica
from dfs.protocol.values import PIECE, ChunkRef, FileId, Generation
from dfs.test.crash.chunks import FILES, Chunks, OpenedChunks, bytes_of, run, told
from dfs.test.crash.subjects import Mark, Opened, Refused

RULES = evolve(PACK, segment_size=8 * 4096)
"""A segment of a few records, so that it is full soon."""


class OpenedSegments(OpenedChunks):
    """A store that packs."""

    def _step(self, chance: Random, mark: Mark) -> None:
        kind = chance.random()
        if kind < 0.45:
            self._put_some(chance, mark)
        elif kind < 0.75 and self._held:
            self._remove(chance, mark)
        elif kind < 0.9:
            run(self._compact())
        else:
            ref = self._any(chance)
            mark(self._told(), self._told({ref}))
            run(put(self._store, ref, bytes_of(ref)))
            self._held.add(ref)
            mark(self._told())

    def _any(self, chance: Random) -> ChunkRef:
        return ChunkRef(FileId(chance.randrange(FILES)), 0, Generation(chance.randint(1, 3)))

    def _told(self, more: Iterable[ChunkRef] = ()) -> str:
        return told(self._held | set(more), self._junk)

    def _put_some(self, chance: Random, mark: Mark) -> None:
        """Of a group that was not answered any part may be there."""
        refs = sorted({self._any(chance) for _ in range(3)}, key=str)
        refs = [ref for ref in refs if len(bytes_of(ref)) <= PIECE]
        subsets = (set(some) for count in range(len(refs) + 1) for some in combinations(refs, count))
        mark(*{self._told(some) for some in subsets})
        for ref, outcome in zip(refs, run(self._put_small(refs)), strict=True):
            if isinstance(outcome, DFSError):
                raise outcome
            self._held.add(ref)
        mark(self._told())

    async def _put_small(self, refs: list[ChunkRef]) -> list[HeldReplica | DFSError]:
        puts = []
        for ref in refs:
            content = bytes_of(ref)
            puts.append(SmallPut(ref, content, (crc32c(content),) if content else (), sha256_of(content)))
        return await self._store.put_small(puts)

    def _remove(self, chance: Random, mark: Mark) -> None:
        ref = chance.choice(sorted(self._held, key=str))
        before = self._told()
        self._held.remove(ref)
        mark(before, self._told())
        run(self._store.delete(ref))
        mark(self._told())

    async def _compact(self) -> None:
        await Compactor(fake_runtime(), self._store).round()


@frozen
class Segments(Chunks):
    """A chunk server's store that packs."""

    name: str = "segments"

    def open(self, disk: IDisk, folder: str) -> Opened:
        root = f"{folder}/data"
        try:
            store: ChunkStore = run(open_packed(disk, rules=RULES, root=root))[0]
            return OpenedSegments(disk, root, store)
        except (RefusedStart, DFSError, DiskError) as error:
            raise Refused(str(error)) from error
