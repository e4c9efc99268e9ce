"""Everything that a member keeps on disk, behind one door.

The folder holds ``identity``, ``term-and-vote``, ``boundary``, the segments
``log-<sequence>``, a ``lock``, and ``reserve``: space given back to the file
system when it is full, so that the state machine can be synced and the log
compacted, which frees more (R32).

A folder whose disk failed a sync has the mark ``sync-failed.BOOT`` and is refused until a reboot
(:mod:`dfs.disk.suspicion`).

A new folder is founded in an order that a crash cannot confuse: first
``identity.new``, then everything else with entry 1 (none for a member that joins), last the rename to
``identity``.  A folder with only ``identity.new`` never voted and is founded
again; one with files but neither name is refused (R04).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from attrs import frozen
from zope.interface import Attribute, Interface, implementer

from dfs.disk import suspicion
from dfs.disk.errors import DiskError, DiskFull, Locked, NotFound, SyncFailed
from dfs.disk.interfaces import IDisk, IDiskLock
from dfs.raft.codec import encode_entry
from dfs.raft.core.types import HardState, LogView, SnapshotMark
from dfs.raft.errors import StorageCorrupt, StorageFailed
from dfs.raft.hardstate import HardStateFile
from dfs.raft.identity import FILE_NAME as IDENTITY_NAME
from dfs.raft.identity import KIND as IDENTITY_KIND
from dfs.raft.identity import UNFINISHED_NAME, Identity, decode_identity, encode_identity
from dfs.raft.incoming import IncomingFile
from dfs.raft.log import SEGMENT_LENGTH, Log
from dfs.raft.messages import Entry, EntryKind
from dfs.raft.segment import NoSpace
from dfs.raft.twin import TwinRecord

LOCK_NAME = "lock"
RESERVE_NAME = "reserve"
FOUNDING_TERM = 1
"""The term of entry 1 on every founder."""

_Result = TypeVar("_Result")


@frozen
class Write:
    """One atomic transaction of the log and, before it, of term and vote; the fields are those of a Ready."""

    hard_state: HardState | None = None
    reset_to: SnapshotMark | None = None
    truncate_from: int | None = None
    entries: tuple[Entry, ...] = ()
    commit: int = 0
    reset_configuration: bytes = b""


class ILogStorage(Interface):
    """The disk as the shell uses it.  Every method blocks, and all run on one lane.

    Any error but NoSpace is final: the storage refuses every later call (R27).
    """

    identity = Attribute("The Identity of the folder.")
    hard_state = Attribute("The durable HardState.")
    base = Attribute("SnapshotMark: the last entry that is no longer in the log.")
    membership_changed = Attribute("Whether the log holds, or held, another configuration than the founders'.")
    configuration = Attribute("The payload of the latest configuration at or below the base; b'' for the founders'.")
    last_index = Attribute("The last durable entry.")
    commit_index = Attribute("A lower bound of the commit index, at most last_index.")

    def view() -> LogView:
        """What the core needs to begin."""

    def write(write: Write) -> None:
        """Carry it out; all of it is durable when it returns.  Raises NoSpace: the log is as it was."""

    def mark_commit(commit: int) -> None:
        """Note that entries up to ``commit`` are committed, so that their loss would be seen (R29)."""

    def read(first: int, last: int, limit: int) -> list[Entry]:
        """Entries from ``first`` on, at least one unless they were compacted (then none), at most ``limit`` bytes."""

    def compact(mark: SnapshotMark, configuration: bytes) -> None:
        """Give up entries at or below ``mark``, which the state machine holds durably and as of which the
        configuration with this payload counted."""

    def note_incoming(mark: SnapshotMark, configuration: bytes) -> None:
        """The state machine is about to switch to a snapshot that brought this configuration (R38).  Raises NoSpace:
        nothing is noted."""

    def brought_by(mark: SnapshotMark) -> bytes:
        """The configuration that was noted last, if it was for this mark; else b""."""

    def release_reserve() -> None:
        """The disk is full: give the reserved space back to the file system."""

    def restore_reserve() -> bool:
        """Reserve it again; False while there is no room."""

    def close() -> None:
        """Release everything."""


@implementer(ILogStorage)
class LogStorage:
    """The one provider, over IDisk (real or simulated)."""

    def __init__(
        self, disk: IDisk, folder: str, lock: IDiskLock, identity: Identity, hard: HardStateFile, log: Log, reserve: int
    ) -> None:
        self._disk = disk
        self._folder = folder
        self._lock = lock
        self._hard = hard
        self._log = log
        self._reserve_length = reserve
        self._incoming = IncomingFile(disk, folder)
        self._failed: str | None = None
        self.identity = identity

    @property
    def hard_state(self) -> HardState:
        """See ILogStorage."""
        return self._hard.state

    @property
    def base(self) -> SnapshotMark:
        """See ILogStorage."""
        return self._log.base

    @property
    def configuration(self) -> bytes:
        """See ILogStorage."""
        return self._log.configuration

    @property
    def membership_changed(self) -> bool:
        """See ILogStorage."""
        later = any(entry.index > 1 for entry in self._log.found.configurations)
        return later or self._log.configuration not in (b"", self.identity.configuration)

    @property
    def last_index(self) -> int:
        """See ILogStorage."""
        return self._log.last_index

    @property
    def commit_index(self) -> int:
        """See ILogStorage."""
        return min(max(self._log.commit_index, self._hard.commit), self._log.last_index)

    def view(self) -> LogView:
        """See ILogStorage."""
        tail = self._guarded(self._log.tail)
        return LogView(
            boundary=self._log.base,
            last_index=self._log.last_index,
            runs=tuple(self._log.found.runs),
            last_checksum=tail[-1].checksum if tail else 0,
            tail=tuple(tail),
            configurations=tuple(self._log.found.configurations),
        )

    def write(self, write: Write) -> None:
        """See ILogStorage."""
        self._guarded(self._write, write)

    def _write(self, write: Write) -> None:
        if write.hard_state is not None:
            self._hard.write(write.hard_state, min(max(write.commit, self.commit_index), self._log.last_index))
        if write.reset_to is not None and write.reset_to != self._log.fresh_at():
            self._log.reset(write.reset_to, write.reset_configuration)
        cut = self._log.last_index if write.truncate_from is None else write.truncate_from - 1
        if write.entries or cut < self._log.last_index:
            self._log.append(cut, write.entries, write.commit)

    def mark_commit(self, commit: int) -> None:
        """See ILogStorage."""
        self._guarded(self._log.mark_commit, commit)

    def read(self, first: int, last: int, limit: int) -> list[Entry]:
        """See ILogStorage."""
        if first <= self._log.base.index:
            return []
        return self._guarded(self._log.read, first, last, limit)

    def compact(self, mark: SnapshotMark, configuration: bytes) -> None:
        """See ILogStorage."""
        self._guarded(self._log.compact, mark, configuration)

    def note_incoming(self, mark: SnapshotMark, configuration: bytes) -> None:
        """See ILogStorage."""
        self._guarded(self._incoming.write, mark, configuration)

    def brought_by(self, mark: SnapshotMark) -> bytes:
        """See ILogStorage."""
        return self._incoming.configuration(mark)

    def release_reserve(self) -> None:
        """See ILogStorage."""
        path = f"{self._folder}/{RESERVE_NAME}"
        if self._disk.exists(path):
            self._guarded(self._disk.unlink, path)

    def restore_reserve(self) -> bool:
        """See ILogStorage."""
        return self._guarded(_reserve, self._disk, self._folder, self._reserve_length)

    def close(self) -> None:
        """See ILogStorage."""
        self._hard.close()
        self._log.close()
        self._incoming.close()
        self._lock.release()

    def _guarded(self, function: Callable[..., _Result], *arguments: Any) -> _Result:
        """Call it; the first error that is not NoSpace ends this storage for good (R27)."""
        if self._failed is not None:
            raise StorageFailed(f"the storage failed before: {self._failed}")
        try:
            return function(*arguments)
        except NoSpace:
            raise
        except DiskError as error:
            self._failed = str(error)
            if isinstance(error, SyncFailed):
                suspicion.leave(self._disk, self._folder)
            raise StorageFailed(
                f"the disk failed: {error}. The node stops and nothing is tried again; check the disk, then start it."
            ) from error
        except BaseException as error:
            self._failed = str(error)
            raise


def open_storage(
    disk: IDisk,
    folder: str,
    founder: Identity,
    segment_length: int = SEGMENT_LENGTH,
    reserve_length: int = 16 << 20,
) -> LogStorage:
    """Open the folder, or found it as ``founder`` if it is new.  Blocks.

    Raises StorageCorrupt, StorageFailed, and Locked where another process has it.
    """
    try:
        disk.make_folders(folder)
        lock = disk.lock(f"{folder}/{LOCK_NAME}")
        try:
            if doubt := suspicion.doubt(disk, folder):
                raise StorageFailed(doubt)
            _found_if_new(disk, folder, founder, segment_length)
            storage = _open(disk, folder, lock, segment_length, reserve_length)
        except SyncFailed:
            suspicion.leave(disk, folder)
            lock.release()
            raise
        except BaseException:
            lock.release()
            raise
    except Locked:
        raise
    except DiskError as error:
        raise StorageFailed(f"the log cannot be opened: {error}") from error
    return storage


def _open(disk: IDisk, folder: str, lock: IDiskLock, segment_length: int, reserve_length: int) -> LogStorage:
    try:
        record = TwinRecord.open(disk, f"{folder}/{IDENTITY_NAME}", IDENTITY_KIND)
        hard = HardStateFile.open(disk, folder)
        identity = decode_identity(record.payload)
        record.close()
        log = Log.open(disk, folder, identity.incarnation, segment_length)
    except NotFound as error:
        raise StorageCorrupt(
            f"{error.path} is missing beside a log that may have voted: this member must not vote with this folder. "
            "Keep it for inspection; doc/raft.md tells how to bring the member back."
        ) from error
    if hard.commit > log.last_index:
        raise StorageCorrupt(
            f"{folder}: entries up to {hard.commit} were durable and committed, but the log ends at {log.last_index}. "
            "Keep the folder for inspection and bring the member back as doc/raft.md tells."
        )
    _reserve(disk, folder, reserve_length)
    return LogStorage(disk, folder, lock, identity, hard, log, reserve_length)


def _found_if_new(disk: IDisk, folder: str, founder: Identity, segment_length: int) -> None:
    names = [name for name in disk.list_folder(folder) if name != LOCK_NAME]
    if IDENTITY_NAME in names:
        return
    if names and UNFINISHED_NAME not in names:
        raise StorageCorrupt(
            f"{folder} is not empty ({', '.join(names[:4])}) and has no {IDENTITY_NAME} record: give the node an empty "
            "folder, or restore the record if this folder was in use."
        )
    for name in names:
        if name != UNFINISHED_NAME:
            disk.unlink(f"{folder}/{name}")
    TwinRecord.create(disk, f"{folder}/{UNFINISHED_NAME}", IDENTITY_KIND, encode_identity(founder)).close()
    disk.sync_folder(folder)
    Log.create(disk, folder, founder.incarnation, segment_length)
    HardStateFile.create(disk, folder, HardState(FOUNDING_TERM if founder.configuration else 0), 0).close()
    if founder.configuration:
        log = Log.open(disk, folder, founder.incarnation, segment_length)
        log.append(0, [first_entry(founder.configuration)], 0)
        log.close()
    disk.sync_folder(folder)
    disk.rename(f"{folder}/{UNFINISHED_NAME}", f"{folder}/{IDENTITY_NAME}")
    disk.sync_folder(folder)


def first_entry(configuration: bytes) -> Entry:
    """Entry 1, the same bytes on every founder."""
    return encode_entry(1, FOUNDING_TERM, EntryKind.CONFIGURATION, configuration, 0)


def _reserve(disk: IDisk, folder: str, length: int) -> bool:
    """Hold ``length`` bytes of the disk for a full day; False if there is no room for it now."""
    path = f"{folder}/{RESERVE_NAME}"
    if disk.exists(path):
        return True
    file = disk.open(path, create=True)
    try:
        file.allocate(length)
    except DiskFull:
        disk.unlink(path)
        return False
    finally:
        file.close()
    return True
