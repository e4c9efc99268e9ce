"""The mark that a failed sync leaves: what the kernel shows of this folder may not be on the disk.

After a failed fsync the kernel may call its dirty pages clean, so that a later fsync succeeds though nothing was
written (Rebello et al., "Can Applications Recover from fsync Failures?", ATC 2020).  A process that started
afterwards on the same kernel would find names that a power cut takes away, sync their folders "successfully", and
vouch for them (S05, S31).  So the thread whose sync failed makes the file ``sync-failed.BOOT``, and a start that
finds it refuses.

BOOT says which start of the machine it is of: the danger lasts as long as the kernel's memory does.  So the mark is
removed by the first start after a reboot, and need not be synced: if a power cut takes it away, it took the danger
too.  Where the system does not tell its starts apart, an operator removes it.  Everything here blocks.
"""

from __future__ import annotations

from twisted.logger import Logger

from dfs.chunkserver.errors import RefusedStart
from dfs.chunkserver.layout import Layout
from dfs.disk.errors import DiskError
from dfs.disk.interfaces import IDisk

_log = Logger()


UNKNOWN = "unknown"
"""Instead of BOOT where the system does not tell its starts apart."""


def leave(disk: IDisk, layout: Layout) -> None:
    """Make the mark.  Where even that fails, the log has to do: such a disk will hardly take a start's lock."""
    try:
        disk.open(layout.sync_failed + (disk.boot_id() or UNKNOWN), create=True).close()
    except DiskError as error:
        _log.critical("no mark of the failed sync can be left ({error}): do not start before a reboot", error=error)


def check(disk: IDisk, layout: Layout) -> None:
    """Raises RefusedStart while a mark is there and the machine was not started anew; removes older ones."""
    folder, stem = layout.sync_failed.rsplit("/", 1)
    now = disk.boot_id() or UNKNOWN
    for name in disk.list_folder(folder):
        if not name.startswith(stem):
            continue
        if name.removeprefix(stem) in (now, UNKNOWN):
            raise RefusedStart(
                f"a sync failed on the disk of {layout.root}, and what the system shows of it may not be on it: check "
                "the disk, reboot the machine, and start again (where it is enough that the file system was mounted "
                f"anew, remove {folder}/{name} first)"
            )
        _log.warn("a sync had failed on this disk before the machine was started anew: its state counts again")
        disk.unlink(f"{folder}/{name}")
