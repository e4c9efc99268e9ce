"""Exactly once: the client's half (R44).

A session is 8 bytes of cluster time, by which an expired one can be told from a
new one, and 8 random bytes.  Every mutating request takes a sequence number and
keeps it over all its retries; the floor tells the metadata which answers no one
will ask for again.

Metadata remembers 64 answers above the floor.  An operation that is held up holds the floor down, and would in the end
be refused for the answers of those that passed it: so beyond WINDOW numbers above the floor another session is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from attrs import Factory, define

from dfs.protocol.messages import Operation

WINDOW = 64
"""Numbers of one session from its oldest open operation on."""


@define
class _Numbers:
    """One session and the numbers that it gave out."""

    session: bytes
    last: int = 0
    open: dict[int, None] = Factory(dict)  # ascending, as they were given out

    @property
    def floor(self) -> int:
        """The oldest open one."""
        return next(iter(self.open))

    @property
    def has_room(self) -> bool:
        """The next operation would be within the window."""
        return not self.open or self.last + 1 - self.floor < WINDOW


class Session:
    """Issues operations.  ``cluster_time_ms`` is read when the first one is asked for."""

    def __init__(self, entropy: Callable[[int], bytes], cluster_time_ms: Callable[[], int]) -> None:
        self._entropy = entropy
        self._cluster_time_ms = cluster_time_ms
        self._sessions: list[_Numbers] = []

    @contextmanager
    def operation(self) -> Iterator[Operation]:
        """An operation to carry in one request and all its retries; ended with the block."""
        numbers = next((each for each in self._sessions if each.has_room), None)
        if numbers is None:
            numbers = _Numbers(self._cluster_time_ms().to_bytes(8, "big") + self._entropy(8))
            self._sessions.append(numbers)
        numbers.last += 1
        sequence = numbers.last
        numbers.open[sequence] = None
        try:
            yield Operation(session=numbers.session, sequence=sequence, floor=numbers.floor)
        finally:
            del numbers.open[sequence]

    def expire(self) -> None:
        """Begin a new session with the next operation (the former one was refused as expired)."""
        self._sessions.clear()
