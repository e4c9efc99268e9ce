"""Turns the collector's wheel: orders to delete, then the commands that forget what is gone (S15).

In every order the grant is the evidence: it names the file, the log index of the entry that ended it, and the last
generation that it can have: bytes of another history under the same file id are never meant (S16).  Nothing but garbage
is ever ordered to be deleted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dfs.metaserver.answers import Collected
from dfs.metaserver.collector import ORDER_SECONDS, Collector, Delete, answer
from dfs.metaserver.commands import CollectGarbage
from dfs.protocol.errors import DFSError, ReplicaNotFound
from dfs.protocol.messages import Heartbeat, Job, JobKind, JobResult
from dfs.protocol.values import FileId, Generation, GrantKind

if TYPE_CHECKING:
    from dfs.metaserver.leading import LeaderTerm

_GONE = (0, ReplicaNotFound.code)


class Collecting:
    """:param term: the leadership that it is a duty of."""

    def __init__(self, term: LeaderTerm) -> None:
        self._term = term
        self._seams = term.seams
        self.collector = Collector(term.first_job(JobKind.DELETE))

    async def round(self) -> bool:
        """See dfs.metaserver.duty."""
        term, collector = self._term, self.collector
        request = collector.request(self._seams.seconds())
        if request is not None:
            reply = await self._seams.reader.look(answer, request)
            if not term.active:
                return False
            collector.receive(reply, self._seams.seconds())
        reachable = {
            number
            for number in self._seams.roster.numbers()
            if term.repair.is_reachable(number) and term.inventorying.may_delete(number)
        }
        collector.forget_gone(self._seams.roster.numbers())
        for order in collector.plan(self._seams.seconds(), reachable):
            self._order(order)
        waiting = collector.commands()
        try:
            while waiting:
                await self._propose(waiting.pop(0))
        finally:
            for command in waiting:  # one was refused (or we are stopped): a later sweep does what these were to do
                collector.collected(command.file_id, False)
        return False

    def _order(self, order: Delete) -> None:
        job = Job(
            job=order.job,
            kind=JobKind.DELETE,
            file_id=FileId(order.file_id),
            index=order.index,
            generation=Generation(order.bound),
            length=0,
            sha256=bytes(32),
            targets=(),
            grant=self._term.granter.grant(
                GrantKind.DELETE, order.file_id, order.index, order.bound, order.evidence
            ),
        )
        self._term.orders.put(order.node, job, self._seams.seconds() + ORDER_SECONDS)

    async def _propose(self, command: CollectGarbage) -> None:
        try:
            finished = (await self._seams.proposer.propose(command, Collected)).finished
        except DFSError:
            self.collector.collected(command.file_id, False)  # a later sweep does what is left
            raise
        self.collector.collected(command.file_id, finished)

    def failed(self, job: int) -> None:
        """An order that nobody took."""
        self.collector.result(job, False)

    async def deleted(self, beat: Heartbeat, result: JobResult) -> None:
        """A node reports; having had nothing is success as well."""
        self.collector.result(result.job, result.code in _GONE)
        self._term.collecting_duty.nudge()
