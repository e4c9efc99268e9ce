"""Heartbeats: what the node tells is noted, what it did is recorded, what it is to do rides on the answer.

Every metadata node hears every beat; only the leader's answer says ``leads``, and only then are results taken and jobs
given.  Results are recorded through Raft before the answer, for the node forgets them once a leader has them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from dfs.metaserver.answers import Changed
from dfs.metaserver.commands import NodeReturned
from dfs.metaserver.leading import LeaderTerm
from dfs.metaserver.liveness import Beat
from dfs.metaserver.seams import Seams
from dfs.protocol.errors import Forbidden
from dfs.protocol.interfaces import PeerInfo
from dfs.protocol.messages import Heartbeat, HeartbeatAnswer, JobKind, JobResult

SOON = 0.5
_COPIES = (JobKind.COPY, JobKind.RESTORE)
MOST_BEATS = 1_000  # a second that may be asked for, of all nodes together


class Heartbeats:
    """For one leadership."""

    def __init__(self, seams: Seams, term: LeaderTerm) -> None:
        self._seams, self._term = seams, term
        self._results: dict[JobKind, Callable[[Heartbeat, JobResult], Awaitable[None]]] = {
            JobKind.DELETE: term.collecting.deleted,
            JobKind.VERIFY: term.repair.verified,
            JobKind.TRIM: term.trims.trimmed,
        }

    async def beat(self, peer: PeerInfo, beat: Heartbeat) -> HeartbeatAnswer:
        """See Heartbeat.  Raises DFSError."""
        term = self._term
        check_identity(self._seams, peer, beat)
        heard = term.liveness.heard(beat.node, beat.boot, self._seams.seconds())
        if heard is Beat.REGISTER or beat.node not in self._seams.roster:
            return self._answer(register=True)
        if heard is Beat.CONFLICT:
            raise self._conflict(peer, beat)
        if heard is Beat.RETURNED:
            await self._seams.proposer.propose(NodeReturned(beat.node), Changed)
            term.check()
            term.liveness.known(beat.node, False, self._seams.seconds())
        self._seams.roster.beat(beat, self._seams.seconds())
        term.judging.changed(beat.node)
        copied = [result for result in beat.results if result.kind in _COPIES]
        if copied:
            await term.repair.copied(beat, copied)
            term.check()
        for result in beat.results:
            if result.kind not in _COPIES:
                await self._results[result.kind](beat, result)
                term.check()
        term.orders.heard(beat.node, (*beat.running, *(result.job for result in beat.results)))
        if beat.results:  # what they made room for is planned now, for this very answer
            await term.repair.for_a_beat()
            term.check()
        return self._answer(beat)

    def _answer(self, beat: Heartbeat | None = None, register: bool = False) -> HeartbeatAnswer:
        term = self._term
        jobs = () if beat is None else term.orders.due(
            beat.node, self._seams.config.jobs_per_answer, self._seams.seconds()
        )  # fmt: skip
        return HeartbeatAnswer(
            leads=True,
            term=term.term,
            cluster_time_ms=term.now_ms(),
            register=register,
            inventory=beat is not None and term.inventorying.ask(beat.node),
            jobs=jobs,
            next_ms=int(1000 * self._interval()),
        )

    def _interval(self) -> float:
        """Seconds until the node's next beat: soon while somebody is silent or something is to be healed, so that
        orders reach their nodes within a second of a death."""
        usual = self._seams.config.heartbeat_interval
        if not (self._term.repair.planner.is_busy() or self._term.judging.is_anybody_silent()):
            return usual
        return min(usual, max(SOON, len(self._seams.roster.numbers()) / MOST_BEATS))

    def _conflict(self, peer: PeerInfo, beat: Heartbeat) -> Forbidden:
        sentence = f"the folder of {peer.name} is run by two processes at once, one of them at {peer.address}"
        self._seams.alarms.set(f"clone {beat.node}", sentence)
        return Forbidden(sentence, hint="stop one of the two at once")


def check_identity(seams: Seams, peer: PeerInfo, beat: Heartbeat) -> None:
    """A beat speaks for the folder that its connection proved.  Raises Forbidden."""
    entry = seams.roster.entry(beat.node)
    is_other = entry is not None and entry.record.incarnation != beat.incarnation
    if peer.incarnation != beat.incarnation or is_other:
        raise Forbidden(f"{peer.name} speaks for another node's folder")
