"""A member while it runs: its turns of the loop.

Inputs (messages, proposals, ticks, completions of the disk and of the state machine) go into the core on the reactor
thread only (R63).  At the end of the turn of the loop everything that gathered is one group: proposals are appended
together, and the Readys are taken.  What each Ready asks for is done in the order that ``types.Ready`` fixes:
``messages_now`` leave at once, writes go to the storage's lane (which merges what gathers while a sync runs),
``messages_after`` leave when they are durable, committed entries go to the state machine's lane, answers come back
from it.

Persist, then send, then answer: the only way from the core to a proposer leads over the quorum's disks and the local
state machine.

An error that breaks a promise (a failed sync, corruption, a broken invariant, a failed state machine) is fatal: the
member sends, answers and writes nothing more, ends every waiting Deferred and tells its owner once (R27, S31).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from dfs.raft.applying import Applier
from dfs.raft.changing import REFUSALS, Changes, Removal
from dfs.raft.codec import encode_message
from dfs.raft.compaction import Compactor
from dfs.raft.completion import when
from dfs.raft.core.types import EntryRead, Membership, Ready, Refusal, Role, SnapshotMark
from dfs.raft.errors import NotLeader, RaftError, TransferFailed, UnknownMember
from dfs.raft.handover import Handover
from dfs.raft.interfaces import IRaftTransport, IStateMachine
from dfs.raft.leadership import Leadership
from dfs.raft.membership import Change, Configuration
from dfs.raft.messages import Entry, Message, SnapshotPiece, SnapshotReply
from dfs.raft.node_config import NodeConfig
from dfs.raft.opening import Opened
from dfs.raft.proposals import Proposals, Reads
from dfs.raft.snapshot_receiving import SnapshotReceiver
from dfs.raft.snapshot_sending import SnapshotSender
from dfs.raft.storage_lane import StorageLane
from dfs.runtime.interfaces import ILane, Runtime
from dfs.runtime.lag import LagMonitor
from dfs.runtime.ticker import Ticker

_log = Logger()


class RunningMember:
    """See the module.

    :param opened: what was found on disk.
    :param ended: called once with the Failure that ended it.
    """

    def __init__(
        self,
        config: NodeConfig,
        runtime: Runtime,
        opened: Opened,
        machine: IStateMachine,
        lanes: tuple[ILane, ILane],
        transport: IRaftTransport,
        leadership: Leadership,
        removal: Removal,
        ended: Callable[[Failure], None],
    ) -> None:
        clock, storage = runtime.reactor, opened.storage
        self._config, self._clock, self._storage = config, clock, storage
        self._transport, self._leadership, self._removal, self._ended = transport, leadership, removal, ended
        self._reached: dict[str, str] | None = None
        self.stopping = False
        self.serving = self._turn_asked = self._disk_slow = self._held = False
        self._replies: list[tuple[str, SnapshotReply]] = []
        self.lag = LagMonitor(clock)
        self._ticker = Ticker(clock, config.tick, self.tick, f"raft {config.node}")
        self.proposals, self.reads = Proposals(config.queued_length), Reads(2 * config.election_ticks)
        core = self.core = opened.core(config, runtime)
        self.changes, self._handover = Changes(), Handover(core, config.election_ticks)
        self.lane = StorageLane(lanes[0], storage, clock, self._ready_durable, self.fatal, self._disk_is_full)
        self.applier = Applier(lanes[1], machine, self._batch_applied, self.fatal)
        self._compactor = Compactor(
            core, storage, self.lane, self.applier, config, clock.seconds, opened.durable_index, self.fatal
        )
        self.sender = SnapshotSender(
            core, self.applier, self._send, config.piece_length, config.window_pieces, config.election_ticks
        )
        self._receiver = SnapshotReceiver(
            core, self.applier, self._note_incoming, self._reply_after_term, self._snapshot_installed, self.fatal
        )

    def start(self) -> None:
        """Begin to tick."""
        self.serving = True
        self._reach(Membership(self.core.configuration))
        self.lag.start()
        self._ticker.start()
        self.ask_turn()

    def silence(self) -> None:
        """Send, write and answer nothing more; end every waiting Deferred (R62)."""
        self.serving = False
        self._ticker.stop()
        self.lag.stop()
        self.lane.stop()
        self.applier.stopped = True
        self.sender.stop()
        self._receiver.stop()
        self._leadership.ended()
        self.proposals.stop()
        self.reads.stop()
        self.changes.stop()
        self._handover.stop()

    def fatal(self, failure: Failure) -> None:
        """The end, told once."""
        if not self.serving:
            return
        _log.failure("{node} stops for good", failure, node=self._config.node)
        self.silence()
        self._ended(failure)

    # The membership

    async def change(self, change: Change) -> Configuration:
        """See IRaft."""
        taken = self.core.change(change, self._config.members)
        self.ask_turn()
        if taken.refusal is Refusal.NOT_LEADER:
            raise NotLeader(self.core.leader)
        if taken.refusal is not None:
            raise REFUSALS[taken.refusal](taken.reason)
        if taken.appended or taken.index > self.core.applied_index:
            return await self.changes.wait(taken)
        # So it is, as far as this node knows: a quorum says that nobody has led since.
        await self.reads.add(self.core.read_index, lambda: self.core.leader)
        return taken.configuration

    async def transfer(self, to: str | None) -> str:
        """See IRaft."""
        taken = self.core.transfer(to)
        self.ask_turn()
        if taken.refusal is Refusal.NOT_LEADER:
            raise NotLeader(self.core.leader)
        if taken.refusal is Refusal.UNKNOWN_MEMBER:
            raise UnknownMember(taken.reason)
        if taken.refusal is not None:
            raise TransferFailed(taken.reason)
        return taken.to if self.core.transferee is None else await self._handover.wait(taken.to)

    async def hand_over(self) -> None:
        """A planned stop: whoever has caught up furthest takes over first, if anybody does (R58)."""
        self.stopping = True
        if self.core.role is not Role.LEADER:
            return
        try:
            successor = await self.transfer(None)
        except RaftError as error:
            _log.info("{node} stops as the leader: {why}", node=self._config.node, why=error)
        else:
            _log.info("{node} handed over to {successor}", node=self._config.node, successor=successor)

    def _reach(self, membership: Membership) -> None:
        """Tell the transport whom to reach.  The flags say where those are that they name."""
        configuration, flags = membership.configuration, self._config.members
        contacts = {name: configuration.contact(name) for name in configuration.members} | dict(membership.leaving)
        if not configuration.voters:
            contacts = dict(flags)  # it has just joined: somebody there will know more
        reached = {name: flags.get(name) or contact for name, contact in contacts.items()}
        if reached != self._reached:
            self._reached = reached
            self._transport.members_changed(reached)

    def _note_incoming(self, mark: SnapshotMark, configuration: bytes) -> Deferred[None]:
        """After all that was submitted: the log may not have begun anew yet after the snapshot before (R38)."""
        noted: Deferred[None] = Deferred()

        def note() -> None:
            done = self.lane.run(self._storage.note_incoming, mark, configuration)
            when(done, noted.callback, noted.errback)

        self.lane.after_all(note)
        return noted

    # Turns of the loop

    def input(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Tell the core something; what follows from it is done at the end of the turn."""
        if not self.serving:
            return
        try:
            function(*arguments)
        except Exception:  # noqa: BLE001 - a broken invariant, whatever its class, ends the node
            self.fatal(Failure())
            return
        if self.core.owes or self._held:
            self.ask_turn()

    def ask_turn(self) -> None:
        if not self._turn_asked and self.serving:
            self._turn_asked = True
            self._clock.callLater(0, self._turn)

    def _turn(self) -> None:
        self._turn_asked = False
        if not self.serving:
            return
        try:
            self._held = self.core.transferee is not None
            if not self._held:  # else they wait, for at most an election time-out (R58)
                self.proposals.propose(self.core.propose)
            while self.serving and (ready := self.core.take_ready()) is not None:
                self._carry_out(ready)
            replies, self._replies = self._replies, []
            for member, reply in replies:
                self.lane.after_all(partial(self._send, member, reply))
            self._handover.look()
            if self.core.removed and not self._removal.known:
                _log.warn("{node} was removed from the group for good", node=self._config.node)
                self._removal.learned()
        except Exception:  # noqa: BLE001 - as in _input
            self.fatal(Failure())

    def _carry_out(self, ready: Ready) -> None:
        """What one Ready asks for, in its order."""
        if ready.membership is not None:
            self._reach(ready.membership)
        for outgoing in ready.messages_now:
            self._send(outgoing.to, outgoing.message)
        if ready.unknown is not None:
            first, last = ready.unknown.first, ready.unknown.last
            self.proposals.unknown(first, last, "leadership went away before it was committed")
        core = self.core
        for number in ready.reads_lost:
            self.reads.lost(number, core.leader)
        if ready.standing is not None:
            self._leadership.stands(ready.standing)
            if ready.standing.role is not Role.LEADER:
                self.sender.stop()
                self.changes.deposed(core.commit_index)
        if ready.writes or ready.messages_after:
            self.lane.submit(ready)
        if ready.committed:
            self.applier.apply(ready.committed)
        for read in ready.reads:
            self.reads.confirmed(read, core.applied_index)
        for wanted in ready.entry_reads:
            self._read_entries(wanted)
        for snapshot in ready.snapshots_wanted:
            self.sender.wanted(snapshot.member, snapshot.index)
        for arrived in ready.arrived:
            if isinstance(arrived.message, SnapshotPiece):
                self._receiver.received(arrived.sender, arrived.message)
            else:
                self.sender.answered(arrived.sender, arrived.message)

    def tick(self, ticks: int) -> None:
        """The ticker's body: after a stall the core counts it once and drains its sockets first (R11)."""
        core, config = self.core, self._config
        slow = self.lane.outstanding() > config.election_timeout
        if slow != self._disk_slow:
            self._disk_slow = slow
            self.input(core.disk_slow, slow)
        if ticks > config.election_ticks // 2:
            self.input(core.stalled, ticks)
            ticks = 1
        for _ in range(ticks):
            self.input(core.tick)
        if self.serving:
            self._handover.look(ticks)
            self.reads.tick(ticks, core.role is Role.LEADER, core.leader)
            self.sender.tick(ticks)
            self._compactor.tick()

    # The disk answers

    def _ready_durable(self, ready: Ready) -> None:
        for outgoing in ready.messages_after:
            self._send(outgoing.to, outgoing.message)
        if ready.writes:
            self.input(self.core.persisted, ready.number)
            if self._disk_slow and self.lane.outstanding() == 0.0:
                self._disk_slow = False
                self.input(self.core.disk_slow, False)

    def _disk_is_full(self, full: bool) -> None:
        self._compactor.disk_full(full)

    def _read_entries(self, wanted: EntryRead) -> None:
        done = self.lane.run(self._storage.read, wanted.first, wanted.last, wanted.limit)
        when(done, lambda entries: self.input(self.core.entries_read, wanted.number, entries), self.fatal)

    # The state machine answers

    def _batch_applied(self, entries: tuple[Entry, ...], answers: dict[int, bytes]) -> None:
        core = self.core
        self.input(core.applied, entries[-1].index)
        for entry in entries:
            if entry.index in answers:
                self.proposals.applied(entry.index, entry.term, answers[entry.index])
            else:
                self.changes.applied(entry.index, entry.term)
        self._compactor.applied(len(entries))
        self.reads.applied(core.applied_index)
        if core.role is Role.LEADER and core.term == entries[-1].term:
            self._leadership.applied(core.term)

    def _snapshot_installed(self, mark: SnapshotMark) -> None:
        self.proposals.unknown(0, mark.index, "a snapshot replaced the entry")
        self.changes.unknown(0, mark.index, "a snapshot replaced the entry")
        self._compactor.installed(mark.index)
        self.reads.applied(mark.index)
        self.ask_turn()

    # Out

    def _send(self, member: str, message: Message) -> None:
        if self.serving:
            self._transport.send(member, encode_message(message))

    def _reply_after_term(self, member: str, reply: SnapshotReply) -> None:
        """Once the present term is durable (R01): after what the next turn gives to the disk."""
        self._replies.append((member, reply))
        self.ask_turn()
