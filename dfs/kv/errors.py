"""What can go wrong in a key-value store.  The first StoreFailed is fatal for its node."""

from __future__ import annotations


class StoreError(Exception):
    """The root."""


class StoreFailed(StoreError):
    """The engine reported an error: what is on disk is unknown; the node stops."""


class StoreCorrupt(StoreError):
    """The folder holds something that fails its checks; the sentence names file and offset."""


class WrongStore(StoreError):
    """The folder was made by another engine; the sentence names the command that converts it."""


class StoreClosed(StoreError):
    """A call came after :meth:`close`: a defect of the caller."""


class SnapshotOpen(StoreError):
    """A second snapshot was asked for while one is open."""


class LimitExceeded(StoreError):
    """A key, a value or a batch is outside of the limits of dfs.kv.interfaces; nothing of the batch was applied."""


class BadStream(StoreError, ValueError):
    """A stream of pairs failed a check; the sentence says which and at what offset.  What was loaded is worthless."""
