"""A store that packs small replicas, on a simulated disk, and what tests do to its segments."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from crc32c import crc32c
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from dfs.chunkserver.layout import Layout
from dfs.chunkserver.segments import SmallPut, name_of
from dfs.chunkserver.store import ChunkStore, OpenReport
from dfs.chunkserver.test.fakes import CLUSTER, content_of, fake_runtime, formatted, put, sha256_of
from dfs.chunkserver.writing import WriteRules
from dfs.disk.interfaces import IDisk
from dfs.protocol.values import ChunkRef, FileId, Generation
from dfs.runtime.interfaces import IThreads
from dfs.simulation.disk import SimulatedDisk

ROOT = "/srv/data"
PACK = WriteRules(reserve=0, segments=True)

_Result = TypeVar("_Result")


def ref(file_id: int) -> ChunkRef:
    return ChunkRef(FileId(file_id), 0, Generation(1))


def bytes_of(file_id: int, length: int = 1000) -> bytes:
    """What the replica of a file holds."""
    return content_of(length, file_id)


def small(file_id: int, length: int = 1000) -> SmallPut:
    """A put of it."""
    content = bytes_of(file_id, length)
    return SmallPut(ref(file_id), content, (crc32c(content),) if content else (), sha256_of(content))


async def open_packed(
    disk: IDisk,
    threads: IThreads | None = None,
    rules: WriteRules = PACK,
    root: str = ROOT,
    clock: Clock | None = None,
) -> tuple[ChunkStore, OpenReport]:
    """A store on the folder, formatted if need be."""
    store = ChunkStore(fake_runtime(clock, threads), disk, formatted(disk, root), "chunk-1", rules)
    return store, await store.open()


class PackedCase(SynchronousTestCase):
    """Gives a disk and a store on it."""

    rules = PACK

    def setUp(self) -> None:
        self.clock = Clock()
        self.disk = SimulatedDisk()
        self.layout = Layout(ROOT, CLUSTER)
        self.report = OpenReport(0, 0, 0, 0, 0)
        self.store = self.start()

    def start(self, threads: IThreads | None = None, rules: WriteRules | None = None) -> ChunkStore:
        """What a start finds."""
        opening = open_packed(self.disk, threads, rules or self.rules, clock=self.clock)
        store, self.report = self.run_now(opening)
        return store

    def restart(self) -> ChunkStore:
        """The process ends, and another begins."""
        self.disk.end_process()
        self.store = self.start()
        return self.store

    def run_now(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        return self.successResultOf(Deferred.fromCoroutine(work))

    def put(self, *file_ids: int, length: int = 1000) -> None:
        """Store them, one group each."""
        for file_id in file_ids:
            self.run_now(put(self.store, ref(file_id), bytes_of(file_id, length)))

    def holds(self, file_id: int, length: int = 1000) -> bool:
        """Whether the replica is listed; if it is, every byte of it is right."""
        if self.store.index.get(ref(file_id)) is None:
            return False
        footer = self.run_now(self.store.verify(ref(file_id)))
        self.assertEqual(footer.sha256, sha256_of(bytes_of(file_id, length)))
        return True

    def held(self) -> list[int]:
        """Files of the replicas that are listed."""
        return [held.file_id for held in self.store.index.page(b"", 1000)[0]]

    def segment(self, number: int = 1) -> str:
        """Its path."""
        return self.layout.segment(name_of(number))

    def content(self, number: int = 1) -> bytes:
        """A segment's bytes."""
        file = self.disk.open(self.segment(number), writable=False)
        return file.pread(file.size(), 0)

    def offset(self, file_id: int) -> int:
        """Where the record begins."""
        place = self.store.index.place(ref(file_id))
        assert place is not None
        return place.offset
