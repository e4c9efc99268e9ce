"""The folder of a node's tables: which engine made them, which generation is in use, and the switch.

::

    FOLDER/LOCK             held while the folder is in use
    FOLDER/STORE            the marker, one line: dfs-store 1 ENGINE GENERATION CRC-32C
    FOLDER/tables-000001/   the engine's files of that generation

The marker is the truth.  A replacement (an installed snapshot, a conversion) is built in the
folder of the next generation, made durable, and comes into force when the marker is replaced
by a rename (R37, R39): a crash at any moment leaves the former or the new state, whole.
A process killed after the rename leaves a marker that is read and not yet durable, so the folder is synced before
it is read.
Folders of other generations are left-overs and go at the next opening.
"""

from __future__ import annotations

import re

from attrs import frozen
from crc32c import crc32c

from dfs.disk import suspicion
from dfs.disk.interfaces import IDisk, IDiskLock
from dfs.kv.engines import AUTO, BERKELEYDB, CACHE, SEMIDBM, is_installed, open_engine
from dfs.kv.errors import StoreCorrupt, StoreError, StoreFailed, WrongStore
from dfs.kv.interfaces import IKeyValueStore

MARKER = "STORE"
LOCK = "LOCK"
MAX_MARKER = 256
_LINE = re.compile(rb"(dfs-store 1 ([a-z]+) ([0-9]{1,9})) ([0-9a-f]{8})\n\Z")


@frozen
class Marker:
    """What the marker file says."""

    engine: str
    generation: int

    def encode(self) -> bytes:
        """The file's bytes."""
        text = f"dfs-store 1 {self.engine} {self.generation}".encode()
        return text + f" {crc32c(text):08x}\n".encode()

    @property
    def folder_name(self) -> str:
        """The generation's folder."""
        return f"tables-{self.generation:06d}"


def decode_marker(content: bytes, path: str) -> Marker:
    """Raises StoreCorrupt, naming ``path``."""
    match = _LINE.match(content)
    if match is None or crc32c(match[1]) != int(match[4], 16):
        raise StoreCorrupt(f"{path}: offset 0: the marker of the store fails its check")
    return Marker(match[2].decode(), int(match[3]))


def read_marker(disk: IDisk, folder: str) -> Marker | None:
    """None where no store was made yet."""
    path = f"{folder}/{MARKER}"
    if not disk.exists(path):
        return None
    file = disk.open(path, writable=False)
    try:
        return decode_marker(file.pread(MAX_MARKER, 0), path)
    finally:
        file.close()


def write_marker(disk: IDisk, folder: str, marker: Marker) -> None:
    """Durable when it returns."""
    file = disk.open(f"{folder}/{MARKER}.new", create=True)
    with suspicion.marking(disk, folder):
        try:
            file.truncate(0)
            file.pwrite([marker.encode()], 0)
            file.sync()
        finally:
            file.close()
        disk.rename(f"{folder}/{MARKER}.new", f"{folder}/{MARKER}")
        disk.sync_folder(folder)


@frozen
class Choice:
    """The engine for a folder and, in one line, why."""

    engine: str
    sentence: str


def choose(engine: str, marker: Marker | None, folder: str) -> Choice:
    """``auto`` takes what the folder has, else berkeleydb where it is installed, else semidbm.

    Raises WrongStore where the folder was made by another engine than the one asked for.
    """
    if marker is not None:
        if engine not in (AUTO, marker.engine):
            raise WrongStore(
                f"{folder} was made by {marker.engine}, not {engine}; convert it with: "
                f"dfs store convert --data DIR --to {engine}"
            )
        return Choice(marker.engine, f"Store: {marker.engine}, as {folder} was made.")
    if engine != AUTO:
        return Choice(engine, f"Store: {engine}, as configured.")
    if is_installed(BERKELEYDB):
        return Choice(BERKELEYDB, "Store: berkeleydb.")
    return Choice(SEMIDBM, "Store: semidbm, for berkeleydb is not installed; good to about 1,000,000 records.")


class StoreFolder:
    """Holds the lock of one folder from construction (raises Locked) to :meth:`close`."""

    def __init__(self, disk: IDisk, path: str, engine: str = AUTO, cache: int = CACHE) -> None:
        self._disk = disk
        self._path = path
        self._cache = cache
        with suspicion.marking(disk, path):
            disk.make_folders(path)
        self._lock = disk.lock(f"{path}/{LOCK}")
        try:
            if doubt := suspicion.doubt(disk, path):
                raise StoreFailed(doubt)
            with suspicion.marking(disk, path):
                disk.sync_folder(path)
            self.marker = read_marker(disk, path)
            self.choice = choose(engine, self.marker, path)
        except BaseException:
            self._lock.release()
            raise
        self._current: IKeyValueStore | None = None
        self._next: tuple[Marker, IKeyValueStore] | None = None

    def open(self, lock: IDiskLock | None = None) -> IKeyValueStore:
        """The store in use; an empty one is founded where there is none."""
        marker = self.marker or Marker(self.choice.engine, 1)
        self._remove_others(self.marker)
        self._current = self._open(marker, lock)
        if self.marker is None:
            self._current.sync()
            write_marker(self._disk, self._path, marker)
            self.marker = marker
        return self._current

    def hand_over(self) -> IKeyValueStore:
        """The store in use, which now releases the folder's lock at its own close."""
        return self.open(self._lock)

    def begin(self, engine: str | None = None) -> IKeyValueStore:
        """An empty store of the next generation; a former unfinished one is thrown away."""
        self.abandon()
        if self.marker is None:
            raise StoreError(f"{self._path}: open the store before its replacement")
        marker = Marker(engine or self.marker.engine, self.marker.generation + 1)
        self._remove_others(self.marker)
        store = self._open(marker, None)
        self._next = (marker, store)
        return store

    def switch(self) -> IKeyValueStore:
        """Make the begun store the one in use.  The former is closed and removed after that is durable."""
        if self._next is None:
            raise StoreError(f"{self._path}: no replacement was begun")
        marker, store = self._next
        store.sync()
        write_marker(self._disk, self._path, marker)
        self._next = None
        former, self._current, self.marker = self._current, store, marker
        if former is not None:
            former.close()
        self._remove_others(marker)
        return store

    def abandon(self) -> None:
        """Throw a begun store away; idempotent."""
        if self._next is not None:
            marker, store = self._next
            self._next = None
            store.close()
            self._disk.remove_tree(f"{self._path}/{marker.folder_name}")

    def close(self) -> None:
        """Close what is open, release the lock; idempotent."""
        try:
            self.abandon()
            if self._current is not None:
                self._current.close()
        finally:
            self._lock.release()

    def _open(self, marker: Marker, lock: IDiskLock | None) -> IKeyValueStore:
        return open_engine(marker.engine, self._disk, f"{self._path}/{marker.folder_name}", lock, self._cache)

    def _remove_others(self, marker: Marker | None) -> None:
        keep = None if marker is None else marker.folder_name
        for name in self._disk.list_folder(self._path):
            if name.startswith("tables-") and name != keep:
                self._disk.remove_tree(f"{self._path}/{name}")
