"""When to tell that this member leads: after the no-op of its own term was applied here (S29)."""

from __future__ import annotations

from typing import Protocol, cast

from twisted.logger import Logger

from dfs.raft.core.types import Role, Standing

_log = Logger()


class LeadershipObserver(Protocol):
    """See IRaft.watch_leadership."""

    def leadership_changed(self, leads: bool, term: int) -> None: ...


class Leadership:
    """Observers are called with (leads, term); each change once."""

    def __init__(self) -> None:
        self._observers: list[LeadershipObserver] = []
        self._standing: Standing | None = None
        self._announced: int | None = None

    def watch(self, observer: object) -> None:
        """One more observer, a LeadershipObserver."""
        self._observers.append(cast(LeadershipObserver, observer))

    def stands(self, standing: Standing) -> None:
        """Role, term or leader changed."""
        self._standing = standing
        if self._announced is not None and (standing.role is not Role.LEADER or standing.term != self._announced):
            self.ended()

    def applied(self, term: int) -> None:
        """An entry of ``term`` was applied; a leader's first of its own term is its no-op."""
        standing = self._standing
        if standing is None or standing.role is not Role.LEADER or term != standing.term or self._announced == term:
            return
        self._announced = term
        self._tell(True, term)

    def ended(self) -> None:
        """This member leads no more, or stops."""
        if self._announced is not None:
            term, self._announced = self._announced, None
            self._tell(False, term)

    def _tell(self, leads: bool, term: int) -> None:
        for observer in self._observers:
            try:
                observer.leadership_changed(leads, term)
            except Exception:  # noqa: BLE001 - one observer's error is not the others'
                _log.failure("an observer of leadership failed")
