"""One member in an exhaustive search: a value, and what each input makes of it.

A group's next states are made of its members' next states.  Members are few and groups are many: so each member's state
is given a number, each message too, and what an input does to a member is worked out by the real core once and looked
up from then on.  The search itself handles small numbers only.

Elections skip the pre-vote and nobody insists on a leader: that only adds behaviours.
"""

from __future__ import annotations

from typing import Any

import attrs
from attrs import evolve, frozen

from dfs.raft.codec import encode_entry
from dfs.raft.core import Config, Configuration, HardState, RaftCore, Ready, Role, SnapshotMark, election, replication
from dfs.raft.membership import AddLearner, Change, Promote, Remove, encode_configuration
from dfs.raft.messages import AppendReply, Entry, EntryKind, Message, VoteReply, VoteRequest
from dfs.simulation.consensus.checks import Violated
from dfs.simulation.consensus.disk import Disk

SYNC, TIME_OUT, PROPOSE, HEARTBEAT, CRASH = -1, -2, -3, -4, -5
"""Inputs that are no messages."""

LET_IN, PROMOTE, REMOVE = -10, -20, -30
"""Changes of the membership; the place of whom they concern is subtracted."""

ACTIONS = {SYNC: "sync", TIME_OUT: "time-out", PROPOSE: "propose", HEARTBEAT: "heartbeat", CRASH: "crash"}
ACTIONS |= {LET_IN - place: f"let {name} in" for place, name in enumerate("abcdefg")}
ACTIONS |= {PROMOTE - place: f"promote {name}" for place, name in enumerate("abcdefg")}
ACTIONS |= {REMOVE - place: f"remove {name}" for place, name in enumerate("abcdefg")}


class Steady:
    """No chance at all: every election timer is drawn in the middle."""

    def random(self) -> float:
        """Always a half."""
        return 0.5


@frozen
class Packet:
    """A message and its way; members are numbers."""

    sender: int
    to: int
    message: Message


@frozen(eq=False)
class Cell:
    """A member's state.

    :ivar pending: what the disk was given and has not synced.
    :ivar terms: of its log's entries; ``durable`` those on its disk.
    :ivar led: the term that it leads, 0 where it does not lead.
    :ivar voters: the places of those who vote, as it has it.
    """

    place: int
    core: RaftCore
    disk: Disk
    pending: tuple[Ready, ...]
    terms: tuple[int, ...]
    durable: tuple[int, ...]
    term: int
    led: int
    commit: int
    voters: tuple[int, ...]


@frozen
class Move:
    """What an input did: the member's next state and the packets that it sent, both as numbers."""

    cell: int
    sent: tuple[int, ...]


class Cells:
    """All members' states and all messages that were met.  ``names`` gives places their names."""

    def __init__(self, names: tuple[str, ...], instant_disks: bool, founders: int = 0, **limits: int) -> None:
        self.names = names
        self.cells: list[Cell] = []
        self.packets: list[Packet] = []
        self._instant = instant_disks
        self._config = Config("?", election_ticks=1, heartbeat_ticks=1, **limits)
        self._founders = Configuration(names[:founders])
        self._configuration = Configuration(()) if founders else Configuration(names)
        self._places = {name: place for place, name in enumerate(names)}
        self._cell_numbers: dict[object, int] = {}
        self._packet_numbers: dict[Packet, int] = {}
        self._moves: dict[tuple[int, int], Move | None] = {}

    def start(self, place: int, hard: HardState, terms: tuple[int, ...]) -> int:
        """A member that starts with this on its disk."""
        entries: list[Entry] = []
        for index, term in enumerate(terms, 1):
            previous = entries[-1].checksum if entries else 0
            kind, payload = EntryKind.COMMAND, b"%d" % term
            if index == 1 and self._founders.voters:
                kind, payload = EntryKind.CONFIGURATION, encode_configuration(self._founders)
            entries.append(encode_entry(index, term, kind, payload, previous))
        disk = Disk(hard, entries=entries)
        return self._rest(place, self._open(place, disk), disk, ()).cell

    def move(self, number: int, given: int) -> Move | None:
        """What an input, a packet's number or an action, makes of a member; None where it changes nothing."""
        key = number, given
        if key not in self._moves:
            self._moves[key] = self._work_out(number, given)
        return self._moves[key]

    def is_dead(self, packet: Packet, cell: Cell) -> bool:
        """Whether a packet can never do anything any more: an answer in a term that its receiver durably left."""
        return isinstance(packet.message, VoteReply | AppendReply) and packet.message.term < cell.disk.hard.term

    def _open(self, place: int, disk: Disk) -> RaftCore:
        config = evolve(self._config, me=self.names[place])
        return RaftCore(
            config, disk.hard, disk.view(1000), Steady(), configuration=self._configuration, applied=SnapshotMark(0, 0)
        )

    def _work_out(self, number: int, given: int) -> Move | None:
        cell = self.cells[number]
        disk = Disk(cell.disk.hard, entries=cell.disk.entries.copy())
        pending = cell.pending
        sent: list[Packet] = []
        if given == CRASH:
            core, pending = self._open(cell.place, disk), ()
        else:
            core = cell.core.copy()
            if given >= 0:
                packet = self.packets[given]
                core.step(self.names[packet.sender], packet.message)
            elif given == SYNC:
                pending = self._sync(cell.place, core, disk, pending, sent)
            elif given == TIME_OUT:
                core.state.role = Role.FOLLOWER
                election.elect(core.state)
            elif given == PROPOSE:
                core.propose([b"x"])
            elif given <= LET_IN:
                core.change(self._change(given))
            else:
                replication.heartbeat(core.state)  # a tick would also judge whether a quorum was heard
        core.state.heard_ticks = 1  # an election time-out, so nobody insists on a leader
        move = self._rest(cell.place, core, disk, pending, sent)
        return None if move == Move(number, ()) else move

    def _change(self, given: int) -> Change:
        if given <= REMOVE:
            return Remove(self.names[REMOVE - given])
        if given <= PROMOTE:
            return Promote(self.names[PROMOTE - given])
        return AddLearner(self.names[LET_IN - given], "")

    def _rest(
        self, place: int, core: RaftCore, disk: Disk, pending: tuple[Ready, ...], sent: list[Packet] | None = None
    ) -> Move:
        """Take all Readys; then the member's state has a number."""
        packets = sent if sent is not None else []
        while True:
            while (ready := core.take_ready()) is not None:
                self._send(place, disk, ready.messages_now, packets)
                if ready.writes or ready.messages_after:
                    pending = (*pending, ready)
                if ready.committed:
                    core.applied(ready.committed[-1].index)
            if not pending or not (self._instant or not pending[0].writes):
                break
            pending = self._sync(place, core, disk, pending, packets)
        sent_numbers = sorted({self._number(packet) for packet in packets})
        return Move(self._cell(place, core, disk, pending), tuple(sent_numbers))

    def _sync(
        self, place: int, core: RaftCore, disk: Disk, pending: tuple[Ready, ...], packets: list[Packet]
    ) -> tuple[Ready, ...]:
        ready, *rest = pending
        disk.write(ready)
        self._send(place, disk, ready.messages_after, packets)
        if ready.writes:
            core.persisted(ready.number)
        return tuple(rest)

    def _send(self, place: int, disk: Disk, outgoing: tuple[Any, ...], packets: list[Packet]) -> None:
        for item in outgoing:
            message: Message = item.message
            name = self.names[place]
            if disk.hard.term < message.term:
                raise Violated(f"R01: {name} speaks in term {message.term}, its disk has {disk.hard.term}")
            vote = name if isinstance(message, VoteRequest) else item.to
            votes = isinstance(message, VoteRequest) or (isinstance(message, VoteReply) and message.granted)
            if votes and (disk.hard.term, disk.hard.vote) != (message.term, vote):
                raise Violated(f"R01: the vote of {name} for {vote} in term {message.term} is not durable")
            if isinstance(message, AppendReply) and message.accepted and message.index > disk.last_index:
                raise Violated(f"R16: {name} acknowledges {message.index}, its disk ends at {disk.last_index}")
            packets.append(Packet(place, self._places[item.to], message))

    def _number(self, packet: Packet) -> int:
        number = self._packet_numbers.setdefault(packet, len(self.packets))
        if number == len(self.packets):
            self.packets.append(packet)
        return number

    def _cell(self, place: int, core: RaftCore, disk: Disk, pending: tuple[Ready, ...]) -> int:
        # Numbers of Readys only count from one another.
        first = pending[0].number if pending else 0
        waiting = tuple(evolve(ready, number=ready.number - first) for ready in pending)
        key = place, core.fingerprint(), disk.hard, tuple(disk.entries), waiting
        number = self._cell_numbers.setdefault(key, len(self.cells))
        if number == len(self.cells):
            terms = tuple(core.term_at(index) or 0 for index in range(1, core.last_index + 1))
            durable = tuple(entry.term for entry in disk.entries)
            voters = tuple(self._places[name] for name in core.configuration.voters)
            led = core.term if core.role is Role.LEADER else 0
            self.cells.append(
                Cell(place, core, disk, pending, terms, durable, core.term, led, core.commit_index, voters)
            )
        return number

    # Renaming, for symmetry

    def renamed_cell(self, number: int, names: dict[str, str]) -> object:
        """A hashable value of a member's state under other names, without its place."""
        cell = self.cells[number]
        waiting = tuple(attrs.astuple(evolve(ready, number=0), recurse=False) for ready in cell.pending)
        key = cell.core.fingerprint(), cell.disk.hard, tuple(cell.disk.entries), waiting
        return _renamed(key, names)


def _renamed(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, str):
        return names.get(value, value)
    if isinstance(value, Entry):
        return value
    if isinstance(value, tuple | list):
        renamed = [_renamed(item, names) for item in value]
        pairs = all(isinstance(item, tuple) and item and isinstance(item[0], str) for item in value)
        return tuple(sorted(renamed, key=repr)) if pairs and renamed else tuple(renamed)
    if attrs.has(type(value)):
        return (type(value).__name__, *(_renamed(item, names) for item in attrs.astuple(value, recurse=False)))
    return value
