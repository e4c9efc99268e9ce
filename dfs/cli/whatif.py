"""`dfs whatif`: what the loss of nodes would cost, worked out from the record; nothing is touched.

A lost node is one whose disks never come back.  Nodes that are dead now are not counted on.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from attrs import asdict

from dfs.cli.errors import UsageError
from dfs.cli.output import print_json, printable, table
from dfs.client.api import Client
from dfs.client.whatif import AllLosses, Pair, WhatIf
from dfs.protocol.messages import ChunkServerInfo, SurveyedNode
from dfs.protocol.values import NodeState
from dfs.runtime.options import REPLICATION
from dfs.runtime.settings import Settings
from dfs.runtime.units import format_duration, format_size

PAIRS_SHOWN = 20


async def whatif(client: Client, options: argparse.Namespace, settings: Settings) -> int:
    """One question, or all single nodes and pairs; exit code 0 whatever the answer."""
    if options.survey:
        return await _survey(client, options)
    loses, what = _losing(options)
    servers = (await client.status()).chunk_servers
    lost = [server for server in servers if loses(server)]
    _check_named(options, {server.name for server in servers}, lost)
    fold = WhatIf(loses, drains=bool(options.drain))
    async for part in client.survey():
        fold.take(part)
    left = [server for server in servers if not loses(server) and server.state is NodeState.ALIVE]
    rate, rate_is = await _rate(client, options.rate)
    document = {
        "question": what,
        "nodes": sorted(server.name for server in lost),
        **asdict(fold.toll),
        "seconds": fold.toll.to_copy / rate if rate else None,
        "rate": rate,
        "rate_is": rate_is,
        "free": sum(server.free for server in left),
        "uploads": _uploads(len(left), settings[REPLICATION]),
    }
    if options.json:
        print_json(document)
    else:
        print(show(document, bool(options.drain)))
    return 0


async def _rate(client: Client, given: int | None) -> tuple[int, str]:
    """Bytes/s to reckon with, 0 for none known, and where that is from."""
    if given:
        return given, "the rate given"
    found = await client.operator.redundancy()
    if found.usual:
        return found.usual, "the rate that healing had last"
    return found.allowed, "the rate that the limits allow: none was measured yet"


def _check_named(options: argparse.Namespace, known: set[str], lost: list[ChunkServerInfo]) -> None:
    """Raises UsageError where the question is about nobody."""
    unknown = sorted(set(options.lose or options.drain or ()) - known)
    if unknown:
        raise UsageError(f"there is no chunk server {', '.join(unknown)}", "`dfs status` names them")
    if not lost:
        raise UsageError(f"no chunk server is in the rack {options.lose_rack}", "`dfs status` names them")


def _uploads(left: int, replication: int) -> str:
    """Whether so many nodes would take new files of the usual replication, with a majority as the write quorum."""
    if left >= replication:
        return "whole"
    return "degraded" if left > replication // 2 else "refused"


def _losing(options: argparse.Namespace) -> tuple[Callable[[SurveyedNode | ChunkServerInfo], bool], str]:
    """Which nodes the question takes away, and its words."""
    names = frozenset(options.lose or options.drain or ())
    if names:
        verb = "drain" if options.drain else "lose"
        return lambda node: node.name in names, f"{verb} {', '.join(sorted(names))}"
    rack = options.lose_rack
    return lambda node: node.rack == rack or node.rack.startswith(f"{rack}/"), f"lose the rack {rack}"


def show(document: dict[str, Any], drain: bool) -> str:
    """The answer for people."""
    lines = [f"if we {document['question']} ({len(document['nodes'])} nodes):"]
    if not drain:
        what = f"{document['chunks_lost']} chunks, {format_size(document['bytes_lost'])}"
        lines.append(f"  files lost      {document['files_lost']} ({what})")
        lines += [f"                  {printable(name)}" for name in document["names"]]
        lines.append(f"  at one copy     {document['files_single']} files, {document['chunks_single']} chunks")
    room = "" if document["to_copy"] <= document["free"] else ": more than the other nodes have room for"
    free = format_size(document["free"])
    lines.append(
        f"  to be copied    {format_size(document['to_copy'])} for {document['chunks_short']} chunks, {free} free{room}"
    )
    if document["seconds"] is not None:
        lines.append(f"  time            {format_duration(document['seconds'])} at {document['rate_is']}")
    lines.append(f"  new uploads     {document['uploads']}")
    if document["already_lost"]:
        lines.append(f"  unreadable now  {document['already_lost']} chunks, whatever happens: see dfs fsck")
    return "\n".join(lines)


async def _survey(client: Client, options: argparse.Namespace) -> int:
    fold = AllLosses()
    async for part in client.survey():
        fold.take(part)
    document = survey_document(fold)
    if options.json:
        print_json(document)
        return 0
    rows: list[tuple[str, ...]] = [("node", "chunks", "lost with it", "left with one copy", "to copy")]
    rows += [
        (each["node"], str(each["chunks"]), str(each["lost"]), str(each["single"]), format_size(each["to_copy"]))
        for each in document["nodes"]
    ]
    print(table(rows))
    print()
    if document["pairs"]:
        pairs = document["pairs"][:PAIRS_SHOWN]
        print(table([("pair", "chunks lost"), *((" and ".join(p["nodes"]), str(p["lost"])) for p in pairs)]))
    else:
        print("no pair of nodes holds the only two copies of a chunk")
    if document["already_lost"]:
        print(f"{document['already_lost']} chunks cannot be read now: see dfs fsck")
    return 0


def survey_document(fold: AllLosses) -> dict[str, Any]:
    """All single nodes and all pairs that would lose something, the worst first."""

    def name(number: int) -> str:
        return fold.nodes[number].name

    def weight(pair: Pair) -> tuple[int, str, str]:
        return -fold.pairs_lost[pair], name(pair.one), name(pair.other)

    nodes = [
        {
            "node": name(number),
            "rack": fold.nodes[number].rack,
            "chunks": fold.chunks[number],
            "lost": fold.lost[number],
            "single": fold.single[number],
            "to_copy": fold.bytes[number],
        }
        for number in sorted(fold.nodes, key=lambda number: (-fold.lost[number], -fold.single[number], name(number)))
    ]
    pairs = [
        {"nodes": [name(pair.one), name(pair.other)], "lost": fold.pairs_lost[pair]}
        for pair in sorted(fold.pairs_lost, key=weight)
    ]
    return {"nodes": nodes, "pairs": pairs, "already_lost": fold.already_lost}
