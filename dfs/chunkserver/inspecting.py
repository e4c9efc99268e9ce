"""What lies in a chunk server's folder, told without changing anything: for people who look for a chunk on a disk.

Everything here blocks.  No lock is taken, so a server may be at work in the folder: what it writes or takes away
meanwhile may be told as unfinished, or be missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from attrs import evolve, frozen

from dfs.chunkserver import reading, segmentscan, startup
from dfs.chunkserver.errors import Unreadable
from dfs.chunkserver.footer import BadFooter
from dfs.chunkserver.identity import read
from dfs.chunkserver.layout import Layout, chunk_folders, is_temporary
from dfs.chunkserver.records import BODY, Place, RecordHead
from dfs.chunkserver.segments import name_of, number_of
from dfs.disk.errors import DiskError, NotFound
from dfs.disk.interfaces import IDisk
from dfs.protocol.errors import ReplicaCorrupt
from dfs.protocol.values import ChunkRef, chunk_id


@frozen
class Lying:
    """A replica, or what there is in its place.

    :ivar ref: None where nothing tells whose it is.
    :ivar chunk: its chunk's id in hex, "" where that is not known.
    :ivar path: of the file that it lies in, its own or a segment; ``offset`` where its first byte is there.
    :ivar length: of the chunk in bytes.
    :ivar packed: whether that file is a segment.
    :ivar problem: why it does not count, or is not whole; "" where nothing is wrong.
    """

    ref: ChunkRef | None
    chunk: str
    path: str
    offset: int
    length: int
    packed: bool
    problem: str = ""


def layout_of(disk: IDisk, root: str) -> Layout:
    """Of a chunk server's data folder, by its identity.  Raises RefusedStart, DiskError."""
    return Layout(root, read(disk, root).cluster)


def look(disk: IDisk, layout: Layout, prefix: str = "", verify: bool = False) -> Iterator[Lying]:
    """All that lies in the folder, files first; removed records and the quarantine are left out.  Raises RefusedStart
    for what another cluster or a newer program wrote, DiskError.

    :param prefix: of a chunk's id; others, and what nobody can name, are left out where it is given.
    :param verify: read every byte of each and compare it with its checksums; else only footers and heads are read.
    """
    for found in chain(_files(disk, layout, prefix), _records(disk, layout)):
        if found.chunk.startswith(prefix):
            yield _verified(disk, layout, found) if verify and not found.problem else found


def _files(disk: IDisk, layout: Layout, prefix: str) -> Iterator[Lying]:
    for folder in chunk_folders(layout.root):
        if "".join(folder.split("/")[-2:]).startswith(prefix[:2]):
            for name in disk.list_folder(folder):
                yield _file(disk, layout, folder, name)


def _file(disk: IDisk, layout: Layout, folder: str, name: str) -> Lying:
    path, chunk = f"{folder}/{name}", name.partition(".")[0]
    if is_temporary(name):
        return Lying(None, chunk, path, 0, 0, False, "unfinished")
    try:
        footer = startup.examine(disk, layout, folder, name)
    except BadFooter as bad:
        return Lying(None, chunk, path, 0, 0, False, f"{bad.reason}: {bad}")
    except DiskError as error:
        return Lying(None, chunk, path, 0, 0, False, str(error))
    return Lying(footer.ref, chunk, path, 0, footer.length, False)


def _records(disk: IDisk, layout: Layout) -> Iterator[Lying]:
    for number in segmentscan.numbers_of(disk, layout):
        path = layout.segment(name_of(number))
        try:
            found = segmentscan.scan(disk, layout, number, durable=False)
        except NotFound:
            continue  # compacted since the folder was listed
        yield from (_record(layout, path, head, "") for head in found.replicas)
        yield from (_record(layout, path, head, "set aside in its place") for head in found.aside)
        yield from (Lying(None, "", path, at, 0, True, "damaged") for at in found.damaged)
        yield from (Lying(None, "", path, at, 0, True, "unfinished") for at in found.torn)
        yield from (Lying(None, "", path, at, 0, True, reason) for at, reason in found.unreadable)


def _record(layout: Layout, path: str, head: RecordHead, problem: str) -> Lying:
    held = head.held
    chunk = chunk_id(layout.cluster, held.file_id, held.index).hex()
    return Lying(head.ref, chunk, path, head.place.offset + BODY, held.length, True, problem)


def _verified(disk: IDisk, layout: Layout, found: Lying) -> Lying:
    assert found.ref is not None, found.path
    where = None
    if found.packed:
        number = number_of(found.path.rpartition("/")[2])
        assert number is not None, found.path
        where = Place(number, found.offset - BODY)
    try:
        reading.verify(disk, layout, found.ref, where)
    except (ReplicaCorrupt, Unreadable) as error:
        return evolve(found, problem=str(error))
    except NotFound:
        return evolve(found, problem="gone since it was found")
    return found
