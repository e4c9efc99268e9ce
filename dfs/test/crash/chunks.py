"""A chunk server's folder under trial: format, puts, deletes, files set aside (S05, S09, S10)."""

from __future__ import annotations

from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any, TypeVar

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from dfs.chunkserver.errors import RefusedStart
from dfs.chunkserver.layout import Layout
from dfs.chunkserver.store import ChunkStore
from dfs.chunkserver.test.fakes import CLUSTER, content_of, fake_runtime, opened, put, sha256_of
from dfs.disk.errors import DiskError
from dfs.disk.interfaces import IDisk
from dfs.protocol.errors import DFSError
from dfs.protocol.values import PIECE, ChunkRef, FileId, Generation
from dfs.test.crash.subjects import Mark, Opened, Refused, Wrong

FILES = 4
LENGTHS = (0, 100, 5000, PIECE + 7)

_Result = TypeVar("_Result")


def run(work: Coroutine[Any, Any, _Result]) -> _Result:
    """The result of work whose threads are inline, or what it raised."""
    results: list[Any] = []
    done = Deferred.fromCoroutine(work).addBoth(results.append)
    assert done.called, "the work waits for something"
    if isinstance(results[0], Failure):
        results[0].raiseException()
    result: _Result = results[0]
    return result


def bytes_of(ref: ChunkRef) -> bytes:
    """What every replica of a generation holds."""
    seed = ref.file_id * 1000 + ref.generation
    return content_of(Random(seed).choice(LENGTHS), seed)


class OpenedChunks:
    """A store, its numbers and what was put beside it."""

    def __init__(self, disk: IDisk, root: str, store: ChunkStore) -> None:
        self._disk = disk
        self._layout = Layout(root, CLUSTER)
        self._store = store
        self._held = self._listed()
        aside = disk.list_folder(self._layout.quarantine)
        self._junk = len({name.partition(".")[0] for name in aside})  # one file may be there twice

    def _listed(self) -> set[ChunkRef]:
        return {ChunkRef(held.file_id, held.index, held.generation) for held in self._store.index.page(b"", 1000)[0]}

    def seen(self) -> str:
        for ref in self._held:
            try:
                footer = run(self._store.verify(ref))
            except DFSError as error:
                raise Wrong(f"{ref} is listed and not whole: {error}") from error
            if footer.sha256 != sha256_of(bytes_of(ref)):
                raise Wrong(f"{ref} holds other bytes")
        numbers = [held.number for held in self._store.index.page(b"", 1000)[0]]
        if len(set(numbers)) != len(numbers) or max(numbers, default=0) > self._store.number:
            raise Wrong(f"numbers were given twice: {sorted(numbers)}, now at {self._store.number}")
        return told(self._held, self._junk)

    def step(self, chance: Random, mark: Mark) -> None:
        try:
            self._step(chance, mark)
        except DFSError:
            if self._store.failure:
                raise
            self._held = self._listed()  # one put or delete failed, and what came of it is open until the next mark

    def _step(self, chance: Random, mark: Mark) -> None:
        before = told(self._held, self._junk)
        kind = chance.random()
        if kind < 0.6:
            ref = ChunkRef(FileId(chance.randrange(FILES)), 0, Generation(chance.randint(1, 3)))
            after = told(self._held | {ref}, self._junk)
            mark(before, after)
            run(put(self._store, ref, bytes_of(ref)))
            self._held.add(ref)
        elif kind < 0.9 and self._held:
            ref = chance.choice(sorted(self._held, key=str))
            after = told(self._held - {ref}, self._junk)
            mark(before, after)
            run(self._store.delete(ref))
            self._held.remove(ref)
        else:
            after = self._leave_junk(before, mark)
        mark(after)

    def close(self, mark: Mark) -> None:
        run(self._idle())

    async def _idle(self) -> None:
        await self._store.idle()

    def _leave_junk(self, before: str, mark: Mark) -> str:
        """A file that is no replica: the next start sets it aside and keeps it (S10)."""
        after = told(self._held, self._junk + 1)
        mark(before, after)
        folder = f"{self._layout.chunks}/0/{self._junk % 10}"
        file = self._disk.open(f"{folder}/junk-{self._junk}", create=True)
        file.sync()
        file.close()
        self._disk.sync_folder(folder)
        self._junk += 1
        return after


def told(held: set[ChunkRef], junk: int) -> str:
    """As one line."""
    return " ".join([*sorted(f"{ref.file_id}.{ref.generation}" for ref in held), f"junk {junk}"])


@frozen
class Chunks:
    """A chunk server's store."""

    name: str = "chunks"
    empty: str = told(set(), 0)
    traced: bool = False
    torn_pages: int = 0
    failures: tuple[type[Exception], ...] = (DFSError, DiskError, RefusedStart)

    @contextmanager
    def small(self) -> Iterator[None]:
        yield

    def open(self, disk: IDisk, folder: str) -> Opened:
        root = f"{folder}/data"
        try:
            return OpenedChunks(disk, root, run(opened(fake_runtime(), disk, root)))
        except (RefusedStart, DFSError, DiskError) as error:
            raise Refused(str(error)) from error
