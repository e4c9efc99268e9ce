"""A file system as a power cut sees it: what is durable for certain, and what the kernel may or may not have written.

The model is the strict reading of POSIX (ALICE; Pillai et al., OSDI 2014), which ext4, XFS and btrfs all keep:

* bytes and length of a file are durable after a sync of that file; before it, each block of the file may be as any
  of the writes since then left it, and the length, on its own, as well;
* a name made, renamed or removed is durable after a sync of its folder and not by a sync of the file;
* a rename is atomic.  From one folder into another it may show as both names, but never as none;
* what is not durable may be there or not in any combination.

Files are inodes: a name that is durable leads to whatever is durable of the file.  Hard links and renamed folders
are not modelled, and refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from attrs import define, field, frozen

from dfs.test.crash.calls import (
    Call,
    Cut,
    MakeFile,
    MakeFolder,
    Mark,
    Remove,
    Rename,
    Sync,
    SyncFolder,
    Tree,
    Write,
    files_of,
    parent,
)

FOLDER = 0
"""Stands for an inode where a name is a folder's."""

Names: TypeAlias = dict[str, int]


@frozen
class Change:
    """Names that change together: each path with what it names then, None for nothing."""

    names: tuple[tuple[str, int | None], ...]

    def apply(self, names: Names) -> None:
        for path, inode in self.names:
            if inode is None:
                names.pop(path, None)
            else:
                names[path] = inode


@define
class File:
    """``durable`` bytes, and the writes and cuts since."""

    durable: bytes = b""
    pending: list[Write | Cut] = field(factory=list)

    def sync(self) -> None:
        if self.pending:
            self.durable = bytes(self.now())
            self.pending = []

    def now(self) -> bytearray:
        """The bytes as the program sees them."""
        return replayed(bytearray(self.durable), self.pending)

    def lengths(self) -> list[int]:
        """The length that is durable, and after each call since."""
        lengths = [len(self.durable)]
        for call in self.pending:
            lengths.append(call.length if isinstance(call, Cut) else max(lengths[-1], call.offset + len(call.content)))
        return lengths


def replayed(content: bytearray, calls: Iterable[Write | Cut]) -> bytearray:
    """Carry out writes and cuts."""
    for call in calls:
        end = call.length if isinstance(call, Cut) else call.offset
        content.extend(bytes(max(0, end - len(content))))
        if isinstance(call, Cut):
            del content[call.length :]
        else:
            content[call.offset : call.offset + len(call.content)] = call.content
    return content


@define
class Volume:
    """The state after some calls.  ``allowed`` is the last mark's."""

    names: Names = field(factory=dict)
    changes: list[Change] = field(factory=list)
    files: dict[int, File] = field(factory=dict)
    allowed: tuple[str, ...] = ()
    _seen: Names = field(factory=dict)

    @classmethod
    def of(cls, start: Tree) -> Volume:
        """A volume that holds a tree durably."""
        volume = cls({path: FOLDER for path, content in start.items() if content is None})
        for inode, path in enumerate(files_of(start.items()), 1):
            volume.names[path] = inode
            volume.files[inode] = File(start[path] or b"")
        volume._seen = dict(volume.names)
        return volume

    def apply(self, call: Call) -> None:
        """Carry out one call."""
        match call:
            case Mark(allowed):
                self.allowed = allowed
            case Write(inode) | Cut(inode):
                self.files[inode].pending.append(call)
            case Sync(inode):
                self.files[inode].sync()
            case SyncFolder(path):
                self._sync_folder(path)
            case MakeFile(path, inode):
                self.files[inode] = File()
                self._change((path, inode))
            case MakeFolder(path):
                self._change((path, FOLDER))
            case Remove(path):
                self._change((path, None))
            case Rename(source, target):
                if not self._seen[source]:
                    raise ValueError(f"{source} is a folder; its rename is not modelled")
                self._change((target, self._seen[source]), (source, None))

    def _change(self, *names: tuple[str, int | None]) -> None:
        change = Change(names)
        change.apply(self._seen)
        self.changes.append(change)

    def _sync_folder(self, folder: str) -> None:
        """The names in it are durable.  Of a rename out of it the new name is, too: a journal holds both or none."""
        left: list[Change] = []
        for change in self.changes:
            inside = [parent(path) == folder for path, _ in change.names]
            if inside[-1]:
                change.apply(self.names)
            elif inside[0]:
                Change(change.names[:1]).apply(self.names)
                left.append(Change(change.names[1:]))
            else:
                left.append(change)
        self.changes = left

    def kept(self) -> Tree:
        """Everything as the program saw it: what a killed process leaves."""
        return tree_of(self._seen, {inode: bytes(self.files[inode].now()) for inode in set(self._seen.values()) - {0}})


def tree_of(names: Names, contents: dict[int, bytes]) -> Tree:
    """What a chosen set of names leads to; a name whose folder is not there leads nowhere."""
    tree: Tree = {}
    for path in sorted(names):
        folder = parent(path)
        if not folder or (folder in tree and tree[folder] is None):
            tree[path] = contents[names[path]] if names[path] else None
    return tree
