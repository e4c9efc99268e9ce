"""The leader's side of replication: what to send, what an answer means, what is committed (thesis 3.5, 3.6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dfs.raft.codec import encode_entry
from dfs.raft.core import configuring, handing, reads
from dfs.raft.core.progress import Mode, Progress
from dfs.raft.core.state import State
from dfs.raft.core.types import ChangeTaken, CoreHalted, EntryRead, Proposed, Refusal, Role, SnapshotWanted
from dfs.raft.membership import Change
from dfs.raft.messages import ENTRY_HEADER_LENGTH, AppendReply, AppendRequest, Entry, EntryKind, TimeoutNow


def propose(s: State, payloads: Sequence[bytes]) -> Proposed:
    """Append commands to the leader's log, as many as the limit of uncommitted bytes lets in (R25)."""
    first = s.log.last_index + 1
    if s.role is not Role.LEADER:
        return Proposed(first, s.term, 0, Refusal.NOT_LEADER, s.leader)
    if s.transferee is not None:
        return Proposed(first, s.term, 0, Refusal.BUSY, s.me)  # the shell holds them back until it ended (R58)
    accepted = 0
    for payload in payloads:
        # One proposal is always let in, or a limit below its size would refuse it for ever.
        if (
            s.uncommitted_bytes
            and s.uncommitted_bytes + ENTRY_HEADER_LENGTH + len(payload) > s.config.uncommitted_bytes
        ):
            break
        _append_own(s, EntryKind.COMMAND, payload)
        accepted += 1
    if accepted:
        broadcast(s)
    refusal = Refusal.BUSY if accepted < len(payloads) else None
    return Proposed(first, s.term, accepted, refusal, s.me)


def change(s: State, wanted: Change, known: Mapping[str, str]) -> ChangeTaken:
    """Begin a change of the membership; it is active at once (R52)."""
    found = configuring.taken(s, wanted, known)
    if isinstance(found, ChangeTaken):
        return found
    _append_own(s, EntryKind.CONFIGURATION, found)
    broadcast(s)
    return ChangeTaken(s.log.last_index, s.term, s.configuration, appended=True)


def lead(s: State) -> None:
    """Take over what a new leader has: progress of everyone else, and a no-op of its own term (thesis 6.4)."""
    configuring.lead(s)
    s.round = 0
    s.heartbeat_elapsed = 0
    s.first_own_index = s.commit_before = s.commit_then = s.log.last_index + 1
    _append_own(s, EntryKind.NOOP, b"")
    broadcast(s)


def _append_own(s: State, kind: EntryKind, payload: bytes) -> None:
    log = s.log
    entry = encode_entry(log.last_index + 1, s.term, kind, payload, log.last_checksum)
    log.append((entry,))
    configuring.appended(s, entry)
    if kind is EntryKind.COMMAND:
        s.uncommitted.append((entry.index, len(entry.encoded)))
        s.uncommitted_bytes += len(entry.encoded)


def broadcast(s: State) -> None:
    """Send what is new to everyone who is ready for it."""
    for member in s.progress:
        send_appends(s, member)


def heartbeat(s: State) -> None:
    """Begin a round: every member gets a message of it, so that a quorum of answers proves leadership since."""
    s.round += 1
    reads.begin_round(s)
    for member, progress in s.progress.items():
        progress.put_off = False
        if progress.mode is Mode.PROBE:
            _send_probe(s, member, progress, with_entries=False)
        else:
            _send_heartbeat(s, member, progress)
    reads.confirm(s)


def send_appends(s: State, member: str) -> None:
    """Send to one member as much as its mode and window allow."""
    progress = s.progress[member]
    if progress.mode is Mode.PROBE:
        if not progress.paused and progress.reading is None:
            _send_probe(s, member, progress, with_entries=True)
        return
    config = s.config
    while (
        progress.mode is Mode.REPLICATE
        and progress.reading is None
        and progress.next <= s.log.last_index
        and progress.has_room(config.window_messages, config.window_bytes)
    ):
        entries = s.log.cached(progress.next, s.log.last_index, config.message_bytes)
        if entries is None:
            _fetch(s, member, progress)
        else:
            _send_entries(s, member, progress, entries)


def _send_probe(s: State, member: str, progress: Progress, with_entries: bool) -> None:
    if progress.next - 1 < s.log.boundary.index:
        _want_snapshot(s, member, progress)
        return
    entries: tuple[Entry, ...] | None = ()
    if with_entries:
        entries = s.log.cached(progress.next, s.log.last_index, s.config.message_bytes)
    # Entries too old for the cache are read once it is known that they are the ones needed.
    _send_entries(s, member, progress, entries or ())


def _send_entries(s: State, member: str, progress: Progress, entries: tuple[Entry, ...]) -> None:
    previous = progress.next - 1
    previous_term = s.log.term(previous)
    if previous_term is None:
        raise CoreHalted(f"no term for {previous}, which {member} is to be sent after")
    s.send(member, AppendRequest(s.term, previous, previous_term, s.commit, s.round, entries))
    length = sum(len(entry.encoded) for entry in entries)
    progress.sent(entries[-1].index if entries else previous, length)


def _send_heartbeat(s: State, member: str, progress: Progress) -> None:
    # It asserts the match, which the member surely has; with the match compacted it asserts, and so commits,
    # nothing at all (R20).
    previous = progress.match if progress.match >= s.log.boundary.index else 0
    previous_term = (s.log.term(previous) or 0) if previous else 0
    s.send(member, AppendRequest(s.term, previous, previous_term, min(s.commit, previous), s.round))


def _want_snapshot(s: State, member: str, progress: Progress) -> None:
    if progress.put_off:
        # With the next heartbeat, and not a word until then, or the two would talk as fast as the network does.
        progress.paused = True
        return
    if progress.leaving_index or not configuring.alive(s, member):
        # A snapshot for a dead member would only cost.
        _send_heartbeat(s, member, progress)
        progress.paused = True
        return
    progress.snapshot()
    s.snapshots_wanted.append(SnapshotWanted(member, s.log.boundary.index))
    s.trace(f"wants a snapshot of at least {s.log.boundary.index} sent to {member}")
    _send_heartbeat(s, member, progress)


def _fetch(s: State, member: str, progress: Progress) -> None:
    if progress.next <= s.log.boundary.index:
        progress.probe()
        _want_snapshot(s, member, progress)
        return
    s.last_fetch += 1
    progress.reading = s.last_fetch
    s.fetches[s.last_fetch] = member
    last = min(s.log.durable, s.log.last_index)
    s.entry_reads.append(EntryRead(s.last_fetch, progress.next, last, s.config.message_bytes))


def fetched(s: State, number: int, member: str, entries: tuple[Entry, ...]) -> None:
    """The disk gave entries for a member; they are of use only if nothing changed meanwhile."""
    progress = s.progress.get(member)
    if progress is None or progress.reading != number:
        return
    progress.reading = None
    current = entries and entries[0].index == progress.next and s.log.term(entries[-1].index) == entries[-1].term
    if current and progress.mode is Mode.REPLICATE:
        _send_entries(s, member, progress, entries)
    elif progress.mode is Mode.REPLICATE:
        progress.probe()
    send_appends(s, member)


def heard(s: State, member: str) -> Progress | None:
    """A member of the configuration is alive and follows."""
    progress = s.progress.get(member)
    if progress is not None:
        progress.heard = True
        progress.silent_ticks = 0
    return progress


def answered(s: State, member: str, reply: AppendReply) -> None:
    """A member answered in the present term."""
    if s.role is not Role.LEADER or reply.round > s.round:
        return
    progress = heard(s, member)
    if progress is None:
        return
    if reply.round > progress.acked_round:
        progress.acked_round = reply.round
        reads.confirm(s)
    if reply.wants_snapshot:
        _without_tables(s, member, progress, reply)
    elif reply.accepted:
        _accepted(s, member, progress, reply)
    else:
        _refused(s, member, progress, reply)


def _without_tables(s: State, member: str, progress: Progress, reply: AppendReply) -> None:
    """It holds entries and counts for them, but cannot apply them: it needs a snapshot whatever it holds."""
    if reply.accepted and reply.index <= s.log.last_index and progress.acknowledged(reply.index):
        advance_commit(s)
    if s.role is Role.LEADER and progress.mode is not Mode.SNAPSHOT and not progress.leaving_index:
        _want_snapshot(s, member, progress)


def _accepted(s: State, member: str, progress: Progress, reply: AppendReply) -> None:
    if reply.index > s.log.last_index:
        return  # it claims what was never sent
    news = progress.acknowledged(reply.index)
    if progress.mode is Mode.SNAPSHOT:
        if progress.match < max(s.log.boundary.index, progress.snapshot_index or 0, 1):
            return
        progress.replicate()
    elif progress.mode is Mode.PROBE:
        if reply.index < progress.next - 1:
            # A bare heartbeat, or an old acknowledgement: where the logs agree is still open.
            # (One that is leaving gets no snapshot, and the next word with the next heartbeat, not at once.)
            if progress.next - 1 < s.log.boundary.index and not progress.leaving_index:
                _want_snapshot(s, member, progress)
            return
        progress.replicate()
    if news:
        advance_commit(s)
    if member in s.progress:  # else it was the commit that ended this leadership (R55)
        handing.press_if_caught_up(s, member)
        send_appends(s, member)


def _refused(s: State, member: str, progress: Progress, reply: AppendReply) -> None:
    if progress.mode is Mode.SNAPSHOT or reply.index <= progress.match:
        return
    if progress.mode is Mode.PROBE and reply.index != progress.next - 1:
        return  # an answer to an older probe (R24)
    if progress.mode is Mode.REPLICATE and reply.index >= progress.next:
        return
    agreed = s.log.agreement(min(reply.hint_index, reply.index - 1), reply.hint_term)
    s.trace(f"was refused {reply.index} by {member}, asks again at {max(agreed, progress.match)}")
    progress.probe(agreed + 1)
    send_appends(s, member)


def advance_commit(s: State) -> None:
    """Commit what a majority holds durably, if its last entry is of this term (R17, R21; thesis 3.6.2)."""
    if s.role is not Role.LEADER:
        return
    held = [progress.match for progress in s.progress.values() if progress.voter]
    if s.is_voter:
        held.append(s.log.durable)
    held.sort(reverse=True)
    index = held[s.configuration.quorum - 1]
    if index > s.commit and s.log.term(index) == s.term:
        s.commit_to(index)
        while s.uncommitted and s.uncommitted[0][0] <= index:
            s.uncommitted_bytes -= s.uncommitted.popleft()[1]
        if not s.is_voter and configuring.settled(s):
            _step_aside(s)


def _step_aside(s: State) -> None:
    """This leader's own removal is committed: it says so, asks the one that holds most to take over, and leads no
    more (R55)."""
    heartbeat(s)
    successor = handing.best(s)
    if successor is not None:
        s.send(successor, TimeoutNow(s.term))
    s.trace(f"steps down in term {s.term}: it was removed")
    s.follow(s.term, None)


def tick_leader(s: State) -> None:
    """Check-quorum: a leader unheard by a majority for an election time-out steps down (R10; thesis 6.2)."""
    heard = 1 if s.is_voter else 0
    for progress in s.progress.values():
        progress.silent_ticks += 1
        if progress.voter and progress.silent_ticks < s.config.election_ticks:
            heard += 1
    if heard < s.configuration.quorum:
        s.trace(f"steps down in term {s.term}: no quorum answered")
        s.follow(s.term, None)
        return
    handing.tick(s)
    configuring.tick_leaving(s)
    s.heartbeat_elapsed += 1
    if s.heartbeat_elapsed >= s.config.heartbeat_ticks:
        s.heartbeat_elapsed = 0
        s.commit_before, s.commit_then = s.commit_then, s.commit
        heartbeat(s)
        _press(s)
        handing.press(s)


def _press(s: State) -> None:
    """An append unanswered since the former heartbeat, or its answer, may be lost: ask whether all that was sent
    is there.  This does not stand in for the heartbeat, as the answer may have to wait for the follower's disk."""
    for member, progress in s.progress.items():
        if progress.stuck():
            previous = progress.next - 1
            s.send(member, AppendRequest(s.term, previous, s.log.term(previous) or 0, s.commit, s.round))


def member_reset(s: State, member: str) -> None:
    """The connection went away, and what was in flight with it (R24)."""
    progress = s.progress.get(member)
    if s.transferee == member:
        handing.end(s)
    if progress is not None and progress.mode is not Mode.SNAPSHOT:
        progress.probe()
        progress.paused = True
