"""Everything a member remembers, and the two primitives that all else is made of: ``send`` and ``follow``.

``send`` decides whether a message may leave before the disk answers.  That one decision is most of the safety
(R01, R02, R16, R21): a message leaves at once only if term and vote are durable and it claims no entry that is
not.

The other modules of this package are functions over this state, one idea each.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from attrs import frozen

from dfs.raft.core.log import Log
from dfs.raft.core.progress import Progress
from dfs.raft.core.types import (
    Arrived,
    Chance,
    Config,
    Configuration,
    EntryRead,
    HardState,
    Outgoing,
    ReadState,
    Role,
    SnapshotMark,
    SnapshotWanted,
    Standing,
    Unknown,
)
from dfs.raft.membership import encode_configuration
from dfs.raft.messages import AppendReply, Entry, Message


@frozen
class Adopted:
    """A configuration and the entry that holds it; index 0 before there was one."""

    index: int
    payload: bytes
    configuration: Configuration


@frozen
class Forwarded:
    """A follower's request for a read index, as the leader holds it."""

    member: str
    epoch: int
    number: int


@frozen
class InFlight:
    """A Ready that the disk has not answered: what it will have made durable."""

    number: int
    hard_state: HardState
    last_index: int


class State:
    """See the module.

    :ivar durable_hard: term and vote as synced.
    :ivar handed_apply: the last committed entry given out to be applied.
    :ivar elapsed: ticks of the election timer, which fires at ``timeout``.
    :ivar heard_ticks: since the leader was heard, for vote stickiness; not reset by elections.
    :ivar round: the number of heartbeat rounds begun in this term (R47).
    :ivar round_reads: (round, commit index captured, ids) of each round awaiting a quorum.
    :ivar uncommitted: (index, bytes) of each proposal not committed, in order (R25).
    :ivar fetches: disk reads asked for: number to member, or to None for the applier.
    :ivar configurations: the latest at or below the boundary and all later ones; the last is active (configuring.py).
    :ivar membership_changed: whom to reach was not told since it changed.
    :ivar told_removed: another member said that this one was removed (R57).
    :ivar needs_snapshot: the tables end before the log begins: nothing is applied, and no election begun, before one
        is installed.
    :ivar commit_before: what was committed at the heartbeat before last, for R54; ``commit_then`` at the last one.
    :ivar transferee: whom leadership is being handed to, for ``transfer_elapsed`` ticks so far; below zero that counts
        the rest after a transfer that was given up.
    :ivar forward_waiting: reads that wait for the request in ``forward_out``: its number, their ids; sent
        ``forward_elapsed`` ticks ago.
    """

    def __init__(self, config: Config, configuration: Configuration, hard: HardState, log: Log, chance: Chance,
                 trace: Callable[[str], None] | None) -> None:  # fmt: skip
        self.config = config
        payload = encode_configuration(configuration) if configuration.voters else b""
        self.configurations = [Adopted(log.boundary.index, payload, configuration)]
        self.configuration = configuration
        self.membership_changed = True
        self.told_removed = False
        self.needs_snapshot = False
        self.chance = chance
        self.trace_line = trace
        self.term = hard.term
        self.vote = hard.vote
        self.durable_hard = hard
        self.log = log
        self.role = Role.FOLLOWER
        self.leader: str | None = None
        self.commit = 0
        self.applied = 0
        self.handed_apply = 0
        self.apply_batches: list[int] = []
        self.applying_read: int | None = None
        self.installing: SnapshotMark | None = None
        self.installing_configuration = b""
        self.reset_configuration = b""
        self.progress: dict[str, Progress] = {}
        self.votes: dict[str, bool] = {}
        self.elapsed = 0
        self.timeout = 0
        self.heard_ticks = config.election_ticks
        self.heartbeat_elapsed = 0
        self.disk_slow = False
        self.round = 0
        self.waiting_reads: list[int | Forwarded] = []
        self.round_reads: list[tuple[int, int, tuple[int | Forwarded, ...]]] = []
        self.epoch = 0
        self.last_forward = 0
        self.forward_waiting: list[int] = []
        self.forward_out: tuple[int, tuple[int, ...]] | None = None
        self.forward_elapsed = 0
        self.transferee: str | None = None
        self.transfer_elapsed = 0
        self.commit_before = self.commit_then = 0
        self.uncommitted: deque[tuple[int, int]] = deque()
        self.uncommitted_bytes = 0
        self.first_own_index = 0
        self.fetches: dict[int, str | None] = {}
        self.fetched: tuple[Entry, ...] = ()
        self.last_fetch = 0
        self.last_ready = 0
        self.in_flight: list[InFlight] = []
        self.told = Standing(Role.FOLLOWER, hard.term, None)
        self.told_hard = hard
        # what the next Ready takes
        self.now: list[Outgoing] = []
        self.after: list[Outgoing] = []
        self.reads: list[ReadState] = []
        self.reads_lost: list[int] = []
        self.unknown: Unknown | None = None
        self.entry_reads: list[EntryRead] = []
        self.snapshots_wanted: list[SnapshotWanted] = []
        self.arrived: list[Arrived] = []

    def copy(self) -> State:
        """An independent copy: containers are copied, values are shared."""
        other = State.__new__(State)
        other.__dict__.update(self.__dict__)
        for name, value in self.__dict__.items():
            if isinstance(value, list | dict | deque):
                setattr(other, name, value.copy())
        other.log = self.log.copy()
        other.progress = {member: progress.copy() for member, progress in self.progress.items()}
        return other

    def fingerprint(self) -> tuple[object, ...]:
        """A hashable value: equal for states that behave alike.  Numbers of Readys do not count."""
        shift = self.last_ready
        return (
            self.term, self.vote, self.durable_hard, self.log.fingerprint(), self.role, self.leader, self.commit,
            self.applied, self.handed_apply, tuple(self.apply_batches), self.applying_read, self.installing,
            tuple((member, self.progress[member].fingerprint()) for member in sorted(self.progress)),
            tuple(sorted(self.votes.items())), self.elapsed, self.timeout, self.heard_ticks, self.heartbeat_elapsed,
            self.disk_slow, self.round, tuple(self.waiting_reads), tuple(self.round_reads), tuple(self.uncommitted),
            self.first_own_index, tuple(self.fetches.items()), self.fetched,
            tuple((i.number - shift, i.hard_state, i.last_index) for i in self.in_flight), self.told, self.told_hard,
            tuple(self.now), tuple(self.after), tuple(self.reads), tuple(self.reads_lost), self.unknown,
            tuple(self.entry_reads), tuple(self.snapshots_wanted), tuple(self.arrived),
            tuple((adopted.index, adopted.payload) for adopted in self.configurations), self.membership_changed,
            self.told_removed, self.needs_snapshot, self.installing_configuration, self.reset_configuration,
            self.last_forward, tuple(self.forward_waiting), self.forward_out, self.forward_elapsed,
            self.transferee, self.transfer_elapsed, self.commit_before, self.commit_then,
        )  # fmt: skip

    @property
    def me(self) -> str:
        """This member."""
        return self.config.me

    @property
    def is_voter(self) -> bool:
        """Whether this member counts."""
        return self.config.me in self.configuration.voters

    @property
    def may_campaign(self) -> bool:
        """A voter, or one whose removal is not known to be committed: the others may need its log (thesis 4.2.2)."""
        if self.needs_snapshot or self.told_removed:
            return False
        last = self.configurations[-1]
        uncommitted = last.index > self.commit and len(self.configurations) > 1
        return self.is_voter or (uncommitted and self.me in self.configurations[-2].configuration.voters)

    @property
    def removed(self) -> bool:
        """Whether this member knows that it was removed for good (R57)."""
        if self.me in self.configuration.members:
            return self.told_removed
        committed = self.configurations[-1].index <= self.commit
        return self.told_removed or (committed and self.me in self.configuration.removed)

    def commit_to(self, index: int) -> None:
        """Entries up to ``index`` are committed; if the active configuration is among them, the former one's members
        need not be reached any longer."""
        if self.commit < self.configurations[-1].index <= index:
            self.membership_changed = True
        self.commit = index

    def trace(self, line: str) -> None:
        """One line a transition."""
        if self.trace_line is not None:
            self.trace_line(f"{self.config.me} {line}")

    def send(self, to: str, message: Message, claims: int = 0) -> None:
        """Queue a message.  ``claims``: the last entry that it says this member holds durably."""
        if self.term == self.durable_hard.term and self.vote == self.durable_hard.vote and claims <= self.log.durable:
            self.now.append(Outgoing(to, message))
            return
        if self.after and isinstance(message, AppendReply) and message.accepted:
            # With appends pipelined only the last of several acknowledgements matters.
            last = self.after[-1]
            former = last.message
            if (
                last.to == to
                and isinstance(former, AppendReply)
                and former.accepted
                and (former.term, former.round, former.index) <= (message.term, message.round, message.index)
                and former.index <= message.index
            ):
                self.after[-1] = Outgoing(to, message)
                return
        self.after.append(Outgoing(to, message))

    def draw_timeout(self) -> None:
        """Begin the election timer anew, drawn from one to two election time-outs (R11)."""
        least = self.config.election_ticks
        self.elapsed = 0
        self.timeout = least + int(self.chance.random() * (least + 1))

    def follow(self, term: int, leader: str | None) -> None:
        """Become a follower in ``term``, at least the present one; what only a leader or candidate has is dropped."""
        if self.role is Role.LEADER:
            self._resign()
        if term > self.term or leader != self.leader:
            self.lose_forwarded()
        if term > self.term:
            self.term, self.vote = term, None
            self.leader = None  # hints never outlive their term (R50)
        if self.role is not Role.FOLLOWER or leader != self.leader:
            self.trace(f"follows {leader} in term {term}")
        self.role = Role.FOLLOWER
        self.leader = leader
        self.votes = {}
        self.draw_timeout()

    def lose_forwarded(self) -> None:
        """The leader that reads were forwarded to may be none."""
        self.reads_lost.extend(self.forward_waiting)
        if self.forward_out is not None:
            self.reads_lost.extend(self.forward_out[1])
        self.forward_waiting, self.forward_out = [], None

    def _resign(self) -> None:
        first = max(self.commit + 1, self.first_own_index)
        if first <= self.log.last_index:
            self.unknown = Unknown(first, self.log.last_index, self.term)
        waiting = [one for _, _, ones in self.round_reads for one in ones] + self.waiting_reads
        self.reads_lost.extend(one for one in waiting if isinstance(one, int))
        self.round_reads, self.waiting_reads = [], []
        self.uncommitted, self.uncommitted_bytes = deque(), 0
        self.fetches = {number: member for number, member in self.fetches.items() if member is None}
        self.entry_reads = [read for read in self.entry_reads if read.number in self.fetches]
        self.snapshots_wanted = []
        self.transferee = None
        self.membership_changed = self.membership_changed or any(p.leaving_index for p in self.progress.values())
        self.progress = {}
        self.heard_ticks = self.config.election_ticks  # a leader that steps down insists on nobody
