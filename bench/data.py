"""A large file up and down, beside the bare pipeline, alternating."""

from __future__ import annotations

import filecmp
import os
import time
from statistics import median
from typing import Any

from bench.local import LocalCluster, process_cpu, warm
from bench.pipeline import Pipeline

MIB = 1 << 20


def make_file(path: str, size: int) -> None:
    """Random bytes, in the page cache afterwards."""
    with open(path, "wb") as file:
        file.writelines(os.urandom(min(16 * MIB, size - start)) for start in range(0, size, 16 * MIB))
        file.flush()
        os.fsync(file.fileno())


def bare(folder: str, source: str, size: int) -> dict[str, float]:
    """One round of the bare pipeline: MiB/s, and CPU seconds a GiB of its four processes."""
    os.makedirs(folder)
    gib = size / (1 << 30)
    pipeline = Pipeline(folder)

    def used() -> float:
        return time.process_time() + sum(map(process_cpu, pipeline.pids()))

    try:
        warm()
        before = used()
        up = pipeline.up(source)
        between = used()
        warm()
        again = used()
        down = pipeline.down(os.path.join(folder, "out"), size)
        after = used()
    finally:
        pipeline.close()
    return {
        "up": size / MIB / up,
        "down": size / MIB / down,
        "up_cpu": (between - before) / gib,
        "down_cpu": (after - again) / gib,
    }


def one_way(cluster: LocalCluster, *words: str) -> tuple[dict[str, Any], dict[str, float], int]:
    """A command: its document, CPU seconds by who used them, and the most that it had resident."""
    warm()
    meter = cluster.kinds_meter()
    before = meter()
    document, used = cluster.start(*words).end()
    after = meter()
    return document, {"client": used.cpu, **{kind: after[kind] - before[kind] for kind in after}}, used.peak


def ours(cluster: LocalCluster, source: str, size: int, number: int) -> dict[str, Any]:
    """One round of the `dfs` command, MiB/s by its own clock, and CPU seconds a GiB over all processes."""
    name = f"bench/{number}"
    out = os.path.join(cluster.folder, "out")
    gib = size / (1 << 30)
    uploaded, up_cpu, up_peak = one_way(cluster, "upload", "--file", source, "--name", name)
    downloaded, down_cpu, down_peak = one_way(cluster, "download", "--name", name, "--out", out)
    if not filecmp.cmp(source, out, shallow=False):
        raise AssertionError("the file came back different")
    os.unlink(out)
    cluster.dfs("delete", "--name", name)
    return {
        "up": size / MIB / uploaded["seconds"],
        "down": size / MIB / downloaded["seconds"],
        "up_cpu": {kind: spent / gib for kind, spent in up_cpu.items()},
        "down_cpu": {kind: spent / gib for kind, spent in down_cpu.items()},
        "up_peak": up_peak / MIB,
        "down_peak": down_peak / MIB,
    }


def run(size: int, rounds: int) -> dict[str, Any]:
    """Medians of alternating rounds."""
    with LocalCluster() as cluster:
        source = os.path.join(cluster.folder, "source")
        make_file(source, size)
        limits, results = [], []
        for number in range(rounds):
            limits.append(bare(os.path.join(cluster.folder, f"bare-{number}"), source, size))
            results.append(ours(cluster, source, size, number))
        memory = max(bytes_ for name, bytes_ in cluster.resident().items() if name.startswith("chunk"))
    found: dict[str, Any] = {"size": size, "rounds": rounds, "chunk_server_mib": memory / MIB}
    for way in ("up", "down"):
        limit = median(each[way] for each in limits)
        rate = median(each[way] for each in results)
        found[way] = {
            "mib_s": rate,
            "all": [each[way] for each in results],
            "limit_mib_s": limit,
            "percent_of_limit": 100 * rate / limit,
            "cpu_seconds_per_gib": median(sum(each[f"{way}_cpu"].values()) for each in results),
            "cpu_by_kind": {
                kind: median(each[f"{way}_cpu"][kind] for each in results) for kind in results[0][f"{way}_cpu"]
            },
            "limit_cpu_seconds_per_gib": median(each[f"{way}_cpu"] for each in limits),
            "client_peak_mib": max(each[f"{way}_peak"] for each in results),
        }
    return found
