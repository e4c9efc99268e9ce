"""What a program asked of the file system, in order, and what it had promised at each moment.

Paths are relative to the folder under trial, whose own name is "".  A file is known by its inode, a number of
the recording, since it keeps its bytes when it is renamed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

from attrs import frozen


@frozen
class MakeFile:
    """A new, empty file got a name."""

    path: str
    inode: int


@frozen
class MakeFolder:
    """A new folder got a name."""

    path: str


@frozen
class Write:
    """Bytes were written; those beyond the end were zeros before."""

    inode: int
    offset: int
    content: bytes


@frozen
class Cut:
    """The file was cut or extended with zeros."""

    inode: int
    length: int


@frozen
class Sync:
    """fsync or fdatasync of a file succeeded: bytes and length are durable."""

    inode: int


@frozen
class Rename:
    """A file took another name, in the place of whatever had it."""

    source: str
    target: str


@frozen
class Remove:
    """A file's name, or an empty folder, was removed."""

    path: str


@frozen
class SyncFolder:
    """fsync of a folder succeeded: the names in it are durable."""

    path: str


@frozen
class Mark:
    """From here on whoever opens the folder after a power cut must see one of these."""

    allowed: tuple[str, ...]


Call: TypeAlias = MakeFile | MakeFolder | Write | Cut | Sync | Rename | Remove | SyncFolder | Mark

Tree: TypeAlias = dict[str, bytes | None]
"""Every file with its bytes and every folder with None, by path."""


@frozen
class Recording:
    """A folder as it was, all of it durable, and the calls that followed."""

    start: Tree
    calls: Sequence[Call]


def files_of(tree: Iterable[tuple[str, bytes | None]]) -> list[str]:
    """The paths of the files of a tree, sorted."""
    return sorted(path for path, content in tree if content is not None)


def parent(path: str) -> str:
    """The folder that holds a path."""
    return path.rpartition("/")[0]
