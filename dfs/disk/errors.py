"""What can go wrong at the one door to the operating system's files.

Every provider of :class:`dfs.disk.interfaces.IDisk` raises these and nothing
else; ``errno`` keeps the system's own number for the log.
"""

from __future__ import annotations


class DiskError(Exception):
    """An operation on a file failed.  ``path`` and ``errno`` say which and how."""

    def __init__(self, path: str, reason: str, errno: int = 0) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason
        self.errno = errno


class NotFound(DiskError):
    """There is no such file or folder."""


class Exists(DiskError):
    """Something of that name exists already (exclusive creation)."""


class DiskFull(DiskError):
    """No space, or no quota, for the bytes (ENOSPC, EDQUOT)."""


class ReadOnly(DiskError):
    """The file system or folder cannot be written (EROFS, EACCES, EPERM)."""


class Locked(DiskError):
    """Another process holds the lock."""


class SyncFailed(DiskError):
    """fdatasync or fsync failed: the file's durable state is unknown.

    It must not be retried: the kernel may already have dropped the dirty pages
    (Rebello et al., "Can Applications Recover from fsync Failures?", ATC 2020).
    """
