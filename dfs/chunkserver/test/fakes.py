"""Neighbours of the chunk server's modules, made by hand: threads without threads, a disk that fails on order."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from typing import Any

from crc32c import crc32c
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.task import Clock
from zope.interface import implementer

from dfs.chunkserver.identity import claim, open_folder
from dfs.chunkserver.layout import Layout
from dfs.chunkserver.store import ChunkStore
from dfs.chunkserver.writing import WriteRules
from dfs.disk.interfaces import IDisk, IDiskFile
from dfs.protocol.interfaces import Block
from dfs.protocol.values import BLOCK, PIECE, ChunkRef, FileId, Generation
from dfs.runtime.interfaces import ILane, IThreads, Runtime

CLUSTER = bytes(range(16))
REF = ChunkRef(FileId(7), 3, Generation(11))
RULES = WriteRules(reserve=0)


@implementer(IThreads)
class InlineThreads:
    """Runs each call at once, or, while ``held``, keeps it until :meth:`release`."""

    def __init__(self) -> None:
        self.held = False
        self.waiting: list[Callable[[], None]] = []
        self.last: Deferred[None] = succeed(None)

    def run(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        if not self.held:
            return maybeDeferred(function, *arguments)
        result: Deferred[Any] = Deferred()

        def call() -> None:
            self.last = maybeDeferred(function, *arguments).addCallbacks(result.callback, result.errback)

        self.waiting.append(call)
        return result

    def release(self) -> None:
        """Run what waits now."""
        waiting, self.waiting = self.waiting, []
        for call in waiting:
            call()

    def lane(self, name: str) -> ILane:
        raise NotImplementedError(name)

    def stop(self) -> Deferred[None]:
        return succeed(None)


def fake_runtime(reactor: Any = None, threads: IThreads | None = None) -> Runtime:
    """A runtime of a fake clock, inline threads and seeded chance."""
    chance = random.Random(1)
    return Runtime(
        reactor=Clock() if reactor is None else reactor,
        threads=threads or InlineThreads(),
        random=random.Random(2),
        wall_time=lambda: 0.0,
        entropy=lambda length: chance.getrandbits(8 * length).to_bytes(length, "big"),
    )


class FaultyDisk:
    """Passes everything on to a disk; the n-th call of an operation, or of any, raises.

    ``calls`` records each operation with the file's name; ``fail(operation, error)`` makes the next one raise.
    """

    def __init__(self, disk: IDisk) -> None:
        self._disk = disk
        self.calls: list[tuple[str, str]] = []
        self.faults: dict[str, BaseException] = {}

    def fail(self, operation: str, error: BaseException) -> None:
        """Every call of ``operation`` from now on raises ``error``."""
        self.faults[operation] = error

    def note(self, operation: str, path: str) -> None:
        self.calls.append((operation, path.rsplit("/", 1)[-1]))
        if operation in self.faults:
            raise self.faults[operation]

    def boot_id(self) -> str:
        return self._disk.boot_id()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._disk, name)

        def call(path: str, *arguments: Any, **keywords: Any) -> Any:
            self.note(name, path)
            result = method(path, *arguments, **keywords)
            return FaultyFile(self, result) if name == "open" else result

        return call


class FaultyFile:
    """An open file of a FaultyDisk."""

    def __init__(self, disk: FaultyDisk, file: IDiskFile) -> None:
        self._disk, self._file = disk, file
        self.path = file.path

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._file, name)

        def call(*arguments: Any) -> Any:
            self._disk.note(name, self.path)
            return method(*arguments)

        return call


def faulty(disk: IDisk) -> Any:
    """A FaultyDisk, which provides IDisk by passing on."""
    return FaultyDisk(disk)


def content_of(length: int, seed: int = 0) -> bytes:
    """Bytes that differ everywhere."""
    return random.Random(seed).randbytes(length)


def blocks_of(content: bytes, offset: int = 0, size: int = BLOCK) -> list[Block]:
    """The blocks a client would send; each in two memoryviews that are cut across a piece."""
    blocks = []
    for at in range(0, len(content), size):
        part = memoryview(content)[at : at + size]
        crcs = tuple(crc32c(part[piece : piece + PIECE]) for piece in range(0, len(part), PIECE))
        cut = len(part) // 3
        blocks.append(Block(offset + at, len(part), crcs, (part[:cut], part[cut:])))
    return blocks


def sha256_of(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def formatted(disk: IDisk, root: str, node: str = "chunk-1") -> Layout:
    """The layout of a folder made for ``node``; its lock is given back."""
    folder = open_folder(disk, root, node, CLUSTER)
    if folder.identity is None:
        claim(disk, folder, node, CLUSTER, b"i" * 16)
    folder.lock.release()
    return Layout(root, CLUSTER)


async def opened(
    runtime: Runtime, disk: IDisk, root: str, node: str = "chunk-1", rules: WriteRules = RULES
) -> ChunkStore:
    """A store on the folder, formatted if need be, open."""
    store = ChunkStore(runtime, disk, formatted(disk, root, node), node, rules)
    await store.open()
    return store


async def put(store: ChunkStore, ref: ChunkRef, content: bytes) -> None:
    """Write a whole replica."""
    writing = store.begin(ref, max(1, len(content)), len(content))
    await writing.finish(blocks_of(content), len(content), sha256_of(content))
