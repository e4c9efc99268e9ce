"""What lies on a simulated disk, seen by the simulator: no operation is counted, takes time or fails."""

from __future__ import annotations

from dfs.disk.interfaces import IDisk
from dfs.simulation.disk import SimulatedDisk
from dfs.simulation.folders import Folder
from dfs.simulation.inode import Inode


def peek(disk: SimulatedDisk, path: str) -> bytes | None:
    """A file's bytes as a process would read them; None if there is none."""
    inode = disk.tree.find(path)
    return bytes(inode.content) if isinstance(inode, Inode) else None


def peek_part(disk: SimulatedDisk, path: str, offset: int, length: int) -> bytes:
    """Some of a file's bytes; none if there is no file."""
    inode = disk.tree.find(path)
    return bytes(inode.content[offset : offset + length]) if isinstance(inode, Inode) else b""


def sum_of(disk: SimulatedDisk, path: str, length: int) -> bytes:
    """SHA-256 of a file's first bytes; b"" if it has not so many, or there is none."""
    inode = disk.tree.find(path)
    return inode.sum(length) if isinstance(inode, Inode) and len(inode.content) >= length else b""


def length_of(disk: SimulatedDisk, path: str) -> int:
    """Of a file, 0 if there is none."""
    inode = disk.tree.find(path)
    return len(inode.content) if isinstance(inode, Inode) else 0


def paths(disk: SimulatedDisk, folder: str) -> list[str]:
    """Paths of all files below a folder, sorted; none where the folder is missing."""
    place = disk.tree.find(folder)
    found: list[str] = []
    if isinstance(place, Folder):
        for name in sorted(place.entries):
            path = f"{folder.rstrip('/')}/{name}"
            found += paths(disk, path) if place.entries[name].is_folder else [path]
    return found


def folders(disk: SimulatedDisk, folder: str) -> list[str]:
    """Paths of all folders below a folder, parents first."""
    place = disk.tree.find(folder)
    found: list[str] = []
    if isinstance(place, Folder):
        for name in sorted(place.entries):
            if place.entries[name].is_folder:
                path = f"{folder.rstrip('/')}/{name}"
                found += [path, *folders(disk, path)]
    return found


def clone(source: SimulatedDisk, target: IDisk, folder: str) -> None:
    """Copy a folder with all in it, durably, as somebody does who clones a machine."""
    target.make_folders(folder)
    for inner in folders(source, folder):
        target.make_folders(inner)
    for path in paths(source, folder):
        write_file(target, path, peek(source, path) or b"")


def write_file(disk: IDisk, path: str, content: bytes) -> None:
    """A durable file, there at once."""
    parent = path.rpartition("/")[0]
    disk.make_folders(parent)
    file = disk.open(path, create=True)
    file.truncate(0)
    file.pwrite([content], 0)
    file.sync()
    file.close()
    disk.sync_folder(parent)


def remove_file(disk: IDisk, path: str) -> None:
    """It is gone for good, if it was there."""
    if disk.exists(path):
        disk.unlink(path)
        disk.sync_folder(path.rpartition("/")[0])


def overwrite(disk: SimulatedDisk, path: str, offset: int, content: bytes) -> bytes:
    """Other bytes are there, on the platter too, and no operation tells; what was there.  The length stays."""
    inode = disk.tree.find(path)
    assert isinstance(inode, Inode), path
    before = bytes(inode.content[offset : offset + len(content)])
    assert len(before) == len(content), f"{path} ends before {offset + len(content)}"
    inode.overwrite(offset, content)
    return before
