"""A disk that records what it is asked, passes it on to the kernel, and can end the process at any call."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NoReturn

from zope.interface import implementer

from dfs.disk.interfaces import FileStat, IDisk, IDiskFile, IDiskLock, Space
from dfs.disk.real import RealDisk, RealFile
from dfs.test.crash.calls import (
    Call,
    Cut,
    MakeFile,
    MakeFolder,
    Mark,
    Recording,
    Remove,
    Rename,
    Sync,
    SyncFolder,
    Tree,
    Write,
    files_of,
)


class Killed(BaseException):
    """The process ends here."""


def read_tree(root: str) -> Tree:
    """What is in a folder."""
    tree: Tree = {}
    for folder, folders, files in os.walk(root):
        inside = os.path.relpath(folder, root)
        prefix = "" if inside == "." else f"{inside}/"
        tree.update((prefix + name, None) for name in folders)
        for name in files:
            with open(os.path.join(folder, name), "rb") as file:
                tree[prefix + name] = file.read()
    return dict(sorted(tree.items()))


def write_tree(root: str, tree: Tree) -> None:
    """Make a folder that holds just that."""
    os.mkdir(root)
    for path, content in sorted(tree.items()):
        if content is None:
            os.mkdir(f"{root}/{path}", 0o700)
        else:
            with open(f"{root}/{path}", "wb") as file:
                file.write(content)


class Recorder:
    """Calls on files below ``root``, by inode.

    :ivar kill_at: so many calls are still carried out, then the process ends; None: it never does.
    :ivar kill_at_naming: the same, but only syncs of folders are counted.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self.start = read_tree(root)
        self.calls: list[Call] = []
        self.kill_at: int | None = None
        self.kill_at_naming: int | None = None
        self._inodes = {path: number for number, path in enumerate(files_of(self.start.items()), 1)}
        self.folders = {path for path, content in self.start.items() if content is None} | {""}

    @property
    def recording(self) -> Recording:
        """All so far."""
        return Recording(self.start, tuple(self.calls))

    def inside(self, path: str) -> str | None:
        """A path relative to the root, None for what lies elsewhere."""
        if path == self.root:
            return ""
        return path[len(self.root) + 1 :] if path.startswith(self.root + "/") else None

    def due(self, naming: bool = False) -> None:
        """Before a call that changes something: count it, or end the process.  ``naming``: a folder's sync."""
        if self.kill_at is not None:
            self.kill_at -= 1
        if self.kill_at_naming is not None and naming:
            self.kill_at_naming -= 1
        if min(self.kill_at or 0, self.kill_at_naming or 0) < 0:
            raise Killed

    def note(self, call: Call) -> None:
        """It was carried out."""
        self.calls.append(call)

    def mark(self, *allowed: str) -> None:
        """See :class:`~dfs.test.crash.calls.Mark`."""
        self.note(Mark(allowed))

    def opened(self, path: str) -> int:
        """The inode of a file that was opened; a new one is noted."""
        inode = self._inodes.get(path)
        if inode is None:
            inode = self._inodes[path] = len(self.start) + len(self.calls) + 1
            self.note(MakeFile(path, inode))
        return inode

    def folder_made(self, path: str) -> None:
        """A folder is there; a new one is noted."""
        if path not in self.folders:
            self.folders.add(path)
            self.note(MakeFolder(path))

    def renamed(self, source: str, target: str) -> None:
        """A file moved."""
        self._inodes[target] = self._inodes.pop(source)
        self.note(Rename(source, target))

    def removed(self, path: str) -> None:
        """A name is gone."""
        if path in self.folders:
            self.folders.remove(path)
        else:
            del self._inodes[path]
        self.note(Remove(path))


@implementer(IDiskFile)
class RecordedFile:
    """An open file below the recorder's root."""

    def __init__(self, recorder: Recorder, file: RealFile, inode: int) -> None:
        self.path = file.path
        self._recorder = recorder
        self._file = file
        self._inode = inode

    def size(self) -> int:
        return self._file.size()

    def pread(self, length: int, offset: int) -> bytes:
        return self._file.pread(length, offset)

    def pwrite(self, pieces: Sequence[bytes | memoryview | bytearray], offset: int) -> int:
        self._recorder.due()
        written = self._file.pwrite(pieces, offset)
        self._recorder.note(Write(self._inode, offset, b"".join(pieces)))
        return written

    def allocate(self, length: int) -> None:
        self._file.allocate(length)

    def truncate(self, length: int) -> None:
        self._recorder.due()
        self._file.truncate(length)
        self._recorder.note(Cut(self._inode, length))

    def sync(self) -> None:
        self._recorder.due()
        self._file.sync()
        self._recorder.note(Sync(self._inode))

    def close(self) -> None:
        self._file.close()


@implementer(IDisk)
class RecordingDisk:
    """The kernel's disk, with a recorder between."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._disk = _Steps(recorder)
        self._open: list[RealFile] = []
        self._locks: list[IDiskLock] = []

    def end_process(self) -> None:
        """Close whatever the killed process had open, as the kernel does."""
        for file in self._open:
            file.close()
        for lock in self._locks:
            lock.release()

    def _inside(self, path: str) -> str:
        found = self._recorder.inside(path)
        if found is None:
            _elsewhere(path)
        return found

    def open(self, path: str, create: bool = False, exclusive: bool = False, writable: bool = True) -> IDiskFile:
        self._recorder.due()
        file = self._disk.open(path, create, exclusive, writable)
        self._open.append(file)
        return RecordedFile(self._recorder, file, self._recorder.opened(self._inside(path)))

    def stat(self, path: str) -> FileStat:
        return self._disk.stat(path)

    def exists(self, path: str) -> bool:
        return self._disk.exists(path)

    def list_folder(self, path: str) -> list[str]:
        return self._disk.list_folder(path)

    def make_folders(self, path: str) -> None:
        self._disk.make_folders(path)
        self._disk.note_folders(path)

    def rename(self, source: str, target: str) -> None:
        self._recorder.due()
        self._disk.rename(source, target)
        self._recorder.renamed(self._inside(source), self._inside(target))

    def unlink(self, path: str) -> None:
        self._recorder.due()
        self._disk.unlink(path)
        self._recorder.removed(self._inside(path))

    def remove_tree(self, path: str) -> None:
        if not self._disk.exists(path):
            return
        for name in sorted(read_tree(path), reverse=True):
            self._remove(f"{path}/{name}")
        self._remove(path)

    def _remove(self, path: str) -> None:
        self._recorder.due()
        self._disk.remove_tree(path) if self._disk.stat(path).is_folder else self._disk.unlink(path)
        self._recorder.removed(self._inside(path))

    def sync_folder(self, path: str) -> None:
        self._disk.sync_folder(path)

    def space(self, path: str) -> Space:
        return self._disk.space(path)

    def boot_id(self) -> str:
        return self._disk.boot_id()

    def lock(self, path: str) -> IDiskLock:
        lock = self._disk.lock(path)
        self._recorder.opened(self._inside(path))
        self._locks.append(lock)
        return lock


class _Steps(RealDisk):
    """Tells the recorder of the syncs that RealDisk does within its other calls, each with the folders made so far."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def sync_folder(self, path: str) -> None:
        inside = self._recorder.inside(path)
        if inside is not None:
            for name in self.list_folder(path):
                if self.stat(f"{path}/{name}").is_folder:
                    self._recorder.folder_made(f"{inside}/{name}" if inside else name)
        self._recorder.due(naming=True)
        super().sync_folder(path)
        if inside is not None:
            self._recorder.note(SyncFolder(inside))

    def note_folders(self, path: str) -> None:
        """Each step of a path that is a folder now."""
        inside = self._recorder.inside(path)
        steps = inside.split("/") if inside else []
        for count in range(1, len(steps) + 1):
            self._recorder.folder_made("/".join(steps[:count]))


def _elsewhere(path: str) -> NoReturn:
    raise AssertionError(f"{path} is outside of the folder that is recorded")
