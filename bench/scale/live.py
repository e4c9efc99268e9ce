"""A client of a running cluster, in a process of its own: operations at several concurrencies, or one after the other.

    python -m bench.scale.live operations META FILES
    python -m bench.scale.live probe META FILES SECONDS

Prints one JSON document.
"""

from __future__ import annotations

import json
import random
import sys
import time
from statistics import median
from typing import Any

from bench.metadata import operations, percentile, run_on_reactor, timed
from bench.scale.tables import name_of
from dfs.client.api import Client, ClientOptions, connect
from dfs.client.concurrency import pause

COUNTS = {1: 300, 16: 1600, 64: 3200}
EVERY = 0.005  # seconds between two requests of a probe


async def work(client: Client, reactor: Any, files: int) -> dict[str, Any]:
    """What bench.metadata does, and stats of names from anywhere in the tables."""
    chance = random.Random(files)
    found = await operations([client], reactor, COUNTS, f"live/{files}/{time.time_ns()}/")

    async def anywhere(_: int) -> None:
        await client.stat(name_of(chance.randrange(files)))

    for at_once, count in COUNTS.items():
        found[str(at_once)]["stat_anywhere"] = await timed(reactor, anywhere, count, at_once)
    return found


async def probe(client: Client, reactor: Any, files: int, seconds: float) -> dict[str, Any]:
    """Latency of one request at a time, in ms."""
    chance, latencies, end = random.Random(files), [], time.perf_counter() + seconds
    while time.perf_counter() < end:
        began = time.perf_counter()
        await client.stat(name_of(chance.randrange(files)))
        latencies.append(1000 * (time.perf_counter() - began))
        await pause(reactor, EVERY)
    return {"requests": len(latencies), "p50_ms": median(latencies), "p99_ms": percentile(latencies, 0.99)} | {
        "max_ms": max(latencies)
    }


def main() -> None:
    what, meta, files, *rest = sys.argv[1:]

    async def run(reactor: Any) -> dict[str, Any]:
        async with connect(meta, reactor, options=ClientOptions(patience=60.0)) as client:
            if what == "operations":
                return await work(client, reactor, int(files))
            return await probe(client, reactor, int(files), float(rest[0]))

    print(json.dumps(run_on_reactor(run)))


if __name__ == "__main__":
    main()
