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
