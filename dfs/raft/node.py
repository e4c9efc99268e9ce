"""One member of the consensus group: the shell around :mod:`dfs.raft.core`.

Design.  The core decides; this module carries out.  Inputs (messages, proposals,
ticks, completions of the disk and of the state machine) go into the core on the
reactor thread only (R63); at the end of the turn of the loop everything that
gathered is one group: proposals are appended together, and the Readys are taken.
What each Ready asks for is done in the order that ``types.Ready`` fixes:
``messages_now`` leave at once, writes go to the storage's lane (which merges what
gathers while a sync runs), ``messages_after`` leave when they are durable,
committed entries go to the state machine's lane, answers come back from it.

Persist, then send, then answer: the only way from the core to a proposer leads
over the quorum's disks and the local state machine.

An error that breaks a promise (a failed sync, corruption, a broken invariant, a
failed state machine) ends the node: it sends, answers and writes nothing more,
ends every waiting Deferred and calls ``on_fatal`` once (R27, S31).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from dfs.disk.interfaces import IDisk
from dfs.raft.applying import Applier
from dfs.raft.codec import CodecError, decode_message, encode_message
from dfs.raft.compaction import Compactor
from dfs.raft.completion import when
from dfs.raft.core import RaftCore
from dfs.raft.core.types import EntryRead, Ready, Role, SnapshotMark
from dfs.raft.errors import ChangeInProgress, RaftError, Stopped, TransferFailed
from dfs.raft.identity import Identity
from dfs.raft.interfaces import IRaft, IRaftTransport, IStateMachine, RaftStatus
from dfs.raft.leadership import Leadership
from dfs.raft.membership import Change, Configuration
from dfs.raft.messages import Entry, Message, SnapshotPiece, SnapshotReply
from dfs.raft.node_config import NodeConfig
from dfs.raft.opening import Opened, open_member
from dfs.raft.proposals import Proposals, Reads
from dfs.raft.segment import NoSpace
from dfs.raft.snapshot_receiving import SnapshotReceiver
from dfs.raft.snapshot_sending import SnapshotSender
from dfs.raft.status import status_of
from dfs.raft.storage import LogStorage
from dfs.raft.storage_lane import StorageLane
from dfs.runtime.interfaces import ILane, Runtime
from dfs.runtime.lag import LagMonitor
from dfs.runtime.ticker import Ticker

_log = Logger()


@implementer(IRaft)
class RaftNode:
    """See the module and IRaft.

    :param folder: where the log lives; made and founded if it is new.
    :param on_fatal: called once with the Failure that ended the node.
    :param apply_lane: the state machine's lane where its owner opened it on one, and stops it; None to make one.
    """

    def __init__(
        self,
        config: NodeConfig,
        runtime: Runtime,
        disk: IDisk,
        folder: str,
        machine: IStateMachine,
        transport: IRaftTransport,
        on_fatal: Callable[[Failure], None],
        apply_lane: ILane | None = None,
    ) -> None:
        self.config = config
        self.identity: Identity | None = None
        self._runtime, self._clock = runtime, runtime.reactor
        self._disk, self._folder = disk, folder
        self._machine, self._given_lane = machine, apply_lane
        self._transport, self._on_fatal = transport, on_fatal
        self._lag = LagMonitor(self._clock)
        self._ticker = Ticker(self._clock, config.tick, self._tick, f"raft {config.node}")
        self._proposals = Proposals(config.queued_length)
        self._reads, self._leadership = Reads(), Leadership()
        self._serving = self._turn_asked = self._disk_slow = False
        self._replies: list[tuple[str, SnapshotReply]] = []
        self._core: RaftCore | None = None
        self._storage: LogStorage | None = None

    # Life

    def start(self) -> Deferred[None]:
        """See IRaft."""
        return Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        threads = self._runtime.threads
        name = self.config.node
        self._log_lane = threads.lane(f"raft-log {name}")
        self._apply_lane = self._given_lane or threads.lane(f"raft-apply {name}")
        try:
            opened = await open_member(
                self.config, self._runtime, self._disk, self._folder, self._machine, self._log_lane, self._apply_lane
            )
            self._storage = opened.storage
            self._wire(opened)
        except BaseException:
            await self._release()
            raise
        term = self._core_now.term
        _log.info("{node} starts in term {term} at entry {index}", node=name, term=term, index=opened.applied.index)
        self._serving = True
        self._lag.start()
        self._ticker.start()
        self._ask_turn()

    def _wire(self, opened: Opened) -> None:
        """Make everything that needs what was found on disk."""
        config, storage, identity = self.config, opened.storage, opened.storage.identity
        self.identity = identity
        core = self._core = opened.core(config, self._runtime)
        self._transport.members_changed(config.members)
        lane = self._log_lane
        self._lane = StorageLane(lane, storage, self._clock, self._ready_durable, self._fatal, self._disk_full)
        self._applier = Applier(self._apply_lane, self._machine, self._batch_applied, self._fatal)
        self._compactor = Compactor(
            core, storage, self._lane, self._applier, config, self._clock.seconds, opened.durable_index, self._fatal
        )
        self._sender = SnapshotSender(
            core, self._applier, identity.configuration, self._send, config.piece_length, config.window_pieces,
            config.election_ticks,
        )  # fmt: skip
        self._receiver = SnapshotReceiver(
            core, self._applier, identity.configuration, self._reply_after_term, self._snapshot_installed, self._fatal
        )

    def stop(self) -> Deferred[None]:
        """See IRaft."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        was_serving = self._serving
        self._silence()
        storage = self._storage
        if storage is None:
            return
        if was_serving:
            await self._lane.when_idle()
            try:
                await self._log_lane.run(storage.mark_commit, self._core_now.commit_index)
            except NoSpace:
                _log.warn("the disk is full: no commit marker at the end of the log")
        try:
            await self._apply_lane.run(self._machine.close)
        except Exception:  # after a failure of the store its closing may fail too: all else is released
            if was_serving:
                raise
            _log.failure("the state machine did not close")
        finally:
            await self._release()

    async def _release(self) -> None:
        """Give back the files and the lanes."""
        storage, self._storage = self._storage, None
        if storage is not None:
            await self._log_lane.run(storage.close)
        await self._log_lane.stop()
        if self._given_lane is None:
            await self._apply_lane.stop()

    def _silence(self) -> None:
        """Send, write and answer nothing more; end every waiting Deferred (R62)."""
        self._serving = False
        self._ticker.stop()
        self._lag.stop()
        if self._core is not None:
            self._lane.stop()
            self._applier.stopped = True
            self._sender.stop()
            self._receiver.stop()
        self._leadership.ended()
        self._proposals.stop()
        self._reads.stop()

    def _fatal(self, failure: Failure) -> None:
        """The end, told once."""
        if not self._serving:
            return
        _log.failure("{node} stops for good", failure, node=self.config.node)
        self._silence()
        self._on_fatal(failure)

    # What others ask

    def receive(self, member: str, payload: bytes) -> None:
        """See IRaft."""
        if not self._serving:
            return
        try:
            message = decode_message(payload)
        except CodecError as error:
            _log.warn("a bad message from {member}: {error}", member=member, error=error)
            return
        self._input(self._core_now.step, member, message)

    def member_refused(self, member: str) -> None:
        """See IRaft."""
        if self._serving:
            self._input(self._core_now.member_refused, member)

    def propose(self, payload: bytes) -> Deferred[bytes]:
        """See IRaft."""
        if not self._serving:
            return fail(Stopped("the node does not serve"))
        try:
            answer = self._proposals.add(payload)
        except RaftError as error:
            return fail(error)
        self._ask_turn()
        return answer

    def read_index(self) -> Deferred[int]:
        """See IRaft."""
        if not self._serving:
            return fail(Stopped("the node does not serve"))
        core = self._core_now
        try:
            answer = self._reads.add(core.read_index, lambda: core.leader)
        except RaftError as error:
            return fail(error)
        self._ask_turn()
        return answer

    def change(self, change: Change) -> Deferred[Configuration]:
        """See IRaft."""
        return fail(ChangeInProgress(f"{change} is not possible yet"))

    def configuration(self) -> Configuration:
        """See IRaft."""
        return self._core.configuration if self._core is not None else Configuration(())

    def when_removed(self) -> Deferred[None]:
        """See IRaft."""
        return Deferred()

    def transfer(self, to: str | None = None) -> Deferred[str]:
        """See IRaft."""
        return fail(TransferFailed(f"leadership cannot be handed to {to} yet"))

    def query(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        """Call ``function`` on the state machine's lane, between two batches: for reads of its store."""
        if not self._serving:
            return fail(Stopped("the node does not serve"))
        return self._applier.run(function, *arguments)

    def status(self) -> RaftStatus:
        """See IRaft."""
        return status_of(self.config, self._core, self._serving, self._lag.worst)

    @property
    def snapshot_buffered(self) -> int:
        """Bytes of snapshot pieces that are held for followers (R42)."""
        return self._sender.buffered if self._core is not None else 0

    def watch_leadership(self, observer: object) -> None:
        """See IRaft."""
        self._leadership.watch(observer)

    # Turns of the loop

    @property
    def _core_now(self) -> RaftCore:
        assert self._core is not None
        return self._core

    def _input(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Tell the core something; what follows from it is done at the end of the turn."""
        if not self._serving:
            return
        try:
            function(*arguments)
        except Exception:  # noqa: BLE001 - a broken invariant, whatever its class, ends the node
            self._fatal(Failure())
            return
        self._ask_turn()

    def _ask_turn(self) -> None:
        if not self._turn_asked and self._serving:
            self._turn_asked = True
            self._clock.callLater(0, self._turn)

    def _turn(self) -> None:
        self._turn_asked = False
        if not self._serving:
            return
        try:
            self._proposals.propose(self._core_now.propose)
            while self._serving and (ready := self._core_now.take_ready()) is not None:
                self._carry_out(ready)
            replies, self._replies = self._replies, []
            for member, reply in replies:
                self._lane.after_all(partial(self._send, member, reply))
        except Exception:  # noqa: BLE001 - as in _input
            self._fatal(Failure())

    def _carry_out(self, ready: Ready) -> None:
        """What one Ready asks for, in its order."""
        for outgoing in ready.messages_now:
            self._send(outgoing.to, outgoing.message)
        if ready.unknown is not None:
            first, last = ready.unknown.first, ready.unknown.last
            self._proposals.unknown(first, last, "leadership went away before it was committed")
        core = self._core_now
        for number in ready.reads_lost:
            self._reads.lost(number, core.leader)
        if ready.standing is not None:
            self._leadership.stands(ready.standing)
            if ready.standing.role is not Role.LEADER:
                self._sender.stop()
        if ready.writes or ready.messages_after:
            self._lane.submit(ready)
        if ready.committed:
            self._applier.apply(ready.committed)
        for read in ready.reads:
            self._reads.confirmed(read, core.applied_index)
        for wanted in ready.entry_reads:
            self._read_entries(wanted)
        for snapshot in ready.snapshots_wanted:
            self._sender.wanted(snapshot.member)
        for arrived in ready.arrived:
            if isinstance(arrived.message, SnapshotPiece):
                self._receiver.received(arrived.sender, arrived.message)
            else:
                self._sender.answered(arrived.sender, arrived.message)

    def _tick(self, ticks: int) -> None:
        """The ticker's body: after a stall the core counts it once and drains its sockets first (R11)."""
        core, config = self._core_now, self.config
        slow = self._lane.outstanding() > config.election_timeout
        if slow != self._disk_slow:
            self._disk_slow = slow
            self._input(core.disk_slow, slow)
        if ticks > config.election_ticks // 2:
            self._input(core.stalled, ticks)
            ticks = 1
        for _ in range(ticks):
            self._input(core.tick)
        if self._serving:
            self._sender.tick(ticks)
            self._compactor.tick()

    # The disk answers

    def _ready_durable(self, ready: Ready) -> None:
        for outgoing in ready.messages_after:
            self._send(outgoing.to, outgoing.message)
        if ready.writes:
            self._input(self._core_now.persisted, ready.number)
            if self._disk_slow and self._lane.outstanding() == 0.0:
                self._disk_slow = False
                self._input(self._core_now.disk_slow, False)

    def _disk_full(self, full: bool) -> None:
        self._compactor.disk_full(full)

    def _read_entries(self, wanted: EntryRead) -> None:
        storage = self._storage
        assert storage is not None
        done = self._lane.run(storage.read, wanted.first, wanted.last, wanted.limit)
        when(done, lambda entries: self._input(self._core_now.entries_read, wanted.number, entries), self._fatal)

    # The state machine answers

    def _batch_applied(self, entries: tuple[Entry, ...], answers: dict[int, bytes]) -> None:
        core = self._core_now
        self._input(core.applied, entries[-1].index)
        for entry in entries:
            if entry.index in answers:
                self._proposals.applied(entry.index, entry.term, answers[entry.index])
        self._compactor.applied(len(entries))
        self._reads.applied(core.applied_index)
        if core.role is Role.LEADER and core.term == entries[-1].term:
            self._leadership.applied(core.term)

    def _snapshot_installed(self, mark: SnapshotMark) -> None:
        self._proposals.unknown(0, mark.index, "a snapshot replaced the entry")
        self._compactor.installed(mark.index)
        self._reads.applied(mark.index)
        self._ask_turn()

    # Out

    def _send(self, member: str, message: Message) -> None:
        if self._serving:
            self._transport.send(member, encode_message(message))

    def _reply_after_term(self, member: str, reply: SnapshotReply) -> None:
        """Once the present term is durable (R01): after what the next turn gives to the disk."""
        self._replies.append((member, reply))
        self._ask_turn()
