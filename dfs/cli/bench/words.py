"""The words of `dfs bench`."""

from __future__ import annotations

import argparse
from collections.abc import Callable


def add_bench(
    add: Callable[[str, str], argparse.ArgumentParser],
    size: Callable[[str], int],
    whole: Callable[[str], int],
    positive: Callable[[str], float],
) -> None:
    """Declared apart: none of the measuring is imported for it."""
    bench = add("bench", "What this cluster does, beside what this machine can do.")
    bench.add_argument(
        "--size", type=size, default=256 << 20, metavar="SIZE", help="of the large file (default 256MiB)"
    )
    bench.add_argument("--files", type=whole, default=400, metavar="N", help="small files and operations (default 400)")
    bench.add_argument("--seconds", type=positive, default=15.0, help="for each kind of operation at most (default 15)")
    bench.add_argument("--parallel", type=whole, metavar="N", help="chunks in flight (DFS_PARALLEL)")
    bench.add_argument("--replication", type=whole, help="copies of each chunk (DFS_REPLICATION)")
