"""A second look at syncs that an engine retries, and the syncs of names that it leaves out.

libdb 5.3 retries a failed fsync; Linux reports a failed write-back once to each open
descriptor, drops the pages, and the retry succeeds on nothing (Rebello et al., ATC 2020).
So we hold descriptors of our own on the same files, opened before the engine syncs, and
sync them after it: a failure that it swallowed is reported to us as well.  Where nothing
is dirty the second sync costs a system call.

libdb makes its log files one after the other and never syncs their folder: what it flushed
into a new file could be gone with the file's name (R26).  So the folder is synced whenever a
file is there that was not when it was synced last.
"""

from __future__ import annotations

from dfs.disk.errors import NotFound
from dfs.disk.interfaces import IDisk, IDiskFile


class SyncWitness:
    """Descriptors on the files of one folder."""

    def __init__(self, disk: IDisk, folder: str) -> None:
        self._disk = disk
        self._folder = folder
        self._files: dict[str, IDiskFile] = {}
        self._named: set[str] = set()

    def watch(self) -> None:
        """Before the engine syncs: open what is new, let go of what is gone."""
        names = self._names()
        for name in set(self._files) - names:
            self._files.pop(name).close()
        for name in sorted(names - set(self._files)):
            try:
                self._files[name] = self._disk.open(f"{self._folder}/{name}", writable=False)
            except NotFound:  # a log file that the engine removed just now holds nothing that matters
                continue

    def confirm(self) -> None:
        """After the engine synced: raise SyncFailed if any write-back failed since :meth:`watch`.  The names of the
        engine's files are durable as well when it returns."""
        for file in self._files.values():
            file.sync()
        self.confirm_names()

    def confirm_names(self) -> set[str]:
        """Make the names of the engine's files durable; raises SyncFailed.  Which there are."""
        names = self._names()
        if not names <= self._named:
            self._disk.sync_folder(self._folder)
        self._named = set(names)
        return names

    def _names(self) -> set[str]:
        return {name for name in self._disk.list_folder(self._folder) if is_engine_file(name)}

    def close(self) -> None:
        """Let go of all, and count nothing as durable any more; idempotent."""
        for file in self._files.values():
            file.close()
        self._files.clear()
        self._named.clear()


def is_engine_file(name: str) -> bool:
    """The files whose durability the engine promises: its logs and tables."""
    return name.startswith("log.") or name.endswith(".db")
