"""Setting aside what cannot be trusted: moved, counted, kept; never deleted.

A file in quarantine keeps its name, with the reason and 16 random hex digits behind it.
Everything here blocks.
"""

from __future__ import annotations

from dfs.chunkserver.layout import Layout
from dfs.disk.errors import NotFound
from dfs.disk.interfaces import IDisk


def set_aside(disk: IDisk, layout: Layout, path: str, reason: str, nonce: bytes) -> bool:
    """Move a file into the quarantine and make both folders durable; False if it is gone already.

    The new name is synced before the old one's removal, so that a crash leaves the file under at least one.
    """
    folder, name = path.rsplit("/", 1)
    try:
        disk.rename(path, layout.set_aside(name, reason, nonce))
    except NotFound:
        return False
    disk.sync_folder(layout.quarantine)
    disk.sync_folder(folder)
    return True


def count(disk: IDisk, layout: Layout) -> int:
    """How many files are set aside."""
    return len(disk.list_folder(layout.quarantine))
