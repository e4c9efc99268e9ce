"""What the tests of the store share: a store on a disk that fails on order, and ways to look at it and spoil it."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from dfs.chunkserver.store import ChunkStore
from dfs.chunkserver.test.fakes import REF, InlineThreads, content_of, fake_runtime, faulty, formatted, opened, put
from dfs.disk.real import RealDisk
from dfs.protocol.messages import HeldReplica
from dfs.protocol.values import PIECE, ChunkRef

CONTENT = content_of(3 * PIECE + 5)


class StoreCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.root = self.mktemp()
        self.disk = faulty(RealDisk())
        self.threads = InlineThreads()
        self.clock = Clock()
        self.runtime = fake_runtime(self.clock, self.threads)
        self.layout = formatted(self.disk, self.root)
        self.store = self.reopened()

    def reopened(self) -> ChunkStore:
        """The store as a new process would see the folder."""
        return self.successResultOf(Deferred.fromCoroutine(opened(self.runtime, self.disk, self.root)))

    def put(self, ref: ChunkRef = REF, content: bytes = CONTENT) -> HeldReplica:
        self.successResultOf(Deferred.fromCoroutine(put(self.store, ref, content)))
        held = self.store.index.get(ref)
        assert held is not None
        return held

    def put_fails(self, error: type[Exception], ref: ChunkRef = REF, content: bytes = CONTENT) -> None:
        self.failureResultOf(Deferred.fromCoroutine(put(self.store, ref, content)), error)

    def read(self, ref: ChunkRef = REF) -> bytes:
        async def whole() -> bytes:
            reading = await self.store.open_reader(ref)
            try:
                blocks = [
                    block
                    for offset in range(0, reading.footer.length, 2 * PIECE)
                    for block in await reading.read(offset, 2 * PIECE)
                ]
            finally:
                reading.close()
            return b"".join(bytes(view) for block in blocks for view in block.pieces)

        return self.successResultOf(Deferred.fromCoroutine(whole()))

    def left(self, ref: ChunkRef = REF) -> list[str]:
        """Names in the folder of a replica."""
        return RealDisk().list_folder(self.layout.folder(ref))

    def spoil(self, offset: int, ref: ChunkRef = REF) -> None:
        """Flip a bit of a replica on disk."""
        file = RealDisk().open(self.layout.path(ref))
        byte = file.pread(1, offset)
        file.pwrite([bytes([byte[0] ^ 1])], offset)
        file.close()
