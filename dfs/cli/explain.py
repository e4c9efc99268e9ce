"""`dfs explain`: why a chunk lies where it lies, what it lacks, what nodes are refused for, and what happens next."""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator
from typing import Any

from dfs.cli.errors import CommandFailed, UsageError
from dfs.cli.output import print_json, printable, table
from dfs.client.api import Client
from dfs.protocol.messages import Explanation
from dfs.protocol.values import FileId, chunk_id
from dfs.runtime.units import format_duration, format_size

CHUNK_ID_DIGITS = 64


async def explain(client: Client, options: argparse.Namespace) -> int:
    """Each chunk of a file, or one; exit code 0 whatever the answer."""
    async for explanation in _explanations(client, options):
        if options.json:
            print_json(document(explanation))
        else:
            print(show(explanation, options.all_nodes))
    return 0


async def _explanations(client: Client, options: argparse.Namespace) -> AsyncIterator[Explanation]:
    if options.chunk is not None:
        file_id, index = await _find(client, options.chunk)
        yield await client.explain(file_id, index)
        return
    info = await client.stat(options.name)
    if options.index is not None:
        yield await client.explain(info.file_id, options.index)
        return
    for index in range(info.count):
        yield await client.explain(info.file_id, index)


async def _find(client: Client, text: str) -> tuple[int, int]:
    """The file and index of a chunk that is named as FILE_ID/INDEX or by its id.  An id is a hash, so it is looked for
    among all chunks.  Raises UsageError, CommandFailed."""
    file_id, slash, index = text.partition("/")
    if slash and file_id.isdecimal() and index.isdecimal():
        return int(file_id), int(index)
    wanted = text.lower()
    if len(wanted) != CHUNK_ID_DIGITS or set(wanted) - set("0123456789abcdef"):
        raise UsageError(f"{text!r} is no chunk", "give FILE_ID/INDEX, or the 64 digits that `dfs stat --json` shows")
    cluster = (await client.status()).cluster_id
    async for part in client.survey():
        for chunk in part.chunks:
            if chunk_id(cluster, FileId(part.info.file_id), chunk.index).hex() == wanted:
                return part.info.file_id, chunk.index
    raise CommandFailed(f"no committed file has the chunk {text}", "it may belong to a file that was deleted", 3)


def document(each: Explanation) -> dict[str, Any]:
    """For scripts."""
    return {
        "name": each.name,
        "file_id": each.file_id,
        "index": each.index,
        "id": each.chunk_id.hex(),
        "generation": each.generation,
        "length": each.length,
        "wanted": each.wanted,
        "counting": each.counting,
        "need": each.need,
        "healing": each.healing.name.lower().replace("_", "-"),
        "doing": each.sentence,
        "next_seconds": each.next_ms / 1000 if each.next_ms else None,
        "nodes": [
            {"node": v.node, "state": v.state.name.lower(), "rack": v.rack, "holds": v.holds, "verdict": v.sentence}
            for v in each.verdicts
        ],
        "others": each.others,
    }


def show(each: Explanation, all_nodes: bool) -> str:
    """For people: a whole chunk in two lines and its holders, one that lacks something with every node."""
    lines = [
        f"{printable(each.name)}  chunk {each.index}, {format_size(each.length)}, generation {each.generation}",
        f"  has {each.counting} of {each.wanted} replicas; lacks: {each.need}",
    ]
    if each.need != "nothing":
        after = f"; next step in {format_duration(each.next_ms / 1000)} at the latest" if each.next_ms else ""
        lines.append(f"  {each.healing.name.lower().replace('_', ' ')}: {each.sentence}{after}")
    shown = [v for v in each.verdicts if v.holds or all_nodes or each.need != "nothing"]
    lines.append(table([(v.node, v.state.name.lower(), v.rack or "-", v.sentence) for v in shown], "    "))
    if each.others:
        lines.append(f"    and {each.others} nodes more")
    return "\n".join(lines)

