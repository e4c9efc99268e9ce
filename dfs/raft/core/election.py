"""Elections: pre-vote, votes, stickiness, and when to campaign (thesis 3.4, 3.6.1, 4.2.3, 9.6; R05 to R09).

Pre-vote, check-quorum and stickiness are always on: each of them alone lets a badly connected member either
unseat leaders for ever or keep a deposed one (R09).
"""

from __future__ import annotations

from dfs.raft.core import configuring, reads, replication
from dfs.raft.core.state import State
from dfs.raft.core.types import Role
from dfs.raft.messages import RemovedNotice, TimeoutNow, VoteReply, VoteRequest

DRAIN_TICKS = 2
"""After a stall the loop turns at least so often before a campaign, which empties the sockets (R11)."""

RANK_TICKS = 2
"""Between the pre-campaigns of the followers of a leader that is seen to be gone, so that votes do not split."""


def tick_unled(s: State) -> None:
    """One tick of a member that does not lead."""
    s.elapsed += 1
    s.heard_ticks += 1
    reads.tick_forwarded(s)
    if s.elapsed >= s.timeout:
        campaign(s)


def campaign(s: State) -> None:
    """Ask around whether an election would be won; nothing durable changes (R08)."""
    if not s.may_campaign or s.disk_slow:
        s.draw_timeout()
        return
    s.role, s.leader = Role.PRE_CANDIDATE, None
    s.lose_forwarded()
    s.draw_timeout()
    s.trace(f"pre-campaigns for term {s.term + 1} with {s.log.last_index}/{s.log.last_term}")
    s.votes = {s.me: True}
    _ask(s, VoteRequest(s.term + 1, s.log.last_index, s.log.last_term, pre=True))
    _tally(s)


def elect(s: State, transfer: bool = False) -> None:
    """A majority would vote for this member, or the leader hands over to it: take the next term.  Its own vote
    counts once durable (R02)."""
    s.term += 1
    s.leader = None
    s.lose_forwarded()
    s.vote, s.role, s.votes = s.me, Role.CANDIDATE, {}
    s.draw_timeout()
    s.trace(f"campaigns in term {s.term}")
    _ask(s, VoteRequest(s.term, s.log.last_index, s.log.last_term, pre=False, transfer=transfer))


def told_to(s: State, sender: str, message: TimeoutNow) -> None:
    """The leader of this term asks this member to take over (R58): only a voter does, and only one that may lead."""
    follows = s.role is Role.FOLLOWER and s.leader == sender and message.term == s.term
    if follows and s.is_voter and s.may_campaign and not s.disk_slow:
        s.trace(f"takes over from {sender}")
        elect(s, transfer=True)


def _ask(s: State, request: VoteRequest) -> None:
    for member in s.configuration.voters:
        if member != s.me:
            s.send(member, request)


def own_vote_durable(s: State) -> None:
    """Term and vote were synced; if they are the candidate's own it may count itself (R02)."""
    if s.role is Role.CANDIDATE and (s.durable_hard.term, s.durable_hard.vote) == (s.term, s.me):
        s.votes[s.me] = True
        _tally(s)


def asked(s: State, sender: str, request: VoteRequest) -> None:
    """A vote or pre-vote is asked for, in any term at all, by a member of the local configuration or not (R53)."""
    if sender in s.configuration.removed and configuring.settled(s):
        s.send(sender, RemovedNotice(s.term))  # it can win nothing any more (R57)
        return
    sticky = s.role is Role.LEADER or s.heard_ticks < s.config.election_ticks
    if request.term > s.term and sticky and not request.transfer:
        return  # a leader is heard: whoever asks does not hear it (R08, thesis 4.2.3)
    if request.term > s.term and not request.pre:
        s.follow(request.term, None)
    current = (request.last_term, request.last_index) >= (s.log.last_term, s.log.last_index)  # in this order (R05)
    if request.pre:
        granted = request.term > s.term and current
        s.send(sender, VoteReply(request.term if granted else s.term, granted, pre=True))
        return
    may_vote = request.term == s.term and s.role in (Role.FOLLOWER, Role.PRE_CANDIDATE) and s.vote in (None, sender)
    # Also where this member is no voter as far as it knows: the candidate may know better, and it alone counts.
    granted = may_vote and current
    if granted:
        s.vote = sender
        s.follow(s.term, s.leader)
        s.trace(f"votes for {sender} in term {s.term}")
    s.send(sender, VoteReply(s.term, granted, pre=False))


def voted(s: State, sender: str, reply: VoteReply) -> None:
    """An answer in the term campaigned for, or would be campaigned in.  Each voter counts once, for this phase and
    term only (R06)."""
    phase = Role.PRE_CANDIDATE if reply.pre else Role.CANDIDATE
    term = s.term + 1 if reply.pre and reply.granted else s.term
    if s.role is phase and reply.term == term and sender in s.configuration.voters:
        s.votes[sender] = reply.granted
        _tally(s)


def _tally(s: State) -> None:
    if sum(s.votes.get(voter, False) for voter in s.configuration.voters) < s.configuration.quorum:
        return
    if s.role is Role.PRE_CANDIDATE:
        elect(s)
        return
    s.role, s.leader, s.votes = Role.LEADER, s.me, {}
    s.trace(f"leads term {s.term}")
    replication.lead(s)


def leader_refused(s: State, member: str) -> None:
    """The leader's process is seen to be gone: the first of the others pre-campaigns at once, each next one a
    little later."""
    if s.role is not Role.FOLLOWER or s.leader != member or not s.is_voter:
        return
    s.leader = None
    s.lose_forwarded()
    s.heard_ticks = s.config.election_ticks
    rank = [voter for voter in s.configuration.voters if voter != member].index(s.me)
    s.timeout = s.elapsed + RANK_TICKS * rank
    if rank == 0 and not s.disk_slow:
        campaign(s)
        s.timeout = RANK_TICKS * len(s.configuration.voters)  # the others may learn a moment later


def stalled(s: State, ticks: int) -> None:
    """The local loop stood still for ``ticks``: what the leader said meanwhile still waits in the sockets (R11)."""
    s.heard_ticks += ticks
    s.elapsed = min(s.elapsed, max(s.timeout - DRAIN_TICKS, 0))
    for progress in s.progress.values():
        progress.silent_ticks += ticks


def disk_slow(s: State, slow: bool) -> None:
    """A sync is out for longer than an election time-out: do not lead and do not campaign (R12)."""
    s.disk_slow = slow
    if slow and s.role is not Role.FOLLOWER:
        s.trace(f"steps down in term {s.term}: the disk is slow")
        s.follow(s.term, None)


def removed(s: State, sender: str) -> None:
    """Another member says that this one was removed: it takes no further part (R57)."""
    if s.role is not Role.LEADER and not s.told_removed:
        s.trace(f"is told by {sender} that it was removed")
        s.told_removed = s.membership_changed = True
        if s.role is not Role.FOLLOWER:
            s.follow(s.term, None)
