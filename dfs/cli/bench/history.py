"""The last runs, one JSON document a line, in the user's state folder.

A line that cannot be read is dropped with the next run: a history is no reason for a command to fail.
"""

from __future__ import annotations

import json
from typing import Any

from dfs.disk.errors import DiskError, NotFound
from dfs.disk.interfaces import IDisk

KEPT = 20
LONGEST = 1 << 20  # bytes of a history that is read


def read(disk: IDisk, path: str) -> list[dict[str, Any]]:
    """The runs, oldest first.  Blocks."""
    try:
        file = disk.open(path, writable=False)
    except NotFound:
        return []
    try:
        lines = file.pread(LONGEST, 0).decode("utf-8", "replace").splitlines()
    finally:
        file.close()
    found = []
    for line in lines:
        try:
            document = json.loads(line)
        except ValueError:
            continue
        if isinstance(document, dict):
            found.append(document)
    return found[-KEPT:]


def add(disk: IDisk, path: str, run: dict[str, Any]) -> str:
    """Keep a run with those before it; what went wrong, "" if nothing did.  Blocks."""
    try:
        runs = [*read(disk, path), run][-KEPT:]
        disk.make_folders(path.rpartition("/")[0])
        fresh = f"{path}.new"
        file = disk.open(fresh, create=True)
        try:
            file.truncate(0)
            file.pwrite(["".join(json.dumps(each) + "\n" for each in runs).encode()], 0)
            file.sync()
        finally:
            file.close()
        disk.rename(fresh, path)
    except DiskError as error:
        return f"the history could not be kept: {error}"
    return ""
