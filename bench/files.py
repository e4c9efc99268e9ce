"""Small files through the Python API: rate, latency, CPU of every process and log entries a file.

    python -m bench.files [--count 1000] [--at-once 16] [--json]
"""

from __future__ import annotations

import argparse
import io
import json
import os
import time
from typing import Any

from bench.local import LocalCluster
from bench.metadata import run_on_reactor, timed
from dfs.client.api import Client, ClientOptions, connect

SIZE = 4096


async def one_way(client: Client, cluster: LocalCluster, reactor: Any, work: Any, count: int, at_once: int) -> Any:
    """``count`` files; what they took."""
    before, own = cluster.cpu_by_kind(), time.process_time()
    applied = (await client.status()).applied
    found: dict[str, Any] = await timed(reactor, work, count, at_once)
    entries = (await client.status()).applied - applied
    after = cluster.cpu_by_kind()
    spent = {kind: (after[kind] - before[kind]) * 1000 / count for kind in after}
    spent["client"] = (time.process_time() - own) * 1000 / count
    return {**found, "entries": entries / count, "cpu_ms": spent, "cpu_ms_all": sum(spent.values())}


async def small_files(client: Client, cluster: LocalCluster, reactor: Any, count: int, at_once: int) -> dict[str, Any]:
    """Files of 4 KiB up and down."""
    bodies = [os.urandom(SIZE) for _ in range(16)]

    async def upload(number: int) -> None:
        await client.upload(io.BytesIO(bodies[number % 16]), f"small/{number}", parallel=1)

    async def download(number: int) -> None:
        file = await client.open(f"small/{number}")
        if await file.read() != bodies[number % 16]:
            raise AssertionError(f"small/{number} came back different")

    up = await one_way(client, cluster, reactor, upload, count, at_once)
    return {"up": up, "down": await one_way(client, cluster, reactor, download, count, at_once)}


def run(count: int, at_once: int) -> dict[str, Any]:
    """On a fresh local cluster of 3 and 3 nodes."""
    with LocalCluster() as cluster:

        async def work(reactor: Any) -> dict[str, Any]:
            options = ClientOptions(patience=30.0, state_folder=os.path.join(cluster.folder, "state"))
            async with connect(cluster.meta(), reactor, options=options) as client:
                return await small_files(client, cluster, reactor, count, at_once)

        result: dict[str, Any] = run_on_reactor(work)
        return result


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description="small files up and down")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--at-once", type=int, default=16)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = run(options.count, options.at_once)
    if options.json:
        print(json.dumps(found, indent=1))
        return
    for way, row in found.items():
        cpu = ", ".join(f"{kind} {spent:.2f}" for kind, spent in row["cpu_ms"].items())
        print(f"{way:5} {row['per_second']:8.0f} files/s  p50 {row['p50_ms']:.1f} ms  p99 {row['p99_ms']:.1f} ms")
        print(f"      CPU {row['cpu_ms_all']:.2f} ms a file ({cpu}), log entries a file {row['entries']:.2f}")


if __name__ == "__main__":
    main()
