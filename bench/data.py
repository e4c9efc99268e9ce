"""A large file up and down, beside the bare pipeline, alternating."""

from __future__ import annotations

import filecmp
import os
import resource
from statistics import median
from typing import Any

from bench.local import LocalCluster, warm
from bench.pipeline import Pipeline

MIB = 1 << 20


def make_file(path: str, size: int) -> None:
    """Random bytes, in the page cache afterwards."""
    with open(path, "wb") as file:
        file.writelines(os.urandom(min(16 * MIB, size - start)) for start in range(0, size, 16 * MIB))
        file.flush()
        os.fsync(file.fileno())


def children_cpu() -> float:
    """CPU seconds of this process's ended children."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def bare(folder: str, source: str, size: int) -> dict[str, float]:
    """One round of the bare pipeline, MiB/s."""
    os.makedirs(folder)
    pipeline = Pipeline(folder)
    try:
        warm()
        up = pipeline.up(source)
        warm()
        down = pipeline.down(os.path.join(folder, "out"), size)
    finally:
        pipeline.close()
    return {"up": size / MIB / up, "down": size / MIB / down}


def ours(cluster: LocalCluster, source: str, size: int, number: int) -> dict[str, float]:
    """One round of the `dfs` command, MiB/s by its own clock, and CPU seconds a GiB over all processes."""
    name = f"bench/{number}"
    out = os.path.join(cluster.folder, "out")
    gib = size / (1 << 30)
    warm()
    before = cluster.cpu_seconds() + children_cpu()
    uploaded = cluster.dfs("upload", "--file", source, "--name", name)
    up_cpu = cluster.cpu_seconds() + children_cpu() - before
    warm()
    before = cluster.cpu_seconds() + children_cpu()
    downloaded = cluster.dfs("download", "--name", name, "--out", out)
    down_cpu = cluster.cpu_seconds() + children_cpu() - before
    if not filecmp.cmp(source, out, shallow=False):
        raise AssertionError("the file came back different")
    os.unlink(out)
    cluster.dfs("delete", "--name", name)
    return {
        "up": size / MIB / uploaded["seconds"],
        "down": size / MIB / downloaded["seconds"],
        "up_cpu": up_cpu / gib,
        "down_cpu": down_cpu / gib,
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
            "cpu_seconds_per_gib": median(each[f"{way}_cpu"] for each in results),
        }
    return found
