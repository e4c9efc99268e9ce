"""What a leader has to tell operators of the mover: a drain that finds no place, nodes that do not reach one another.

Alarms stand while their cause does; those of a former leadership of this node are taken back when a new one begins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dfs.protocol.values import NodeState

if TYPE_CHECKING:
    from dfs.metaserver.leading import LeaderTerm

INTERVAL = 2.0  # seconds between two looks


class Worrying:
    """:param term: the leadership that it is a duty of."""

    def __init__(self, term: LeaderTerm) -> None:
        self._term = term
        self._alarms = term.seams.alarms
        self._told: set[str] = set()

    async def round(self) -> bool:
        """See dfs.metaserver.duty."""
        now = {**self._drains(), **self._pairs()}
        for key in self._told - now.keys():
            self._alarms.clear(key)
        for key, sentence in now.items():
            self._alarms.set(key, sentence)
        self._told = set(now)
        return False

    def stop(self) -> None:
        """Leadership is lost: what we told is somebody else's to tell."""
        for key in self._told:
            self._alarms.clear(key)
        self._told = set()

    def _drains(self) -> dict[str, str]:
        """Drains that wait for a place, and for nothing else."""
        planner = self._term.repair.planner
        work, found = planner.work(), {}
        if not work.aside or work.backlog or work.flights:
            return {}
        for number in planner.drains.numbers():
            left = planner.drains.left(number)
            if left.chunks and self._term.state(number) is NodeState.DRAINING:
                name = self._name(number)
                found[f"drain {number}"] = (
                    f"the drain of {name} stands still, {left.chunks} chunks have no other place:"
                    f" {work.aside_reason}; add a chunk server, or `dfs node undrain {name}`"
                )
        return found

    def _pairs(self) -> dict[str, str]:
        found = {}
        for source, target in self._term.repair.pairs.named(self._term.seams.seconds()):
            one, other = self._name(source), self._name(target)
            found[f"pair {source} {target}"] = (
                f"{one} does not reach {other}, though both reach us: copies go round it;"
                " look at the network between them"
            )
        return found

    def _name(self, number: int) -> str:
        entry = self._term.seams.roster.entry(number)
        return entry.record.name if entry is not None else f"node {number}"
