"""Hints to metadata that a replica looks corrupt (S11): sent beside the work, never instead of it."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger
from twisted.python.failure import Failure

from dfs.client.concurrency import at_most, cancellable
from dfs.protocol.leader import LeaderCaller
from dfs.protocol.messages import ReportCorrupt

_log = Logger()

PATIENCE = 5.0
LIMIT = 64  # on their way at once; a hint more than that is dropped, for the next reader will give it again
AT_END = 1.0  # seconds that a client that is closed waits for those on their way


class Reports:
    """The hints of one client."""

    def __init__(self, reactor: Any, caller: LeaderCaller) -> None:
        self._reactor = reactor
        self._caller = caller
        self._running: dict[ReportCorrupt, Deferred[None]] = {}

    def send(self, report: ReportCorrupt) -> None:
        """Tell metadata, unless it is being told."""
        if report in self._running or len(self._running) >= LIMIT:
            return
        telling = cancellable(self._caller.call(report, patience=PATIENCE))
        self._running[report] = telling.addCallbacks(lambda _: None, self._not_told).addCallback(
            lambda _: self._forget(report)
        )
        if self._running[report].called:
            self._forget(report)

    def _forget(self, report: ReportCorrupt) -> None:
        self._running.pop(report, None)

    def _not_told(self, failure: Failure) -> None:
        _log.warn("could not report a corrupt replica: {reason}", reason=failure.getErrorMessage())

    async def finish(self) -> None:
        """Wait for those on their way, not long; then give them up."""
        if self._running:
            await at_most(self._reactor, AT_END, DeferredList(list(self._running.values())))
