"""From state to Ready, and back when the disk and the state machine answer."""

from __future__ import annotations

from dfs.raft.core import configuring, election, reads, replication
from dfs.raft.core.state import InFlight, State
from dfs.raft.core.types import CoreHalted, EntryRead, HardState, Membership, Ready, Role, Standing
from dfs.raft.messages import Entry


def owes(s: State) -> bool:
    """Whether a Ready may be due; False is certain.  After most ticks and heartbeats it is, and no turn is needed."""
    log, hard, standing = s.log, s.told_hard, s.told
    return (
        s.handed_apply < s.commit
        or log.handed != log.last_index
        or log.truncate_from is not None
        or log.reset_to is not None
        or hard.term != s.term
        or hard.vote != s.vote
        or standing.role is not s.role
        or standing.term != s.term
        or standing.leader != s.leader
        or bool(s.waiting_reads or s.forward_waiting)
        or _speaks(s)
    )


def take(s: State) -> Ready | None:
    """Everything owed since the last one, or None; that nothing is owed, as after most ticks, is found out cheaply."""
    if not owes(s):
        return None
    if s.role is Role.LEADER and reads.wants_round(s):
        replication.heartbeat(s)
    reads.send_forwarded(s)
    log = s.log
    hard, standing = s.told_hard, s.told
    if hard.term != s.term or hard.vote != s.vote:
        hard = HardState(s.term, s.vote)
    if standing.role is not s.role or standing.term != s.term or standing.leader != s.leader:
        standing = Standing(s.role, s.term, s.leader)
    committed = _take_committed(s)
    writes = log.handed != log.last_index or hard is not s.told_hard or log.truncate_from is not None
    writes = writes or log.reset_to is not None
    if not (writes or committed or standing is not s.told or _speaks(s)):
        return None
    ready = Ready(
        number=s.last_ready + 1,
        hard_state=hard if hard is not s.told_hard else None,
        reset_to=log.reset_to,
        truncate_from=log.truncate_from,
        entries=log.take_unhanded(),
        messages_now=tuple(s.now),
        messages_after=tuple(s.after),
        committed=committed,
        reads=tuple(s.reads),
        reads_lost=tuple(s.reads_lost),
        unknown=s.unknown,
        entry_reads=tuple(s.entry_reads),
        snapshots_wanted=tuple(s.snapshots_wanted),
        arrived=tuple(s.arrived),
        standing=standing if standing is not s.told else None,
        commit_index=s.commit,
        reset_configuration=s.reset_configuration,
        membership=_membership(s) if s.membership_changed else None,
    )
    s.told, s.told_hard = standing, hard
    s.last_ready += 1
    if writes:
        s.in_flight.append(InFlight(ready.number, hard, log.handed))
    log.reset_to = log.truncate_from = s.unknown = None
    s.reset_configuration, s.membership_changed = b"", False
    s.now, s.after, s.reads, s.reads_lost = [], [], [], []
    s.entry_reads, s.snapshots_wanted, s.arrived = [], [], []
    return ready


def _speaks(s: State) -> bool:
    return bool(
        s.now
        or s.after
        or s.reads
        or s.reads_lost
        or s.unknown
        or s.entry_reads
        or s.snapshots_wanted
        or s.arrived
        or s.membership_changed
    )


def _membership(s: State) -> Membership:
    """Until a removal is committed everyone must reach the removed, who may be the leader that waits for their
    acknowledgements; after that only who tells it so."""
    leaving = {member: progress.contact for member, progress in s.progress.items() if progress.leaving_index}
    if not configuring.settled(s) and len(s.configurations) > 1:
        former = s.configurations[-2].configuration
        leaving.update((name, former.contact(name)) for name in former.members if name not in s.configuration.members)
    return Membership(s.configuration, tuple(sorted(leaving.items())))


def _take_committed(s: State) -> tuple[Entry, ...]:
    """The next batch to apply: committed, and durable here, so that the state machine never runs ahead of its own
    log over a crash."""
    if s.needs_snapshot or s.installing is not None or s.applying_read is not None:
        return ()
    if len(s.apply_batches) >= s.config.apply_batches:
        return ()
    first, last = s.handed_apply + 1, min(s.commit, s.log.durable)
    if first > last:
        s.fetched = ()
        return ()
    entries: tuple[Entry, ...] | None = s.fetched
    s.fetched = ()
    if not entries:
        entries = s.log.cached(first, last, s.config.apply_bytes)
    if entries is None:
        if first < s.log.first_index:
            raise CoreHalted(f"entry {first} is to be applied and was compacted")
        s.last_fetch += 1
        s.applying_read = s.last_fetch
        s.fetches[s.last_fetch] = None
        s.entry_reads.append(EntryRead(s.last_fetch, first, last, s.config.apply_bytes))
        return ()
    if entries:
        s.handed_apply = entries[-1].index
        s.apply_batches.append(s.handed_apply)
    return entries


def entries_read(s: State, number: int, entries: tuple[Entry, ...]) -> None:
    """The disk gave what an EntryRead asked for."""
    if number not in s.fetches:
        return
    member = s.fetches.pop(number)
    if member is not None:
        replication.fetched(s, number, member, entries)
        return
    s.applying_read = None
    if entries and entries[0].index == s.handed_apply + 1 and s.installing is None:
        s.fetched = entries


def persisted(s: State, number: int) -> None:
    """Every Ready up to ``number`` is durable."""
    if number > s.last_ready:
        raise CoreHalted(f"Ready {number} is said to be durable and only {s.last_ready} were given")
    done = [f for f in s.in_flight if f.number <= number]
    if not done:
        return
    del s.in_flight[: len(done)]
    s.durable_hard = done[-1].hard_state
    # Truncations since have lowered what these may claim (R22).
    s.log.mark_durable(done[-1].last_index)
    election.own_vote_durable(s)
    replication.advance_commit(s)


def applied(s: State, index: int) -> None:
    """The state machine has applied up to ``index``."""
    if index > s.handed_apply:
        raise CoreHalted(f"{index} was applied and only {s.handed_apply} was handed out (R23)")
    s.applied = max(s.applied, index)
    s.apply_batches = [last for last in s.apply_batches if last > index]
