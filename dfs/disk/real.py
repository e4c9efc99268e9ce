"""The kernel's file system behind :class:`dfs.disk.interfaces.IDisk`.

Everything here blocks and belongs on a thread of ``IThreads``.  What needs care:

- **Short transfers.**  ``pwritev`` may write less than it was given (a signal, a
  full disk, more than ``IOV_MAX`` pieces) and ``pread`` may read less than there is
  (2 GiB at most): both are looped until done.
- **A failed fdatasync is final.**  The kernel marks the dirty pages clean when
  it reports the failure, so a second fdatasync returns 0 for bytes that are not on
  disk (S31; Rebello et al., ATC 2020).  The file remembers it and refuses for ever.
- **Links.**  Nothing is ever written through a symbolic link at the last step of
  a path (``O_NOFOLLOW``); reading follows links, since users upload through them.
- **Locks** are ``flock``: they end with the process however it ends, and belong to
  the open file, so they also exclude a second taker in the same process.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import shutil
import stat as modes
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from zope.interface import implementer

from dfs.disk.errors import DiskError, DiskFull, Exists, Locked, NotFound, ReadOnly, SyncFailed
from dfs.disk.interfaces import FileStat, IDisk, IDiskFile, IDiskLock, Space

ERRORS: dict[int, type[DiskError]] = {
    errno.ENOENT: NotFound,
    errno.ENOTDIR: NotFound,
    errno.EEXIST: Exists,
    errno.ENOSPC: DiskFull,
    errno.EDQUOT: DiskFull,
    errno.EFBIG: DiskFull,
    errno.EROFS: ReadOnly,
    errno.EACCES: ReadOnly,
    errno.EPERM: ReadOnly,
    errno.EWOULDBLOCK: Locked,
}
"""The system's numbers as our errors; what is not here is a plain DiskError."""

PIECES = os.sysconf("SC_IOV_MAX")
"""The most pieces that one pwritev takes."""

KEEP_SIZE = 1  # FALLOC_FL_KEEP_SIZE of linux/falloc.h
BOOT_ID = "/proc/sys/kernel/random/boot_id"
"""What Linux draws anew at each start of the machine."""

FILE_MODE = 0o600
FOLDER_MODE = 0o700

_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]


@contextmanager
def translated(path: str) -> Iterator[None]:
    """Raise the system's errors within as ours, naming ``path``."""
    try:
        yield
    except OSError as error:
        number = error.errno or 0
        raise ERRORS.get(number, DiskError)(path, error.strerror or str(error), number) from error


@contextmanager
def syncing(path: str) -> Iterator[None]:
    """Raise any of the system's errors within as SyncFailed."""
    try:
        yield
    except OSError as error:
        raise SyncFailed(path, f"sync failed: {error.strerror or error}", error.errno or 0) from error


def sync_descriptor(descriptor: int) -> None:
    """fdatasync; apart so that a test can put a failing kernel in its place."""
    os.fdatasync(descriptor)


def free_bytes(descriptor: int) -> int:
    """What we may still take of the file system that holds an open file."""
    found = os.fstatvfs(descriptor)
    return found.f_bavail * found.f_frsize


def reserve(descriptor: int, length: int) -> None:
    """fallocate(KEEP_SIZE), which Python's posix_fallocate is not: that one changes the size."""
    if _libc.fallocate(descriptor, KEEP_SIZE, 0, length) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


@implementer(IDiskFile)
class RealFile:
    """An open file descriptor.  Made by :meth:`RealDisk.open` only."""

    def __init__(self, path: str, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self._failure: SyncFailed | None = None

    def size(self) -> int:
        with translated(self.path):
            return os.fstat(self._descriptor).st_size

    def pread(self, length: int, offset: int) -> bytes:
        with translated(self.path):
            piece = os.pread(self._descriptor, length, offset)
            if len(piece) == length or not piece:
                return piece
            pieces = [piece]
            got = len(piece)
            while got < length:
                piece = os.pread(self._descriptor, length - got, offset + got)
                if not piece:
                    break
                pieces.append(piece)
                got += len(piece)
            return b"".join(pieces)

    def pwrite(self, pieces: Sequence[bytes | memoryview | bytearray], offset: int) -> int:
        written = 0
        with translated(self.path):
            for first in range(0, len(pieces), PIECES):
                written += self._write_all(pieces[first : first + PIECES], offset + written)
        return written

    def _write_all(self, pieces: Sequence[bytes | memoryview | bytearray], offset: int) -> int:
        """Write at most IOV_MAX pieces, going on after a short write where it stopped."""
        wanted = sum(memoryview(piece).nbytes for piece in pieces)
        written = os.pwritev(self._descriptor, pieces, offset)
        while written < wanted:
            count = os.pwritev(self._descriptor, rest_of(pieces, written), offset + written)
            if count == 0:
                raise OSError(errno.EIO, "the kernel accepts no more bytes")
            written += count
        return written

    def allocate(self, length: int) -> None:
        """Reserve with fallocate(KEEP_SIZE).

        Free space is compared first: ext4 refuses a reservation that does not fit only after it has taken all
        there was.  Where the file system cannot reserve (EOPNOTSUPP) that comparison is all: another writer
        may then take the space before us.
        """
        with translated(self.path):
            found = os.fstat(self._descriptor)
            if length <= found.st_size:
                return
            if length - found.st_blocks * 512 > free_bytes(self._descriptor):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            try:
                reserve(self._descriptor, length)
            except OSError as error:
                if error.errno in (errno.EOPNOTSUPP, errno.ENOSYS):
                    return
                os.ftruncate(self._descriptor, found.st_size)  # gives back what was taken beyond the end
                raise

    def truncate(self, length: int) -> None:
        with translated(self.path):
            os.ftruncate(self._descriptor, length)

    def sync(self) -> None:
        if self._failure is not None:
            raise SyncFailed(
                self.path, "an earlier sync failed: the file's durable state is unknown", self._failure.errno
            )
        try:
            with syncing(self.path):
                sync_descriptor(self._descriptor)
        except SyncFailed as failure:
            self._failure = failure
            raise

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with translated(self.path):
                os.close(descriptor)


def rest_of(pieces: Sequence[bytes | memoryview | bytearray], skip: int) -> list[memoryview]:
    """The pieces without their first ``skip`` bytes; copies nothing."""
    rest: list[memoryview] = []
    for piece in pieces:
        view = memoryview(piece).cast("B")
        if skip < view.nbytes:
            rest.append(view[skip:])
            skip = 0
        else:
            skip -= view.nbytes
    return rest


@implementer(IDiskLock)
class RealLock:
    """A held flock; the lock file itself stays, so that no two takers lock different inodes."""

    def __init__(self, path: str, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor

    def release(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with translated(self._path):
                os.close(descriptor)


@implementer(IDisk)
class RealDisk:
    """The file system of this process.  It has no state: one for all is as good as one each."""

    def open(self, path: str, create: bool = False, exclusive: bool = False, writable: bool = True) -> RealFile:
        flags = os.O_CLOEXEC | ((os.O_RDWR | os.O_NOFOLLOW) if writable else os.O_RDONLY)
        if create or exclusive:
            flags |= os.O_CREAT
        if exclusive:
            flags |= os.O_EXCL
        with translated(path):
            return RealFile(path, os.open(path, flags, FILE_MODE))

    def stat(self, path: str) -> FileStat:
        with translated(path):
            found = os.stat(path)
        return FileStat(found.st_size, found.st_mtime, modes.S_ISDIR(found.st_mode))

    def exists(self, path: str) -> bool:
        try:
            self.stat(path)
        except NotFound:
            return False
        return True

    def list_folder(self, path: str) -> list[str]:
        with translated(path):
            return sorted(os.listdir(path))

    def make_folders(self, path: str) -> None:
        missing: list[str] = []
        step = os.path.normpath(path)
        while not self.exists(step):
            missing.append(step)
            step = os.path.dirname(step)
        with suppress(ReadOnly):  # a folder that may not be read holds nothing that we made
            self.sync_folder(os.path.dirname(step))
        for folder in reversed(missing):
            with translated(folder):
                try:
                    os.mkdir(folder, FOLDER_MODE)
                except FileExistsError:
                    pass  # another process was first; what counts is that it is there
            self.sync_folder(os.path.dirname(folder))
        if not self.stat(path).is_folder:
            raise Exists(path, "there is a file of that name", errno.EEXIST)

    def rename(self, source: str, target: str) -> None:
        with translated(source):
            os.replace(source, target)

    def unlink(self, path: str) -> None:
        with translated(path):
            os.unlink(path)

    def remove_tree(self, path: str) -> None:
        with translated(path):
            try:
                shutil.rmtree(path)
            except FileNotFoundError:
                if os.path.lexists(path):
                    raise

    def sync_folder(self, path: str) -> None:
        with translated(path):
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with syncing(path):
                os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def space(self, path: str) -> Space:
        with translated(path):
            found = os.statvfs(path)
        return Space(found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize)

    def boot_id(self) -> str:
        try:
            with open(BOOT_ID, encoding="ascii") as file:
                return file.read(64).strip()
        except OSError:
            return ""

    def lock(self, path: str) -> RealLock:
        with translated(path):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BaseException:
                os.close(descriptor)
                raise
        return RealLock(path, descriptor)
