"""Setting aside what cannot be trusted, or is not wanted any more: moved, counted, kept for a while.

A file in quarantine is named ``NAME.REASON.TIME.CHUNK.NONCE``: its old name, why and when it came here (cluster time in
ms, 0 while the server did not know the time), the chunk as ``FILE-INDEX`` in decimal (``x`` where nobody knows it), 16
random hex digits.  Names of the form ``NAME.REASON.NONCE`` are older: they count as of unknown time and chunk.

The functions block.  What becomes of an entry is decided in dfs.chunkserver.keeping.
"""

from __future__ import annotations

import re

from attrs import frozen

from dfs.chunkserver.layout import Layout, generation_of
from dfs.disk.errors import DiskError, NotFound, SyncFailed
from dfs.disk.interfaces import IDisk
from dfs.protocol.values import ChunkRef, FileId, Generation, chunk_id

UNKNOWN = "x"
_NAME = re.compile(r"(.+)\.([a-z]+)\.([0-9]{1,20})\.(x|[0-9]{1,20}-[0-9]{1,10})\.[0-9a-f]{16}")
_OLD = re.compile(r"(.+)\.([a-z]+)\.[0-9a-f]{16}")


@frozen
class Entry:
    """One file.  ``was`` is its old name, ``at_ms`` when it came (0: unknown), ``ref`` its chunk where that is known,
    ``length`` the file's."""

    name: str
    was: str
    reason: str
    at_ms: int
    ref: ChunkRef | None
    length: int


def parse(name: str, length: int) -> Entry:
    """What a name in the quarantine says; anything is accepted."""
    new = _NAME.fullmatch(name)
    if new is None:
        old = _OLD.fullmatch(name)
        return Entry(name, name if old is None else old[1], "" if old is None else old[2], 0, None, length)
    ref, generation = None, generation_of(new[1])
    if new[4] != UNKNOWN and generation is not None:
        file_id, index = new[4].split("-")
        ref = ChunkRef(FileId(int(file_id)), int(index), Generation(generation))
    return Entry(name, new[1], new[2], int(new[3]), ref, length)


def set_aside(
    disk: IDisk, layout: Layout, path: str, reason: str, at_ms: int, ref: ChunkRef | None, nonce: bytes
) -> Entry | None:
    """Move a file into the quarantine and make both folders durable; None if it is gone already.

    The new name is synced before the old one's removal, so that a crash leaves the file under at least one.
    """
    folder, was = path.rsplit("/", 1)
    chunk = UNKNOWN if ref is None else f"{ref.file_id}-{ref.index}"
    target = layout.set_aside(was, f"{reason}.{at_ms}.{chunk}", nonce)
    try:
        length = disk.stat(path).length
        disk.rename(path, target)
    except NotFound:
        return None
    disk.sync_folder(layout.quarantine)
    disk.sync_folder(folder)
    return parse(target.rsplit("/", 1)[1], length)


def keep(
    disk: IDisk, layout: Layout, ref: ChunkRef, body: bytes, reason: str, at_ms: int, nonce: bytes
) -> Entry:
    """Set bytes aside that have no file of their own, durably, before what holds them lets them go.  Raises
    DiskError."""
    target = layout.set_aside(layout.name(ref), f"{reason}.{at_ms}.{ref.file_id}-{ref.index}", nonce)
    file = disk.open(target, create=True, exclusive=True)
    try:
        file.pwrite([body], 0)
        file.sync()
    except SyncFailed:
        raise
    except DiskError:
        disk.unlink(target)  # a full disk: it must not stay full because of a part
        raise
    finally:
        file.close()
    disk.sync_folder(layout.quarantine)
    return parse(target.rsplit("/", 1)[1], len(body))


def entries(disk: IDisk, layout: Layout) -> list[Entry]:
    """All that is set aside.  Raises DiskError."""
    found = []
    for name in disk.list_folder(layout.quarantine):
        stat = disk.stat(f"{layout.quarantine}/{name}")
        if not stat.is_folder:
            found.append(parse(name, stat.length))
    return found


def stamp(disk: IDisk, layout: Layout, entry: Entry, at_ms: int, nonce: bytes) -> Entry:
    """Give an entry of unknown time its time, durably: from now on it ages.  Raises DiskError."""
    chunk = UNKNOWN if entry.ref is None else f"{entry.ref.file_id}-{entry.ref.index}"
    target = layout.set_aside(entry.was, f"{entry.reason or 'unknown'}.{at_ms}.{chunk}", nonce)
    disk.rename(f"{layout.quarantine}/{entry.name}", target)
    disk.sync_folder(layout.quarantine)
    return parse(target.rsplit("/", 1)[1], entry.length)


def remove(disk: IDisk, layout: Layout, entry: Entry) -> None:
    """Delete the file, durably; fine if it is gone.  Raises DiskError."""
    try:
        disk.unlink(f"{layout.quarantine}/{entry.name}")
    except NotFound:
        pass  # whoever removed it may have died before the sync
    disk.sync_folder(layout.quarantine)


class Quarantine:
    """What is set aside, in memory.  Pure; used on the reactor thread only.

    :ivar bytes: length of all files together.
    """

    def __init__(self) -> None:
        self.bytes = 0
        self._entries: dict[str, Entry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, entry: Entry) -> None:
        """It is there now."""
        self.discard(entry)
        self._entries[entry.name] = entry
        self.bytes += entry.length

    def discard(self, entry: Entry) -> None:
        """It is gone; fine if it was not there."""
        if self._entries.pop(entry.name, None) is not None:
            self.bytes -= entry.length

    def __contains__(self, entry: Entry) -> bool:
        return entry.name in self._entries

    def all(self) -> list[Entry]:
        """In the order in which they were found or came."""
        return list(self._entries.values())

    def of(self, ref: ChunkRef) -> list[Entry]:
        """Of exactly this generation."""
        return [entry for entry in self._entries.values() if entry.ref == ref]

    def of_chunk(self, cluster: bytes, file_id: FileId, index: int) -> list[tuple[Generation, Entry]]:
        """Of any generation of a chunk, by the old name: also where nobody knows the chunk."""
        stem = chunk_id(cluster, file_id, index).hex() + "."
        found = [(generation_of(one.was), one) for one in self._entries.values() if one.was.startswith(stem)]
        return [(Generation(generation), entry) for generation, entry in found if generation is not None]
