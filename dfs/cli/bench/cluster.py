"""A cluster's own figures: a large file up and down, small files, operations on names.

Everything goes through the client that every program uses, with nothing switched off.  A part ends after its
time, whatever is left of it, and what was stored is removed again, also when something fails on the way.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any

from attrs import field, frozen

from dfs.client.api import Client
from dfs.client.concurrency import gather
from dfs.client.errors import FileNotFound
from dfs.protocol.values import NodeState
from dfs.runtime.interfaces import Runtime

MIB = 1 << 20
PREFIX = ".dfs-bench/"
"""What the files of a run are called begins so; what an interrupted run left is found by it."""

SMALL = 4096
AT_ONCE = 16
SLACK = 1.25
"""Times the room that the files need: no disk is to be filled up to its last byte by a measurement."""


@frozen
class Wanted:
    """``size`` bytes up and down, ``parallel`` chunks in flight, ``copies`` of each; so many small ``files`` and
    operations, each kind for ``seconds`` at most."""

    size: int = 256 * MIB
    parallel: int = 4
    copies: int = 3
    files: int = 400
    seconds: float = 15.0


@frozen
class Figure:
    """``count`` operations (or bytes) in ``seconds``; each operation's own time in ``latencies``, sorted, seconds."""

    count: int
    seconds: float
    latencies: tuple[float, ...] = field(default=(), repr=False)

    @property
    def rate(self) -> float:
        """In a second."""
        return self.count / self.seconds if self.seconds > 0 else 0.0

    def latency(self, share: float) -> float:
        """Seconds within which so large a share of the operations ended."""
        return self.latencies[min(len(self.latencies) - 1, int(share * len(self.latencies)))]


async def missing_room(client: Client, wanted: Wanted) -> int:
    """Bytes that the live chunk servers lack for such a run; 0 or less when there is room."""
    servers = (await client.status()).chunk_servers
    free = sum(server.free for server in servers if server.state is NodeState.ALIVE)
    return int(SLACK * wanted.copies * (wanted.size + wanted.files * SMALL)) - free


class Run:
    """One run; ``figures`` fill as it goes on."""

    def __init__(self, client: Client, runtime: Runtime, wanted: Wanted) -> None:
        self.figures: dict[str, Figure] = {}
        self._client, self._runtime, self._wanted = client, runtime, wanted
        self._prefix = f"{PREFIX}{runtime.entropy(6).hex()}/"
        self._block = runtime.entropy(MIB)
        self._made: dict[str, None] = {}

    async def measure(self, told: Callable[[str], None]) -> None:
        """All parts; ``told`` hears what is measured next.  Raises DFSError.  Leaves nothing behind."""
        try:
            await self._large(told)
            files = range(self._wanted.files)
            small, empty = f"{self._prefix}small/", f"{self._prefix}empty/"
            await self._timed("small up", self._small_up, (f"{small}{number}" for number in files), told)
            await self._timed("small down", self._small_down, self._made_below(small), told)
            await self._timed("create", self._create, (f"{empty}{number}" for number in files), told)
            await self._timed("stat", self._client.stat, (f"{self._prefix}large" for _ in files), told)
            await self._timed("delete", self._delete, self._made_below(empty), told)
        finally:
            await self._clean()

    async def _large(self, told: Callable[[str], None]) -> None:
        wanted, name = self._wanted, f"{self._prefix}large"
        told("upload")
        began = self._now()
        self._made[name] = None
        await self._client.upload(self._content(wanted.size), name, parallel=wanted.parallel, replication=wanted.copies)
        self.figures["upload"] = Figure(wanted.size, self._now() - began)
        told("download")
        began = self._now()
        result = await self._client.download(name, _drop, parallel=wanted.parallel)
        self.figures["download"] = Figure(result.size, self._now() - began)

    def _now(self) -> float:
        return float(self._runtime.reactor.seconds())

    async def _content(self, size: int) -> AsyncIterator[bytes]:
        """Random bytes, each MiB marked by its number so that no two are alike."""
        for start in range(0, size, MIB):
            mark = start.to_bytes(8, "big")
            yield (mark + self._block[8:])[: min(MIB, size - start)]

    def _made_below(self, prefix: str) -> list[str]:
        """What there is to be read or deleted: fewer than were wanted, if time was over before."""
        return [name for name in self._made if name.startswith(prefix)]

    async def _timed(
        self, part: str, work: Callable[[str], Awaitable[Any]], names: Iterable[str], told: Callable[[str], None]
    ) -> None:
        """Each name once, AT_ONCE at once, or as many as the time allows."""
        told(part)
        latencies: list[float] = []
        began = self._now()
        left = iter(names)

        async def worker() -> None:
            for name in left:
                since = self._now()
                if since - began > self._wanted.seconds:
                    return
                await work(name)
                latencies.append(self._now() - since)

        await gather(self._runtime.reactor, [worker() for _ in range(AT_ONCE)])
        self.figures[part] = Figure(len(latencies), self._now() - began, tuple(sorted(latencies)))

    async def _store(self, name: str, size: int) -> None:
        self._made[name] = None
        await self._client.upload(self._content(size), name, replication=self._wanted.copies)

    async def _small_up(self, name: str) -> None:
        await self._store(name, SMALL)

    async def _small_down(self, name: str) -> None:
        await self._client.download(name, _drop)

    async def _create(self, name: str) -> None:
        await self._store(name, 0)

    async def _delete(self, name: str) -> None:
        await self._client.delete(name)
        del self._made[name]

    async def _clean(self) -> None:
        """Delete what is left.  Raises DFSError when metadata cannot be reached any more."""
        names = iter(list(self._made))

        async def worker() -> None:
            for name in names:
                try:
                    await self._client.delete(name)
                except FileNotFound:
                    pass  # it never became a file: its upload failed
                del self._made[name]

        await gather(self._runtime.reactor, [worker() for _ in range(AT_ONCE)])


async def _drop(piece: bytearray) -> None:
    """Verified by the client; nobody keeps it."""
