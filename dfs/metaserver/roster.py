"""What this metadata node last heard of each chunk server: space, load, where it is.

Leader-local hints, never replicated and never the ground of a decision about data: placement and status read them.  A
follower has them too, for heartbeats go to every metadata node; so a new leader places well from its first moment.
"""

from __future__ import annotations

from collections.abc import Collection

from attrs import define, field

from dfs.metaserver.placement import NodeView
from dfs.metaserver.records import NodeRecord, Standing
from dfs.metaserver.records_moving import LifeRecord
from dfs.protocol.limits import MAX_CHUNK_SERVERS
from dfs.protocol.messages import ChunkServerInfo, Heartbeat, ReportHealth
from dfs.protocol.values import NodeNumber, NodeState, Target


@define
class ChunkServerEntry:
    """One node number.  ``heard`` is monotonic seconds, None before its first beat to this process; ``promised`` counts
    the transfers that it was given since, and ``promised_bytes`` what they will take.  ``trouble``: why its disk is
    to be avoided, "" for nothing."""

    record: NodeRecord
    life: LifeRecord = field(factory=LifeRecord)
    heard: float | None = None
    total: int = 0
    free: int = 0
    used: int = 0
    chunks: int = 0
    quarantined: int = 0
    streams: int = 0
    promised: int = 0
    promised_bytes: int = 0
    trouble: str = ""
    scrubbed: int = 0
    to_scrub: int = 0
    quarantined_bytes: int = 0
    clients: int = 0
    client_rate: int = 0


class Roster:
    """By node number; bounded, for nodes register only with the cluster's key."""

    def __init__(self, suspect_after: float) -> None:
        self._suspect_after = suspect_after
        self._entries: dict[int, ChunkServerEntry] = {}

    def __contains__(self, number: int) -> bool:
        return number in self._entries

    def numbers(self) -> tuple[int, ...]:
        return tuple(self._entries)

    def entry(self, number: int) -> ChunkServerEntry | None:
        return self._entries.get(number)

    def recorded(self, number: int, record: NodeRecord, life: LifeRecord | None = None) -> None:
        """The tables have this of it now."""
        entry = self._entries.get(number)
        if entry is not None:
            entry.record = record
        elif len(self._entries) < MAX_CHUNK_SERVERS:
            entry = self._entries[number] = ChunkServerEntry(record)
        if entry is not None and life is not None:
            entry.life = life

    def forget(self, number: int) -> None:
        """The tables have it no more."""
        self._entries.pop(number, None)

    def keep(self, numbers: Collection[int]) -> None:
        """Only these are in the tables."""
        for number in self._entries.keys() - set(numbers):
            del self._entries[number]

    def registered(self, number: int, total: int, free: int, now: float) -> None:
        """It named its space when it registered."""
        entry = self._entries.get(number)
        if entry is not None:
            entry.heard, entry.total, entry.free = now, total, free
            entry.promised = entry.promised_bytes = 0

    def beat(self, beat: Heartbeat, now: float) -> None:
        """It spoke."""
        entry = self._entries.get(beat.node)
        if entry is None or entry.record.incarnation != beat.incarnation:
            return
        entry.heard = now
        entry.promised = entry.promised_bytes = 0
        entry.total, entry.free, entry.used = beat.total, beat.free, beat.used
        entry.chunks, entry.quarantined, entry.streams = beat.chunks, beat.quarantined, beat.streams
        entry.clients, entry.client_rate = beat.clients, beat.client_rate

    def health(self, report: ReportHealth) -> None:
        """It told how its disk does."""
        entry = self._entries.get(report.node)
        if entry is not None:
            entry.trouble, entry.quarantined_bytes = report.trouble, report.quarantined
            entry.scrubbed, entry.to_scrub = report.scrubbed, report.to_scrub

    def promise(self, numbers: tuple[int, ...], length: int) -> None:
        """Transfers of ``length`` bytes were given to them: they count until their next beat tells."""
        for number in numbers:
            entry = self._entries.get(number)
            if entry is not None:
                entry.promised += 1
                entry.promised_bytes += length

    def withdraw(self, numbers: tuple[int, ...], length: int) -> None:
        """Of transfers that were promised and will not be.  A beat may have come between."""
        for number in numbers:
            entry = self._entries.get(number)
            if entry is not None:
                entry.promised = max(0, entry.promised - 1)
                entry.promised_bytes = max(0, entry.promised_bytes - length)

    def named(self, name: str) -> int | None:
        """The number of the node that has the name; the newest, should a dead folder have had it before."""
        return max((n for n, entry in self._entries.items() if entry.record.name == name), default=None)

    def target(self, number: int) -> Target | None:
        """Where transfers to it go."""
        entry = self._entries.get(number)
        return None if entry is None else Target(NodeNumber(number), entry.record.name, entry.record.address)

    def opinion(self, number: int, now: float) -> NodeState:
        """A follower's own view, for status."""
        entry = self._entries[number]
        if entry.record.standing == Standing.DEAD:
            return NodeState.DEAD
        silent = entry.heard is None or now - entry.heard >= self._suspect_after
        return self.shown(number, NodeState.SUSPECT if silent else NodeState.ALIVE)

    def shown(self, number: int, heard: NodeState) -> NodeState:
        """The state of a node that is ``heard`` so: what was announced or wished of it counts more than a silence."""
        entry = self._entries.get(number)
        if entry is None or heard is NodeState.DEAD or entry.record.standing in (Standing.ALIVE, Standing.DEAD):
            return heard
        return NodeState(entry.record.standing)

    def view(self, number: int, state: NodeState, settled: bool = True) -> NodeView:
        """For placement.  A node that never told its space gets nothing; one whose disk is in trouble gets no more than
        a suspect one (S11, S23)."""
        entry = self._entries[number]
        if entry.trouble and state is NodeState.ALIVE:
            state = NodeState.SUSPECT
        return NodeView(
            number=number,
            rack=entry.record.rack,
            state=state,
            total=entry.total,
            free=max(0, entry.free - entry.promised_bytes),
            streams=entry.streams + entry.promised,
            settled=settled,
            clients=entry.clients,
            client_rate=entry.client_rate,
        )

    def info(self, number: int, state: NodeState) -> ChunkServerInfo:
        """For status."""
        entry = self._entries[number]
        return ChunkServerInfo(
            name=entry.record.name,
            address=entry.record.address,
            state=state,
            rack=entry.record.rack,
            used=entry.used,
            free=entry.free,
            chunks=entry.chunks,
            quarantined=entry.quarantined,
            quarantined_bytes=entry.quarantined_bytes,
            scrubbed=entry.scrubbed,
            to_scrub=entry.to_scrub,
        )
