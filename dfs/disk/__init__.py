"""The one door to the operating system's files.

- :mod:`dfs.disk.interfaces`: what a disk promises (and what it does not);
- :mod:`dfs.disk.errors`: the only exceptions that come out of it;
- :mod:`dfs.disk.real`: the kernel's file system.

The simulated disk, which forgets what was not synced, is ``dfs.simulation.disk``.
"""

from dfs.disk.errors import DiskError, DiskFull, Exists, Locked, NotFound, ReadOnly, SyncFailed
from dfs.disk.interfaces import FileStat, IDisk, IDiskFile, IDiskLock, Space
from dfs.disk.real import RealDisk, RealFile, RealLock

__all__ = [
    "DiskError",
    "DiskFull",
    "Exists",
    "FileStat",
    "IDisk",
    "IDiskFile",
    "IDiskLock",
    "Locked",
    "NotFound",
    "ReadOnly",
    "RealDisk",
    "RealFile",
    "RealLock",
    "Space",
    "SyncFailed",
]
