"""Answers GetStatus at once, on any node and during an election (leader or not, slow disk or not).

What the tables say is read on their lane every second in which something was applied, and kept; a request asks for a
fresh look but never waits for it longer than a moment.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen
from twisted.internet.defer import Deferred

from dfs.kv.errors import StoreError
from dfs.kv.interfaces import IKeyValueStore
from dfs.metaserver import queries
from dfs.metaserver.leading import LeaderTerm
from dfs.metaserver.membership import role_of
from dfs.metaserver.moves import Debt
from dfs.metaserver.pinning import Pinning, members
from dfs.metaserver.records import Head, NodeRecord
from dfs.metaserver.seams import Seams
from dfs.protocol.limits import MAX_CHECKPOINTS, MAX_CHUNK_SERVERS
from dfs.protocol.messages import Checkpoint, Checkpoints, ChunkServerInfo, MetaMember, Status
from dfs.raft.errors import RaftError
from dfs.raft.interfaces import RaftStatus
from dfs.runtime.ticker import Ticker

REFRESH = 1.0
FRESH = 0.2
"""Seconds that a view counts as fresh."""
LOOK_AGAIN = 10.0
"""Seconds after which the tables are read though nothing was applied to them: tables that fail must not go unseen."""
MOMENT = 0.1
"""Seconds that a request waits for a fresh view at most."""

NO_DEBT = Debt(chunks=0, bytes=0, single=0, lost=0, aside=0, scanning=False)


@frozen
class View:
    """The tables at one index."""

    head: Head
    state_hash: bytes
    nodes: tuple[tuple[int, NodeRecord], ...]
    pins: dict[str, bytes]


class StatusView:
    """:param raft: Raft's own view, from memory.
    :param term: the present leadership of this node, if any.
    """

    def __init__(
        self,
        seams: Seams,
        raft: Callable[[], RaftStatus],
        term: Callable[[], LeaderTerm | None],
        pinning: Pinning,
    ) -> None:
        self._seams, self._raft, self._term, self._pinning = seams, raft, term, pinning
        self._view: View | None = None
        self._read_at = self._looked_at = 0.0
        self._as_of = -1
        self._reading: Deferred[None] | None = None
        self._waiting: list[Deferred[None]] = []
        self._debt = NO_DEBT
        self._ticker = Ticker(seams.runtime.reactor, REFRESH, self._tick, "status")

    def start(self) -> None:
        self._ticker.start(now=True)

    def stop(self) -> None:
        """Idempotent."""
        self._ticker.stop()

    @property
    def cluster_time_ms(self) -> int:
        """As last seen in the tables.  At least 1: a session that is born at 0 would count as forgotten."""
        return max(1, self._view.head.time_ms) if self._view is not None else 1

    def _tick(self, _ticks: int) -> None:
        term = self._term()
        self._debt = term.repair.planner.debt() if term is not None else NO_DEBT
        self._refresh()

    def _refresh(self) -> None:
        if self._reading is None:
            reading = Deferred.fromCoroutine(self._read())
            self._reading = reading if not reading.called else None

    async def _read(self) -> None:
        applied, now = self._seams.reader.applied, self._seams.seconds()
        try:
            if self._view is None or applied != self._as_of or now - self._looked_at >= LOOK_AGAIN:
                self._view = await self._seams.reader.look(self._look)
                self._as_of, self._looked_at = applied, now
        except (RaftError, StoreError):
            return  # starting, stopping, or at its end: the last view stands
        finally:
            self._reading = None
            waiting, self._waiting = self._waiting, []
            for waiter in waiting:
                if not waiter.called:
                    waiter.callback(None)
        self._read_at = self._seams.seconds()
        self._pinning.read(self._view.pins)
        for number, record in self._view.nodes:
            self._seams.roster.recorded(number, record)
        if self._term() is None:  # a leader follows its tables by itself
            self._seams.roster.keep({number for number, _ in self._view.nodes})

    def _look(self, store: IKeyValueStore) -> View:
        """On the lane."""
        machine = self._seams.machine
        nodes = queries.nodes_page(store, 0, MAX_CHUNK_SERVERS)
        return View(machine.head, machine.state_hash(), tuple(nodes), members(store))

    async def status(self) -> Status:
        """See GetStatus."""
        if self._view is None or self._seams.seconds() - self._read_at > FRESH:
            await self._moment()
        raft, view, seams = self._raft(), self._view, self._seams
        config, head = seams.config, view.head if view is not None else None
        return Status(
            cluster_id=config.cluster_id,
            node=config.node,
            role=role_of(raft),
            leader=raft.leader,
            term=raft.term,
            applied=head.index if head is not None else raft.applied_index,
            state_hash=view.state_hash if view is not None else bytes(32),
            members=self._members(raft),
            chunk_servers=self._chunk_servers(),
            files=head.files if head is not None else 0,
            bytes=head.file_bytes if head is not None else 0,
            debt_chunks=self._debt.chunks,
            debt_bytes=self._debt.bytes,
            debt_single_copy=self._debt.single,
            alarms=seams.alarms.sentences(),
        )

    def _members(self, raft: RaftStatus) -> tuple[MetaMember, ...]:
        """Those who belong; a member that joins and knows nothing yet names whom it was told."""
        known = self._seams.members
        belong = sorted((*raft.members, *raft.learners)) or list(known)
        return tuple(MetaMember(name, known.get(name, "")) for name in belong)

    async def checkpoints(self) -> Checkpoints:
        """See GetCheckpoints."""
        found = await self._seams.reader.look(lambda _: self._seams.machine.checkpoints.latest(MAX_CHECKPOINTS))
        return Checkpoints(tuple(Checkpoint(index, state_hash) for index, state_hash in found.items()))

    def _chunk_servers(self) -> tuple[ChunkServerInfo, ...]:
        term, roster, now = self._term(), self._seams.roster, self._seams.seconds()
        opinion = term.state if term is not None and term.loaded else (lambda number: roster.opinion(number, now))
        return tuple(roster.info(number, opinion(number)) for number in sorted(roster.numbers()))

    async def _moment(self) -> None:
        """A fresh view, or a moment, whichever comes first."""
        waiter: Deferred[None] = Deferred()
        self._waiting.append(waiter)
        self._refresh()

        def enough() -> None:
            if not waiter.called:
                waiter.callback(None)

        timer = self._seams.runtime.reactor.callLater(MOMENT, enough)
        try:
            await waiter
        finally:
            if timer.active():
                timer.cancel()
