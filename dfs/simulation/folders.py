"""A simulated tree of names, and which of them would survive a crash.

Making, renaming and removing a name each is one atomic :class:`NameChange` of one or two
entries.  Unsynced ones are kept in order; ``sync_folder`` commits those that touch
the folder together with the earlier ones that they build on.  At a crash any
subset of the rest happens, in order: file systems promise no more.
"""

from __future__ import annotations

import errno
import posixpath
import random
from collections.abc import Iterator
from functools import lru_cache

from attrs import define

from dfs.disk.errors import DiskError, Exists, NotFound
from dfs.simulation.inode import Inode


class Folder:
    """Names in a folder: as the process sees them, and as they are on the platter."""

    is_folder = True

    def __init__(self) -> None:
        self.entries: dict[str, Inode | Folder] = {}
        self.durable: dict[str, Inode | Folder] = {}
        self.modified = 0.0


@define(eq=False)
class NameChange:
    """What each (folder, name) becomes; None is nothing."""

    changes: list[tuple[Folder, str, Inode | Folder | None]]

    def touches(self, keys: set[tuple[int, str]]) -> bool:
        return any((id(folder), name) in keys for folder, name, _ in self.changes)


class Tree:
    """The root and its unsynced changes.  Paths are absolute."""

    def __init__(self) -> None:
        self.root = Folder()
        self._pending: list[NameChange] = []

    def find(self, path: str) -> Inode | Folder | None:
        """What is at a path; None if nothing is."""
        return self._walk(split(path))

    def _walk(self, names: tuple[str, ...]) -> Inode | Folder | None:
        place: Inode | Folder | None = self.root
        for name in names:
            if not isinstance(place, Folder):
                return None
            place = place.entries.get(name)
        return place

    def folder(self, path: str) -> Folder:
        """The folder at a path; raises NotFound, also where there is a file."""
        place = self.find(path)
        if not isinstance(place, Folder):
            raise NotFound(path, "no such folder", errno.ENOENT)
        return place

    def parent(self, path: str) -> tuple[Folder, str]:
        """The folder that a path's last name is in, and that name."""
        names = split(path)
        if not names:
            raise DiskError(path, "the root has no name", errno.EBUSY)
        folder = self._walk(names[:-1])
        if not isinstance(folder, Folder):
            raise NotFound(path, "no such folder", errno.ENOENT)
        return folder, names[-1]

    def put(self, path: str, place: Inode | Folder) -> None:
        folder, name = self.parent(path)
        self._change([(folder, name, place)])

    def remove(self, path: str) -> None:
        folder, name = self.parent(path)
        self._change([(folder, name, None)])

    def rename(self, source: str, target: str) -> Inode | Folder | None:
        """Returns what was replaced."""
        moved = self.find(source)
        if moved is None:
            raise NotFound(source, "no such file or folder", errno.ENOENT)
        from_folder, from_name = self.parent(source)
        to_folder, to_name = self.parent(target)
        replaced = to_folder.entries.get(to_name)
        if replaced is moved:
            return None
        if isinstance(replaced, Folder) and (not moved.is_folder or replaced.entries):
            raise Exists(target, "there is a folder of that name", errno.EEXIST)
        if moved.is_folder and isinstance(replaced, Inode):
            raise NotFound(target, "not a folder", errno.ENOTDIR)
        self._change([(from_folder, from_name, None), (to_folder, to_name, moved)])
        return replaced

    def _change(self, changes: list[tuple[Folder, str, Inode | Folder | None]]) -> None:
        _set(changes, durable=False)
        self._pending.append(NameChange(changes))

    def sync(self, folder: Folder) -> None:
        """Commit what touches the folder, and what that builds on."""
        keys: set[tuple[int, str]] = set()
        chosen: list[NameChange] = []
        rest: list[NameChange] = []
        for change in reversed(self._pending):
            if any(touched is folder for touched, _, _ in change.changes) or change.touches(keys):
                keys.update((id(touched), name) for touched, name, _ in change.changes)
                chosen.append(change)
            else:
                rest.append(change)
        for change in reversed(chosen):
            _set(change.changes, durable=True)
        self._pending = rest[::-1]

    def crash(self, random: random.Random) -> None:
        """Keep what was synced and any subset of the rest; open handles lose their names with it."""
        pending, self._pending = self._pending, []
        for change in pending:
            if random.random() < 0.5:
                _set(change.changes, durable=True)
        for folder in self._folders(self.root):
            folder.entries = dict(folder.durable)

    def _folders(self, top: Folder) -> Iterator[Folder]:
        yield top
        for place in top.durable.values():
            if isinstance(place, Folder):
                yield from self._folders(place)

    def files(self, top: Folder | None = None) -> Iterator[Inode]:
        """All files below a folder, in the order of their making."""
        for place in (self.root if top is None else top).entries.values():
            if isinstance(place, Folder):
                yield from self.files(place)
            else:
                yield place


def _set(changes: list[tuple[Folder, str, Inode | Folder | None]], durable: bool) -> None:
    for folder, name, place in changes:
        names = folder.durable if durable else folder.entries
        if place is None:
            names.pop(name, None)
        else:
            names[name] = place


@lru_cache(maxsize=4096)
def split(path: str) -> tuple[str, ...]:
    """The names of an absolute path; the same few are asked for all the time."""
    if not path.startswith("/"):
        raise ValueError(f"{path!r} is not absolute")
    return tuple(name for name in posixpath.normpath(path).split("/") if name)
