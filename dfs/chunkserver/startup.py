"""What a start does to each of the 256 folders: clean, validate, set aside.

Everything here blocks; it works in slices so that a thread is never held for long, and not in crumbs: most folders of
a small store are empty.
Only the tail of each file is read: names, lengths and footers are compared here, the
bytes when they are read, copied or verified.  What does not hold is moved to the
quarantine with its reason (S10) and never outranks a good replica elsewhere; a
left-over temporary file was never acknowledged and is removed (S09).

Only bytes that were read are judged.  A file with a media error (EIO) stays where it is
and is not listed, so that it is repaired from elsewhere and counts again when it can be
read; any other error of the disk (no descriptors, no memory) ends the start, as does a
footer of another cluster or of a newer program (S39): they tell of the machine or the
operator, and would be the same for every file.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Sequence

from attrs import frozen

from dfs.chunkserver import layout as names
from dfs.chunkserver.errors import RefusedStart
from dfs.chunkserver.footer import BadFooter, Footer
from dfs.chunkserver.layout import Layout
from dfs.chunkserver.quarantine import set_aside
from dfs.chunkserver.reading import read_footer
from dfs.disk.errors import DiskError
from dfs.disk.interfaces import IDisk
from dfs.protocol.messages import HeldReplica

SLICE = 256
"""Files examined by one call."""

FOLDERS = 16
"""Folders gone through by one call at most."""

MOST_UNREADABLE = 8
"""Files with media errors that a start puts up with; more tell of the disk, and the start is refused."""


@frozen
class Scanned:
    """What one slice held: good replicas, temporary files removed, files set aside as (name, reason), files left
    alone that the disk could not read as (name, sentence)."""

    replicas: tuple[HeldReplica, ...]
    cleaned: int
    quarantined: tuple[tuple[str, str], ...]
    unreadable: tuple[tuple[str, str], ...]


NOTHING = Scanned((), 0, (), ())


def slices(disk: IDisk, layout: Layout, entropy: Callable[[int], bytes], durable: bool) -> Iterator[Scanned]:
    """Examine all files; each step is one call's worth.  Once it is at its end every name that it saw is durable,
    unless ``durable`` is False.

    The process before may have died between a rename and the sync of its folder: the name that we see may be in the
    kernel's memory only, and a retry of its put would be answered from the index (S05, S09).
    """
    for number, folder in enumerate(names.chunk_folders(layout.root), 1):
        listed = disk.list_folder(folder)
        for at in range(0, len(listed), SLICE):
            yield scan(disk, layout, folder, listed[at : at + SLICE], entropy)
        if durable:
            disk.sync_folder(folder)
        if number % FOLDERS == 0:
            yield NOTHING


def scan(disk: IDisk, layout: Layout, folder: str, files: Sequence[str], entropy: Callable[[int], bytes]) -> Scanned:
    """Examine files of one folder; the caller syncs it before anybody counts on a name in it.

    Raises DiskError but for a media error, RefusedStart for a file that another cluster or a newer program wrote.
    """
    replicas: list[HeldReplica] = []
    quarantined: list[tuple[str, str]] = []
    unreadable: list[tuple[str, str]] = []
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
            set_aside(disk, layout, path, bad.reason, 0, None, entropy(8))
            quarantined.append((name, bad.reason))
            continue
        except DiskError as error:
            if error.errno != errno.EIO:
                raise
            unreadable.append((name, error.reason))
            continue
        replicas.append(
            HeldReplica(footer.file_id, footer.index, footer.generation, footer.length, footer.sha256, footer.number)
        )
    return Scanned(tuple(replicas), cleaned, tuple(quarantined), tuple(unreadable))


def examine(disk: IDisk, layout: Layout, folder: str, name: str) -> Footer:
    """The footer of a file that is what its name and folder say.  Raises BadFooter with the reason, RefusedStart,
    DiskError."""
    if not names.is_chunk(name):
        raise BadFooter("name", "this is no name of a replica")
    path = f"{folder}/{name}"
    file = disk.open(path, writable=False)
    try:
        footer = read_footer(file)
    except BadFooter as bad:
        if bad.reason == "version":
            raise RefusedStart(f"{path}: {bad}; use the program that wrote it, or newer") from bad
        raise
    finally:
        file.close()
    if footer.cluster != layout.cluster:
        raise RefusedStart(
            f"{path} is a replica of cluster {footer.cluster.hex()}, and the key is that of {layout.cluster.hex()}: "
            "choose the folder, or the key file, of this cluster"
        )
    if path != layout.path(footer.ref):
        raise BadFooter("misnamed", "the footer names another chunk")
    return footer
