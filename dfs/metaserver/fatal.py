"""Why a node cannot start or go on, as one sentence that says what to do."""

from __future__ import annotations

from twisted.internet.error import CannotListenError
from twisted.python.failure import Failure

from dfs.disk.errors import DiskError, Locked, ReadOnly
from dfs.kv.errors import StoreCorrupt, StoreError, StoreFailed
from dfs.metaserver.commands import NotUnderstood
from dfs.raft.errors import StorageCorrupt, StorageFailed, WrongCluster


class Removed(Exception):
    """This member was taken out of the cluster."""


#: First match wins: the class, and what to do about it.
ADVICE: tuple[tuple[type[BaseException], str], ...] = (
    (Removed, "its folder is of no more use; to have a member here again, give it a new name and an empty folder"),
    (CannotListenError, "stop what uses the port, or choose another --listen"),
    (Locked, "stop it, or choose another --data"),
    (ReadOnly, "make the folder writable for this user, or choose another --data"),
    (WrongCluster, "check --key-file, --node-id, --peers and --data"),
    (StorageCorrupt, "the other members go on without it; see doc/operations.md for replacing a member"),
    (StorageFailed, "check the disk, then start the node again: what it acknowledged is at a majority"),
    (StoreCorrupt, "the other members go on without it; see doc/operations.md for replacing a member"),
    (StoreFailed, "check the disk, then start the node again: what it acknowledged is at a majority"),
    (StoreError, "see doc/operations.md"),
    (DiskError, "check the disk and the folder's permissions, then start the node again"),
    (NotUnderstood, "upgrade this node to the version of the others"),
)


def is_foreseen(failure: Failure) -> bool:
    """Whether the sentence says it all; else the traceback belongs in the log."""
    return any(isinstance(failure.value, cls) for cls, _ in ADVICE)


def fatal_sentence(node: str, folder: str, failure: Failure, happens: str = "stops") -> str:
    """For the log, standard error and whoever reads them."""
    error = failure.value
    reason = (str(error) or type(error).__name__).rstrip(".")
    if isinstance(error, Locked):
        reason = f"{folder} is in use by another process"
    for cls, advice in ADVICE:
        if isinstance(error, cls):
            return f"{node} {happens}: {reason}; {advice}"
    return f"{node} {happens}: {type(error).__name__}: {reason}; its log has the traceback, its data is in {folder}"
