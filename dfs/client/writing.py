"""Small files into folders of this machine, several with one call on a thread.

Each has its name only when it is durable (S41).  Until then it lies where a download of its own would put it, and under
the same lock, so that two downloads of one tree never write to one file.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from contextlib import suppress

from attrs import frozen

from dfs.client.download import partial_path
from dfs.client.errors import LocalFileError, OutputExists
from dfs.disk.errors import DiskError, DiskFull, Locked
from dfs.disk.interfaces import IDisk
from dfs.protocol.errors import DFSError


@frozen
class Write:
    """A small file to write."""

    path: str
    content: bytes
    file_id: int
    force: bool
    skip_same: bool


def write_files(disk: IDisk, writes: Sequence[Write]) -> list[bool | DFSError]:
    """Whether each was there, or why it could not be written.  Blocks."""
    outcomes: list[bool | DFSError] = []
    folders: dict[str, None] = {}
    for write in writes:
        try:
            there = _write(disk, write)
        except DFSError as error:
            outcomes.append(error)
        except Locked:
            outcomes.append(
                LocalFileError(f"another download to {write.path} runs", "wait for it, or choose another --out")
            )
        except DiskFull as error:
            outcomes.append(LocalFileError(f"no space: {error}", "free some space, then run it again with --skip-same"))
        except DiskError as error:
            outcomes.append(LocalFileError(f"cannot write {error}", "check the folder and its permissions"))
        else:
            outcomes.append(there)
            folders[posixpath.dirname(write.path)] = None
    for folder in folders:
        disk.sync_folder(folder)
    return outcomes


def _write(disk: IDisk, write: Write) -> bool:
    if disk.exists(write.path):
        if disk.stat(write.path).is_folder:
            raise OutputExists(f"{write.path} is a folder", "remove it, or download the file alone with --out")
        if write.skip_same and _holds(disk, write.path, write.content):
            return True
        if not write.force:
            raise OutputExists(f"{write.path} exists already", "choose another --out, or overwrite it with --force")
    partial = partial_path(write.path, write.file_id)
    lock = disk.lock(partial)
    try:
        _fill(disk, partial, write.content)
        disk.rename(partial, write.path)
    except DiskError:
        with suppress(DiskError):  # a small file is not resumed: half of it is only litter
            disk.unlink(partial)
        raise
    finally:
        lock.release()
    return False


def _fill(disk: IDisk, path: str, content: bytes) -> None:
    """The bytes and no others, durable."""
    file = disk.open(path, create=True)
    try:
        file.truncate(0)  # a download that was killed may have left something
        file.pwrite([memoryview(content)], 0)
        file.sync()
    finally:
        file.close()


def _holds(disk: IDisk, path: str, content: bytes) -> bool:
    if disk.stat(path).length != len(content):
        return False
    file = disk.open(path, writable=False)
    try:
        return bytes(file.pread(len(content) + 1, 0)) == content
    finally:
        file.close()
