"""The values that go into the core and come out of it."""

from __future__ import annotations

import enum
from typing import Protocol

from attrs import define, frozen

from dfs.raft.membership import Configuration as Configuration
from dfs.raft.messages import Entry, Message, SnapshotPiece, SnapshotReply


class CoreHalted(Exception):
    """An invariant of this node's own state is broken (R14): stop the node, keep its disk for study.
    Every later call raises it again."""


class Chance(Protocol):
    """The one thing asked of a source of randomness: ``random.Random`` has it."""

    def random(self) -> float:
        """In [0, 1)."""


class Role(enum.StrEnum):
    """What a member is in its term."""

    FOLLOWER = "follower"
    PRE_CANDIDATE = "pre-candidate"
    CANDIDATE = "candidate"
    LEADER = "leader"


@frozen
class SnapshotMark:
    """The last entry that a snapshot, or a compacted prefix, covers; (0, 0) is the beginning of time."""

    index: int
    term: int


@frozen
class Config:
    """Limits and times of one member.  Ticks are the shell's (50 ms)."""

    me: str
    election_ticks: int = 10  # a leader unheard for so long is given up; the timer is drawn from [this, 2 x this]
    heartbeat_ticks: int = 2
    message_bytes: int = 256 << 10
    window_messages: int = 8
    window_bytes: int = 4 << 20
    uncommitted_bytes: int = 64 << 20
    cache_bytes: int = 16 << 20
    apply_bytes: int = 1 << 20
    apply_batches: int = 2  # handed out and not yet reported applied
    waiting_reads: int = 10_000


@frozen
class HardState:
    """What must be durable before it is acted upon (R01)."""

    term: int = 0
    vote: str | None = None


@frozen
class LogView:
    """The log on disk as found at start.

    :ivar boundary: the last entry that is no longer there.
    :ivar runs: (first index, term) of each run of equal terms after the boundary, ascending.
    :ivar last_checksum: of the last entry, 0 where there is none.
    :ivar tail: some of the last entries, to fill the cache; it ends at ``last_index`` or is empty.
    :ivar configurations: the entries after the boundary that hold a configuration, ascending.
    """

    boundary: SnapshotMark = SnapshotMark(0, 0)
    last_index: int = 0
    runs: tuple[tuple[int, int], ...] = ()
    last_checksum: int = 0
    tail: tuple[Entry, ...] = ()
    configurations: tuple[Entry, ...] = ()


class Refusal(enum.StrEnum):
    """Why a proposal or a read was not taken; nothing was appended."""

    NOT_LEADER = "not leader"
    BUSY = "busy"
    CHANGE_IN_PROGRESS = "change in progress"
    NOT_CAUGHT_UP = "not caught up"
    WOULD_LOSE_QUORUM = "would lose the quorum"
    UNKNOWN_MEMBER = "unknown member"
    NAME_USED_BEFORE = "name used before"
    TOO_MANY_MEMBERS = "too many members"
    NOT_ALIVE = "not alive"


@frozen
class Proposed:
    """What became of a batch of payloads: the first ``accepted`` of them got the indexes from ``first_index`` on,
    the rest were refused for ``refusal`` (None where all were accepted)."""

    first_index: int
    term: int
    accepted: int
    refusal: Refusal | None = None
    leader: str | None = None


@frozen
class ChangeTaken:
    """What became of a change of the membership: refused with a sentence; or appended at ``index``; or it is so
    already, by the entry at ``index``.  It is done when that entry of ``term`` is committed."""

    index: int
    term: int
    configuration: Configuration
    refusal: Refusal | None = None
    reason: str = ""
    appended: bool = False


@frozen
class TransferTaken:
    """Whom leadership is being handed to, or why it is not."""

    to: str
    refusal: Refusal | None = None
    reason: str = ""


@frozen
class Membership:
    """The active configuration, and the (name, contact) of those who were removed and must be reached for a while:
    until that is committed, and until they were told (R55, R57)."""

    configuration: Configuration
    leaving: tuple[tuple[str, str], ...] = ()


@frozen
class Outgoing:
    """A message and whom it is for."""

    to: str
    message: Message


@frozen
class ReadState:
    """The read asked for under ``id`` may be answered once the state machine has applied ``index`` (R47)."""

    id: int
    index: int


@frozen
class EntryRead:
    """Read entries first..last from the log, stopping early past ``limit`` bytes but never before the first,
    and give them to ``entries_read(number, entries)``; an empty tuple says that they are no longer there."""

    number: int
    first: int
    last: int
    limit: int


@frozen
class SnapshotWanted:
    """``member`` needs entries that were compacted: send it a snapshot that covers at least ``index``.
    Report ``snapshot_started``, then ``snapshot_sent`` or ``snapshot_failed``."""

    member: str
    index: int


@frozen
class Arrived:
    """A piece of, or an answer about, a snapshot, from the leader or to it; terms are checked already.  It belongs
    to the shell's transfer."""

    sender: str
    message: SnapshotPiece | SnapshotReply


@frozen
class Standing:
    """Role, term and leader after a change of any of them."""

    role: Role
    term: int
    leader: str | None


@frozen
class Unknown:
    """Entries first..last were proposed here in ``term``; leadership went away before they were committed.
    Their proposers get *outcome unknown*, not *failed* (R10, R46)."""

    first: int
    last: int
    term: int


@define(unsafe_hash=True)
class Ready:
    """What the caller owes the world after some inputs.  Readys are numbered from 1; several may be in flight.
    Nobody changes one, so it may be hashed; it is not frozen because making that many frozen fields took a twentieth
    of a member's time.

    The order within one: send ``messages_now``; write ``reset_to``, ``truncate_from``, ``entries`` and
    ``hard_state`` as *one* atomic transaction of the log and sync it; then send ``messages_after`` and call
    ``persisted(number)``.  Writes of successive Readys are made in their order and may share a sync; a Ready that
    writes nothing counts as persisted when all before it are.  Everything else may be done at once.

    :ivar hard_state: to write, or None where it did not change (R01).
    :ivar reset_to: throw the whole log away and begin anew after this mark (R39), or None.
    :ivar reset_configuration: the payload of the configuration as of ``reset_to``, to be kept with it; else b"".
    :ivar truncate_from: remove this and all later entries before appending (R28), or None.
    :ivar entries: to append; contiguous; write their ``encoded`` bytes unchanged.
    :ivar messages_now: may leave before the disk answers (R21).
    :ivar messages_after: leave only when this Ready and all before it are durable (R01, R02, R16).
    :ivar committed: to apply, in order, after those of all earlier Readys; then call ``applied(last index)``.  They
        are durable here.  Entries of kind CONFIGURATION are not shown to the state machine.
    :ivar reads: confirmed reads.
    :ivar reads_lost: ids of reads that will not be answered because leadership went away.
    :ivar unknown: proposals whose outcome is not known here any more, or None.
    :ivar entry_reads: entries wanted from the log.
    :ivar snapshots_wanted: transfers to begin.
    :ivar arrived: for the snapshot transfer.
    :ivar standing: None where role, term and leader did not change.
    :ivar membership: whom to reach from now on; None where it did not change.
    :ivar commit_index: a hint worth storing lazily; it is never needed (R36).
    """

    number: int
    hard_state: HardState | None
    reset_to: SnapshotMark | None
    truncate_from: int | None
    entries: tuple[Entry, ...]
    messages_now: tuple[Outgoing, ...]
    messages_after: tuple[Outgoing, ...]
    committed: tuple[Entry, ...]
    reads: tuple[ReadState, ...]
    reads_lost: tuple[int, ...]
    unknown: Unknown | None
    entry_reads: tuple[EntryRead, ...]
    snapshots_wanted: tuple[SnapshotWanted, ...]
    arrived: tuple[Arrived, ...]
    standing: Standing | None
    commit_index: int
    reset_configuration: bytes = b""
    membership: Membership | None = None

    @property
    def writes(self) -> bool:
        """Whether there is anything for the disk."""
        return (
            bool(self.entries)
            or self.hard_state is not None
            or self.truncate_from is not None
            or self.reset_to is not None
        )
