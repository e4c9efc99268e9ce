"""The follower's side: appends from the leader, pieces of a snapshot (thesis 3.5, 5; R13 to R16, R39)."""

from __future__ import annotations

from dfs.raft.core import configuring
from dfs.raft.core.state import State
from dfs.raft.core.types import Arrived, CoreHalted, Role, SnapshotMark
from dfs.raft.messages import AppendReply, AppendRequest, Entry, SnapshotPiece


def hear_leader(s: State, sender: str) -> bool:
    """A message that only the leader of this term sends; False where this member leads itself."""
    if s.role is Role.LEADER:
        s.trace(f"ignores {sender}, who claims to lead in term {s.term}")
        return False
    if s.role is not Role.FOLLOWER or s.leader != sender:
        s.follow(s.term, sender)
    s.elapsed = 0
    s.heard_ticks = 0
    return True


def append(s: State, sender: str, request: AppendRequest) -> None:
    """Take entries in the present term, or tell where the logs may agree."""
    if not _well_formed(s, request):
        s.trace(f"ignores a malformed append from {sender}")
        return
    if not hear_leader(s, sender):
        return
    log = s.log
    previous = request.previous_index
    if previous >= log.boundary.index and log.term(previous) != request.previous_term:
        hint = log.agreement(min(previous, log.last_index), request.previous_term)
        hint_term = log.term(hint) or 0
        s.send(sender, AppendReply(s.term, request.round, False, previous, hint, hint_term, s.needs_snapshot))
        return
    verified = previous + len(request.entries)
    _store(s, request.entries)
    commit = min(request.commit, verified)  # not beyond what *this* message showed to be the leader's (R15)
    if commit > s.commit:
        s.commit_to(commit)
    reply = AppendReply(s.term, request.round, True, verified, wants_snapshot=s.needs_snapshot)
    s.send(sender, reply, claims=verified)


def _well_formed(s: State, request: AppendRequest) -> bool:
    index, term = request.previous_index, request.previous_term
    for entry in request.entries:
        index += 1
        if entry.index != index or not term <= entry.term <= request.term or not configuring.acceptable(s, entry):
            return False
        term = entry.term
    return True


def _store(s: State, entries: tuple[Entry, ...]) -> None:
    """Append what is missing, truncating only from the first entry of another term (R13)."""
    log = s.log
    for position, entry in enumerate(entries):
        if entry.index <= log.boundary.index:
            continue  # compacted, hence committed, hence equal
        if entry.index <= log.last_index:
            if log.term(entry.index) == entry.term:
                continue
            if entry.index <= s.commit:
                raise CoreHalted(f"entry {entry.index} is committed and the leader of {s.term} has another")
            s.trace(f"truncates from {entry.index}, its log ended at {log.last_index}")
            _truncate(s, entry.index)
        log.append(entries[position:])
        for appended in entries[position:]:
            configuring.appended(s, appended)
        return


def _truncate(s: State, index: int) -> None:
    s.log.truncate(index)
    configuring.truncated(s, index)
    # A sync asked before the truncation proves nothing about what replaces those entries (R22).
    s.in_flight = [type(f)(f.number, f.hard_state, min(f.last_index, index - 1)) for f in s.in_flight]


def piece(s: State, sender: str, message: SnapshotPiece) -> None:
    """A piece resets the election timer like any append (R40); the transfer itself is the shell's."""
    if hear_leader(s, sender):
        s.arrived.append(Arrived(sender, message))


def wants(s: State, mark: SnapshotMark) -> bool:
    """Whether a snapshot at ``mark`` would be of use: it brings what is not committed here, or the tables that were
    lost, up to where the log goes on."""
    return mark.index >= s.log.boundary.index if s.needs_snapshot else mark.index > s.commit


def install(s: State, mark: SnapshotMark, configuration: bytes) -> bool:
    """Whether a complete and verified snapshot is worth switching to; if so nothing is applied until it is
    installed or given up (R39)."""
    if not wants(s, mark) or s.installing is not None:
        return False
    s.installing, s.installing_configuration = mark, configuration
    return True


def installed(s: State, mark: SnapshotMark) -> None:
    """The state machine is durably the snapshot's: keep a log that goes on from it, else begin anew (R39)."""
    if s.installing != mark:
        raise CoreHalted(f"{mark} was installed and {s.installing} was to be")
    configuration, s.installing, s.installing_configuration = s.installing_configuration, None, b""
    adopt(s, mark, configuration)
    s.trace(f"installed a snapshot at {mark.index}/{mark.term}")
    if s.role is Role.FOLLOWER and s.leader is not None:
        reply = AppendReply(s.term, 0, True, mark.index)
        s.send(s.leader, reply, claims=mark.index)


def adopt(s: State, mark: SnapshotMark, configuration: bytes) -> None:
    """The state machine holds everything up to ``mark``; ``configuration`` is the one as of then."""
    s.needs_snapshot = mark.index < s.log.boundary.index
    if s.log.term(mark.index) != mark.term and mark.index >= s.log.boundary.index:
        s.log.reset(mark)
        s.reset_configuration = configuration
        configuring.begun_anew(s, mark.index, configuration)
        s.in_flight = [type(f)(f.number, f.hard_state, mark.index) for f in s.in_flight]
        s.fetches = {}
        s.entry_reads = []
        s.applying_read = None
    s.fetched = ()  # read from the disk to be applied; the snapshot may cover some of it
    s.commit_to(max(s.commit, mark.index))
    s.applied = max(s.applied, mark.index)
    s.handed_apply = max(s.handed_apply, mark.index)
    s.apply_batches = [last for last in s.apply_batches if last > s.applied]
