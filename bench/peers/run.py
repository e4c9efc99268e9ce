"""`make bench-peers`: this system and its peers through the same work, alternating, on this machine.

    python -m bench.peers.run [--size MIB] [--rounds N] [--files N] [--json FILE] [--only data|small|metadata]

Medians over rounds, with the spread.  Ours is synced before it is acknowledged and verified by SHA-256; SeaweedFS and
MooseFS do neither, etcd syncs, PySyncObj keeps all in memory.  Each load comes from one Python process, which takes
its part of the machine.
"""

from __future__ import annotations

import argparse
import filecmp
import json
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from statistics import median
from typing import Any

from bench import data, metadata
from bench.local import LocalCluster, warm
from bench.peers import etcd, pysyncobj
from bench.peers.install import Missing
from bench.peers.moosefs import MooseFS
from bench.peers.seaweedfs import SeaweedFS
from dfs.client.api import Client, ClientOptions, connect

MIB = 1 << 20
AT_ONCE = 16
COUNTS = {1: 500, 16: 2000, 64: 4000}
Round = Callable[[int], dict[str, float]]
FilePeer = SeaweedFS | MooseFS


def peer_round(peer: FilePeer, source: str, size: int, number: int) -> dict[str, float]:
    """A file up and down through a peer; MiB/s and CPU seconds a GiB, the client's among them."""
    out = os.path.join(peer.processes.folder, "out")
    found: dict[str, float] = {}
    ways: dict[str, Callable[[], None]] = {
        "up": partial(peer.up, source, number),
        "down": partial(peer.down, number, out),
    }
    for way, work in ways.items():
        warm()
        before = peer.processes.cpu_seconds() + time.process_time()
        began = time.perf_counter()
        work()
        found[way] = size / MIB / (time.perf_counter() - began)
        used = peer.processes.cpu_seconds() + time.process_time() - before
        found[f"{way}_cpu"] = used / (size / (1 << 30))
    if not filecmp.cmp(source, out, shallow=False):
        raise AssertionError(f"{peer.name} gave other bytes back")
    os.unlink(out)
    peer.forget(number)
    return found


def our_round(cluster: LocalCluster, source: str, size: int, number: int) -> dict[str, float]:
    """The same through this system."""
    found = data.ours(cluster, source, size, number)
    return {
        **{way: found[way] for way in ("up", "down")},
        **{f"{way}_cpu": sum(found[f"{way}_cpu"].values()) for way in ("up", "down")},
    }


def summarize(rounds: list[dict[str, float]]) -> dict[str, Any]:
    """Median, least and most of each figure."""
    return {
        key: {"median": median(each[key] for each in rounds), "all": [each[key] for each in rounds]}
        for key in rounds[0]
    }


def large_files(size: int, rounds: int) -> dict[str, Any]:
    """One large file up and down, each system in its turn, round after round."""
    with ExitStack() as stack:
        cluster = stack.enter_context(LocalCluster())
        source = os.path.join(cluster.folder, "source")
        data.make_file(source, size)
        sides: dict[str, Round] = {
            "limit": lambda number: data.bare(os.path.join(cluster.folder, f"bare-{number}"), source, size),
            "dfs": partial(our_round, cluster, source, size),
        }
        for peer in (stack.enter_context(SeaweedFS()), stack.enter_context(MooseFS())):
            sides[peer.name] = partial(peer_round, peer, source, size)
        found: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
        for number in range(rounds):
            for name, side in sides.items():
                found[name].append(side(number))
                print(f"round {number + 1}: {name} up {found[name][-1]['up']:.0f} down {found[name][-1]['down']:.0f}")
    return {name: summarize(each) for name, each in found.items()}


def small_round(
    put: Callable[[int, bytes], None], get: Callable[[int], bytes], count: int
) -> dict[str, float]:
    """Files of 4 KiB, sixteen at once, on threads; files a second."""
    bodies = [os.urandom(4096) for _ in range(16)]

    def check(number: int) -> None:
        if get(number) != bodies[number % 16]:
            raise AssertionError("a small file came back different")

    found: dict[str, float] = {}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for way, work in (("up", lambda number: put(number, bodies[number % 16])), ("down", check)):
            began = time.perf_counter()
            list(pool.map(work, range(count)))
            found[way] = count / (time.perf_counter() - began)
    return found


def small_files(count: int, rounds: int) -> dict[str, Any]:
    """4 KiB files; ours through its API in one process."""
    with ExitStack() as stack:
        cluster = stack.enter_context(LocalCluster())
        weed, moose = stack.enter_context(SeaweedFS()), stack.enter_context(MooseFS())

        async def work(reactor: Any) -> dict[str, list[dict[str, float]]]:
            found: dict[str, list[dict[str, float]]] = {"dfs": [], weed.name: [], moose.name: []}
            options = ClientOptions(state_folder=os.path.join(cluster.folder, "state"))
            async with connect(cluster.meta(), reactor, options=options) as client:
                for number in range(rounds):
                    found["dfs"].append(await _ours_small(client, reactor, count, number))
                    found[weed.name].append(_weed_small(weed, count, number))
                    found[moose.name].append(_moose_small(moose, count, number))
            return found

        found = metadata.run_on_reactor(work)
    return {name: summarize(each) for name, each in found.items()}


async def _ours_small(client: Client, reactor: Any, count: int, number: int) -> dict[str, float]:
    found = await metadata.small_files(client, reactor, count, AT_ONCE, prefix=f"small/{number}/")
    return {way: found[way]["per_second"] for way in ("up", "down")}


def _weed_small(peer: SeaweedFS, count: int, number: int) -> dict[str, float]:
    connections = [peer.connect() for _ in range(AT_ONCE)]

    def put(file: int, body: bytes) -> None:
        connection = connections.pop()
        peer.put_bytes(f"/small/{number}/{file}", body, connection)
        connections.append(connection)

    def get(file: int) -> bytes:
        connection = connections.pop()
        body = peer.get_bytes(f"/small/{number}/{file}", connection)
        connections.append(connection)
        return body

    return small_round(put, get, count)


def _moose_small(peer: MooseFS, count: int, number: int) -> dict[str, float]:
    os.makedirs(os.path.join(peer.mount, f"small-{number}"))
    return small_round(
        lambda file, body: peer.put_bytes(f"small-{number}/{file}", body),
        lambda file: peer.get_bytes(f"small-{number}/{file}"),
        count,
    )


def metadata_planes(rounds: int) -> dict[str, Any]:
    """Durable writes, linearizable reads and fail-over, beside etcd's."""
    ours: list[dict[str, Any]] = []
    theirs: list[dict[str, Any]] = []
    with LocalCluster(chunks=3) as cluster, etcd.Etcd() as peer:

        async def work(reactor: Any) -> None:
            async with metadata.many_clients(cluster, reactor) as clients:
                cpu = cluster.cpu_meter()
                for number in range(rounds):
                    ours.append(await metadata.operations(clients, reactor, COUNTS, f"{number}/", cpu))
                    theirs.append(etcd.operations(peer, COUNTS))
                over["dfs"] = await metadata.fail_over(clients[0], cluster, reactor, 10)

        over: dict[str, Any] = {}
        metadata.run_on_reactor(work)
        over["etcd"] = etcd.fail_over(peer, 10)
        unsynced = pysyncobj.operations(COUNTS, rounds)
        resident = {"dfs": cluster.resident(), "etcd": peer.processes.resident()}
    return {"dfs": _medians(ours), "etcd": _medians(theirs), "fail_over": over, "resident": resident,
            "PySyncObj": unsynced}


def _medians(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    first = rounds[0]
    return {
        at_once: {
            kind: {
                figure: median(each[at_once][kind][figure] for each in rounds) for figure in first[at_once][kind]
            }
            for kind in first[at_once]
        }
        for at_once in first
    }


def show(found: dict[str, Any]) -> None:
    """The tables."""
    for part, unit in (("data", "MiB/s"), ("small", "files/s")):
        for name, row in found.get(part, {}).items():
            figures = ", ".join(f"{key} {value['median']:.1f}" for key, value in row.items())
            print(f"{part:8} {name:10} {figures}   ({unit}; cpu: s/GiB)")
    if "metadata" in found:
        for side in ("dfs", "etcd"):
            for at_once, kinds in found["metadata"][side].items():
                for kind, row in kinds.items():
                    print(
                        f"metadata {side:5} {kind.replace('_', ' '):18} {at_once:>3} at once {row['per_second']:8.0f}/s"
                        f"  p50 {row['p50_ms']:.1f} ms  p99 {row['p99_ms']:.1f} ms  cpu {row['cpu_us']:.0f} us"
                    )
            over = found["metadata"]["fail_over"][side]
            print(f"metadata {side:5} fail-over median {over['median_s']:.2f} s, worst {over['worst_s']:.2f} s")
        for at_once, rate in found["metadata"]["PySyncObj"].items():
            print(f"metadata PySyncObj, nothing synced: write {at_once:>3} at once {rate:8.0f}/s")


def main() -> int:
    """0, or 1 where a peer is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--size", type=int, default=1024, metavar="MIB")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--only", choices=("data", "small", "metadata"))
    options = parser.parse_args()
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "data": lambda: large_files(options.size << 20, options.rounds),
        "small": lambda: small_files(options.files, options.rounds),
        "metadata": lambda: metadata_planes(options.rounds),
    }
    if options.only is None:
        # one reactor serves one part: each runs in a process of its own
        codes = [os.spawnv(os.P_WAIT, sys.executable, _command(part)) for part in parts]
        return max(codes)
    try:
        found = {options.only: parts[options.only]()}
    except Missing as error:
        print(error, file=sys.stderr)
        return 1
    show(found)
    if options.json:
        with open(f"{options.json}.{options.only}", "w", encoding="utf-8") as file:
            json.dump(found, file, indent=1)
    return 0


def _command(part: str) -> list[str]:
    return [sys.executable, "-m", "bench.peers.run", *sys.argv[1:], "--only", part]


if __name__ == "__main__":
    sys.exit(main())
