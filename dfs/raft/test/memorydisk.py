"""A disk in memory that can stop at any operation and then shows what a crash may leave.

Every operation that changes something is counted.  ``stop_at`` ends the world at
one of them with :class:`PowerCut`; ``survivor`` then makes the disk that the next
process finds: without what was not synced, with all of it (a killed process),
or with a seeded choice of sectors of it (a torn write).
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from attrs import define, field
from zope.interface import implementer

from dfs.disk.errors import DiskFull, NotFound, SyncFailed
from dfs.disk.interfaces import FileStat, IDisk, IDiskFile, IDiskLock, Space

SECTOR = 512


class PowerCut(BaseException):
    """The machine stopped here."""


@define(eq=False)
class _Inode:
    durable: bytearray = field(factory=bytearray)
    now: bytearray = field(factory=bytearray)

    def crashed(self, how: str, chance: random.Random) -> _Inode:
        if how == "kill":
            return _Inode(bytearray(self.durable), bytearray(self.now))
        kept = bytearray(self.durable)
        if how == "torn":
            length = chance.choice([len(self.durable), len(self.now)])
            kept = bytearray(self.durable[:length].ljust(length, b"\0"))
            for start in range(0, length, SECTOR):
                if chance.random() < 0.5:
                    sector = self.now[start : min(start + SECTOR, length)]
                    kept[start : start + len(sector)] = sector
        return _Inode(bytearray(kept), bytearray(kept))


@implementer(IDisk)
class MemoryDisk:
    """See the module; ``full`` and ``sync_fails`` make it fail as those words say."""

    def __init__(self) -> None:
        self._durable: dict[str, _Inode] = {}
        self._now: dict[str, _Inode] = {}
        self.operations = 0
        self.stop_at = -1
        self.full = False
        self.sync_fails = False
        self.syncs = 0
        self.trace: list[tuple[str, str]] = []

    def count(self, what: str, path: str) -> None:
        """One more operation; the last one does not happen."""
        if self.operations == self.stop_at:
            raise PowerCut(f"{what} {path}")
        self.operations += 1
        self.trace.append((what, path.rsplit("/", 1)[-1]))

    def survivor(self, how: str, chance: random.Random) -> MemoryDisk:
        """What the next process finds: ``how`` is lost, kill or torn."""
        after = MemoryDisk()
        made: dict[int, _Inode] = {}

        def copy(inode: _Inode) -> _Inode:
            return made.setdefault(id(inode), inode.crashed(how, chance))

        names = dict(self._now) if how == "kill" else dict(self._durable)
        if how == "torn" and chance.random() < 0.5:
            names = dict(self._now)
        after._now = {path: copy(inode) for path, inode in names.items()}
        durable = self._durable if how == "kill" else names
        after._durable = {path: copy(inode) for path, inode in durable.items()}
        return after

    def content(self, path: str) -> bytearray:
        """The bytes of a file, to be damaged by a test."""
        return self._now[path].now

    def _inode(self, path: str) -> _Inode:
        if path not in self._now:
            raise NotFound(path, "no such file")
        return self._now[path]

    def open(self, path: str, create: bool = False, exclusive: bool = False, writable: bool = True) -> IDiskFile:
        if create and path not in self._now:
            self.count("create", path)
            self._now[path] = _Inode()
        return _File(self, path, self._inode(path))

    def stat(self, path: str) -> FileStat:
        return FileStat(len(self._inode(path).now), 0.0, False)

    def exists(self, path: str) -> bool:
        return path in self._now

    def list_folder(self, path: str) -> list[str]:
        return sorted(name[len(path) + 1 :] for name in self._now if name.startswith(path + "/"))

    def make_folders(self, path: str) -> None:
        return None

    def rename(self, source: str, target: str) -> None:
        self.count("rename", target)
        self._now[target] = self._now.pop(source)

    def unlink(self, path: str) -> None:
        self._inode(path)
        self.count("unlink", path)
        del self._now[path]

    def remove_tree(self, path: str) -> None:
        for name in self.list_folder(path):
            self.unlink(f"{path}/{name}")

    def sync_folder(self, path: str) -> None:
        self.count("sync_folder", path)
        if self.sync_fails:
            raise SyncFailed(path, "injected")
        self._durable = {name: inode for name, inode in self._durable.items() if not name.startswith(path + "/")}
        self._durable |= {name: inode for name, inode in self._now.items() if name.startswith(path + "/")}

    def space(self, path: str) -> Space:
        return Space(1 << 30, 0 if self.full else 1 << 30)

    def boot_id(self) -> str:
        return "1"

    def lock(self, path: str) -> IDiskLock:
        return _Lock()


@implementer(IDiskLock)
class _Lock:
    def release(self) -> None:
        return None


@implementer(IDiskFile)
class _File:
    def __init__(self, disk: MemoryDisk, path: str, inode: _Inode) -> None:
        self._disk = disk
        self.path = path
        self._inode = inode

    def size(self) -> int:
        return len(self._inode.now)

    def pread(self, length: int, offset: int) -> bytes:
        return bytes(self._inode.now[offset : offset + length])

    def pwrite(self, pieces: Sequence[bytes | memoryview | bytearray], offset: int) -> int:
        self._disk.count("pwrite", self.path)
        data = b"".join(pieces)
        now = self._inode.now
        if self._disk.full and offset + len(data) > len(now):
            now[offset:] = data[: len(data) // 2]
            raise DiskFull(self.path, "injected", 28)
        if len(now) < offset:
            now.extend(bytes(offset - len(now)))
        now[offset : offset + len(data)] = data
        return len(data)

    def allocate(self, length: int) -> None:
        if self._disk.full:
            raise DiskFull(self.path, "injected", 28)

    def truncate(self, length: int) -> None:
        self._disk.count("truncate", self.path)
        now = self._inode.now
        now[length:] = bytes(max(0, length - len(now)))

    def sync(self) -> None:
        self._disk.count("sync", self.path)
        self._disk.syncs += 1
        if self._disk.sync_fails:
            raise SyncFailed(self.path, "injected")
        self._inode.durable = bytearray(self._inode.now)

    def close(self) -> None:
        return None
