"""What must hold after every step of any run (thesis 3.2, figure 3.2), and what a sent message must not claim.

Each violation raises AssertionError with a sentence that names the property.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from dfs.raft.core import HardState, RaftCore, ReadState, Ready, Role
from dfs.raft.messages import AppendReply, AppendRequest, Entry, Message, VoteReply, VoteRequest


class SyncedDisk(Protocol):
    """What is asked of a member's disk."""

    hard: HardState

    def holds(self, entry: Entry) -> bool:
        """Whether this very entry is durable."""


class Invariants:
    """Remembers what was seen of the whole group since its founding."""

    def __init__(self) -> None:
        self.watching = True  # False once made-up messages make the history untrue
        self.leaders: dict[int, str] = {}
        self.entries: dict[tuple[int, int], Entry] = {}
        self.committed: dict[int, Entry] = {}
        self.committed_in: dict[int, int] = {}  # the term of whoever first knew it
        self.last_committed = 0  # the highest commit index that anybody knew of
        self.votes: dict[tuple[str, int], str] = {}
        self.durable: dict[str, HardState] = {}
        self.commit: dict[str, int] = {}
        self.applied: dict[str, int] = {}
        self.asked: dict[int, int] = {}

    def copy(self) -> Invariants:
        """An independent copy, for a search that branches."""
        other = Invariants()
        for name, value in self.__dict__.items():
            setattr(other, name, value.copy() if isinstance(value, dict) else value)
        return other

    def crashed(self, name: str) -> None:
        """Its commit index and applied index begin anew."""
        self.commit.pop(name, None)
        self.applied.pop(name, None)

    def installed(self, name: str, index: int) -> None:
        """A snapshot took its state machine to ``index``."""
        assert index >= self.applied.get(name, 0), f"R39: {name}'s applied index went back to {index}"
        self.applied[name] = index

    def synced(self, name: str, disk: SyncedDisk) -> None:
        """R03: term and vote never go back."""
        if not self.watching:
            return
        former = self.durable.get(name, HardState())
        assert disk.hard.term >= former.term, f"R03: {name}'s term went back to {disk.hard.term}"
        same_vote = disk.hard.term > former.term or former.vote in (None, disk.hard.vote)
        assert same_vote, f"R01: {name} changed its vote in term {former.term}"
        self.durable[name] = disk.hard

    def sent(self, name: str, message: Message, to: str, disk: SyncedDisk) -> None:
        """R01, R02, R16: nothing leaves that the sender's disk does not back."""
        if not self.watching or (isinstance(message, VoteRequest | VoteReply) and message.pre):
            return
        assert disk.hard.term >= message.term, f"R01: {name} speaks in term {message.term}, durable is {disk.hard.term}"
        if isinstance(message, VoteRequest):
            self._vote(name, message.term, name, disk)
        elif isinstance(message, VoteReply) and message.granted:
            self._vote(name, message.term, to, disk)
        elif isinstance(message, AppendReply) and message.accepted and message.index in self.committed:
            pass  # a committed entry may be held in the state machine only
        elif isinstance(message, AppendReply) and message.accepted and message.index:
            leader = self.leaders.get(message.term)
            assert leader == to, f"R16: {name} acknowledges to {to}, the leader of {message.term} is {leader}"

    def _vote(self, voter: str, term: int, candidate: str, disk: SyncedDisk) -> None:
        former = self.votes.setdefault((voter, term), candidate)
        assert former == candidate, f"R01: {voter} voted for {former} and {candidate} in term {term}"
        backed = disk.hard.term > term or (disk.hard.term == term and disk.hard.vote == candidate)
        assert backed, f"R01: {voter}'s vote for {candidate} in term {term} is not durable"

    def ready(self, name: str, core: RaftCore, ready: Ready, disks: Mapping[str, SyncedDisk]) -> None:
        """Log matching and state-machine safety, from what storage and state machine are given."""
        if not self.watching:
            return
        for entry in ready.entries:
            # An entry's bytes hold the checksum of the entry before, so equal bytes mean equal prefixes.
            former = self.entries.setdefault((entry.index, entry.term), entry)
            assert former == entry, f"log matching: two entries at {entry.index}/{entry.term}"
        self._check_commit(name, core, disks)
        for entry in ready.committed:
            expected = self.applied.get(name, entry.index - 1) + 1
            assert entry.index == expected, f"{name} applies {entry.index} and not {expected}"
            self.applied[name] = entry.index
            assert self.committed.get(entry.index) == entry, f"state-machine safety: {name} applies another {entry}"
        for outgoing in ready.messages_now:
            if isinstance(outgoing.message, AppendRequest):
                term = outgoing.message.term
                leads = core.role is Role.LEADER or term < core.term or self.leaders.get(term) == name
                assert leads, f"{name} appends and does not lead"

    def check(self, name: str, core: RaftCore, disks: Mapping[str, SyncedDisk]) -> None:
        """Election safety, leader completeness, commit only of what a quorum holds."""
        if not self.watching:
            return
        self._check_commit(name, core, disks)
        if core.role is Role.LEADER:
            former = self.leaders.get(core.term)
            if former is None:
                self.leaders[core.term] = name
                self._check_complete(name, core)
            else:
                assert former == name, f"election safety: {former} and {name} lead term {core.term}"
        s = core.state
        log = s.log
        assert s.applied <= s.handed_apply <= s.commit <= log.last_index, f"R23: {name}'s order"
        assert (s.applied < log.boundary.index) == s.needs_snapshot, f"R39: {name}'s tables and log do not meet"
        assert s.configuration == s.configurations[-1].configuration, f"R52: {name} counts by an old configuration"
        indexes = [adopted.index for adopted in s.configurations]
        assert indexes == sorted(set(indexes)) and indexes[-1] <= log.last_index, f"R52: {name}'s configurations"
        assert len(indexes) == 1 or indexes[1] > log.boundary.index, f"R52: {name} keeps too many configurations"
        assert log.durable <= log.handed <= log.last_index, f"{name}'s log claims more durable than given"
        assert s.uncommitted_bytes == sum(length for _, length in s.uncommitted), f"R25: {name}'s account"
        for member, progress in s.progress.items():
            assert progress.match < progress.next, f"R18: {name} has match {progress.match} of {member} past next"
            assert progress.match <= log.last_index, f"R18: {name} credits {member} with more than there is"

    def _check_complete(self, name: str, core: RaftCore) -> None:
        for index, entry in self.committed.items():
            # A leader of an older term, elected by late votes, can do no harm and need not have it.
            if index > core.state.log.boundary.index and self.committed_in[index] < core.term:
                found = core.term_at(index)
                assert found == entry.term, f"leader completeness: {name} leads without {index}/{entry.term}"

    def _check_commit(self, name: str, core: RaftCore, disks: Mapping[str, SyncedDisk]) -> None:
        commit, former = core.commit_index, self.commit.get(name, 0)
        assert commit >= former, f"R18: {name}'s commit index went back from {former} to {commit}"
        if commit == former:
            return
        self.commit[name] = commit
        log = core.state.log
        for index in range(max(former, log.boundary.index) + 1, commit + 1):
            entry = self.entries[index, core.term_at(index) or 0]
            known = self.committed.setdefault(index, entry)
            self.committed_in.setdefault(index, core.term)
            assert known == entry, f"state-machine safety: {name} commits another entry at {index}"
        if commit > self.last_committed:
            self.last_committed = commit
            active = core.configuration
            holders = sum(disks[voter].holds(self.committed[commit]) for voter in active.voters)
            enough = holders >= active.quorum
            assert enough, f"R21: {name} commits {commit}, durable on {holders} only"

    def read_asked(self, number: int) -> None:
        """Whatever anybody has committed by now, the answer must reflect."""
        self.asked[number] = self.last_committed

    def read_confirmed(self, read: ReadState) -> None:
        """R47: never an index from before the question, never an answer twice."""
        needed = self.asked.pop(read.id)
        current = read.index >= needed or not self.watching
        assert current, f"R47: read {read.id} is answered at {read.index}, {needed} was committed before"
