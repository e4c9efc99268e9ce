"""Metadata at several sizes: cost of an operation, memory, start, snapshot.

    python -m bench.scale [--sizes 10000,1000000] [--json FILE]

Files are stored through ``apply``, in batches, into one cluster that grows; ten million take the better part of an hour
and 25 GB of disk, which are given back at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from typing import Any

from bench.local import LocalCluster
from bench.scale import costs
from bench.scale.load import stored
from bench.scale.local import adopt, prepare
from bench.scale.tables import KEY, Author, open_machine
from dfs.protocol.values import cluster_id_of

LIVE = ("bench.scale.live",)
COUNT = 2000  # operations of each kind that are timed


def apart(*words: str) -> dict[str, Any]:
    """The document of one of our commands in a process of its own."""
    command = [sys.executable, "-m", *words]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def alone(folder: str, files: int) -> dict[str, Any]:
    """The state machine by itself: open, operate, read a snapshot."""
    began = time.perf_counter()
    machine = open_machine(folder, cluster_id_of(KEY))
    found: dict[str, Any] = {"open_seconds": time.perf_counter() - began}
    chance = random.Random(7)
    costs.reads(machine, files, COUNT, chance)  # warms what a running node has warm
    found |= costs.reads(machine, files, COUNT, chance)
    found |= costs.writes(Author(machine), files, COUNT, chance)
    found["resident"] = costs.resident_bytes_here()
    found["snapshot"] = costs.snapshot(machine)
    machine.close()
    return found


def running(cluster: LocalCluster, folder: str, files: int, with_transfer: bool) -> dict[str, Any]:
    """The whole of it on three real members."""
    found: dict[str, Any] = {"cluster_up_seconds": adopt(cluster, folder)}
    meta = cluster.meta()
    found["resident_at_start"] = cluster.resident()
    found["operations"] = apart(*LIVE, "operations", meta, str(files))
    found["resident"] = cluster.resident()
    began = time.perf_counter()
    cluster.dfs("cluster", "restart", "meta-2")
    found["restart_seconds"] = time.perf_counter() - began
    found["quiet"] = apart(*LIVE, "probe", meta, str(files), "5")
    if with_transfer:
        found["transfer"] = transfer(cluster, meta, files)
    return found


def transfer(cluster: LocalCluster, meta: str, files: int) -> dict[str, Any]:
    """A follower that lost its tables fetches all of them, while a client asks the leader again and again."""
    leader = cluster.dfs("status")["leader"]
    follower = next(node for node in cluster.nodes() if node["kind"] == "meta" and node["name"] != leader)
    before = cluster.resident()[leader]
    os.kill(follower["pid"], signal.SIGKILL)
    shutil.rmtree(os.path.join(cluster.dir, follower["name"], "data", "tables"))
    began = time.perf_counter()
    restart = ["cluster", "restart", follower["name"]]
    probes, highest = [], before
    cluster.dfs(*restart)
    while True:
        probes.append(apart(*LIVE, "probe", meta, str(files), "2"))
        highest = max(highest, cluster.resident()[leader])
        members = {member["name"]: member["applied"] for member in cluster.dfs("status")["meta"]}
        if (members[follower["name"]] or 0) >= (members[leader] or 0) > 0:
            break
    return {
        "seconds_at_most": time.perf_counter() - began,
        "p99_ms": max(probe["p99_ms"] for probe in probes),
        "max_ms": max(probe["max_ms"] for probe in probes),
        "leader_resident_grown": highest - before,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure metadata at several sizes.")
    parser.add_argument("--sizes", default="10000,1000000", help="numbers of files, ascending")
    parser.add_argument("--tables", help="keep the tables here, a folder a size, and use those that are there")
    parser.add_argument("--no-transfer", action="store_true", help="leave out the member that fetches all tables")
    parser.add_argument("--json", help="write the figures there")
    parser.add_argument("--alone", nargs=2, metavar=("TABLES", "FILES"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        print(json.dumps(alone(options.alone[0], int(options.alone[1]))))
        return
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="dfs-scale-") as place:
        for size in map(int, options.sizes.split(",")):
            tables = os.path.join(options.tables or place, str(size))
            found[str(size)] = measured(tables, place, size, not options.no_transfer)
            print(json.dumps({size: found[str(size)]}, indent=1), flush=True)
            if options.json:
                with open(options.json, "w", encoding="utf-8") as file:
                    json.dump(found, file, indent=1)


def measured(folder: str, place: str, files: int, with_transfer: bool) -> dict[str, Any]:
    """Everything at one size."""
    figures = stored(folder)
    if figures["files"] != files:
        figures = apart("bench.scale.load", folder, str(files))
    copy = os.path.join(place, "alone")
    shutil.copytree(folder, copy)
    figures["alone"] = apart("bench.scale", "--alone", copy, str(files))
    shutil.rmtree(copy)
    cluster = LocalCluster()
    prepare(cluster)
    with cluster:
        return figures | running(cluster, folder, files, with_transfer)


if __name__ == "__main__":
    main()
