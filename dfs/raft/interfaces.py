"""What Raft asks of the world, and what it gives.

Raft knows nothing of files, chunks or frames.  It owns its messages, their
encoding and its log; whoever embeds it carries opaque bytes between members
(:class:`IRaftTransport`) and applies opaque commands (:class:`IStateMachine`).

Indexes and terms are ints, 1 for the first entry; entry 1 holds the founders'
configuration and the cluster id.  Entries that hold a configuration are never shown to the state machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import frozen
from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from dfs.raft.core.types import SnapshotMark as SnapshotMark
from dfs.raft.membership import Change, Configuration


@frozen
class Command:
    """A committed entry for the state machine.  ``payload`` is what ``propose`` was given;
    b"" is a leader's no-op of its own term and is applied like any other (it changes the applied index only)."""

    index: int
    term: int
    payload: bytes


@frozen
class MemberProgress:
    """What a leader knows of another member.

    :ivar match: the last entry that it is known to hold durably.
    :ivar alive: it answered within an election time-out.
    :ivar caught_up: a learner that may be promoted (R54); true of a voter in the same state.
    """

    name: str
    match: int
    alive: bool
    caught_up: bool


@frozen
class RaftStatus:
    """A member's view, for `dfs status`: it is answered at once, also during an election.

    :ivar members: the voters of the active configuration.
    :ivar learners: its learners.
    :ivar removed: this member was removed, for good.
    :ivar progress: on a leader, of every other member.
    """

    node: str
    role: str  # follower, pre-candidate, candidate, leader
    term: int
    leader: str | None
    last_index: int
    commit_index: int
    applied_index: int
    members: tuple[str, ...]
    lag: float  # the worst delay of a tick in the last minute, seconds
    learners: tuple[str, ...] = ()
    removed: bool = False
    progress: tuple[MemberProgress, ...] = ()


class IRaftTransport(Interface):
    """Carries messages to other members, at most once each, in any order, perhaps never.

    What comes from a name that is not among the members may be given to ``IRaft.receive`` as well, if the sender
    has proven that name: a member that was removed and does not know it is told so (R57), and a member that was
    let in a moment ago may be heard before ``members_changed`` (R53).
    """

    def send(member: str, payload: bytes) -> None:
        """Queue one message (at most 1 MiB + 4 KiB).  Never raises, never blocks; it may drop, and does so where
        ``member`` is not known."""

    def members_changed(members: Mapping[str, str]) -> None:
        """Who is to be reached from now on, this node among them, each with its contact; "" where none is known.
        Called on the reactor thread during ``IRaft.start``, before anything is sent, and whenever it changes: a
        configuration takes effect when it is appended (and may be taken back), and one that is being removed stays
        here until it was told or a few election time-outs went by."""


class ISnapshotSource(Interface):
    """A state machine's snapshot being read."""

    mark = Attribute("SnapshotMark: exactly what was applied when it was opened.")

    def read(limit: int) -> bytes:
        """The next at most ``limit`` bytes of the stream; b"" at the end (the stream carries its own checks)."""

    def close() -> None:
        """Release it; idempotent."""


class ISnapshotSink(Interface):
    """A state machine's replacement being received, beside the one in use."""

    def write(piece: bytes) -> None:
        """Append a piece."""

    def commit() -> SnapshotMark:
        """Verify everything, then atomically become the state; the former state is gone only after that
        is durable.  Raises ValueError where a check fails: the former state stays."""

    def abort() -> None:
        """Throw the pieces away; idempotent."""


class IStateMachine(Interface):
    """The replicated state.  Every method blocks and is called on one lane, one call at a time (R39).

    ``apply`` is deterministic: no clock, no chance, no hash order, no locale (R34).
    """

    def applied() -> SnapshotMark:
        """The last entry in the state (index 0, term 0 when new), read from the store's own records,
        which change in the same transaction as the tables (R33)."""

    def durable_index() -> int:
        """The applied index that a crash cannot undo: the log may be compacted up to it."""

    def apply(commands: Sequence[Command]) -> list[bytes]:
        """Apply in order, as one transaction or several that each carry their applied index; one answer a command.
        Raises only when the store failed (fatal)."""

    def sync() -> int:
        """Make the state durable; return the new durable index."""

    def open_snapshot() -> ISnapshotSource:
        """A consistent stream of the state as it is now; at most one at a time."""

    def receive_snapshot() -> ISnapshotSink:
        """Begin to receive a replacement; a former unfinished one is thrown away."""

    def close() -> None:
        """Sync and release."""


class IRaft(Interface):
    """A member of the consensus group, as its embedder sees it (dfs.raft.node.RaftNode).

    All methods are called, and all Deferreds fire, on the reactor thread.
    """

    def start() -> Deferred[None]:
        """Open or found the log, recover, begin to tick.  Fails with StorageCorrupt, WrongCluster, StorageFailed."""

    def stop() -> Deferred[None]:
        """A leader first hands over to a member that has caught up, for at most an election time-out (R58).  Then
        end every waiting Deferred (R62), finish what the disk is doing, close."""

    def receive(member: str, payload: bytes) -> None:
        """A message from ``member`` (already authenticated by the transport).  Never raises on a peer's input."""

    def member_refused(member: str) -> None:
        """The transport's connection to ``member`` was refused or reset: a follower whose leader this is may
        pre-campaign at once."""

    def propose(payload: bytes) -> Deferred[bytes]:
        """Replicate a command; fires with the state machine's answer, exactly once.
        Errors: NotLeader, Busy, Stopped (refused), OutcomeUnknown."""

    def read_index() -> Deferred[int]:
        """Fires when the local state machine has applied everything committed before this call, as confirmed by a
        quorum round that the leader started after it (R47).  A follower asks the leader, one message for all that
        wait.  Errors: NotLeader (also where the leader's answer did not come within an election time-out: ask
        again), Busy, Stopped."""

    def change(change: Change) -> Deferred[Configuration]:
        """Change the membership by one member (dfs.raft.membership: AddLearner, Promote, Remove); fires with the
        configuration once it is committed.  A change that is already so fires too, after a confirmation that this
        node still leads: so a caller may repeat one whose outcome it does not know.

        Errors: NotLeader, Stopped, ChangeRefused and its kinds (nothing was appended), OutcomeUnknown."""

    def configuration() -> Configuration:
        """The active configuration, committed or not, from memory; without voters on a member that has joined
        nothing yet."""

    def when_removed() -> Deferred[None]:
        """Fires when this member knows that its removal is committed (R57), at once if it does: it takes no further
        part, and its embedder should stop it and not start it again.  Never fires on any other member."""

    def transfer(to: str | None = None) -> Deferred[str]:
        """Hand leadership to ``to``, or to the voter that has caught up furthest; fires with its name once it leads.
        Proposals wait meanwhile, for at most an election time-out (R58).
        Errors: NotLeader, UnknownMember, TransferFailed, Stopped."""

    def status() -> RaftStatus:
        """At once, from memory."""

    def watch_leadership(observer: object) -> None:
        """``observer.leadership_changed(leads: bool, term: int)`` is called on the reactor thread when this node
        becomes leader *and has applied the no-op of its own term* (S29), and when it ceases to lead."""
