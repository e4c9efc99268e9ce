"""What a start does to each of the 256 folders: clean, validate, set aside.

Everything here blocks; it works in slices so that a thread is never held for long.
Only the tail of each file is read: names, lengths and footers are compared here, the
bytes when they are read, copied or verified.  What does not hold is moved to the
quarantine with its reason (S10) and never outranks a good replica elsewhere; a
left-over temporary file was never acknowledged and is removed (S09).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import frozen

from dfs.chunkserver import layout as names
from dfs.chunkserver.footer import BadFooter, Footer
from dfs.chunkserver.layout import Layout
from dfs.chunkserver.quarantine import set_aside
from dfs.chunkserver.reading import read_footer
from dfs.disk.errors import DiskError, ReadOnly
from dfs.disk.interfaces import IDisk
from dfs.protocol.messages import HeldReplica

SLICE = 256
"""Files examined by one call."""


@frozen
class Scanned:
    """What one slice held: good replicas, temporary files removed, files set aside as (name, reason)."""

    replicas: tuple[HeldReplica, ...]
    cleaned: int
    quarantined: tuple[tuple[str, str], ...]


def list_names(disk: IDisk, folder: str) -> list[list[str]]:
    """The names in a folder, in slices."""
    listed = disk.list_folder(folder)
    return [listed[at : at + SLICE] for at in range(0, len(listed), SLICE)]


def scan(disk: IDisk, layout: Layout, folder: str, files: Sequence[str], entropy: Callable[[int], bytes]) -> Scanned:
    """Examine files of one folder; the caller syncs it before anybody counts on a name in it.

    Raises DiskError only where the folder itself cannot be changed."""
    replicas: list[HeldReplica] = []
    quarantined: list[tuple[str, str]] = []
    cleaned = 0
    for name in files:
        path = f"{folder}/{name}"
        if names.is_temporary(name):
            disk.unlink(path)
            cleaned += 1
            continue
        try:
            footer = examine(disk, layout, folder, name)
        except BadFooter as bad:
            set_aside(disk, layout, path, bad.reason, entropy(8))
            quarantined.append((name, bad.reason))
            continue
        replicas.append(
            HeldReplica(footer.file_id, footer.index, footer.generation, footer.length, footer.sha256, footer.number)
        )
    return Scanned(tuple(replicas), cleaned, tuple(quarantined))


def examine(disk: IDisk, layout: Layout, folder: str, name: str) -> Footer:
    """The footer of a file that is what its name and folder say.  Raises BadFooter with the reason."""
    if not names.is_chunk(name):
        raise BadFooter("name", "this is no name of a replica")
    try:
        file = disk.open(f"{folder}/{name}", writable=False)
        try:
            footer = read_footer(file)
        finally:
            file.close()
    except ReadOnly:
        raise  # permissions of the whole folder, most likely: for the operator, not for the quarantine
    except DiskError as error:
        raise BadFooter("unreadable", str(error)) from error
    if footer.cluster != layout.cluster:
        raise BadFooter("cluster", "the footer names another cluster")
    if f"{folder}/{name}" != layout.path(footer.ref):
        raise BadFooter("misnamed", "the footer names another chunk")
    return footer
