"""`dfs rebalance` and `dfs events`."""

from __future__ import annotations

import argparse
from typing import Any

from twisted.internet.task import deferLater

from dfs.cli.output import print_json, printable, show_time, table
from dfs.client.api import Client
from dfs.protocol.messages import Event, RebalanceAction, Rebalanced
from dfs.runtime.interfaces import Runtime
from dfs.runtime.units import format_size

LOOK_AGAIN = 1.0  # seconds between two looks for new events
ACTIONS = {
    None: RebalanceAction.START,
    "pause": RebalanceAction.PAUSE,
    "resume": RebalanceAction.RESUME,
    "stop": RebalanceAction.STOP,
    "status": RebalanceAction.LOOK,
}


async def rebalance(client: Client, options: argparse.Namespace) -> int:
    """`dfs rebalance`."""
    threshold = round(options.threshold * 10)
    found = await client.operator.rebalance(ACTIONS[options.what], threshold, options.dry_run)
    if options.json:
        print_json(document(found, options.dry_run))
    else:
        print(show(found, options.dry_run))
    return 0


def document(found: Rebalanced, is_dry: bool) -> dict[str, Any]:
    """For --json."""
    return {
        "running": found.running,
        "paused": found.paused,
        "dry_run": is_dry,
        "threshold_percent": found.threshold / 10,
        "moved_chunks": found.chunks,
        "moved_bytes": found.bytes,
        "left_bytes": found.left_bytes,
        "nodes": [
            {"name": each.name, "filled_percent": each.permille / 10, "surplus": each.surplus, "lack": each.lack}
            for each in found.nodes
        ],
    }


def show(found: Rebalanced, is_dry: bool) -> str:
    """For people."""
    state = "paused" if found.paused else "running" if found.running else "off"
    first = f"rebalancing is {state}" if not is_dry else "rebalancing would move"
    lines = [f"{first}: {format_size(found.left_bytes)} from nodes {found.threshold / 10:g} % above the mean"]
    if found.chunks and not is_dry:
        lines.append(f"moved so far: {found.chunks} chunks, {format_size(found.bytes)}")
    rows: list[tuple[str, ...]] = [("node", "filled", "above the mean", "below")]
    rows += [
        (each.name, f"{each.permille / 10:.1f} %", format_size(each.surplus), format_size(each.lack))
        for each in found.nodes
    ]
    return "\n".join([*lines, table(rows)])


async def events(client: Client, options: argparse.Namespace, runtime: Runtime) -> int:
    """`dfs events`: one line an event; with --follow until it is interrupted.  They are told in cluster time, which
    stands still while nobody leads; the wall time that is shown is reckoned back from now."""
    after, limit = 0, options.limit
    while True:
        began_ms = int(runtime.wall_time() * 1000) - await client.operator.cluster_time_ms()
        async for event in client.operator.events(after, limit):
            after = event.sequence
            _print(event, began_ms, options)
        if not options.follow:
            return 0
        await deferLater(runtime.reactor, LOOK_AGAIN)
        limit = 1_000_000


def _print(event: Event, began_ms: int, options: argparse.Namespace) -> None:
    if options.json:
        print_json(event_document(event, began_ms))
    else:
        print(line(event, began_ms), flush=True)


def event_document(event: Event, began_ms: int) -> dict[str, Any]:
    """For --json.  ``began_ms``: wall time when cluster time was 0."""
    return {
        "sequence": event.sequence,
        "at": show_time(began_ms + event.at_ms),
        "cluster_time_ms": event.at_ms,
        "index": event.index,
        "kind": event.kind.name.lower(),
        "node": event.node,
        "count": event.count,
        "bytes": event.bytes,
        "detail": event.detail,
    }


def line(event: Event, began_ms: int) -> str:
    """For people."""
    what = event.kind.name.lower().replace("_", " ")
    parts = [show_time(began_ms + event.at_ms), f"{what:<17}", printable(event.node) if event.node else "-"]
    if event.count:
        parts.append(f"{event.count} chunks, {format_size(event.bytes)}")
    if event.detail:
        parts.append(printable(event.detail))
    return "  ".join(parts)
