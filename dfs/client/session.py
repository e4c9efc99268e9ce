"""Exactly once: the client's half (R44).

A session is 8 bytes of cluster time, by which an expired one can be told from a
new one, and 8 random bytes.  Every mutating request takes a sequence number and
keeps it over all its retries; the floor tells the metadata which answers no one
will ask for again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dfs.protocol.messages import Operation


class Session:
    """Issues operations.  ``cluster_time_ms`` is read once, when the first one is asked for."""

    def __init__(self, entropy: Callable[[int], bytes], cluster_time_ms: Callable[[], int]) -> None:
        self._entropy = entropy
        self._cluster_time_ms = cluster_time_ms
        self._session = b""
        self._last = 0
        self._open: set[int] = set()

    @contextmanager
    def operation(self) -> Iterator[Operation]:
        """An operation to carry in one request and all its retries; ended with the block."""
        if not self._session:
            self._session = self._cluster_time_ms().to_bytes(8, "big") + self._entropy(8)
        self._last += 1
        sequence = self._last
        self._open.add(sequence)
        try:
            yield Operation(session=self._session, sequence=sequence, floor=min(self._open))
        finally:
            self._open.discard(sequence)

    def expire(self) -> None:
        """Begin a new session with the next operation (the former one was refused as expired)."""
        self._session = b""
        self._last = 0
        self._open.clear()
