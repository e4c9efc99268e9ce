"""Group sync: what comes while a sync is under way is made durable together by the next one.

A lone piece of work waits for nobody; a thousand at once cost one sync for as many as fit into GROUP.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from twisted.internet.defer import Deferred

from dfs.chunkserver.records import BODY
from dfs.chunkserver.segments import Added, Alone, Marked, Outcome, Put, Work
from dfs.disk.errors import DiskError
from dfs.protocol.errors import Busy, DFSError

GROUP = 4 << 20
"""Bytes made durable by one sync, about."""

WAITING = 64 << 20
"""Bytes that may wait for their turn; above it Busy."""


def weight(work: Work) -> int:
    """Bytes of memory that a piece of work holds, about."""
    match work:
        case Put():
            return BODY + len(work.put.content)
        case Added():
            return BODY + len(work.body)
        case Marked() | Alone():
            return BODY


class Groups:
    """Hands work to a thread, one group at a time.

    :param run: calls ``perform`` with a group on a thread, for one outcome each; its Deferred fails where the whole
        group failed.
    :ivar syncs: groups so far.
    """

    def __init__(self, run: Callable[[Sequence[Work]], Deferred[Any]], told: Callable[[DiskError], DFSError]) -> None:
        self.syncs = 0
        self._run, self._told = run, told
        self._waiting: deque[tuple[Work, Deferred[Any]]] = deque()
        self._bytes = 0
        self._working = False
        self._gathering = 0
        self._task: Deferred[None] | None = None

    def add(self, work: Work) -> Deferred[Any]:
        """Fires with its outcome when it is durable; fails with a DFSError.  Raises Busy."""
        if self._bytes > WAITING:
            raise Busy("too many small chunks wait for the disk")
        done: Deferred[Any] = Deferred()
        self._waiting.append((work, done))
        self._bytes += weight(work)
        self._kick()
        return done

    @contextmanager
    def together(self) -> Iterator[None]:
        """What is added within waits for one another."""
        self._gathering += 1
        try:
            yield
        finally:
            self._gathering -= 1
            self._kick()

    def _kick(self) -> None:
        if self._waiting and not self._working and not self._gathering:
            self._working = True
            self._task = Deferred.fromCoroutine(self._work())

    async def _work(self) -> None:
        try:
            while self._waiting:
                group = self._next()
                self.syncs += 1
                try:
                    outcomes: Sequence[Outcome] = await self._run([work for work, _ in group])
                except Exception as error:  # noqa: BLE001 - each of the group hears it
                    for _, done in group:
                        done.errback(error)
                    continue
                for (_, done), outcome in zip(group, outcomes, strict=True):
                    if isinstance(outcome, DiskError):
                        done.errback(self._told(outcome))
                    elif isinstance(outcome, DFSError):
                        done.errback(outcome)
                    else:
                        done.callback(outcome)
        finally:
            self._working = False

    def _next(self) -> list[tuple[Work, Deferred[Any]]]:
        group: list[tuple[Work, Deferred[Any]]] = []
        length = 0
        while self._waiting and length < GROUP:
            group.append(self._waiting.popleft())
            length += weight(group[-1][0])
        self._bytes -= length
        return group
