"""Turns the trimmer's wheel: has survivors read, proposes to strike off, orders, records what was carried out.

The trimmer decides and is pure (dfs.metaserver.trimming).  Nothing is begun while a chunk that lacks copies could be
given one; nothing is ordered of a node whose whole inventory this leader has not seen, nor of any once one of them
holds what this history never issued (S16).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dfs.metaserver.answers import Changed, Retired
from dfs.metaserver.commands_moving import RetireReplicas, TrimmedReplicas
from dfs.metaserver.stale import Stale, StaleOrder, StaleReplicas
from dfs.metaserver.stale import answer as stale_answer
from dfs.metaserver.trimming import STEP_SECONDS, Order, Trimmer, Verify, answer, retirement
from dfs.protocol.messages import (
    EventKind,
    Heartbeat,
    HeldReplica,
    Job,
    JobKind,
    JobResult,
    Removal,
    RemovalKind,
    Survivor,
)
from dfs.protocol.values import FileId, Generation, NodeNumber, NodeState

if TYPE_CHECKING:
    from dfs.metaserver.leading import LeaderTerm


STALE_JOBS = 1 << 29
"""Where the numbers of orders for stale generations begin, among those of trims."""


class Trims:
    """:param term: the leadership that it is a duty of."""

    def __init__(self, term: LeaderTerm) -> None:
        self._term = term
        self._seams = term.seams
        self.trimmer = Trimmer(term.first_job(JobKind.TRIM))
        self.stale = StaleReplicas(term.first_job(JobKind.TRIM) + STALE_JOBS)

    async def round(self) -> bool:
        """See dfs.metaserver.duty."""
        term, trimmer, now = self._term, self.trimmer, self._seams.seconds()
        trimmer.expire(now)
        if not term.repair.planner.is_short():
            await self._read()
            await self._take_stale(now)
        if not term.active:
            return False
        for verify in trimmer.verifications():
            self._verify(verify)
        await self._strike_off()
        if not term.active:
            return False
        for order in trimmer.orders():
            self._order(order)
        while trimmed := trimmer.reports():
            await self._seams.proposer.propose(TrimmedReplicas(trimmed), Changed)
        return False

    async def _read(self) -> None:
        now = self._seams.seconds()
        request = self.trimmer.request(now)
        if request is None:
            return
        reply = await self._seams.reader.look(answer, request)
        if self._term.active:
            views = {view.number: view for view in self._term.repair.views()}
            self.trimmer.receive(reply, views, self._may_trim, now)

    def _may_trim(self, node: int) -> bool:
        return self._term.inventorying.may_delete(node) and self._term.state(node) is not NodeState.DEAD

    def _verify(self, verify: Verify) -> None:
        """The committed sum goes with it: a replica that is whole and of other bytes does not pass."""
        chunk = verify.copies
        job = Job(
            job=verify.job,
            kind=JobKind.VERIFY,
            file_id=FileId(chunk.file_id),
            index=chunk.index,
            generation=Generation(chunk.generation),
            length=0,
            sha256=chunk.sha256,
            targets=(),
            grant=None,
        )
        self._term.orders.put(verify.node, job, self._seams.seconds() + STEP_SECONDS)

    async def _strike_off(self) -> None:
        trims = self.trimmer.retirements()
        if trims:
            command = RetireReplicas(tuple(retirement(trim) for trim in trims))
            retired = await self._seams.proposer.propose(command, Retired)
            self.trimmer.retired(trims, retired.taken, retired.index)

    def _order(self, order: Order) -> None:
        trim = order.trim
        chunk = trim.copies
        removal = Removal(
            kind=RemovalKind.SURPLUS,
            file_id=FileId(chunk.file_id),
            index=chunk.index,
            generation=Generation(chunk.generation),
            node=NodeNumber(trim.goes),
            number=trim.number,
            committed=Generation(chunk.generation),
            survivors=tuple(Survivor(survivor.node, survivor.number) for survivor in trim.survivors),
            term=self._term.term,
            evidence=trim.evidence,
            expires_ms=0,
            mac=bytes(32),
        )
        self._take_away(order.job, removal, chunk.length, chunk.sha256)

    def _take_away(self, job: int, removal: Removal, length: int, sha256: bytes) -> None:
        """Have the node of ``removal`` give its replica up."""
        order = Job(
            job=job,
            kind=JobKind.TRIM,
            file_id=removal.file_id,
            index=removal.index,
            generation=removal.generation,
            length=length,
            sha256=sha256,
            targets=(),
            grant=None,
            removal=self._term.granter.removal(removal),
        )
        self._term.orders.put(removal.node, order, self._seams.seconds() + STEP_SECONDS)

    # ---- generations that were given up

    def offer_stale(self, node: int, held: HeldReplica) -> None:
        """An inventory names a replica of a generation that was given up."""
        self.stale.offer(Stale(node, held.file_id, held.index, held.generation, held.number, held.length))

    async def _take_stale(self, now: float) -> None:
        self.stale.expire(now)
        asked = self.stale.request(self._may_trim)
        if not asked:
            return
        rows = await self._seams.reader.look(stale_answer, asked)
        if self._term.active:
            views = {view.number: view for view in self._term.repair.views()}
            for order in self.stale.receive(rows, views, now):
                self._order_stale(order)

    def _order_stale(self, order: StaleOrder) -> None:
        stale = order.stale
        removal = Removal(
            kind=RemovalKind.STALE,
            file_id=FileId(stale.file_id),
            index=stale.index,
            generation=Generation(stale.generation),
            node=NodeNumber(stale.node),
            number=stale.number,
            committed=Generation(order.committed),
            survivors=(),
            term=self._term.term,
            evidence=0,
            expires_ms=0,
            mac=bytes(32),
        )
        self._take_away(order.job, removal, stale.length, bytes(32))

    # ---- how orders ended

    def node_died(self, node: int) -> None:
        """What counted on it, or waited for it, is given up."""
        self.trimmer.node_died(node)
        self.stale.forget(node)

    def verified(self, result: JobResult) -> None:
        """A node read its replica; the job may be anybody's."""
        if self.trimmer.verified(result.job, result.code == 0):
            self._term.trims_duty.nudge()

    async def trimmed(self, beat: Heartbeat, result: JobResult) -> None:
        """A node reports on an order; having had nothing is success as well."""
        stale = self.stale.ended(result.job)
        if stale is not None and result.code == 0:
            self._term.tales.add(EventKind.TRIMMED, beat.node, stale.length, "stale generation")
        trim = self.trimmer.trimmed(result.job, result.code == 0)
        if trim is not None:
            self._term.tales.add(EventKind.TRIMMED, beat.node, trim.copies.length, "surplus")
            self._term.trims_duty.nudge()

    def failed(self, job: int) -> None:
        """An order that nobody took."""
        self.stale.ended(job)
        self.trimmer.verified(job, False)
