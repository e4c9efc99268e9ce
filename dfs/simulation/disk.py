"""A disk that forgets what was not synced, fails when told to, and takes virtual time.

It provides :class:`dfs.disk.interfaces.IDisk` and runs the rooms' code unmodified.

- **Crash**: :meth:`SimulatedDisk.crash` keeps what was synced and a seeded choice of the rest
  (bytes torn at 512-byte sectors: ``inode``; names: ``folders``).  ``crash_at(n)`` raises
  SimulatedCrash in the place of the n-th operation from now: with it a test tries every step (S09).
- **Faults**: :meth:`inject` makes operations on some paths fail, ``capacity`` bounds the bytes, ``flip_bits`` rots
  them.
- **Time**: each operation adds its cost in seconds; the simulated threads take the sum and turn it into delay.

Every operation of disk and files counts, reading ones too.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from random import Random
from weakref import WeakKeyDictionary

from attrs import define, frozen
from zope.interface import implementer

from dfs.disk.errors import DiskError, DiskFull, Exists, Locked, NotFound, SyncFailed
from dfs.disk.interfaces import FileStat, IDisk, IDiskFile, IDiskLock, Space
from dfs.simulation.folders import Folder, Tree, split
from dfs.simulation.inode import Inode


class SimulatedCrash(BaseException):
    """The machine loses power here.  Not an Exception, so that no error handling outlives it."""


@frozen
class Costs:
    """Seconds that operations take; ``bandwidth`` in bytes/s."""

    operation: float = 0.00002
    sync: float = 0.0004
    bandwidth: float = 500e6


@define(eq=False)
class Fault:
    """An operation that fails.  ``operation`` is a method's name, ``prefix`` begins the paths, ``count`` bounds it,
    ``area`` are the bytes that must be touched, from and up to."""

    operation: str
    prefix: str
    error: type[DiskError]
    number: int
    count: int | None
    area: tuple[int, int] | None


@implementer(IDiskLock)
class SimulatedLock:
    """A held lock of a simulated disk."""

    def __init__(self, disk: SimulatedDisk, path: str) -> None:
        self._disk = disk
        self._path = path

    def release(self) -> None:
        if self._disk.locks.get(self._path) is self:
            del self._disk.locks[self._path]


@implementer(IDiskFile)
class SimulatedFile:
    """An open file.  After a crash of the disk it is useless: every call crashes again."""

    def __init__(self, disk: SimulatedDisk, path: str, inode: Inode, writable: bool) -> None:
        self.path = path
        self._disk = disk
        self._boot = disk.boot
        self._inode = inode
        self._writable = writable
        self._open = True
        self._failed = False

    def size(self) -> int:
        self._begin("size")
        return len(self._inode.content)

    def pread(self, length: int, offset: int) -> bytes:
        self._begin("pread", length, offset=offset)
        return bytes(self._inode.content[offset : offset + length])

    def pwrite(self, pieces: Sequence[bytes | memoryview | bytearray], offset: int) -> int:
        content = b"".join(pieces)
        self._begin("pwrite", len(content), write=True)
        if not content:
            return 0
        end = offset + len(content)
        fits = self._disk.fit(self._inode, end)
        before = self._inode.charge
        if fits > offset:
            self._inode.write(offset, content[: fits - offset])
            self._disk.changed(self._inode, before)
        if fits < end:
            raise DiskFull(self.path, "No space left on device", errno.ENOSPC)
        return len(content)

    def allocate(self, length: int) -> None:
        self._begin("allocate", write=True)
        self._check_fit(length)
        before = self._inode.charge
        self._inode.reserved = max(self._inode.reserved, length)
        self._disk.changed(self._inode, before)

    def truncate(self, length: int) -> None:
        self._begin("truncate", write=True)
        self._check_fit(length)
        before = self._inode.charge
        self._inode.truncate(length)
        self._inode.reserved = 0
        self._disk.changed(self._inode, before)

    def _check_fit(self, length: int) -> None:
        if self._disk.fit(self._inode, length) < length:
            raise DiskFull(self.path, "No space left on device", errno.ENOSPC)

    def sync(self) -> None:
        if self._failed:
            raise SyncFailed(self.path, "an earlier sync failed: the file's durable state is unknown", errno.EIO)
        try:
            self._begin("sync")
        except DiskError as error:
            self._failed = True
            self._inode.lose()
            raise SyncFailed(self.path, f"sync failed: {error.reason}", error.errno) from error
        self._inode.sync()
        self._disk.synced(self._inode)

    def close(self) -> None:
        self._open = False

    def _begin(self, operation: str, length: int = 0, write: bool = False, offset: int = 0) -> None:
        if self._boot != self._disk.boot:
            raise SimulatedCrash(f"{self.path} was open when the power went")
        if not self._open:
            raise DiskError(self.path, "Bad file descriptor", errno.EBADF)
        if write and not self._writable:
            raise DiskError(self.path, "Bad file descriptor", errno.EBADF)
        self._disk.begin(operation, self.path, length, offset)


@implementer(IDisk)
class SimulatedDisk:
    """One machine's disk; it outlives its processes.

    :param capacity: bytes that fit on it.
    :param now: wall time for ``modified``.
    :ivar slowness: factor on all costs: 1000 makes a sync take 0.4 s (S23).
    :ivar tree: the names, for the simulator's own eyes (:mod:`dfs.simulation.platter`).
    :ivar operations: how many operations there were.
    :ivar boot: how many crashes there were; open files of an earlier one are useless.
    """

    def __init__(
        self, capacity: int = 1 << 40, now: Callable[[], float] = lambda: 0.0, costs: Costs | None = None
    ) -> None:
        self.capacity = capacity
        self.costs = costs if costs is not None else Costs()
        self.slowness = 1.0
        self.operations = 0
        self.boot = 0
        self.locks: dict[str, SimulatedLock] = {}
        self._now = now
        self.tree = Tree()
        self._faults: list[Fault] = []
        self._crash_at: int | None = None
        self._crashed = False
        self._cost = 0.0
        self._used = 0
        self._inodes = 0
        self._dirty: WeakKeyDictionary[Inode, None] = WeakKeyDictionary()

    # What tests and the simulator do to it.

    def crash(self, random: Random) -> None:
        """The power went and is back: what was not synced is there or not as the random draws."""
        self.boot += 1
        seed = random.getrandbits(64)
        for inode in list(self._dirty):
            # A seed each: whether a file without a name is still in memory must not change what others draw.
            inode.crash(Random(seed ^ inode.number))
        self._dirty.clear()
        self.tree.crash(random)
        self._used = 0
        for inode in self.tree.files():
            inode.linked = True
            self._used += inode.charge
        self.end_process()

    def end_process(self) -> None:
        """The process ended: its locks are free, nothing is lost, a planned crash is off."""
        self.locks.clear()
        self._crash_at = None
        self._crashed = False
        self._cost = 0.0

    def crash_at(self, count: int | None) -> None:
        """Raise SimulatedCrash in the place of the ``count``-th operation from now (1 is the next) and of all after."""
        self._crash_at = None if count is None else self.operations + count

    def inject(
        self,
        operation: str,
        prefix: str = "/",
        error: type[DiskError] = DiskError,
        number: int = errno.EIO,
        count: int | None = 1,
        area: tuple[int, int] | None = None,
    ) -> Fault:
        """Make the next ``count`` operations of that name on paths with that prefix fail; None is for ever.  ``area``:
        only reads of some bytes from there up to there.

        ``operation`` is a method's name of IDisk or IDiskFile.  A failing ``sync`` or ``sync_folder`` comes out as
        SyncFailed and loses what it should have made durable.
        """
        fault = Fault(operation, prefix, error, number, count, area)
        self._faults.append(fault)
        return fault

    def recover(self, fault: Fault | None = None) -> None:
        """Take one fault back, or all."""
        self._faults = [found for found in self._faults if fault is not None and found is not fault]

    def flip_bits(self, path: str, offset: int, mask: int = 1) -> None:
        """Rot: the byte at ``offset`` changes, on the platter too, and no operation tells."""
        inode = self._find(path)
        assert isinstance(inode, Inode), path
        inode.overwrite(offset, bytes([inode.content[offset] ^ mask]))

    def take_cost(self) -> float:
        """Seconds that the operations since the last call took."""
        cost, self._cost = self._cost, 0.0
        return cost * self.slowness

    @property
    def used(self) -> int:
        """Bytes taken by the files that have a name."""
        return self._used

    # What its files ask.

    def begin(self, operation: str, path: str, length: int = 0, offset: int = 0) -> None:
        """Count an operation, charge its time, and fail it if it is to fail."""
        if self._crashed or (self._crash_at is not None and self.operations + 1 >= self._crash_at):
            self._crashed = True
            raise SimulatedCrash(f"operation {self.operations + 1}: {operation} {path}")
        self.operations += 1
        costs = self.costs
        self._cost += costs.operation + length / costs.bandwidth
        if operation in ("sync", "sync_folder"):
            self._cost += costs.sync
        for fault in self._faults:
            if fault.operation == operation and path.startswith(fault.prefix):
                if fault.area is not None and not (offset < fault.area[1] and fault.area[0] < offset + length):
                    continue
                if fault.count is not None:
                    fault.count -= 1
                    if not fault.count:
                        self._faults.remove(fault)
                raise fault.error(path, os.strerror(fault.number), fault.number)

    def fit(self, inode: Inode, length: int) -> int:
        """How long a file may get, at most ``length``."""
        grow = length - inode.charge
        free = max(0, self.capacity - self._used)
        return length if grow <= free or not inode.linked else inode.charge + free

    def changed(self, inode: Inode, charge_before: int) -> None:
        """A file's bytes changed."""
        if inode.linked:
            self._used += inode.charge - charge_before
        inode.modified = self._now()
        if inode.dirty:
            self._dirty[inode] = None

    def synced(self, inode: Inode) -> None:
        """A file was synced."""
        if not inode.dirty:
            self._dirty.pop(inode, None)

    # IDisk

    def open(self, path: str, create: bool = False, exclusive: bool = False, writable: bool = True) -> SimulatedFile:
        self.begin("open", path)
        place = self.tree.find(path)
        if isinstance(place, Folder):
            raise DiskError(path, "Is a directory", errno.EISDIR)
        if place is None:
            if not (create or exclusive):
                raise NotFound(path, "No such file or directory", errno.ENOENT)
            self._inodes += 1
            place = Inode(self._inodes)
            place.modified = self._now()
            self.tree.put(path, place)
        elif exclusive:
            raise Exists(path, "File exists", errno.EEXIST)
        return SimulatedFile(self, path, place, writable)

    def stat(self, path: str) -> FileStat:
        self.begin("stat", path)
        place = self._find(path)
        length = 0 if isinstance(place, Folder) else len(place.content)
        return FileStat(length, place.modified, place.is_folder)

    def exists(self, path: str) -> bool:
        self.begin("exists", path)
        return self.tree.find(path) is not None

    def list_folder(self, path: str) -> list[str]:
        self.begin("list_folder", path)
        return sorted(self.tree.folder(path).entries)

    def make_folders(self, path: str) -> None:
        self.begin("make_folders", path)
        place: Inode | Folder = self.tree.root
        step = ""
        for name in split(path):
            if not isinstance(place, Folder):
                break
            parent, step = place, f"{step}/{name}"
            if name not in parent.entries:
                self.tree.put(step, Folder())
                self.tree.sync(parent)
            place = parent.entries[name]
        if not isinstance(place, Folder):
            raise Exists(path, "there is a file of that name", errno.EEXIST)

    def rename(self, source: str, target: str) -> None:
        self.begin("rename", source)
        replaced = self.tree.rename(source, target)
        if isinstance(replaced, Inode):
            self._unlinked(replaced)

    def unlink(self, path: str) -> None:
        self.begin("unlink", path)
        place = self._find(path)
        if isinstance(place, Folder):
            raise DiskError(path, "Is a directory", errno.EISDIR)
        self.tree.remove(path)
        self._unlinked(place)

    def remove_tree(self, path: str) -> None:
        self.begin("remove_tree", path)
        place = self.tree.find(path)
        if place is None:
            return
        if not isinstance(place, Folder):
            raise NotFound(path, "Not a directory", errno.ENOTDIR)
        for name in list(place.entries):
            inner = f"{path}/{name}"
            if place.entries[name].is_folder:
                self.remove_tree(inner)
            else:
                self.unlink(inner)
        self.tree.remove(path)

    def sync_folder(self, path: str) -> None:
        try:
            self.begin("sync_folder", path)
        except DiskError as error:
            raise SyncFailed(path, f"sync failed: {error.reason}", error.errno) from error
        self.tree.sync(self.tree.folder(path))

    def space(self, path: str) -> Space:
        self.begin("space", path)
        self._find(path)
        return Space(self.capacity, max(0, self.capacity - self._used))

    def boot_id(self) -> str:
        return str(self.boot)

    def lock(self, path: str) -> SimulatedLock:
        if path in self.locks:
            raise Locked(path, "Resource temporarily unavailable", errno.EWOULDBLOCK)
        self.open(path, create=True).close()
        self.locks[path] = lock = SimulatedLock(self, path)
        return lock

    def _find(self, path: str) -> Inode | Folder:
        place = self.tree.find(path)
        if place is None:
            raise NotFound(path, "No such file or directory", errno.ENOENT)
        return place

    def _unlinked(self, inode: Inode) -> None:
        self._used -= inode.charge
        inode.linked = False
