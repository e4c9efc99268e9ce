"""Where the files of a prefix go in a folder of this machine: inside of it, whatever they are called."""

from __future__ import annotations

import posixpath
from collections.abc import Callable

from dfs.client.errors import LocalFileError
from dfs.disk.errors import DiskError
from dfs.disk.interfaces import IDisk
from dfs.protocol.messages import FileInfo
from dfs.runtime.interfaces import IThreads

KNOWN = 10_000
"""Folders that are remembered as made and looked at."""


def under(prefix: str) -> str:
    """What the names of a tree begin with."""
    return prefix if not prefix or prefix.endswith("/") else f"{prefix}/"


def relative_path(name: str, prefix: str) -> str:
    """A file's path within the folder.  Raises LocalFileError for a name that leads out of it, or nowhere (S44)."""
    relative = name.removeprefix(under(prefix))
    if any(part in ("", ".", "..") for part in relative.split("/")):
        raise LocalFileError(
            f"{name!r} has no place in a folder: a part of its name is empty, . or ..", "download it alone with --out"
        )
    return relative


class Places:
    """Gives paths below ``out`` for names that begin with ``prefix``, and makes their folders.

    :param real_path: resolves the links of a path; blocks.
    """

    def __init__(
        self, disk: IDisk, threads: IThreads, out: str, prefix: str, real_path: Callable[[str], str]
    ) -> None:
        self._disk, self._threads, self._out, self._prefix = disk, threads, out, prefix
        self._real_path = real_path
        self._known: dict[str, None] = {}

    async def __call__(self, info: FileInfo) -> str:
        """See dfs.client.many.Place."""
        path = posixpath.join(self._out, relative_path(info.name, self._prefix))
        folder = posixpath.dirname(path)
        if folder not in self._known:
            try:
                await self._threads.run(self._make, folder)
            except DiskError as error:
                raise LocalFileError(f"cannot make the folder of {info.name!r}: {error}", "check --out") from error
            if len(self._known) >= KNOWN:
                self._known.clear()
            self._known[folder] = None
        return path

    def _make(self, folder: str) -> None:
        """Make it, unless a link leads it elsewhere (S44)."""
        out = self._real_path(self._out)
        if posixpath.commonpath([out, self._real_path(folder)]) != out:
            raise LocalFileError(f"{folder} leads out of {self._out} by a link", "remove the link, then try again")
        self._disk.make_folders(folder)
