"""The mark that a failed sync leaves in a folder: what the kernel shows of it may not be on the disk.

After a failed fsync the kernel may call its dirty pages clean, so that a later fsync succeeds though nothing was
written (Rebello et al., "Can Applications Recover from fsync Failures?", ATC 2020).  A process that started again on
the same kernel would find bytes and names that a power cut takes away, and vouch for them (S05, S31, R27).  So a failed
sync leaves the file ``sync-failed.BOOT``, and a start that finds it refuses.

BOOT says which start of the machine it is of: the danger lasts as long as the kernel's memory does, so a start after
a reboot removes the mark.  It need not be synced: a power cut that takes it away took the danger too.  Where the
system does not tell its starts apart an operator removes it.  Everything here blocks.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from twisted.logger import Logger

from dfs.disk.errors import DiskError, SyncFailed
from dfs.disk.interfaces import IDisk

_log = Logger()

STEM = "sync-failed."
UNKNOWN = "unknown"
"""Instead of BOOT where the system does not tell its starts apart."""


def leave(disk: IDisk, folder: str) -> None:
    """Make the mark.  Where even that fails, the log has to do: such a disk will hardly take a start's lock."""
    try:
        disk.open(f"{folder}/{STEM}{disk.boot_id() or UNKNOWN}", create=True).close()
    except DiskError as error:
        _log.critical("no mark of the failed sync can be left ({error}): do not start before a reboot", error=error)


@contextmanager
def marking(disk: IDisk, folder: str) -> Iterator[None]:
    """What syncs in ``folder`` itself: a failure is marked there, and goes on."""
    try:
        yield
    except SyncFailed:
        leave(disk, folder)
        raise


def doubt(disk: IDisk, folder: str) -> str | None:
    """Why nothing may be started on this folder, in a sentence; None where nothing is in doubt, and then marks of
    earlier starts of the machine are gone."""
    now = disk.boot_id() or UNKNOWN
    for name in disk.list_folder(folder):
        if not name.startswith(STEM):
            continue
        if name.removeprefix(STEM) in (now, UNKNOWN):
            return (
                f"a sync failed on the disk of {folder}, and what the system shows of it may not be on it: check the "
                "disk, reboot the machine, and start again (where it is enough that the file system was mounted anew, "
                f"remove {folder}/{name} first)"
            )
        _log.warn("a sync had failed on this disk before the machine was started anew: its state counts again")
        disk.unlink(f"{folder}/{name}")
    return None
