"""`dfs node`: the chunk servers, and what is wished of them."""

from __future__ import annotations

import argparse
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from dfs.cli.output import print_json, table
from dfs.client.api import Client
from dfs.client.errors import FileNotFound
from dfs.client.operating import Operator
from dfs.protocol.messages import NodeAnswer, NodeChange, NodeInfo
from dfs.protocol.values import NodeState
from dfs.runtime.units import format_duration, format_size

LOOK_AGAIN = 2.0  # seconds between two looks at a drain's progress
CHANGES = {
    "drain": NodeChange.DRAIN,
    "undrain": NodeChange.UNDRAIN,
    "maintenance": NodeChange.MAINTENANCE,
    "remove": NodeChange.REMOVE,
}


async def node(client: Client, options: argparse.Namespace, clock: IReactorTime) -> int:
    """One action; its exit code."""
    operator = client.operator
    if options.action == "list":
        found = await operator.nodes()
        if options.json:
            print_json({"nodes": [document(info) for info in found]})
        else:
            print(show(found))
        return 0
    answer = await _change(operator, options)
    _print(answer, options)
    if getattr(options, "wait", False) and not options.dry_run:
        await _wait(operator, options, clock)
    return 0


async def _change(operator: Operator, options: argparse.Namespace) -> NodeAnswer:
    change = CHANGES[options.action]
    if getattr(options, "end", False):
        change = NodeChange.END_MAINTENANCE
    seconds = getattr(options, "seconds", None) or 0.0
    return await operator.change(options.node, change, seconds, getattr(options, "dry_run", False))


def _print(answer: NodeAnswer, options: argparse.Namespace) -> None:
    is_dry = getattr(options, "dry_run", False)
    if options.json:
        print_json({"node": document(answer.node), "dry_run": is_dry, "sentences": list(answer.sentences)})
        return
    for sentence in answer.sentences:
        print(f"would be: {sentence}" if is_dry else sentence)
    if not is_dry:
        print(f"{answer.node.name} is {answer.node.state.name.lower()}")


async def _wait(operator: Operator, options: argparse.Namespace, clock: IReactorTime) -> None:
    """Until the node is drained, removed, or taken back by somebody."""
    shown = ""
    while True:
        info = next((each for each in await operator.nodes() if each.name == options.node), None)
        if info is None:
            raise FileNotFound(f"{options.node} is not there any more")
        line = progress(info)
        if line != shown and not options.json:
            print(line, flush=True)
        shown = line
        if info.state not in (NodeState.DRAINING, NodeState.DEAD):
            if options.json:
                print_json({"node": document(info)})
            return
        await deferLater(clock, LOOK_AGAIN)


def progress(info: NodeInfo) -> str:
    """A node's state, and how far its drain is."""
    state = info.state.name.lower()
    if info.state is not NodeState.DRAINING and not info.removing:
        return f"{info.name}: {state}"
    left = f"{info.left_chunks} chunks, {format_size(info.left_bytes)} left"
    seconds = eta(info)
    rate = f", {format_size(info.rate)}/s, about {format_duration(seconds)}" if seconds is not None else ""
    return f"{info.name}: {'removing' if info.removing else state}, {left}{rate}"


def eta(info: NodeInfo) -> float | None:
    """Seconds that a drain still takes at its rate; None where that cannot be told."""
    return info.left_bytes / info.rate if info.rate and info.left_bytes else None


def show(found: list[NodeInfo]) -> str:
    """A table for people."""
    rows: list[tuple[str, ...]] = [("node", "state", "rack", "chunks", "held", "free", "address")]
    for info in found:
        state = "removing" if info.removing else info.state.name.lower()
        if info.state is NodeState.DRAINING or (info.removing and info.left_chunks):
            state += f" ({info.left_chunks} left)"
        size, free = format_size(info.bytes), format_size(info.free)
        rows.append((info.name, state, info.rack or "-", str(info.chunks), size, free, info.address))
    return table(rows)


def document(info: NodeInfo) -> dict[str, Any]:
    """For --json."""
    return {
        "name": info.name,
        "state": info.state.name.lower(),
        "removing": info.removing,
        "rack": info.rack,
        "address": info.address,
        "total": info.total,
        "free": info.free,
        "used": info.used,
        "chunks": info.chunks,
        "bytes": info.bytes,
        "client_rate": info.client_rate,
        "maintenance_until_ms": info.until_ms,
        "left_chunks": info.left_chunks,
        "left_bytes": info.left_bytes,
        "rate": info.rate,
        "eta_seconds": eta(info),
    }
