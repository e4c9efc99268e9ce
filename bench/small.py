"""What a small replica costs a chunk server's disk: syncs, processor time, and a start, with a file each and packed.

Run it from the checkout: ``python bench/small.py [--count N] [--length BYTES] [--at-once N] [--folder DIR] [--json]``.
One store on a real disk, threads of its own, no network: ``--at-once`` puts are under way at any time.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from crc32c import crc32c
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import react

from dfs.chunkserver.identity import claim, open_folder
from dfs.chunkserver.layout import Layout
from dfs.chunkserver.segments import SmallPut
from dfs.chunkserver.store import ChunkStore
from dfs.chunkserver.writing import WriteRules
from dfs.disk import real
from dfs.disk.real import RealDisk
from dfs.protocol.errors import DFSError
from dfs.protocol.interfaces import Block
from dfs.protocol.values import ChunkRef, FileId, Generation
from dfs.runtime.real import real_runtime

CLUSTER = bytes(16)


class Syncs(RealDisk):
    """Counts the syncs of folders; those of files are counted where the kernel is called."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        sync = real.sync_descriptor

        def counted(descriptor: int) -> None:
            self.counts["file"] += 1
            sync(descriptor)

        real.sync_descriptor = counted

    def sync_folder(self, path: str) -> None:
        self.counts["folder"] += 1
        super().sync_folder(path)


def put_of(number: int, length: int) -> SmallPut:
    content = hashlib.sha256(b"%d" % number).digest() * (length // 32 + 1)
    content = content[:length]
    ref = ChunkRef(FileId(number + 1), 0, Generation(1))
    return SmallPut(ref, content, (crc32c(content),), hashlib.sha256(content).digest())


async def opened(reactor: Any, disk: Syncs, root: str, segments: bool) -> ChunkStore:
    folder = open_folder(disk, root, "bench", CLUSTER)
    if folder.identity is None:
        claim(disk, folder, "bench", CLUSTER, bytes(16))
    folder.lock.release()
    store = ChunkStore(real_runtime(reactor), disk, Layout(root, CLUSTER), "bench", WriteRules(0, True, segments))
    await store.open()
    return store


async def stream(store: ChunkStore, puts: list[SmallPut]) -> None:
    """One after the other, as puts that come on streams do."""
    for put in puts:
        writing = store.begin(put.ref, len(put.content), len(put.content))
        block = Block(0, len(put.content), put.crcs, (memoryview(put.content),))
        await writing.finish([block], len(put.content), put.sha256)


async def batches(store: ChunkStore, puts: list[SmallPut], size: int) -> None:
    """Many in one request."""
    for at in range(0, len(puts), size):
        for outcome in await store.put_small(puts[at : at + size]):
            if isinstance(outcome, DFSError):
                raise outcome


async def measure(
    reactor: Any, root: str, segments: bool, batched: bool, puts: list[SmallPut], at_once: int
) -> dict[str, float]:
    """Figures of one way, in a new folder."""
    disk = Syncs()
    store = await opened(reactor, disk, root, segments)
    disk.counts.clear()
    wall, cpu = time.perf_counter(), time.process_time()
    if batched:
        await batches(store, puts, at_once)
    else:
        parts = [puts[at::at_once] for at in range(at_once)]
        done: Any = await DeferredList(
            [Deferred.fromCoroutine(stream(store, part)) for part in parts], fireOnOneErrback=True, consumeErrors=True
        )
        assert all(ok for ok, _ in done)
    figures = {
        "syncs": sum(disk.counts.values()) / len(puts),
        "cpu_us": (time.process_time() - cpu) / len(puts) * 1e6,
        "per_second": len(puts) / (time.perf_counter() - wall),
    }
    await store.idle()
    wall, cpu = time.perf_counter(), time.process_time()
    assert len((await opened(reactor, disk, root, segments)).index) == len(puts)
    figures["start_us"] = (time.perf_counter() - wall) / len(puts) * 1e6
    figures["start_cpu_us"] = (time.process_time() - cpu) / len(puts) * 1e6
    return figures


async def run(reactor: Any, options: argparse.Namespace, say: Callable[[str], object]) -> None:
    puts = [put_of(number, options.length) for number in range(options.count)]
    folder = tempfile.mkdtemp(dir=options.folder)
    try:
        for name, segments, batched in (("files", False, False), ("packed", True, False), ("batches", True, True)):
            figures = await measure(reactor, f"{folder}/{name}", segments, batched, puts, options.at_once)
            rounded = {key: round(value, 3) for key, value in figures.items()}
            told = ", ".join(f"{key} {value:g}" for key, value in rounded.items())
            say((json.dumps({"name": name, **rounded}) if options.json else f"{name}: {told}") + "\n")
    finally:
        shutil.rmtree(folder)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--length", type=int, default=8192)
    parser.add_argument("--at-once", type=int, default=64)
    parser.add_argument("--folder", default=None)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    react(lambda reactor: Deferred.fromCoroutine(run(reactor, options, sys.stdout.write)))


if __name__ == "__main__":
    main()
