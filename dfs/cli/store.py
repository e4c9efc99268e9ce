"""`dfs store`: another engine for a stopped metadata node's tables, and what lies in a chunk server's folder."""

from __future__ import annotations

import argparse
import os
from collections.abc import Awaitable, Callable, Iterator
from itertools import islice
from typing import Any

from dfs.chunkserver.errors import RefusedStart
from dfs.chunkserver.inspecting import Lying, layout_of, look
from dfs.cli.errors import CommandFailed
from dfs.cli.output import print_json
from dfs.disk.errors import DiskError
from dfs.disk.real import RealDisk
from dfs.kv.convert import convert as convert_store
from dfs.kv.errors import StoreError
from dfs.runtime.interfaces import Runtime


async def convert(options: argparse.Namespace, runtime: Runtime, say: Callable[[str], None]) -> int:
    """The folder's store becomes one of ``--to``; nothing changes unless the copy was read back and matched."""
    folder = tables_folder(os.path.abspath(options.data))
    try:
        summary = await runtime.threads.run(convert_store, folder, options.to)
    except (StoreError, DiskError) as error:
        raise CommandFailed(str(error), "stop the node first, and give its --data folder") from error
    if options.json:
        print_json({"data": options.data, "store": options.to, "records": summary.count})
    else:
        say(f"{options.data} now uses {options.to}: {summary.count} records, read back and compared")
    return 0


def tables_folder(data: str) -> str:
    """Where a metadata node's data folder keeps its tables."""
    inner = os.path.join(data, "tables")
    return inner if os.path.isdir(inner) else data


BATCH = 256
"""Replicas looked at by one call on a thread."""


async def replicas(options: argparse.Namespace, runtime: Runtime, say: Callable[[str], None]) -> int:
    """One line for each replica that lies in the folder; 1 if something is wrong with one."""
    disk, root, bad = RealDisk(), os.path.abspath(options.data), 0

    def begin() -> Iterator[Lying]:
        return look(disk, layout_of(disk, root), options.chunk, options.verify)

    try:
        found = await runtime.threads.run(begin)
        while batch := await runtime.threads.run(lambda: list(islice(found, BATCH))):
            for each in batch:
                bad += bool(each.problem)
                if options.json:
                    print_json(document_of(each))
                else:
                    say(sentence_of(each))
    except (RefusedStart, DiskError) as error:
        raise CommandFailed(str(error), "give the --data folder of a chunk server, as its user or root") from error
    return 1 if bad else 0


def document_of(found: Lying) -> dict[str, Any]:
    """For programs."""
    ref = found.ref
    return {
        "chunk": found.chunk or None,
        "file_id": None if ref is None else ref.file_id,
        "index": None if ref is None else ref.index,
        "generation": None if ref is None else ref.generation,
        "path": found.path,
        "offset": found.offset,
        "length": found.length,
        "packed": found.packed,
        "problem": found.problem or None,
    }


def sentence_of(found: Lying) -> str:
    """For people."""
    ref = found.ref
    of = "" if ref is None else f" file {ref.file_id} chunk {ref.index} generation {ref.generation}"
    problem = f": {found.problem}" if found.problem else ""
    return f"{found.chunk or '-'}{of} {found.length} bytes at {found.offset} of {found.path}{problem}"


STORE_ACTIONS: dict[str, Callable[[argparse.Namespace, Runtime, Callable[[str], None]], Awaitable[int]]] = {
    "convert": convert,
    "replicas": replicas,
}
