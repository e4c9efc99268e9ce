"""The consensus algorithm's door: inputs as methods, outputs as Readys.

Problem: replicate a log over members that crash, lose what was not synced and are cut off from one another.
Design: the Raft thesis with pre-vote (9.6), check-quorum (6.2), sticky votes (4.2.3) and read index (6.4), in the
shape of etcd's raft: a pure state machine that is told what happened and says what to do.  It owns no clock, disk,
socket or thread, so one test drives it as fast as a processor can, and another explores all its interleavings.

What a caller does: after any inputs call ``take_ready`` until None and do what each Ready says (types.Ready).  The
core is called from one thread only.

Rejected: callbacks in place of Readys (the order of effects would be the core's business and untestable);
raising on a peer's nonsense (one broken member would stop the others); leases for reads (they need a bound on the
drift of clocks).

Invariants, asserted where they could break: boundary <= applied <= commit; no truncation at or below commit (R14);
durable <= handed <= last; match < next.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from dfs.raft.codec import MAX_PAYLOAD
from dfs.raft.core import configuring, election, following, handing, reads, readying, replication, transfers
from dfs.raft.core.log import Log
from dfs.raft.core.state import State
from dfs.raft.core.types import (
    Arrived,
    Chance,
    ChangeTaken,
    Config,
    Configuration,
    CoreHalted,
    HardState,
    LogView,
    Proposed,
    Ready,
    Refusal,
    Role,
    SnapshotMark,
    TransferTaken,
)
from dfs.raft.membership import Change, encode_configuration
from dfs.raft.messages import (
    AppendReply,
    AppendRequest,
    Entry,
    Message,
    ReadReply,
    ReadRequest,
    RemovedNotice,
    SnapshotPiece,
    SnapshotReply,
    TimeoutNow,
    VoteReply,
    VoteRequest,
)

_T = TypeVar("_T")
EMPTY: Mapping[str, str] = {}


class RaftCore:
    """One member.  See the module.

    ``applied`` is what the state machine holds *durably or not* at start; where the log does not go on from there
    (a crash between installing a snapshot and beginning the log anew) the first Ready begins the log anew, with the
    ``installed`` configuration, which that snapshot brought.  Where it ends before the log begins, the tables were
    lost: this member votes and stores, but neither leads nor applies before a snapshot was installed.
    ``configuration`` is the latest at or below the log's boundary; later ones are in the log.
    ``commit`` is a stored hint, clamped to the log (R36).
    """

    def __init__(
        self,
        config: Config,
        hard_state: HardState,
        log_view: LogView,
        rng: Chance,
        *,
        configuration: Configuration,
        applied: SnapshotMark = SnapshotMark(0, 0),
        installed: Configuration | None = None,
        commit: int = 0,
        trace: Callable[[str], None] | None = None,
    ) -> None:
        log = Log(log_view, config.cache_bytes)
        if log.last_term > hard_state.term:
            raise CoreHalted(f"the log ends in term {log.last_term}, beyond the stored term {hard_state.term} (R03)")
        self._halted: CoreHalted | None = None
        self._state = State(config, configuration, hard_state, log, rng, trace)
        s = self._state
        for entry in log_view.configurations:
            configuring.appended(s, entry)
        installed = installed or s.configuration
        following.adopt(s, applied, encode_configuration(installed) if installed.voters else b"")
        s.commit = max(applied.index, log.boundary.index, min(commit, log.last_index))
        s.draw_timeout()
        s.epoch = int(rng.random() * (1 << 53))

    # Inputs: time and health

    def tick(self) -> None:
        """One tick went by."""
        s = self._enter()
        try:
            (replication.tick_leader if s.role is Role.LEADER else election.tick_unled)(s)
        except CoreHalted as halt:
            self._halted = halt
            raise

    def stalled(self, ticks: int) -> None:
        """The loop stood still for about ``ticks``, more than half an election time-out: call it before the next
        ``tick``; sockets are drained before this member campaigns (R11)."""
        self._guard(election.stalled, self._enter(), ticks)

    def disk_slow(self, slow: bool) -> None:
        """A sync has been out for longer than an election time-out, or has come back (R12)."""
        self._guard(election.disk_slow, self._enter(), slow)

    def member_refused(self, member: str) -> None:
        """The connection to ``member`` was refused or reset: a follower whose leader it is pre-campaigns; a leader
        sends anew what was in flight (R24)."""
        s = self._enter()
        self._guard(election.leader_refused, s, member)
        self._guard(replication.member_reset, s, member)

    def campaign(self) -> None:
        """Begin an election now, as an operator or a test does."""
        s = self._enter()
        if s.role is not Role.LEADER:
            self._guard(election.campaign, s)

    # Inputs: members and clients

    def step(self, sender: str, message: Message) -> None:
        """A message from an authenticated member; anything may come at any time (R24)."""
        s = self._enter()
        try:
            _step(s, sender, message)
        except CoreHalted as halt:
            self._halted = halt
            raise

    def propose(self, payloads: Sequence[bytes]) -> Proposed:
        """Replicate commands: tells at once which were appended and where.  Their end is seen in a Ready: among
        ``committed`` or within ``unknown``, or never if a snapshot is installed over them (then it is unknown too).
        ValueError where a payload is over 1 MiB or empty: b"" is the no-op's."""
        s = self._enter()
        if not all(0 < len(payload) <= MAX_PAYLOAD for payload in payloads):
            raise ValueError(f"a payload must have 1 to {MAX_PAYLOAD} bytes")
        return self._guard(replication.propose, s, payloads)

    def change(self, change: Change, known: Mapping[str, str] = EMPTY) -> ChangeTaken:
        """Change the membership by one member, if the rules allow it now (R51 to R56).  ``known`` has contacts of
        members for which the configuration has none.  It is done when the entry is committed."""
        return self._guard(replication.change, self._enter(), change, known)

    def transfer(self, to: str | None = None) -> TransferTaken:
        """Hand leadership over; ``transferee`` is None again when that ended, one way or the other (R58)."""
        return self._guard(handing.begin, self._enter(), to)

    def read_index(self, number: int) -> Refusal | None:
        """Begin a linearizable read under an id that is never used again; None where it was taken (R47).  A follower
        asks its leader."""
        return self._guard(reads.ask, self._enter(), number)

    # Inputs: disk and state machine

    def take_ready(self) -> Ready | None:
        """What is owed since the last one; None where nothing is."""
        s = self._enter()
        try:
            return readying.take(s)
        except CoreHalted as halt:
            self._halted = halt
            raise

    @property
    def owes(self) -> bool:
        """Whether ``take_ready`` may give something; False is certain, and cheap to ask after each input."""
        return readying.owes(self._state)

    def persisted(self, number: int) -> None:
        """Every Ready up to ``number`` is durable (R22)."""
        self._guard(readying.persisted, self._enter(), number)

    def applied(self, index: int) -> None:
        """The state machine has applied up to ``index``."""
        self._guard(readying.applied, self._enter(), index)

    def entries_read(self, number: int, entries: Sequence[Entry]) -> None:
        """The answer to EntryRead ``number``; () where the entries are gone."""
        self._guard(readying.entries_read, self._enter(), number, tuple(entries))

    def compacted(self, boundary: SnapshotMark) -> None:
        """The log on disk no longer has entries up to and including ``boundary``, which must be applied."""
        s = self._enter()
        if boundary.index > s.applied:
            raise CoreHalted(f"compaction at {boundary.index}, beyond what is applied, {s.applied}")
        self._guard(s.log.compact, boundary)
        configuring.compacted(s, s.log.boundary.index)

    # Inputs: snapshots

    def snapshot_started(self, member: str, mark: SnapshotMark) -> None:
        """Leader: the transfer that a SnapshotWanted asked for carries ``mark``."""
        self._guard(transfers.started, self._enter(), member, mark)

    def snapshot_sent(self, member: str, mark: SnapshotMark) -> None:
        """Leader: ``member`` said that it installed ``mark``."""
        self._guard(transfers.sent, self._enter(), member, mark)

    def snapshot_failed(self, member: str) -> None:
        """Leader: the transfer ended without success; it is wanted again if still needed."""
        self._guard(transfers.failed, self._enter(), member)

    def wants_snapshot(self, mark: SnapshotMark) -> bool:
        """Follower: whether a snapshot at ``mark`` would bring anything."""
        return following.wants(self._enter(), mark)

    def install_snapshot(self, mark: SnapshotMark, configuration: bytes) -> bool:
        """Follower: may a complete snapshot replace the state machine?  ``configuration`` is the payload that came
        with it, checked, and durable before the switch.  If True nothing is handed out to apply until
        ``snapshot_installed`` or ``install_failed``; finish applying what was handed out before, then commit it."""
        return self._guard(following.install, self._enter(), mark, configuration)

    def snapshot_installed(self, mark: SnapshotMark) -> None:
        """Follower: the state machine is durably at ``mark`` (R39)."""
        self._guard(following.installed, self._enter(), mark)

    def install_failed(self) -> None:
        """Follower: the snapshot failed its checks; the former state stays."""
        self._enter().installing = None

    # What is seen from outside

    @property
    def role(self) -> Role:
        """What this member is."""
        return self._state.role

    @property
    def term(self) -> int:
        """The present term."""
        return self._state.term

    @property
    def leader(self) -> str | None:
        """Who is believed to lead in this term."""
        return self._state.leader

    @property
    def commit_index(self) -> int:
        """The last entry known to be committed."""
        return self._state.commit

    @property
    def applied_index(self) -> int:
        """The last entry reported applied."""
        return self._state.applied

    @property
    def last_index(self) -> int:
        """The last entry of the log, durable or not."""
        return self._state.log.last_index

    @property
    def own_term_committed(self) -> bool:
        """Whether this member leads and has committed in its own term."""
        return self._state.role is Role.LEADER and reads.own_term_committed(self._state)

    @property
    def configuration(self) -> Configuration:
        """Who belongs to the group, by the last entry that says so, committed or not (R52)."""
        return self._state.configuration

    def configuration_at(self, index: int) -> bytes:
        """The payload of the configuration as of ``index``, at or after the boundary: what a snapshot or the log's
        boundary there has to carry (R38)."""
        return configuring.payload_at(self._state, index)

    @property
    def transferee(self) -> str | None:
        """Whom leadership is being handed to: proposals have to wait."""
        return self._state.transferee

    @property
    def removed(self) -> bool:
        """Whether this member knows that it was removed (R57)."""
        return self._state.removed

    @property
    def needs_snapshot(self) -> bool:
        """Whether the tables end before the log begins."""
        return self._state.needs_snapshot

    def progress(self) -> tuple[tuple[str, int, bool, bool], ...]:
        """Leader: of every other member its name, match, whether it is alive, whether it has caught up (R54)."""
        s = self._state
        return tuple(
            (member, s.progress[member].match, configuring.alive(s, member), configuring.caught_up(s, member))
            for member in sorted(s.progress)
        )

    def term_at(self, index: int) -> int | None:
        """The term of an entry, or of the boundary; None where it is not known."""
        return self._state.log.term(index)

    def keep_from(self) -> int:
        """Compaction must leave this entry and all later ones: a transfer in progress needs them next (R41)."""
        return transfers.keep_from(self._state)

    # For tests and exhaustive search

    @property
    def state(self) -> State:
        """To look at, not to change."""
        return self._state

    def copy(self) -> RaftCore:
        """An independent copy that shares only values, the source of randomness and the trace."""
        other = RaftCore.__new__(RaftCore)
        other._halted = self._halted
        other._state = self._state.copy()
        return other

    def fingerprint(self) -> tuple[object, ...]:
        """Hashable; equal for members that will behave alike."""
        return self._state.fingerprint()

    def _enter(self) -> State:
        if self._halted is not None:
            raise self._halted
        return self._state

    def _guard(self, function: Callable[..., _T], *arguments: object) -> _T:
        try:
            return function(*arguments)
        except CoreHalted as halt:
            self._halted = halt
            raise


def _step(s: State, sender: str, message: Message) -> None:
    if isinstance(message, VoteRequest):
        election.asked(s, sender, message)  # terms are judged there: stickiness comes first
        return
    if isinstance(message, RemovedNotice):
        election.removed(s, sender)
        return
    if message.term > s.term and not (isinstance(message, VoteReply) and message.pre and message.granted):
        leads = isinstance(message, AppendRequest | SnapshotPiece)
        s.follow(message.term, sender if leads else None)
    if isinstance(message, VoteReply):
        election.voted(s, sender, message)
    elif isinstance(message, AppendRequest | SnapshotPiece) and message.term < s.term:
        # The former leader learns that it is one; else, with pre-vote, it might never (R09).
        s.send(sender, AppendReply(s.term, 0, False, 0))
    elif message.term < s.term:
        return
    elif isinstance(message, AppendRequest):
        following.append(s, sender, message)
    elif isinstance(message, AppendReply):
        replication.answered(s, sender, message)
    elif isinstance(message, SnapshotPiece):
        following.piece(s, sender, message)
    elif isinstance(message, SnapshotReply) and s.role is Role.LEADER:
        replication.heard(s, sender)
        s.arrived.append(Arrived(sender, message))
    elif isinstance(message, TimeoutNow):
        election.told_to(s, sender, message)
    elif isinstance(message, ReadRequest):
        reads.asked(s, sender, message)
    elif isinstance(message, ReadReply):
        reads.answered(s, sender, message)
