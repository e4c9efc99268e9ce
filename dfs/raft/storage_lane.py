"""The storage's lane: while one sync runs, the next Readys gather and become one batch.

Order is everything here (R63): Readys are made durable in their order, and their
``messages_after`` leave in their order, each only when it and all before it are
durable (R01, R16).  Memory is bounded by the core's limits: it takes no more
proposals than ``uncommitted_bytes``, and a follower's leader no more than its window.

A full disk is a write that takes long: the batch is kept and tried again every
second, room is made meanwhile, and the watchdog of R12 makes the node step aside
until the disk answers (R32).  Every other error is final (R27).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from dfs.raft.completion import when
from dfs.raft.core.types import Ready
from dfs.raft.messages import Entry
from dfs.raft.segment import NoSpace
from dfs.raft.storage import ILogStorage, Write
from dfs.runtime.interfaces import ILane

_log = Logger()

BATCH_LENGTH = 16 << 20
"""Bytes of entries that end a batch: the next Readys go into the next one."""
RETRY_DELAY = 1.0
_NOT_WRITTEN = object()


def merge(readys: Sequence[Ready]) -> Write:
    """What successive Readys write, as one transaction."""
    hard, reset, configuration, cut = None, None, b"", None
    entries: list[Entry] = []
    for ready in readys:
        hard = ready.hard_state or hard
        if ready.reset_to is not None:
            reset, configuration, cut, entries = ready.reset_to, ready.reset_configuration, None, []
        if ready.truncate_from is not None:
            while entries and entries[-1].index >= ready.truncate_from:
                entries.pop()
            if not entries:
                cut = ready.truncate_from if cut is None else min(cut, ready.truncate_from)
        entries.extend(ready.entries)
    return Write(hard, reset, cut, tuple(entries), readys[-1].commit_index, configuration)


class StorageLane:
    """See the module.  Used on the reactor thread; everything that it asks of the storage runs on the lane.

    :param durable: called with each Ready, in order, when it is durable.
    :param failed: called once with the Failure that ends the storage.
    :param full: called at each attempt that found the disk full, and told False when one succeeds again.
    """

    def __init__(
        self,
        lane: ILane,
        storage: ILogStorage,
        clock: IReactorTime,
        durable: Callable[[Ready], None],
        failed: Callable[[Failure], None],
        full: Callable[[bool], None],
    ) -> None:
        self._lane = lane
        self._storage = storage
        self._clock = clock
        self._durable = durable
        self._failed = failed
        self._full = full
        self._waiting: list[Ready] = []
        self._writing: list[Ready] = []
        self._since: float | None = None
        self._retry: IDelayedCall | None = None
        self._was_full = False
        self._idle_waiters: list[Deferred[None]] = []
        self._submitted = 0
        self._reported = 0
        self._barriers: deque[tuple[int, Callable[[], None]]] = deque()
        self.stopped = False

    @property
    def idle(self) -> bool:
        """Nothing is being written and nothing waits."""
        return not self._writing and not self._waiting

    def outstanding(self) -> float:
        """For how many seconds the present write has not been answered; 0 when there is none (R12)."""
        return self._clock.seconds() - self._since if self._since is not None else 0.0

    def submit(self, ready: Ready) -> None:
        """Make it durable after all earlier ones, then report it."""
        self._submitted += 1
        self._waiting.append(ready)
        self._begin()

    def after_all(self, call: Callable[[], None]) -> None:
        """Make the call once everything that was submitted is durable; never if the lane stops before."""
        if self._reported == self._submitted and not self.stopped:
            call()
        else:
            self._barriers.append((self._submitted, call))

    def run(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        """Another call to the storage, after what is being written; a failure of it is final too."""
        return self._lane.run(function, *arguments)

    def when_idle(self) -> Deferred[None]:
        """Fires when nothing is being written any more."""
        waiter: Deferred[None] = Deferred()
        self._idle_waiters.append(waiter)
        self._tell_idle()
        return waiter

    def stop(self) -> None:
        """Begin no further write; what the lane is doing ends by itself."""
        self.stopped = True
        self._waiting.clear()
        self._barriers.clear()
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
            self._writing.clear()
        self._tell_idle()

    def _begin(self) -> None:
        while self._waiting and not self._writing and not self.stopped:
            self._writing = self._take()
            if any(ready.writes for ready in self._writing):
                self._since = self._clock.seconds()
                self._write()
            else:
                self._report()

    def _take(self) -> list[Ready]:
        """The Readys of the next batch; one that begins the log anew begins a batch."""
        length = 0
        for count, ready in enumerate(self._waiting):
            if count and (length >= BATCH_LENGTH or ready.reset_to is not None):
                break
            length += sum(len(entry.encoded) for entry in ready.entries)
        else:
            count = len(self._waiting)
        taken, self._waiting = self._waiting[:count], self._waiting[count:]
        return taken

    def _write(self) -> None:
        self._retry = None
        done = self._lane.run(self._storage.write, merge(self._writing)).addErrback(self._not_written)
        when(done, self._written, self._failed)

    def _written(self, result: object) -> None:
        if result is _NOT_WRITTEN:
            return
        self._since = None
        if self._was_full:
            self._was_full = False
            self._full(False)
        self._report()
        self._begin()

    def _report(self) -> None:
        """The batch is durable: say so, one Ready after the other."""
        written, self._writing = self._writing, []
        for ready in written:
            if self.stopped:
                break
            self._reported += 1
            self._durable(ready)
        while self._barriers and self._barriers[0][0] <= self._reported:
            self._barriers.popleft()[1]()
        self._tell_idle()

    def _not_written(self, failure: Failure) -> object:
        if failure.check(NoSpace) is None or self.stopped:
            self._writing.clear()
            self._tell_idle()
            self._failed(failure)
            return _NOT_WRITTEN
        if not self._was_full:
            _log.error("the disk is full; nothing is acknowledged until there is room: {reason}", reason=failure.value)
        self._was_full = True
        self._retry = self._clock.callLater(RETRY_DELAY, self._write)
        self._full(True)
        return _NOT_WRITTEN

    def _tell_idle(self) -> None:
        if not self._writing:
            waiters, self._idle_waiters = self._idle_waiters, []
            for waiter in waiters:
                waiter.callback(None)
