"""What one operation costs, in counts: `make bench-check`.

    python -m bench.counts [--check | --record] [--json]

Seconds move with the neighbours, the host and the weather, so a test of them is a trap.  Counts do not: the
whole cluster, the code that users run, lives in the simulator under fixed seeds, and does the same each time.  For
a chunk, a small file and an operation on names this counts, over all nodes and the client,

- calls of Python functions in Twisted and in each package but the simulator,
- receives and sends on sockets (with a window as wide as loopback's), jobs on threads, syncs of files and of folders.

``--check`` compares with the recorded ``bench/counts.json`` and fails where a count grew by more than a tenth: the
guard of what was won.  Where the growth is meant, ``--record`` writes the new counts, and the commit says why.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from types import CodeType, FrameType
from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from dfs.simulation.cluster import ClusterClient, ClusterSettings, SimulatedCluster
from dfs.simulation.disk import SimulatedDisk, SimulatedFile
from dfs.simulation.host import World
from dfs.simulation.run import prepare
from dfs.simulation.sockets import SimulatedSocket
from dfs.simulation.threads import SimulatedCrew

RECORD = os.path.join(os.path.dirname(os.path.abspath(__file__)), "counts.json")
SEEDS = range(1, 6)
"""Means are over these: how operations at once share requests and log entries differs much from one to the next."""

CHUNK, CHUNKS = 4 << 20, 12
OPERATIONS, PARALLEL = 64, 4
WINDOW = 2 << 20
"""Bytes that a connection takes before they are read, as on loopback."""

GROWTH = 1.1
"""Times the recorded count that is no regression yet."""

RARE = 0.2
"""What happens less often in an operation is left to chance."""

Counts = dict[str, dict[str, float]]

WATCHED: dict[str, tuple[type, tuple[str, ...]]] = {
    "receives": (SimulatedSocket, ("recv",)),
    "sends": (SimulatedSocket, ("send",)),
    "jobs": (SimulatedCrew, ("run",)),
    "file syncs": (SimulatedFile, ("sync",)),
    "folder syncs": (SimulatedDisk, ("sync_folder",)),
}


def package_of(code: CodeType) -> str:
    """``calls in PACKAGE`` for a function that counts, "" for one that does not."""
    parts = code.co_filename.split(os.sep)
    if "twisted" in parts:
        return "calls in twisted"
    if "dfs" not in parts:
        return ""
    package = parts[len(parts) - parts[::-1].index("dfs")]
    return "" if package in ("simulation", "test") else f"calls in {package}"


class Meter:
    """Counts while it is on.  It replaces methods of the simulator for the life of the process."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._on = False
        self._packages: dict[CodeType, str] = {}
        for kind, (owner, names) in WATCHED.items():
            for name in names:
                setattr(owner, name, self._counted(kind, getattr(owner, name)))

    def _counted(self, kind: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **keywords: Any) -> Any:
            result = method(*arguments, **keywords)
            if self._on:
                self.counts[kind] += 1
            return result

        return counted

    def _profile(self, frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            code = frame.f_code
            package = self._packages.get(code)
            if package is None:
                package = self._packages[code] = package_of(code)
            if package:
                self.counts[package] += 1

    async def of(self, work: Coroutine[Any, Any, Any], operations: int) -> dict[str, float]:
        """The counts of one operation of ``work``, which makes so many."""
        self.counts.clear()
        self._on = True
        sys.setprofile(self._profile)
        try:
            await work
        finally:
            sys.setprofile(None)
            self._on = False
        calls = sum(count for kind, count in self.counts.items() if kind.startswith("calls"))
        counts = {**self.counts, "calls": calls}
        return {kind: round(count / operations, 2) for kind, count in sorted(counts.items())}


async def create(client: ClusterClient, number: int) -> None:
    """An empty file: two entries of the log."""
    files = await client.enter()
    await files.upload(from_pieces(), f"empty/{number}")


async def stat(client: ClusterClient, number: int) -> None:
    """A linearizable read."""
    await (await client.enter()).stat(f"empty/{number}")


async def delete(client: ClusterClient, number: int) -> None:
    """An entry of the log."""
    await (await client.enter()).delete(f"empty/{number}")


async def small_up(client: ClusterClient, number: int) -> None:
    """A file of 4 KiB."""
    await client.upload(bytes(4096), f"small/{number}")


async def small_down(client: ClusterClient, number: int) -> None:
    """The same."""
    await client.download(f"small/{number}")


async def from_pieces() -> AsyncIterator[bytes]:
    """No bytes at all."""
    none: tuple[bytes, ...] = ()
    for piece in none:
        yield piece


async def at_once(client: ClusterClient, work: Callable[[ClusterClient, int], Coroutine[Any, Any, None]]) -> None:
    """OPERATIONS times, PARALLEL at once."""
    numbers = iter(range(OPERATIONS))

    async def worker() -> None:
        for number in numbers:
            await work(client, number)

    await gatherResults([Deferred.fromCoroutine(worker()) for _ in range(PARALLEL)])


async def measured(cluster: SimulatedCluster, meter: Meter) -> Counts:
    """All counts, by operation."""
    await cluster.wait_ready()
    client = cluster.client()
    content = bytes(range(256)) * (CHUNK // 256)
    await client.upload(content, "first")  # connections are open, sessions too
    found = {
        "chunk up": await meter.of(client.upload(content * CHUNKS, "large"), CHUNKS),
        "chunk down": await meter.of(client.download("large"), CHUNKS),
    }
    works = {"4 KiB file up": small_up, "4 KiB file down": small_down, "create": create, "stat": stat, "delete": delete}
    for name, work in works.items():
        found[name] = await meter.of(at_once(client, work), OPERATIONS)
    return found


def play(seed: int, meter: Meter) -> Counts:
    """One cluster, from its start."""
    world = World(seed)
    world.network.window = WINDOW
    cluster = SimulatedCluster(world, ClusterSettings(chunk_size=CHUNK))
    cluster.start()
    found = cluster.run(measured(cluster, meter), timeout=600.0)
    assert found is not None
    return found


def count() -> Counts:
    """The means over all seeds."""
    prepare()
    meter = Meter()
    played = [play(seed, meter) for seed in SEEDS]
    found: Counts = {}
    for operation in played[0]:
        kinds = sorted(set().union(*(each[operation] for each in played)))
        found[operation] = {
            kind: round(sum(each[operation].get(kind, 0.0) for each in played) / len(played), 2) for kind in kinds
        }
    return found


def regressions(found: Counts, recorded: Counts) -> list[str]:
    """What grew, in sentences."""
    grown = []
    for operation, kinds in recorded.items():
        for kind, before in kinds.items():
            now = found.get(operation, {}).get(kind, 0.0)
            if max(before, now) >= RARE and now > before * GROWTH:
                grown.append(f"{operation}: {kind} {before:g} -> {now:g}, {now / before:.2f} times")
    return grown


def show(found: Counts) -> None:
    """A table."""
    kinds = ["calls", *WATCHED]
    sys.stdout.write(f"  {'for each':18}" + "".join(f"{kind:>14}" for kind in kinds) + "\n")
    for operation, counts in found.items():
        row = "".join(f"{counts.get(kind, 0):14,.1f}" for kind in kinds)
        sys.stdout.write(f"  {operation:18}{row}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """1 if a count grew."""
    parser = argparse.ArgumentParser(prog="python -m bench.counts", description=(__doc__ or "").split("\n", 1)[0])
    either = parser.add_mutually_exclusive_group()  # to record first would hide what grew
    either.add_argument("--check", action="store_true", help="compare with the recorded counts")
    either.add_argument("--record", action="store_true", help="record these counts")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    found = count()
    if options.json:
        sys.stdout.write(json.dumps(found, indent=1) + "\n")
    else:
        show(found)
    if options.record:
        with open(RECORD, "w", encoding="utf-8") as file:
            file.write(json.dumps(found, indent=1) + "\n")
    if not options.check:
        return 0
    with open(RECORD, encoding="utf-8") as file:
        grown = regressions(found, json.load(file))
    for sentence in grown:
        sys.stdout.write(f"grew: {sentence}\n")
    return 1 if grown else 0


if __name__ == "__main__":
    sys.exit(main())
