"""Turns the planner's wheel: reads for it on the lane, makes its copies jobs, tells it how they ended.

The planner decides and is pure (dfs.metaserver.planner).  Jobs ride on the heartbeat answers of their source, which
pushes to the target.  A copy counts when AddReplicas has recorded it, judged against what was committed (S07): the
sum in the job is metadata's own, never the bytes at hand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from twisted.internet.defer import DeferredLock

from dfs.kv.interfaces import IKeyValueStore
from dfs.metaserver import evened, queries
from dfs.metaserver.answers import Changed
from dfs.metaserver.commands import MAX_COMMITS, AddReplicas, Lost, RemoveReplicas
from dfs.metaserver.flights import JOB_SECONDS, SLOWEST
from dfs.metaserver.metering import Meter
from dfs.metaserver.mover import Need
from dfs.metaserver.moves import Copy
from dfs.metaserver.pacing import Pace
from dfs.metaserver.pairs import Pairs
from dfs.metaserver.placement import NodeView
from dfs.metaserver.planner import AHEAD, Planner
from dfs.metaserver.queries import ChunkCopies
from dfs.metaserver.records import ReplicaRecord, replica_codec
from dfs.metaserver.scanning import answer
from dfs.metaserver.tables import replica_key
from dfs.protocol.errors import DeadlinePassed, Disconnected, ReplicaCorrupt, ReplicaNotFound, Unavailable
from dfs.protocol.messages import ChunkCommit, DurableReplica, EventKind, Heartbeat, Job, JobKind, JobResult
from dfs.protocol.trust import Spread
from dfs.protocol.values import FileId, Generation, GrantKind, NodeState

if TYPE_CHECKING:
    from dfs.metaserver.leading import LeaderTerm

VERIFY_SECONDS = 300.0
MOST_LOOKS = 20_000  # at nodes, a second, by rounds that beats ask for
SLICE = 0.003  # seconds that one round plans, for meanwhile the reactor does nothing else
MAX_VERIFIES = 10_000  # that are asked for and not yet reported
REASONS: Mapping[int, str] = {
    Need.LEAVING: "drained",
    Need.RACK: "too close to others",
    Need.BALANCE: evened.REASON,
}
_DAMAGED = (ReplicaCorrupt.code, ReplicaNotFound.code)
_UNREACHABLE = (Disconnected.code, DeadlinePassed.code, Unavailable.code)


class Repair:
    """:param term: the leadership that it is a duty of.
    :ivar healing, balancing: how fast copies go that are needed, and those that even the nodes out.
    """

    def __init__(self, term: LeaderTerm) -> None:
        self._term = term
        self._seams = term.seams
        random = self._seams.runtime.random
        config = self._seams.config
        streams = config.repair_streams * AHEAD
        self.pace = Pace(config.node_move_rate, config.move_rate)
        self.planner = Planner(random.random, term.first_job(JobKind.COPY), streams, pace=self.pace)
        self.healing, self.balancing = Meter(), Meter()
        self.pairs = Pairs()
        self.planner.on_aside = self._tell_aside
        self._next_verify = term.first_job(JobKind.VERIFY)
        self._turning = DeferredLock()
        self._planned = 0.0
        self._verifies: dict[tuple[int, int, int, int], float] = {}

    def views(self) -> tuple[NodeView, ...]:
        """All nodes as placement sees them."""
        return tuple(self._term.view(number) for number in self._seams.roster.numbers())

    # ---- the wheel

    async def round(self) -> bool:
        """See dfs.metaserver.duty: one page read, then what can be ordered; one turn at a time."""
        await self._turning.acquire()
        try:
            return await self._turn()
        finally:
            self._turning.release()

    async def for_a_beat(self) -> None:
        """A round, so that a node whose copies ended has its next ones in the very answer; on a large cluster not for
        every beat, for each round looks at every node: orders that are ahead bridge the time (AHEAD)."""
        now = self._seams.seconds()
        if now - self._planned >= len(self._seams.roster.numbers()) / MOST_LOOKS:
            await self.round()

    async def _turn(self) -> bool:
        if not self._term.inventorying.is_settled(filter(self.is_reachable, self._seams.roster.numbers())):
            return False
        request = self.planner.request()
        if request is not None:
            reply = await self._seams.reader.look(answer, request)
            if not self._term.active:
                return False
            self.planner.receive(reply, self._seams.seconds())
        self._planned = self._seams.seconds()
        until = self._planned + SLICE
        for copy in self.planner.plan(self._planned, lambda: self._seams.seconds() >= until):
            self._order(copy)
        return request is not None or self.planner.has_more

    def _order(self, copy: Copy) -> None:
        chunk, target = copy.chunk, self._seams.roster.target(copy.target)
        if target is None:
            self.failed(copy.job)
            return
        job = Job(
            job=copy.job,
            kind=JobKind.RESTORE if copy.is_restore else JobKind.COPY,
            file_id=FileId(chunk.file_id),
            index=chunk.index,
            generation=Generation(chunk.generation),
            length=chunk.length,
            sha256=chunk.sha256,
            targets=(target,),
            grant=self._term.granter.grant(
                GrantKind.COPY, chunk.file_id, chunk.index, chunk.generation, spread=Spread((target,), 1)
            ),
        )
        if not copy.is_restore:
            self._seams.roster.promise((copy.target,), chunk.length)
        expires = self._seams.seconds() + JOB_SECONDS + chunk.length / SLOWEST
        self._term.orders.put(copy.source, job, expires)

    def failed(self, job: int) -> None:
        """An order that nobody took."""
        self.planner.result(job, False, self._seams.seconds())

    # ---- how copies ended

    async def copied(self, beat: Heartbeat, results: Sequence[JobResult]) -> None:
        """A source reports on copies, or a node on replicas that it is to serve again.  Raises DFSError where the
        outcome could not be recorded: it reports again."""
        is_recorded = await self._record([result for result in results if result.code == 0])
        for result in results:
            self._copied(beat, result, is_recorded)
        self._term.repair_duty.nudge()

    def _copied(self, beat: Heartbeat, result: JobResult, is_recorded: bool) -> None:
        if result.code in _DAMAGED and self._term.active and result.kind is JobKind.COPY:
            self.verify(beat.node, result.file_id, result.index, result.generation)
        if self._term.active:
            now = self._seams.seconds()
            copy = self.planner.result(result.job, result.code == 0, now, is_recorded)
            if copy is not None and result.code == 0:
                self.pairs.succeeded(copy.source, copy.target)
                self._tell(copy)
            elif copy is not None and result.code in _UNREACHABLE:
                self.pairs.failed(copy.source, copy.target, now)

    def _tell(self, copy: Copy) -> None:
        kind = EventKind.RESTORED if copy.is_restore else EventKind.COPIED
        if not copy.is_restore:
            meter = self.balancing if copy.urgency == Need.BALANCE else self.healing
            meter.add(copy.chunk.length, self._seams.seconds())
        self._term.tales.add(kind, copy.target, copy.chunk.length, REASONS.get(copy.urgency, "lacked copies"))

    def _tell_aside(self, chunk: ChunkCopies, reason: str) -> None:
        self._term.tales.add(EventKind.SET_ASIDE, 0, chunk.length, reason)

    async def _record(self, results: Sequence[JobResult]) -> bool:
        """One entry for what one beat tells, or more where it tells of more than fits; also of files that ended: then
        their node is noted, to delete there too (S15).  Whether all are on the record."""
        commits = await self._seams.reader.look(_commits, results) if results else ()
        recorded = 0
        for first in range(0, len(commits), MAX_COMMITS):
            entry = AddReplicas(commits[first : first + MAX_COMMITS])
            recorded += (await self._seams.proposer.propose(entry, Changed)).count
        return recorded == len(results)

    # ---- doubts

    def verify(self, node: int, file_id: int, index: int, generation: int) -> None:
        """Have a node re-read its replica: somebody saw bad bytes, which is a hint and no more (S11)."""
        key, now = (node, file_id, index, generation), self._seams.seconds()
        if len(self._verifies) >= MAX_VERIFIES:
            self._verifies = {key: until for key, until in self._verifies.items() if until > now}
        if self._verifies.get(key, 0.0) > now or len(self._verifies) >= MAX_VERIFIES:
            return
        self._verifies[key] = now + VERIFY_SECONDS
        job = Job(
            job=self._next_verify,
            kind=JobKind.VERIFY,
            file_id=FileId(file_id),
            index=index,
            generation=Generation(generation),
            length=0,
            sha256=bytes(32),
            targets=(),
            grant=None,
        )
        self._next_verify += 1
        self._term.orders.put(node, job, now + VERIFY_SECONDS)

    async def verified(self, beat: Heartbeat, result: JobResult) -> None:
        """A node re-read its replica, for a hint or for a trim.  Bad or absent: its record is struck off, and the
        planner replaces it; but only a record that is no newer than the look, for the word may come late (S06).  The
        bytes stay where the node put them aside."""
        self._verifies.pop((beat.node, result.file_id, result.index, result.generation), None)
        self._term.trims.verified(result)
        if result.code not in _DAMAGED:
            return
        record = await self._seams.reader.look(_replica, beat.node, result.file_id, result.index)
        if record is not None and record.number <= result.number:
            lost = Lost(result.file_id, result.index, record.number)
            await self._seams.proposer.propose(RemoveReplicas(beat.node, result.number, (lost,)), Changed)
            self._term.tales.add(EventKind.REPLICA_LOST, beat.node, record.length, "corrupt or missing")

    def is_reachable(self, number: int) -> bool:
        """Whether orders to the node make sense."""
        return self._term.state(number) is not NodeState.DEAD


def _commits(store: IKeyValueStore, results: Sequence[JobResult]) -> tuple[ChunkCommit, ...]:
    """What to record of copies that became durable: with the sums that were committed (S07)."""
    return tuple(
        ChunkCommit(
            result.file_id,
            result.index,
            result.generation,
            chunk.length,
            chunk.sha256,
            (DurableReplica(result.node, result.number),),
        )
        for result in results
        if (chunk := queries.chunk(store, result.file_id, result.index)) is not None
    )


def _replica(store: IKeyValueStore, node: int, file_id: int, index: int) -> ReplicaRecord | None:
    raw = store.get(replica_key(node, file_id, index))
    return None if raw is None else replica_codec.decode(raw)
