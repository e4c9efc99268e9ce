"""`dfs bench`: the words, the table, the history."""

from __future__ import annotations

import argparse
import os
import sys
import time
from typing import Any

from attrs import asdict

from dfs.cli.bench import history
from dfs.cli.bench.cluster import MIB, SLACK, Figure, Run, Wanted, missing_room
from dfs.cli.bench.machine import Machine, measure
from dfs.cli.errors import CommandFailed
from dfs.cli.output import print_json, show_time, table
from dfs.client.api import Client, default_state_folder
from dfs.disk.real import RealDisk
from dfs.runtime.interfaces import Runtime
from dfs.runtime.options import PARALLEL, REPLICATION
from dfs.runtime.settings import Settings
from dfs.runtime.units import format_size

HISTORY = "bench.jsonl"
SHOWN = 5
BYTES = ("upload", "download")


async def bench(client: Client, options: argparse.Namespace, settings: Settings, runtime: Runtime) -> int:
    """Measure, show, remember."""
    wanted = Wanted(options.size, settings[PARALLEL], settings[REPLICATION], options.files, options.seconds)
    missing = await missing_room(client, wanted)
    if missing > 0:
        fits = int(wanted.size - missing / (SLACK * wanted.copies)) // MIB
        smaller = f"measure with less, such as --size {fits}MiB, or" if fits > 0 else "free some space, or"
        raise CommandFailed(
            f"there is no room for this: the chunk servers lack {format_size(missing)}", f"{smaller} add a chunk server"
        )
    folder, disk = default_state_folder(), RealDisk()
    await runtime.threads.run(disk.make_folders, folder)
    tell = _tell if sys.stderr.isatty() and not options.json else _keep_quiet
    tell("this machine")
    machine = await runtime.threads.run(measure, disk, folder, runtime.entropy(6).hex())
    run = Run(client, runtime, wanted)
    await run.measure(tell)
    tell("")
    status = await client.status()
    document = document_of(wanted, machine, run.figures, status.cluster_id.hex())
    path = os.path.join(folder, HISTORY)
    earlier = [each for each in await runtime.threads.run(history.read, disk, path) if _comparable(each, document)]
    trouble = await runtime.threads.run(history.add, disk, path, document)
    if options.json:
        print_json({**document, "earlier": earlier})
    else:
        print(show(document, earlier))
        if trouble:
            print(trouble)
    return 0


def _tell(what: str) -> None:
    sys.stderr.write(f"\r{f'measuring {what} ...' if what else '':40}" + ("" if what else "\r"))
    sys.stderr.flush()


def _keep_quiet(what: str) -> None:
    """In a pipe nothing is said before the end."""


def document_of(wanted: Wanted, machine: Machine, figures: dict[str, Figure], cluster: str) -> dict[str, Any]:
    """What is printed with --json and kept."""
    found: dict[str, Any] = {}
    for name, figure in figures.items():
        if name in BYTES:
            found[name] = {"mib_per_second": round(figure.rate / MIB, 1), "seconds": round(figure.seconds, 3)}
        elif figure.count:
            found[name.replace(" ", "_")] = {
                "per_second": round(figure.rate, 1),
                "p50_ms": round(1000 * figure.latency(0.5), 2),
                "p99_ms": round(1000 * figure.latency(0.99), 2),
                "count": figure.count,
            }
    return {
        "time": show_time(int(time.time() * 1000)),
        "cluster": cluster,
        **{key: value for key, value in asdict(wanted).items() if key != "seconds"},
        "machine": {
            "disk_mib_per_second": round(machine.disk / MIB, 1),
            "sync_ms": round(1000 * machine.sync, 3),
            "loopback_mib_per_second": round(machine.loopback / MIB, 1),
            "sha256_mib_per_second": round(machine.sha256 / MIB, 1),
            "cores": os.cpu_count() or 0,
        },
        "figures": found,
    }


def _comparable(earlier: dict[str, Any], now: dict[str, Any]) -> bool:
    """Whether an earlier run did the same to the same cluster."""
    return all(earlier.get(key) == now[key] for key in ("cluster", "size", "parallel", "copies"))


def show(document: dict[str, Any], earlier: list[dict[str, Any]]) -> str:
    """For people."""
    machine, figures = document["machine"], document["figures"]
    size = format_size(document["size"])
    rates = {name: f"{figures[name]['mib_per_second']:,.0f} MiB/s" for name in BYTES}
    rows: list[tuple[str, ...]] = [(f"{name} of {size}", rate, "", "") for name, rate in rates.items()]
    kinds = {"small_up": "4 KiB file up", "small_down": "4 KiB file down", "create": "create an empty file",
             "stat": "stat", "delete": "delete"}  # fmt: skip
    for key, label in kinds.items():
        if key in figures:
            each = figures[key]
            rows.append(
                (label, f"{each['per_second']:,.0f}/s", f"p50 {each['p50_ms']:.1f} ms", f"p99 {each['p99_ms']:.1f} ms")
            )
    lines = [
        f"{document['copies']} copies, {document['parallel']} chunks in flight, 16 small operations at once",
        table(rows, "  "),
        f"this machine: {machine['disk_mib_per_second']:,.0f} MiB/s written and synced, "
        f"{machine['sync_ms']:.2f} ms a sync, {machine['loopback_mib_per_second']:,.0f} MiB/s through loopback, "
        f"{machine['sha256_mib_per_second']:,.0f} MiB/s of SHA-256 a core, {machine['cores']} cores",
    ]
    if earlier:
        lines.append("earlier, upload and download in MiB/s:")
        past = [
            (each["time"], *(f"{each['figures'][name]['mib_per_second']:,.0f}" for name in BYTES)) for each in earlier
        ]
        lines.append(table(past[-SHOWN:], "  "))
    return "\n".join(lines)
