"""The one door to the operating system's files.

All calls block: they run on a thread of :class:`dfs.runtime.interfaces.IThreads`,
never on the reactor thread.  Paths are absolute ``str``.  Offsets and lengths
are bytes.  Nothing is durable until the ``sync`` that its docstring names.

Two providers: ``dfs.disk.real.RealDisk`` (the kernel) and
``dfs.simulation.disk.SimulatedDisk`` (which forgets what was not synced).
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen
from zope.interface import Attribute, Interface


@frozen
class Space:
    """Bytes of the file system that holds a path; ``free`` is what we may use."""

    total: int
    free: int


@frozen
class FileStat:
    """``length`` in bytes, ``modified`` as wall time in seconds (for display and
    for noticing a changed local file; never for decisions between nodes)."""

    length: int
    modified: float
    is_folder: bool


class IDiskFile(Interface):
    """An open file.  ``pread`` and ``pwrite`` of ranges that do not overlap may run on several threads at once; of all
    else, and of anything beside ``truncate`` or ``close``, there is one at a time."""

    path = Attribute("The absolute path it was opened with, a str.")

    def size() -> int:
        """Length in bytes now."""

    def pread(length: int, offset: int) -> bytes:
        """At most ``length`` bytes from ``offset``; short only at the end of the file."""

    def pwrite(pieces: Sequence[bytes | memoryview | bytearray], offset: int) -> int:
        """Write all pieces one after the other from ``offset``; return the bytes written.

        All of them are written or an error is raised; after an error any prefix may be there.
        Not durable before :meth:`sync`.
        """

    def allocate(length: int) -> None:
        """Reserve space up to ``length`` without changing the size; raise DiskFull at once if there is none."""

    def truncate(length: int) -> None:
        """Cut or extend with zeros.  Not durable before :meth:`sync`."""

    def sync() -> None:
        """fdatasync: when it returns, bytes and length are durable (the *name* is not:
        see :meth:`IDisk.sync_folder`).  Raises SyncFailed, which is final for this file."""

    def close() -> None:
        """Release the file; idempotent.  Syncs nothing."""


class IDiskLock(Interface):
    """An exclusive lock held until released or until the process ends."""

    def release() -> None:
        """Give it back; idempotent."""


class IDisk(Interface):
    """A file system as one process sees it.  All errors are :mod:`dfs.disk.errors`."""

    def open(path: str, create: bool = False, exclusive: bool = False, writable: bool = True) -> IDiskFile:
        """Open a file.  ``create`` makes it where it is missing, ``exclusive`` demands that it was missing.

        A created file's name is durable only after ``sync_folder`` of its parent.
        """

    def stat(path: str) -> FileStat:
        """Raises NotFound."""

    def exists(path: str) -> bool:
        """True for a file or a folder."""

    def list_folder(path: str) -> list[str]:
        """Names (not paths) in sorted order."""

    def make_folders(path: str) -> None:
        """Make the folder and its missing parents, and sync each parent that changed.  Fine if it exists: then its
        name is synced, since who made it may have been killed before (unless its parent is not ours to read)."""

    def rename(source: str, target: str) -> None:
        """Atomically replace ``target``.  Durable after ``sync_folder`` of the parent(s)."""

    def unlink(path: str) -> None:
        """Remove a file's name.  Raises NotFound.  Durable after ``sync_folder``."""

    def remove_tree(path: str) -> None:
        """Remove a folder with everything in it; fine if it is missing.  Never follows links."""

    def sync_folder(path: str) -> None:
        """fsync the folder: names made, renamed and removed in it are durable.  Raises SyncFailed."""

    def space(path: str) -> Space:
        """Total and free bytes of the file system that holds ``path``."""

    def boot_id() -> str:
        """Which start of the machine this is, for a file's name: what the kernel remembers, it forgot when this
        changed.  "" where the system does not tell."""

    def lock(path: str) -> IDiskLock:
        """Take the exclusive lock file ``path`` (made if missing) without waiting.  Raises Locked."""
