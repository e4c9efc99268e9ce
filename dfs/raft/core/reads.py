"""Read index: linearizable reads without the log (R47; thesis 6.4).

A read waits until the leader has committed in its own term.  Then a round of heartbeats is begun *after* the
request; the commit index of that moment is captured; a quorum of answers to that round or a later one confirms
that nobody else could have committed beyond it before the request.  All reads that wait when a round begins share
it; while one is out the next ones gather, so a busy leader sends few rounds.

A follower's reads go to the leader: one request at a time for all that wait, and those that come meanwhile are the
next one's.  Its answer counts only for the request that it names, in the term and from the leader it was asked of;
without one for an election time-out the reads are lost.
"""

from __future__ import annotations

from dfs.raft.core.state import Forwarded, State
from dfs.raft.core.types import ReadState, Refusal, Role
from dfs.raft.messages import ReadReply, ReadRequest


def ask(s: State, number: int) -> Refusal | None:
    """Begin a read under an id that the caller never uses again."""
    if s.role is not Role.LEADER:
        return _forward(s, number)
    if len(s.waiting_reads) + sum(len(ids) for _, _, ids in s.round_reads) >= s.config.waiting_reads:
        return Refusal.BUSY
    s.waiting_reads.append(number)
    return None


def _forward(s: State, number: int) -> Refusal | None:
    if s.role is not Role.FOLLOWER or s.leader is None or s.needs_snapshot:
        return Refusal.NOT_LEADER
    if len(s.forward_waiting) + len(s.forward_out[1] if s.forward_out else ()) >= s.config.waiting_reads:
        return Refusal.BUSY
    s.forward_waiting.append(number)
    return None


def send_forwarded(s: State) -> None:
    """Ask the leader for all that wait, if no request is out."""
    if s.forward_waiting and s.forward_out is None and s.leader is not None:
        s.last_forward += 1
        s.forward_out, s.forward_waiting = (s.last_forward, tuple(s.forward_waiting)), []
        s.forward_elapsed = 0
        s.send(s.leader, ReadRequest(s.term, s.epoch, s.last_forward))


def tick_forwarded(s: State) -> None:
    """One tick of the request that is out: asked again now and then, for it or its answer may be lost; given up
    after an election time-out."""
    if s.forward_out is None or s.leader is None:
        return
    s.forward_elapsed += 1
    if s.forward_elapsed >= s.config.election_ticks:
        s.reads_lost.extend(s.forward_out[1])
        s.forward_out = None
    elif s.forward_elapsed % (2 * s.config.heartbeat_ticks) == 0:
        s.send(s.leader, ReadRequest(s.term, s.epoch, s.forward_out[0]))


def asked(s: State, sender: str, request: ReadRequest) -> None:
    """A follower asks: it waits like the leader's own reads, its newest request in place of an older one."""
    if s.role is not Role.LEADER or sender not in s.progress:
        return
    others = [one for one in s.waiting_reads if isinstance(one, int) or one.member != sender]
    s.waiting_reads = [*others, Forwarded(sender, request.epoch, request.number)]


def answered(s: State, sender: str, reply: ReadReply) -> None:
    """The leader's answer: it counts for the very request that is out."""
    if s.role is not Role.FOLLOWER or sender != s.leader or s.forward_out is None:
        return
    if (reply.epoch, reply.number) == (s.epoch, s.forward_out[0]):
        s.reads.extend(ReadState(number, reply.index) for number in s.forward_out[1])
        s.forward_out = None


def wants_round(s: State) -> bool:
    """Whether a round should begin now rather than with the next heartbeat."""
    return bool(s.waiting_reads) and not s.round_reads and own_term_committed(s)


def own_term_committed(s: State) -> bool:
    """Before that, a leader does not know what is committed."""
    return s.log.term(s.commit) == s.term


def begin_round(s: State) -> None:
    """All that wait belong to the round that begins now."""
    if s.waiting_reads and own_term_committed(s):
        s.round_reads.append((s.round, s.commit, tuple(s.waiting_reads)))
        s.waiting_reads = []


def confirm(s: State) -> None:
    """Let go of every read whose round a quorum answered."""
    if not s.round_reads:
        return
    rounds = [progress.acked_round for progress in s.progress.values() if progress.voter]
    if s.is_voter:
        rounds.append(s.round)
    rounds.sort(reverse=True)
    confirmed = rounds[s.configuration.quorum - 1]
    while s.round_reads and s.round_reads[0][0] <= confirmed:
        _, index, ids = s.round_reads.pop(0)
        for one in ids:
            if isinstance(one, int):
                s.reads.append(ReadState(one, index))
            else:
                s.send(one.member, ReadReply(s.term, one.epoch, one.number, index))
