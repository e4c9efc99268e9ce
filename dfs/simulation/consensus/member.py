"""One member: a core, and what a shell does for it, on virtual time.

It does in a few lines what the production shell (:mod:`dfs.raft.node`) does with threads and Deferreds, in the same
order: messages that may leave at once; one transaction a Ready, several Readys in flight, one sync at a time; then
the messages that had to wait; then ``persisted``.  Between any two of these steps the process may die: ``fuse`` names
the boundary at which it will.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import evolve

from dfs.raft.core import HardState, Outgoing, RaftCore, Ready, Role, SnapshotMark
from dfs.raft.membership import decode_configuration
from dfs.raft.messages import Entry, SnapshotPiece, SnapshotReply
from dfs.simulation.consensus.agenda import TICK
from dfs.simulation.consensus.checks import Seen
from dfs.simulation.consensus.disk import Disk
from dfs.simulation.consensus.lane import Compaction, Item, Lane
from dfs.simulation.consensus.machine import Machine
from dfs.simulation.consensus.network import Packet
from dfs.simulation.consensus.surroundings import Asker, Surroundings
from dfs.simulation.consensus.transfer import Receiver, Sender

BOUNDARIES = ("ready", "sent", "written", "synced", "told", "applied", "saved", "compacted")
"""Where a process can be made to die: a Ready is taken, its early messages are sent, its sync is under way or
done, its late messages are sent, entries are applied, the state machine is synced, the log is compacted."""


class Member:
    """See the module.

    :ivar core: None while the process is down.
    :ivar saved: the state machine as a crash leaves it.
    :ivar life: the number of its present process.
    :ivar snapshots: how many it installed.
    :ivar paused_until: it stands still till then.
    :ivar slow_until: syncs that begin before that take as much as ``slowness`` longer.
    """

    def __init__(self, name: str, around: Surroundings, founding: Entry | None) -> None:
        self.name = name
        self.around = around
        self.plan = around.plan
        self.store = around.plan.store
        self.disk = Disk(HardState(1, None), entries=[founding]) if founding is not None else Disk()
        self.machine = self.saved = Machine()
        self.seen = Seen()
        self.core: RaftCore | None = None
        self.life = 0
        self.paused_until = 0
        self.slow_until = 0
        self.slowness = 0
        self.fuse = ""
        self.period = TICK
        self.snapshots = 0
        self._forget()

    def _forget(self) -> None:
        """What only a process knows."""
        self.sender = Sender(self)
        self.receiver = Receiver(self)
        self.lane = Lane(self)
        self._slow = False
        self._missed = 0
        self.applying: list[tuple[Entry, ...]] = []
        self._since_compaction = 0
        self._proposed: dict[int, tuple[int, Asker, int]] = {}
        self._asked: dict[int, tuple[Asker, int]] = {}
        self._confirmed: list[tuple[int, Asker, int]] = []

    @property
    def up(self) -> RaftCore:
        """The core of a process that runs."""
        assert self.core is not None, f"{self.name} is down"
        return self.core

    @property
    def hears(self) -> bool:
        """Whether it runs and does not stand still."""
        return self.core is not None and self.around.agenda.now >= self.paused_until

    # Life

    def start(self) -> None:
        """Start a process from the disk."""
        self.life += 1
        self.machine = self.saved.copy()
        self.seen = Seen()
        self._forget()
        self.core = RaftCore(
            evolve(self.plan.config, me=self.name),
            self.disk.hard,
            self.disk.view(self.store.tail),
            self.around.chance,
            configuration=self.disk.configuration,
            applied=SnapshotMark(self.saved.index, self.saved.term),
            installed=self.disk.incoming,
        )
        self.around.note("starts", self.name)
        self.around.agenda.after(int(self.around.chance.random() * self.period), self._tick, self.life)
        self.turn()

    def crash(self) -> None:
        """The process ends; a prefix of what was being synced may have reached the disk."""
        if self.core is None:
            return
        draw = self.around.chance.random
        self.lane.cut_off(draw())
        if draw() < 0.3:
            self.saved = self.machine.copy()  # a killed process leaves what it wrote
        self.core, self.fuse = None, ""
        self.life += 1
        self.around.note("crashes", self.name)
        self.around.died(self.name)

    def burns(self, boundary: str) -> bool:
        """Die here, if this is the boundary that was chosen."""
        if self.fuse != boundary:
            return False
        self.crash()
        return True

    def pause(self, duration: int) -> None:
        """Stand still: no tick, no message, no answer of the disk is noticed."""
        self.paused_until = max(self.paused_until, self.around.agenda.now + duration)

    def _tick(self, life: int) -> None:
        if life != self.life:
            return
        agenda = self.around.agenda
        agenda.after(self.period, self._tick, life)
        if agenda.now < self.paused_until:
            self._missed += 1
            return
        core = self.up
        if self._missed:
            missed, self._missed = self._missed, 0
            if missed > self.plan.config.election_ticks // 2:
                core.stalled(missed)
        lane = self.lane
        if lane.syncing and not self._slow and agenda.now - lane.began > self.plan.config.election_ticks * TICK:
            self._slow = True
            core.disk_slow(True)
        core.tick()
        self.turn()
        if self.core is core and core.role is Role.LEADER:
            self._led(core)

    def _led(self, core: RaftCore) -> None:
        """The tick of a leader: its transfers, and whether it is still heard."""
        now, time_out = self.around.agenda.now, self.plan.config.election_ticks * self.period
        if now > self.paused_until + 2 * time_out:
            self.around.checker.ticked(self, core, now, time_out + 2 * self.period)
        if self.sender.streams:
            self.sender.tick()

    # Inputs

    def arrive(self, packet: Packet) -> None:
        """A message has come."""
        core = self.core
        if core is None:
            return
        agenda = self.around.agenda
        if agenda.now < self.paused_until:
            self.when_awake(self.arrive, packet)
            return
        self.seen.heard[packet[0]] = agenda.now
        core.step(packet[0], packet[2])
        self.turn()

    def when_awake(self, act: Callable[[Any], None], subject: Any) -> None:
        """What comes while it stands still is taken when it goes on, by the same process."""
        agenda = self.around.agenda
        agenda.after(max(self.paused_until - agenda.now, 0), self._awake, (self.life, act, subject))

    def _awake(self, subject: tuple[int, Callable[[Any], None], Any]) -> None:
        life, act, what = subject
        if life == self.life:
            act(what)

    def do(self, action: str, *arguments: Any) -> None:
        """Any other input of the core, if the process hears it."""
        if self.hears:
            getattr(self.up, action)(*arguments)
            self.turn()

    def propose(self, payload: bytes, asker: Asker | None, ticket: int) -> str | None:
        """Propose one command: '' where it was taken, else who is believed to lead, or None for nobody."""
        core = self.up
        proposed = core.propose([payload])
        if proposed.accepted and asker is not None:
            self._proposed[proposed.first_index] = proposed.term, asker, ticket
        self.turn()
        return "" if proposed.accepted else proposed.leader

    def read(self, number: int, asker: Asker, ticket: int) -> bool:
        """Ask for a linearizable read; whether it was taken."""
        if self.up.read_index(number) is not None:
            return False
        self.around.checker.read_asked(number)
        self._asked[number] = asker, ticket
        self.turn()
        return True

    # What Readys ask for

    def turn(self) -> None:
        """Take all Readys and do what they say."""
        core = self.up
        while (ready := core.take_ready()) is not None:
            self._carry_out(core, ready)
            if self.core is not core:
                return
        self.around.checker.stepped(self, core)

    def _carry_out(self, core: RaftCore, ready: Ready) -> None:
        if ready.entries or ready.committed:
            self.around.checker.ready(self, core, ready)
        if self.fuse and self.burns("ready"):
            return
        self.send_all(ready.messages_now)
        if self.fuse and ready.messages_now and self.burns("sent"):
            return
        if ready.standing is not None:
            self.around.note(self.name, ready.standing.role.value, ready.standing.term, ready.standing.leader)
        if ready.writes or ready.messages_after:
            self.lane.submit(ready)
        if ready.committed:
            self._apply(ready.committed)
        if self.core is core:
            self._rest(core, ready)

    def _rest(self, core: RaftCore, ready: Ready) -> None:
        if ready.unknown is not None:
            for index in range(ready.unknown.first, ready.unknown.last + 1):
                self._told(index)
        for number in ready.reads_lost:
            asker, ticket = self._asked.pop(number)
            asker.unknown(ticket)
        for read in ready.reads:
            self.around.checker.read_confirmed(self, read)
            asker, ticket = self._asked.pop(read.id)
            if self.machine.index >= read.index:
                asker.answered(ticket, self.machine.count)
            else:
                self._confirmed.append((read.index, asker, ticket))
        for wanted in ready.entry_reads:
            self.around.agenda.after(self.lane.latency(), self._entries_read, (self.life, wanted))
        for snapshot in ready.snapshots_wanted:
            self.sender.wanted(snapshot.member)
        for arrived in ready.arrived:
            if isinstance(arrived.message, SnapshotPiece):
                self.receiver.received(arrived.sender, arrived.message)
            else:
                self.sender.answered(arrived.sender, arrived.message)
            if self.core is not core:
                return

    def send_all(self, outgoing: tuple[Outgoing, ...]) -> None:
        """Messages of the core, as far as its disk backs them."""
        around = self.around
        for item in outgoing:
            around.checker.sent(self, item.to, item.message)
            around.network.send(self.name, item.to, item.message)

    def send(self, to: str, message: SnapshotPiece | SnapshotReply) -> None:
        """A message of a transfer; it leaves only once the present term is durable."""
        core = self.up
        if self.disk.hard.term == core.term:
            self.around.network.send(self.name, to, message)

    def _told(self, index: int) -> None:
        waiting = self._proposed.pop(index, None)
        if waiting is not None:
            waiting[1].unknown(waiting[2])

    def _entries_read(self, subject: tuple[int, Any]) -> None:
        life, wanted = subject
        if life == self.life:
            self.up.entries_read(wanted.number, self.disk.read(wanted))
            self.turn()

    # The disk

    def synced(self, batch: list[Item]) -> None:
        """The loop has learned that these are durable."""
        core = self.up
        last = 0
        for item in batch:
            if isinstance(item, Ready):
                self.send_all(item.messages_after)
                last = item.number if item.writes else last
            elif item.index == self.disk.boundary.index:
                if self.fuse and self.burns("compacted"):
                    return
                core.compacted(self.disk.boundary)
        if self.fuse and self.burns("told"):
            return
        if last:
            core.persisted(last)
        if self._slow and not self.lane.syncing:
            self._slow = False
            core.disk_slow(False)
        self.turn()

    # The state machine

    def _apply(self, entries: tuple[Entry, ...]) -> None:
        self.applying.append(entries)
        if len(self.applying) > 1:
            return
        if not self.store.applying:
            self._applied(self.life)
        else:
            self.around.agenda.after(self.store.applying, self._applied_later, self.life)

    def _applied_later(self, life: int) -> None:
        if life != self.life:
            return
        self._applied(life)
        if life == self.life:
            if self.applying:
                self.around.agenda.after(self.store.applying, self._applied_later, life)
            self.turn()

    def _applied(self, life: int) -> None:
        """The first batch under way has been applied."""
        core, around = self.up, self.around
        entries = self.applying.pop(0)
        for entry in entries:
            position = self.machine.apply(entry)
            around.checker.applied(self, entry)
            waiting = self._proposed.pop(entry.index, None)
            if waiting is not None:
                term, asker, ticket = waiting
                if term == entry.term:
                    asker.answered(ticket, position)
                else:
                    asker.unknown(ticket)
        around.note("applied", self.name, self.machine.index, self.machine.digest)
        if self.fuse and self.burns("applied"):
            return
        core.applied(entries[-1].index)
        self._release_reads()
        if not self.applying:
            self.receiver.install()
        self._since_compaction += len(entries)
        if self.store.compact_every and self._since_compaction >= self.store.compact_every:
            self._compact(core)

    def _release_reads(self) -> None:
        if self._confirmed:
            waiting, self._confirmed = self._confirmed, []
            for index, asker, ticket in waiting:
                if self.machine.index >= index:
                    asker.answered(ticket, self.machine.count)
                else:
                    self._confirmed.append((index, asker, ticket))

    def _compact(self, core: RaftCore) -> None:
        self._since_compaction = 0
        self.saved = self.machine.copy()
        if self.core is not core or (self.fuse and self.burns("saved")):
            return
        index = min(self.saved.index - self.store.trailing, core.keep_from() - 1, core.applied_index)
        if index > core.state.log.boundary.index:  # the disk may not have begun anew yet
            self.lane.submit(Compaction(index, core.configuration_at(index)))

    def installed(self, machine: Machine, configuration: bytes) -> None:
        """A snapshot has durably become the state machine: tell the core, and whoever waits for what it covers."""
        core = self.up
        self.disk.incoming = decode_configuration(configuration)
        self.machine, self.saved = machine, machine.copy()
        self.snapshots += 1
        self.around.checker.state(self)
        self.around.note("installed", self.name, machine.index, machine.digest)
        if self.fuse and self.burns("saved"):
            return
        for index in [index for index in self._proposed if index <= machine.index]:
            self._told(index)
        core.snapshot_installed(SnapshotMark(machine.index, machine.term))
        self._release_reads()
