"""Copies that were ordered and did not end yet, by job and by chunk.  Pure, leader-local."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import define

from dfs.metaserver.backlog import Tally
from dfs.metaserver.mover import counting
from dfs.metaserver.moves import Copy
from dfs.metaserver.placement import NodeView
from dfs.metaserver.scanning import Key

JOB_SECONDS = 30.0  # a job's deadline, plus a second for each SLOWEST bytes
SLOWEST = 1 << 20
LATE_EVERY = 1.0  # seconds between two looks at what flies too long


@define
class Flight:
    """``is_doubtful``: something happened to its chunk meanwhile."""

    copy: Copy
    deadline: float
    is_doubtful: bool = False


class Flights:
    """Begins empty."""

    def __init__(self) -> None:
        self._of_job: dict[int, Flight] = {}
        self._of_key: dict[Key, Flight] = {}
        self._looked = float("-inf")

    def __len__(self) -> int:
        return len(self._of_job)

    def __contains__(self, key: Key) -> bool:
        return key in self._of_key

    def begin(self, key: Key, copy: Copy, now: float) -> None:
        """The chunk is copied."""
        flight = Flight(copy, now + JOB_SECONDS + copy.chunk.length / SLOWEST)
        self._of_job[copy.job] = self._of_key[key] = flight

    def end(self, job: int) -> Flight | None:
        """It flies no more; None: it did not."""
        flight = self._of_job.pop(job, None)
        if flight is not None:
            del self._of_key[flight.copy.chunk.file_id, flight.copy.chunk.index]
        return flight

    def of(self, key: Key) -> Flight | None:
        """That of the chunk."""
        return self._of_key.get(key)

    def doubt(self, key: Key) -> bool:
        """Something happened to the chunk; whether it flies."""
        flight = self._of_key.get(key)
        if flight is not None:
            flight.is_doubtful = True
        return flight is not None

    def at(self, node: int) -> list[Copy]:
        """Those from or to the node."""
        return [f.copy for f in self._of_job.values() if node in (f.copy.source, f.copy.target)]

    def late(self, now: float) -> list[int]:
        """Jobs whose time is over; told at most once in a while, for it takes a walk over all."""
        if now - self._looked < LATE_EVERY:
            return []
        self._looked = now
        return [job for job, flight in self._of_job.items() if flight.deadline <= now]

    def tally(self, nodes: Mapping[int, NodeView]) -> Tally:
        """The sums of their chunks."""
        found = Tally()
        for flight in self._of_job.values():
            found.count(flight.copy.chunk, len(counting(flight.copy.chunk.nodes, nodes)))
        return found
