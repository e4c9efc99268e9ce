"""When the state machine is synced and how much of the log goes after it.

The log keeps ``trailing_entries`` behind what is durable in the state machine, and
whatever a snapshot transfer will need (R41).  A log that falls idle gets a
commit marker, so that damage to its last entries is seen (R29).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from dfs.raft.applying import Applier
from dfs.raft.completion import when
from dfs.raft.core import RaftCore
from dfs.raft.core.types import SnapshotMark
from dfs.raft.node_config import NodeConfig
from dfs.raft.segment import NoSpace
from dfs.raft.storage import LogStorage
from dfs.raft.storage_lane import StorageLane

IDLE_TIME = 1.0
"""Seconds without a new commit after which the log is idle."""


class Compactor:
    """See the module.  Used on the reactor thread."""

    def __init__(
        self,
        core: RaftCore,
        storage: LogStorage,
        lane: StorageLane,
        applier: Applier,
        config: NodeConfig,
        seconds: Callable[[], float],
        durable_index: int,
        failed: Callable[[Failure], None],
    ) -> None:
        self._core = core
        self._storage = storage
        self._lane = lane
        self._applier = applier
        self._config = config
        self._seconds = seconds
        self._failed = failed
        self._durable_index = durable_index
        self._boundary = storage.base.index
        self._applied_since = 0
        self._synced_at = seconds()
        self._busy = False
        self._marked = core.commit_index
        self._seen_commit = core.commit_index
        self._seen_at = seconds()

    def applied(self, count: int) -> None:
        """So many entries more were applied."""
        self._applied_since += count

    def installed(self, index: int) -> None:
        """A snapshot was installed: it is durable, and so will be the log that begins after it."""
        self._durable_index = max(self._durable_index, index)
        self._boundary = max(self._boundary, index)

    def tick(self) -> None:
        """Sync, compact or mark if it is time."""
        now = self._seconds()
        if self._core.commit_index != self._seen_commit:
            self._seen_commit, self._seen_at = self._core.commit_index, now
        elif self._seen_commit > self._marked and now - self._seen_at >= IDLE_TIME and self._lane.idle:
            self._marked = self._seen_commit
            self._watch(self._lane.run(self._storage.mark_commit, self._marked))
        due = now - self._synced_at >= self._config.sync_interval
        if not self._busy and self._applied_since and (due or self._applied_since >= self._config.sync_entries):
            self._begin(self._config.trailing_entries)

    def disk_full(self, full: bool) -> None:
        """While it is full: give back the reserve, sync the state machine, compact all that may go (R32).  When there
        is room again: take the reserve."""
        if not full:
            self._watch(self._lane.run(self._storage.restore_reserve))
            return
        self._watch(self._lane.run(self._storage.release_reserve))
        if not self._busy:
            self._begin(0)

    def _begin(self, trailing: int) -> None:
        self._busy = True
        self._applied_since = 0
        self._synced_at = self._seconds()
        self._watch(Deferred.fromCoroutine(self._sync_and_compact(trailing)))

    async def _sync_and_compact(self, trailing: int) -> None:
        try:
            self._durable_index = max(self._durable_index, await self._applier.run(self._applier.machine.sync))
            index = min(self._durable_index - trailing, self._core.keep_from() - 1, self._core.applied_index)
            term = self._core.term_at(index) if index > self._boundary else None
            if term is None or self._lane.stopped:
                return
            mark = SnapshotMark(index, term)
            self._boundary = index
            await self._lane.run(self._storage.compact, mark, self._core.configuration_at(index))
            if not self._lane.stopped:
                self._core.compacted(mark)
        finally:
            self._busy = False

    def _watch(self, done: Deferred[Any]) -> None:
        when(done, lambda _: None, self._ended)

    def _ended(self, failure: Failure) -> None:
        """A full disk is not final here: no commit marker is written until there is room."""
        if failure.check(NoSpace) is not None:
            self._marked = self._storage.commit_index
        elif not self._lane.stopped:
            self._failed(failure)
