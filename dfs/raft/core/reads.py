"""Read index: linearizable reads without the log (R47; thesis 6.4).

A read waits until the leader has committed in its own term.  Then a round of heartbeats is begun *after* the
request; the commit index of that moment is captured; a quorum of answers to that round or a later one confirms
that nobody else could have committed beyond it before the request.  All reads that wait when a round begins share
it; while one is out the next ones gather, so a busy leader sends few rounds.
"""

from __future__ import annotations

from dfs.raft.core.state import State
from dfs.raft.core.types import ReadState, Refusal, Role


def ask(s: State, number: int) -> Refusal | None:
    """Begin a read under an id that the caller never uses again."""
    if s.role is not Role.LEADER:
        return Refusal.NOT_LEADER
    if len(s.waiting_reads) + sum(len(ids) for _, _, ids in s.round_reads) >= s.config.waiting_reads:
        return Refusal.BUSY
    s.waiting_reads.append(number)
    return None


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
        s.reads.extend(ReadState(number, index) for number in ids)
