"""A group of bare cores over a make-believe network and disks, every effect a step that a test chooses.

Messages lie in ``network`` until delivered, dropped or doubled.  Writes lie in a node's ``pending`` until synced; a
crash loses them.  A crash also takes the state machine back to what it had last made durable.  After every step
:class:`dfs.raft.test.invariants.Invariants` looks at what happened.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Any

from attrs import define, evolve, field, frozen

from dfs.raft.codec import decode_entry
from dfs.raft.core import (
    Arrived,
    Chance,
    Config,
    Configuration,
    RaftCore,
    Ready,
    SnapshotMark,
)
from dfs.raft.membership import decode_configuration
from dfs.raft.messages import Entry, Message, SnapshotPiece, SnapshotProgress, SnapshotReply
from dfs.raft.test.coredisk import Disk
from dfs.raft.test.invariants import Invariants


@frozen
class Packet:
    """A message under way."""

    sender: str
    to: str
    message: Message


@define
class Node:
    """One member: its core while it runs, its disk, its state machine (all applied entries, the first
    ``durable`` of them for good).  ``key`` is where a search notes the fingerprint of a node at rest."""

    name: str
    disk: Disk
    core: RaftCore | None = None
    pending: list[Ready] = field(factory=list)
    applied: list[Entry] = field(factory=list)
    durable: int = 0
    events: list[Any] = field(factory=list)
    key: int | None = None

    def copy(self) -> Node:
        """An independent copy."""
        disk = evolve(self.disk, entries=self.disk.entries.copy())
        core = self.core.copy() if self.core is not None else None
        return Node(self.name, disk, core, self.pending.copy(), self.applied.copy(), self.durable, self.events.copy())


class Cluster:
    """See the module.  ``say`` gets one line an effect, for scripts."""

    def __init__(
        self,
        members: Iterable[str] = ("a", "b", "c"),
        chance: Chance | None = None,
        say: Callable[[str], None] | None = None,
        learners: tuple[str, ...] = (),
        config: Config | None = None,
    ) -> None:
        self.members = tuple(members)
        self.configuration = Configuration(self.members, learners)
        self.chance = chance or random.Random(1)
        self.say = say
        self.config = config or Config("?")
        self.network: list[Packet] = []
        self.invariants = Invariants()
        self.nodes = {name: Node(name, Disk(self.configuration)) for name in (*self.members, *learners)}
        self.last_read = 0
        self.tail = 1000
        for name in self.nodes:
            self.restart(name)

    def copy(self, touched: str) -> Cluster:
        """A copy for a search that branches: only ``touched`` may be acted on, the others are shared."""
        other = Cluster.__new__(Cluster)
        other.__dict__.update(self.__dict__)
        other.network = self.network.copy()
        other.invariants = self.invariants.copy()
        other.nodes = {**self.nodes, touched: self.nodes[touched].copy()}
        return other

    # Inputs

    def core(self, name: str) -> RaftCore:
        """The running core of a member."""
        core = self.nodes[name].core
        assert core is not None, f"{name} is down"
        return core

    def alive(self) -> list[str]:
        """Those that run."""
        return [name for name, node in self.nodes.items() if node.core is not None]

    def tick(self, name: str, count: int = 1) -> None:
        """Some ticks, taking Readys after each."""
        for _ in range(count):
            self.core(name).tick()
            self.turn(name)

    def do(self, name: str, action: str, *arguments: Any) -> Any:
        """Call a method of the core, then take its Readys."""
        result = getattr(self.core(name), action)(*arguments)
        self.turn(name)
        return result

    def read(self, name: str) -> int | None:
        """Ask for a read; its number where it was taken."""
        self.last_read += 1
        if self.core(name).read_index(self.last_read) is not None:
            return None
        self.invariants.read_asked(self.last_read)
        self.turn(name)
        return self.last_read

    # The network

    def deliver(self, position: int = 0) -> None:
        """Take a packet out of the network and hand it over, if its receiver runs."""
        self.hand_over(self.network.pop(position))

    def hand_over(self, packet: Packet) -> None:
        """Deliver a packet that stays where it is, if anywhere."""
        if packet.to in self.nodes and self.nodes[packet.to].core is not None:
            self.do(packet.to, "step", packet.sender, packet.message)

    def settle(self, links: Callable[[str, str], bool] = lambda sender, to: True, limit: int = 10_000) -> None:
        """Sync and deliver, in order, until nothing is under way; packets on cut links are dropped."""
        for _ in range(limit):
            for name in self.alive():
                self.sync(name)
            if not self.network:
                return
            packet = self.network.pop(0)
            if links(packet.sender, packet.to):
                self.hand_over(packet)
        raise AssertionError("the cluster does not come to rest")

    def run(self, ticks: int, links: Callable[[str, str], bool] = lambda sender, to: True) -> None:
        """Let time pass for everyone, with a settled network after each tick."""
        for _ in range(ticks):
            for name in self.alive():
                self.tick(name)
            self.settle(links)

    def elect(self, name: str) -> None:
        """Make ``name`` the leader, all being well connected and calm."""
        for other in self.alive():
            if other != name and self.core(other).leader is not None:
                self.core(other).stalled(self.config.election_ticks)  # so that nobody insists on a former leader
        self.do(name, "campaign")
        self.settle()
        assert self.core(name).role == "leader", name

    def leader(self) -> str | None:
        """Who leads in the newest term, if anyone."""
        leaders = [name for name in self.alive() if self.core(name).role == "leader"]
        return max(leaders, key=lambda name: self.core(name).term, default=None)

    # The disk, crashes

    def sync(self, name: str, count: int | None = None) -> None:
        """The disk finishes the first ``count`` pending Readys, or all."""
        node = self.nodes[name]
        while node.pending and (count is None or count > 0):
            ready = node.pending.pop(0)
            node.disk.write(ready)
            self.invariants.synced(name, node.disk)
            if ready.writes and self.say:
                self.say(f"{name} syncs {_written(ready)}")
            self._send(name, ready.messages_after)
            if ready.writes:
                self.core(name).persisted(ready.number)
            self.turn(name)
            if count is not None:
                count -= 1

    def sync_state(self, name: str) -> None:
        """The state machine makes all it has applied durable."""
        self.nodes[name].durable = len(self.nodes[name].applied)

    def join(self, name: str) -> None:
        """A new member's folder: empty, without voters (founders are there from the start)."""
        self.nodes[name] = Node(name, Disk(Configuration(())))
        self.restart(name)

    def lose_tables(self, name: str) -> None:
        """Its state machine's store is lost; its log is not."""
        self.crash(name)
        self.nodes[name].applied, self.nodes[name].durable = [], 0

    def compact(self, name: str, index: int) -> None:
        """Drop the log up to ``index``, durable in the state machine, unless writes or transfers are in the way."""
        node = self.nodes[name]
        assert index <= node.durable, "compaction beyond what is durably applied"
        boundary = node.disk.boundary
        on_disk = boundary.index < index <= boundary.index + len(node.disk.entries)
        if on_disk and not node.pending and index < self.core(name).keep_from():
            node.disk.configuration = decode_configuration(self.core(name).configuration_at(index))
            entry = node.disk.entries[index - boundary.index - 1]
            node.disk.boundary = SnapshotMark(index, entry.term)
            del node.disk.entries[: index - boundary.index]
            self.do(name, "compacted", node.disk.boundary)

    def crash(self, name: str) -> None:
        """All that was not synced is gone."""
        node = self.nodes[name]
        node.core, node.pending, node.events = None, [], []
        del node.applied[node.durable :]
        self.invariants.crashed(name)

    def restart(self, name: str) -> None:
        """Start from the disk."""
        node = self.nodes[name]
        applied = SnapshotMark(node.applied[-1].index, node.applied[-1].term) if node.applied else SnapshotMark(0, 0)
        node.core = RaftCore(
            evolve(self.config, me=name),
            node.disk.hard,
            node.disk.view(self.tail),
            self.chance,
            configuration=node.disk.configuration,
            applied=applied,
            installed=node.disk.incoming,
            trace=self.say,
        )
        self.turn(name)

    # What Readys ask for

    def turn(self, name: str) -> None:
        """Take all Readys and do what needs no disk."""
        node = self.nodes[name]
        core = self.core(name)
        disks = {one.name: one.disk for one in self.nodes.values()}
        while (ready := core.take_ready()) is not None:
            self.invariants.ready(name, core, ready, disks)
            self._send(name, ready.messages_now)
            if ready.writes or ready.messages_after:
                node.pending.append(ready)
            self._apply(node, core, ready.committed)
            self._note(node, ready)
            for wanted in ready.entry_reads:
                core.entries_read(wanted.number, node.disk.read(wanted))
            for snapshot in ready.snapshots_wanted:
                self._send_snapshot(node, core, snapshot.member)
            for arrived in ready.arrived:
                self._arrived(node, core, arrived)
        # What waits for no write of its own may leave once nothing is pending before it.
        while node.pending and not node.pending[0].writes:
            self._send(name, node.pending.pop(0).messages_after)
        self.invariants.check(name, core, disks)

    def _apply(self, node: Node, core: RaftCore, entries: tuple[Entry, ...]) -> None:
        if entries:
            node.applied.extend(entries)
            core.applied(entries[-1].index)
            if self.say:
                self.say(f"{node.name} applies {_span(entries)}")

    def _note(self, node: Node, ready: Ready) -> None:
        for read in ready.reads:
            self.invariants.read_confirmed(read)
        noted = [*ready.reads, *(("lost", number) for number in ready.reads_lost)]
        if ready.unknown is not None:
            noted.append(ready.unknown)
        node.events.extend(noted)
        if self.say:
            for item in noted:
                self.say(f"{node.name} tells {item}")

    def _send(self, name: str, outgoing: Iterable[Any]) -> None:
        for item in outgoing:
            self.invariants.sent(name, item.message, item.to, self.nodes[name].disk)
            self.network.append(Packet(name, item.to, item.message))

    def _send_snapshot(self, node: Node, core: RaftCore, member: str) -> None:
        last = node.applied[-1]
        core.snapshot_started(member, SnapshotMark(last.index, last.term))
        state = b"".join(entry.encoded for entry in node.applied)
        configuration = core.configuration_at(last.index)
        piece = SnapshotPiece(core.term, last.index, last.term, 0, True, configuration, state)
        self.network.append(Packet(node.name, member, piece))

    def _arrived(self, node: Node, core: RaftCore, arrived: Arrived) -> None:
        message = arrived.message
        if isinstance(message, SnapshotReply):
            if message.progress is SnapshotProgress.INSTALLED:
                core.snapshot_sent(arrived.sender, SnapshotMark(message.index, message.term))
            else:
                core.snapshot_failed(arrived.sender)
            return
        mark = SnapshotMark(message.index, message.mark_term)
        if core.install_snapshot(mark, message.configuration):
            node.disk.incoming = decode_configuration(message.configuration)
            node.applied = _entries(message.data)
            node.durable = len(node.applied)
            self.invariants.installed(node.name, mark.index)
            core.snapshot_installed(mark)
            if self.say:
                self.say(f"{node.name} installs {mark.index}/{mark.term}")
        has_it = core.commit_index >= mark.index
        progress = SnapshotProgress.INSTALLED if has_it else SnapshotProgress.REFUSED
        if core.state.durable_hard.term == core.term:
            self.network.append(Packet(node.name, arrived.sender, SnapshotReply(core.term, mark.index, 0, progress)))


def _entries(data: bytes) -> list[Entry]:
    entries, offset = [], 0
    while offset < len(data):
        entries.append(decode_entry(data, offset))
        offset += len(entries[-1].encoded)
    return entries


def _span(entries: tuple[Entry, ...]) -> str:
    return " ".join(f"{entry.index}/{entry.term}" for entry in entries)


def _written(ready: Ready) -> str:
    parts = []
    if ready.reset_to is not None:
        parts.append(f"reset to {ready.reset_to.index}/{ready.reset_to.term}")
    if ready.truncate_from is not None:
        parts.append(f"cut from {ready.truncate_from}")
    if ready.entries:
        parts.append(_span(ready.entries))
    if ready.hard_state is not None:
        parts.append(f"term {ready.hard_state.term} vote {ready.hard_state.vote}")
    return ", ".join(parts)
