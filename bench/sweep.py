"""Sizes of chunks, numbers of clients, and reads from the disk: what the benchmark of one large file leaves open.

    python -m bench.sweep [--size MIB] [--json FILE]

A client is a `dfs` command of its own; all of one row begin at the same moment, and its
rate is all their bytes by the time from the first start to the last end, the start of
the commands (about 0.4 s of CPU each) included.  A cold read follows after the kernel
was asked to forget the replicas' pages.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from typing import Any

from bench.data import MIB, make_file
from bench.local import Command, LocalCluster, warm

CHUNKS = (1, 4, 16, 64)
CLIENTS = (1, 4, 16)


def forget_pages(folder: str) -> int:
    """Ask the kernel to forget the cached pages of all files below a folder; how many bytes those files have."""
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            descriptor = os.open(os.path.join(root, name), os.O_RDONLY)
            try:
                total += os.fstat(descriptor).st_size
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(descriptor)
    return total


def together(cluster: LocalCluster, commands: list[tuple[str, ...]]) -> dict[str, float]:
    """Run commands at once: seconds, CPU seconds over all processes, the largest client's memory in MiB."""
    meter = cluster.cpu_meter()
    before, began = meter(), time.perf_counter()
    running: list[Command] = [cluster.start(*words) for words in commands]
    ended = [each.end()[1] for each in running]
    return {
        "seconds": time.perf_counter() - began,
        "cpu": meter() - before + sum(used.cpu for used in ended),
        "client_mib": max(used.peak for used in ended) / MIB,
    }


def row(cluster: LocalCluster, source: str, chunk: int, clients: int, size: int) -> dict[str, Any]:
    """``clients`` files of ``size`` bytes each up, down cold and down warm."""
    names = [f"sweep/{chunk}-{clients}/{number}" for number in range(clients)]
    outs = [os.path.join(cluster.folder, f"out-{number}") for number in range(clients)]
    up: list[tuple[str, ...]] = [
        ("upload", "--file", source, "--name", name, "--chunk-size", f"{chunk}MiB") for name in names
    ]
    down: list[tuple[str, ...]] = [
        ("download", "--name", name, "--out", out, "--force") for name, out in zip(names, outs, strict=True)
    ]
    found: dict[str, Any] = {"chunk_mib": chunk, "clients": clients}
    for way, commands in (("up", up), ("cold", down), ("warm", down)):
        warm()
        if way == "cold":
            forget_pages(cluster.dir)
        used = together(cluster, commands)
        found[way] = {
            "mib_s": clients * size / MIB / used["seconds"],
            "cpu_seconds_per_gib": used["cpu"] / (clients * size / (1 << 30)),
            "client_mib": used["client_mib"],
        }
    for name, out in zip(names, outs, strict=True):
        os.unlink(out)
        cluster.dfs("delete", "--name", name)
    return found


def run(total: int) -> list[dict[str, Any]]:
    """Every size of chunk with every number of clients; ``total`` bytes a row."""
    with LocalCluster() as cluster:
        rows = []
        for clients in CLIENTS:
            source = os.path.join(cluster.folder, f"source-{clients}")
            make_file(source, total // clients)
            rows += [row(cluster, source, chunk, clients, total // clients) for chunk in CHUNKS]
            os.unlink(source)
        return rows


def main() -> int:
    """Print a table."""
    parser = argparse.ArgumentParser(description="sizes of chunks and numbers of clients")
    parser.add_argument("--size", type=int, default=1024, metavar="MIB", help="all clients together")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    rows = run(options.size << 20)
    print("| chunk MiB | clients | up MiB/s | CPU s/GiB | down, cold | down, warm | CPU s/GiB | client MiB |")
    print("|---|---|---|---|---|---|---|---|")
    for each in rows:
        up, cold, hot = each["up"], each["cold"], each["warm"]
        print(
            f"| {each['chunk_mib']} | {each['clients']} | {up['mib_s']:.0f} | {up['cpu_seconds_per_gib']:.1f}"
            f" | {cold['mib_s']:.0f} | {hot['mib_s']:.0f} | {hot['cpu_seconds_per_gib']:.1f}"
            f" | {max(up['client_mib'], hot['client_mib']):.0f} |"
        )
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(rows, file, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
