"""What must hold after every step of every run (Raft thesis 3.2, figure 3.2), each check in constant time.

:class:`Checker` remembers the whole group since its founding and raises :class:`Violated` with a sentence that
names the property.  Most properties are checked where they could first break: a message when it is sent, against
its sender's disk; a commit index when it rises, against the disks of a quorum; an entry when it is given to a
disk, against the entry that had its index and term before.  Log matching follows by induction: equal index and
term mean equal bytes and an equal term before.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from dfs.raft.core import Configuration, HardState, RaftCore, ReadState, Ready, Role
from dfs.raft.messages import AppendReply, Entry, Message, VoteReply, VoteRequest
from dfs.simulation.consensus.disk import Disk
from dfs.simulation.consensus.machine import Machine


class Violated(Exception):
    """A property does not hold: the sentence names it."""


class Watched(Protocol):
    """What is looked at of a member.  ``seen`` is the checker's own; a crash makes it anew."""

    name: str
    disk: Disk
    machine: Machine
    saved: Machine
    seen: Seen
    core: RaftCore | None


class Seen:
    """What a member's present life has shown so far."""

    __slots__ = ("commit", "heard", "last", "led", "match", "term")

    def __init__(self) -> None:
        self.commit = 0
        self.term = 0
        self.led = 0
        self.last = 0
        self.match: dict[str, int] = {}
        self.heard: dict[str, int] = {}


class Checker:
    """See the module.

    :ivar last_committed: the highest commit index that anybody knew of.
    :ivar elections: how many terms had a leader.
    """

    def __init__(self, members: Mapping[str, Watched]) -> None:
        self._members = members
        self._leaders: dict[int, tuple[str, int, int]] = {}  # term to name, last index and its term when elected
        self._entries: dict[tuple[int, int], tuple[Entry, int]] = {}  # with the term of the entry before
        self._committed: dict[int, tuple[int, int]] = {}  # index to term, and the term in which it was known first
        self._votes: dict[tuple[str, int], str] = {}
        self._willing: dict[tuple[str, int], set[str]] = {}  # candidate and term to who granted a pre-vote
        self._durable: dict[str, HardState] = {}
        self._states: dict[int, tuple[int, int, int]] = {}
        self._asked: dict[int, int] = {}
        self.last_committed = 0

    @property
    def elections(self) -> int:
        """How many terms had a leader."""
        return len(self._leaders)

    def found(self, entry: Entry) -> None:
        """An entry that every member was founded with."""
        self._entries[entry.index, entry.term] = entry, 0

    # Disks and messages

    def synced(self, member: Watched) -> None:
        """R03: term and vote never go back, one vote a term."""
        hard, former = member.disk.hard, self._durable.get(member.name)
        if former is None or hard is former:
            self._durable[member.name] = hard
            return
        if hard.term < former.term:
            raise Violated(f"R03: the term of {member.name} went back from {former.term} to {hard.term}")
        if hard.term == former.term and former.vote not in (None, hard.vote):
            raise Violated(f"R01: {member.name} changed its vote in term {hard.term}")
        self._durable[member.name] = hard

    def sent(self, member: Watched, to: str, message: Message) -> None:
        """R01, R02, R16: nothing leaves that the sender's disk does not back."""
        hard = member.disk.hard
        if isinstance(message, VoteRequest | VoteReply):
            if message.pre:
                if isinstance(message, VoteReply) and message.granted:
                    self._willing.setdefault((to, message.term), {to}).add(member.name)
                return
            if isinstance(message, VoteRequest):
                self._campaigns(member, message)
            elif message.granted:
                self._voted(member, message.term, to)
        if hard.term < message.term:
            raise Violated(f"R01: {member.name} speaks in term {message.term}, its disk has {hard.term}")
        if isinstance(message, AppendReply) and message.accepted and message.index:
            self._acknowledged(member, to, message)

    def _campaigns(self, member: Watched, request: VoteRequest) -> None:
        """R08: a new term is begun only where a quorum was ready to vote, or a leader handed over."""
        self._voted(member, request.term, member.name)
        core = member.core
        willing = self._willing.get((member.name, request.term), {member.name})
        if core is None or request.transfer:
            return
        if sum(voter in willing for voter in core.configuration.voters) < core.configuration.quorum:
            raise Violated(f"R08: {member.name} campaigns in term {request.term}, {sorted(willing)} were asked")

    def _voted(self, member: Watched, term: int, candidate: str) -> None:
        former = self._votes.setdefault((member.name, term), candidate)
        if former != candidate:
            raise Violated(f"R01: {member.name} voted for {former} and for {candidate} in term {term}")
        hard = member.disk.hard
        if hard.term < term or (hard.term == term and hard.vote != candidate):
            raise Violated(f"R01: the vote of {member.name} for {candidate} in term {term} is not durable")

    def _acknowledged(self, member: Watched, to: str, reply: AppendReply) -> None:
        index = reply.index
        if index <= member.disk.boundary.index or index <= member.saved.index:
            return  # committed: it is in the state machine
        leader = self._leaders.get(reply.term)
        if leader is None or leader[0] != to:
            raise Violated(f"R16: {member.name} acknowledges {index} to {to}, who does not lead term {reply.term}")
        entry = member.disk.entry(index)
        expected = self._term_of_leader(reply.term, index)
        if entry is None or (expected is not None and entry.term != expected):
            raise Violated(f"R16: {member.name} acknowledges {index} to {to}, its disk has {entry}, not {expected}")

    def _term_of_leader(self, term: int, index: int) -> int | None:
        """The term at ``index`` in the log of the leader of ``term``; None where that is not known."""
        _, last, last_term = self._leaders[term]
        if index > last:
            return term
        while last > index:
            known = self._entries.get((last, last_term))
            if known is None:
                return None
            last, last_term = last - 1, known[1]
        return last_term

    # Readys and steps

    def ready(self, member: Watched, core: RaftCore, ready: Ready) -> None:
        """Log matching, from what the disk is given; what is handed out to be applied must be known to be committed."""
        if ready.committed and core.commit_index != member.seen.commit:
            self._commit(member, core)
        entries = ready.entries
        if not entries:
            return
        before = core.term_at(entries[0].index - 1) or 0
        for entry in entries:
            key = entry.index, entry.term
            former = self._entries.setdefault(key, (entry, before))
            if former[0] is not entry and former[0] != entry:
                raise Violated(f"log matching: two entries at {entry.index}/{entry.term}")
            if former[1] != before and entry.index - 1 > core.state.log.boundary.index:
                raise Violated(f"log matching: {entry.index}/{entry.term} follows term {former[1]} and term {before}")
            before = entry.term

    def stepped(self, member: Watched, core: RaftCore) -> None:
        """Election safety, leader append-only and completeness, monotone terms, commits and matches."""
        s, seen = core.state, member.seen
        log = s.log
        if s.term != seen.term:
            if s.term < seen.term:
                raise Violated(f"R03: the term of {member.name} went back from {seen.term} to {s.term}")
            seen.term = s.term
        if s.role is Role.LEADER:
            self._leads(member, core)
        if s.commit != seen.commit:
            self._commit(member, core)
        if not log.boundary.index <= s.applied <= s.handed_apply <= s.commit <= log.last_index:
            raise Violated(f"R23: boundary, applied, handed out, commit and last of {member.name} are out of order")
        if not log.durable <= log.handed <= log.last_index:
            raise Violated(f"the log of {member.name} claims more durable than it gave to the disk")
        if s.uncommitted_bytes < 0:
            raise Violated(f"R25: the account of {member.name} is negative")

    def _leads(self, member: Watched, core: RaftCore) -> None:
        s, seen = core.state, member.seen
        last = s.log.last_index
        if seen.led != s.term:
            self._elected(member, core)
            seen.led, seen.match, seen.heard = s.term, {}, {}
        elif last < seen.last:
            raise Violated(f"leader append-only: {member.name} cut its log from {seen.last} to {last}")
        seen.last = last
        matches = seen.match
        for name, progress in s.progress.items():
            match = progress.match
            if match >= progress.next or match > last:
                raise Violated(f"R18: {member.name} has match {match} of {name}, next {progress.next}, last {last}")
            former = matches.get(name, 0)
            if match != former:
                if match < former:
                    raise Violated(f"R18: match of {name} went back from {former} to {match} at {member.name}")
                matches[name] = match

    def _elected(self, member: Watched, core: RaftCore) -> None:
        term = core.term
        first_own = core.state.first_own_index
        leader = member.name, first_own - 1, core.term_at(first_own - 1) or 0
        former = self._leaders.setdefault(term, leader)
        if former[0] != member.name:
            raise Violated(f"election safety: {former[0]} and {member.name} lead term {term}")
        hard = member.disk.hard
        if hard.term < term or (hard.term == term and hard.vote != member.name):
            raise Violated(f"R02: {member.name} leads term {term}, its own vote is not durable")
        votes = sum(self._votes.get((name, term)) == member.name for name in core.configuration.voters)
        # With no other voter nobody was asked.
        votes += member.name in core.configuration.voters and (member.name, term) not in self._votes
        if votes < core.configuration.quorum:
            raise Violated(f"R06: {member.name} leads term {term} by {votes} votes")
        index = self.last_committed
        # A leader of an older term, elected by late votes, can do no harm and need not have all.
        while index and self._committed[index][1] >= term:
            index -= 1
        if index > core.state.log.boundary.index and core.term_at(index) != self._committed[index][0]:
            missing = f"{index}/{self._committed[index][0]}"
            raise Violated(f"leader completeness: {member.name} leads {term} without {missing}")

    def _commit(self, member: Watched, core: RaftCore) -> None:
        s, seen = core.state, member.seen
        if s.commit < seen.commit:
            raise Violated(f"R18: the commit index of {member.name} went back from {seen.commit} to {s.commit}")
        for index in range(max(seen.commit, s.log.boundary.index) + 1, s.commit + 1):
            term = core.term_at(index) or 0
            known = self._committed.setdefault(index, (term, s.term))
            if known[0] != term:
                raise Violated(f"state-machine safety: {member.name} commits {index}/{term}, it was {known[0]}")
        seen.commit = s.commit
        if s.commit > self.last_committed:
            self._first_commit(member, core)

    def _first_commit(self, member: Watched, core: RaftCore) -> None:
        """R17, R21: a quorum holds it durably, and its term is that of the leader."""
        index = core.commit_index
        term = core.term_at(index)
        self.last_committed = index
        if core.role is Role.LEADER and term != core.term:
            raise Violated(f"R17: {member.name} commits {index} of term {term} in term {core.term}")
        if not self._is_held(core.configuration, index, term or 0):
            raise Violated(f"R21: {member.name} commits {index}/{term}, which no quorum holds durably")

    def _is_held(self, configuration: Configuration, index: int, term: int) -> bool:
        return self._holders(configuration.voters, index, term) >= configuration.quorum

    def _holders(self, names: tuple[str, ...], index: int, term: int) -> int:
        count = 0
        for name in names:
            disk = self._members[name].disk
            entry = disk.entry(index)
            count += (entry is not None and entry.term == term) or index <= disk.boundary.index
        return count

    def ticked(self, member: Watched, core: RaftCore, now: int, patience: int) -> None:
        """R10: who leads at ``now`` has heard a quorum within ``patience`` milliseconds."""
        heard = member.seen.heard
        voters = core.configuration.voters
        late = [name for name in voters if heard.setdefault(name, now) < now - patience and name != member.name]
        if len(voters) - len(late) < core.configuration.quorum:
            raise Violated(f"R10: {member.name} leads term {core.term}, unheard are {late} for {patience} ms")

    # State machines and reads

    def applied(self, member: Watched, entry: Entry) -> None:
        """State-machine safety: the same entries in the same order make the same state."""
        machine = member.machine
        known = self._committed.get(entry.index)
        if known is None or known[0] != entry.term:
            what = f"{entry.index}/{entry.term}"
            raise Violated(f"state-machine safety: {member.name} applies {what}, committed is {known}")
        if machine.index != entry.index:
            raise Violated(f"{member.name} applied {entry.index} and is at {machine.index}")
        self.state(member)

    def state(self, member: Watched) -> None:
        """What the machine holds at its index is what it held when somebody first came there."""
        machine = member.machine
        state = machine.term, machine.count, machine.digest
        if self._states.setdefault(machine.index, state) != state:
            raise Violated(f"state-machine safety: {member.name} has another state at {machine.index}")

    def read_asked(self, number: int) -> None:
        """Whatever anybody has committed by now, the answer must reflect."""
        self._asked[number] = self.last_committed

    def read_confirmed(self, member: Watched, read: ReadState) -> None:
        """R47: never an index from before the question, never an answer twice."""
        needed = self._asked.pop(read.id, None)
        if needed is None:
            raise Violated(f"R47: {member.name} answers read {read.id}, which was not asked or was answered before")
        if read.index < needed:
            raise Violated(f"R47: {member.name} answers a read at {read.index}, {needed} was committed before it")
