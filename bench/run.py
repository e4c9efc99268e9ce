"""`make bench`: the figures of doc/benchmarks.md, as a table and as JSON.

    python -m bench.run [--quick] [--size MIB] [--rounds N] [--json FILE] [--only data|metadata]

Absolute figures move from machine to machine and from minute to minute; the
percentages beside the bare pipeline (bench/pipeline.py), taken in alternating
rounds of the same run, are what counts.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from typing import Any

from bench import data, metadata


def show(found: dict[str, Any]) -> None:
    """The table."""
    if "data" in found:
        part = found["data"]
        print(
            f"\n{part['size'] >> 20} MiB, 3 copies, durable, verified; medians of {part['rounds']} alternating rounds"
        )
        print(
            f"  {'':10} {'dfs MiB/s':>10} {'limit MiB/s':>12} {'% of limit':>11} {'CPU s/GiB':>10} {'of limit':>9}"
            f" {'client MiB':>11}"
        )
        for way in ("up", "down"):
            row = part[way]
            print(
                f"  {way:10} {row['mib_s']:10.0f} {row['limit_mib_s']:12.0f} {row['percent_of_limit']:11.0f}"
                f" {row['cpu_seconds_per_gib']:10.1f} {row['limit_cpu_seconds_per_gib']:9.1f}"
                f" {row['client_peak_mib']:11.0f}"
            )
            print("    CPU s/GiB: " + ", ".join(f"{kind} {spent:.1f}" for kind, spent in row["cpu_by_kind"].items()))
        print(f"  largest chunk server: {part['chunk_server_mib']:.0f} MiB resident")
    if "metadata" in found:
        show_metadata(found["metadata"])


def show_metadata(part: dict[str, Any]) -> None:
    """Its rows."""
    print(f"\n  {'operation':34} {'per second':>10} {'p50 ms':>8} {'p99 ms':>8} {'CPU us':>8}")
    rows = [(f"4 KiB files {way}, 16 at once", part["small_files"][way]) for way in ("up", "down")]
    for at_once, kinds in part["operations"].items():
        rows += [(f"{kind.replace('_', ' ')}, {at_once} at once", row) for kind, row in kinds.items()]
    for label, row in rows:
        print(f"  {label:34} {row['per_second']:10.0f} {row['p50_ms']:8.1f} {row['p99_ms']:8.1f} {row['cpu_us']:8.0f}")
    over = part["fail_over"]
    print(f"\n  fail-over after kill -9 of the leader: median {over['median_s']:.2f} s, worst {over['worst_s']:.2f} s")


def main() -> int:
    """0 unless something came back different."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--size", type=int, default=1024, metavar="MIB")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--quick", action="store_true", help="a few seconds of each")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--only", choices=("data", "metadata"))
    options = parser.parse_args()
    if options.quick:
        options.size, options.rounds, options.files = 256, 1, 200
    found: dict[str, Any] = {
        "machine": {"cpus": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()},
        "command": " ".join(sys.argv),
    }
    if options.only != "metadata":
        found["data"] = data.run(options.size << 20, options.rounds)
    if options.only != "data":
        found["metadata"] = metadata.run(options.files, 2 if options.quick else 10, options.quick)
    show(found)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(found, file, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
