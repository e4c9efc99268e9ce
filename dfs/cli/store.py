"""`dfs store convert`: another engine for a stopped metadata node's tables."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable

from dfs.cli.errors import CommandFailed
from dfs.cli.output import print_json
from dfs.disk.errors import DiskError
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
