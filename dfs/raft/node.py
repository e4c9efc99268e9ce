"""One member of the consensus group, as its embedder holds it: opened, served, stopped.

What it does between is :mod:`dfs.raft.turns`; what it decides is :mod:`dfs.raft.core`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from dfs.disk.interfaces import IDisk
from dfs.raft.changing import Removal
from dfs.raft.codec import CodecError, decode_message
from dfs.raft.core import RaftCore
from dfs.raft.errors import RaftError, Stopped
from dfs.raft.identity import Identity
from dfs.raft.interfaces import IRaft, IRaftTransport, IStateMachine, RaftStatus
from dfs.raft.leadership import Leadership
from dfs.raft.membership import Change, Configuration
from dfs.raft.node_config import NodeConfig
from dfs.raft.opening import open_member
from dfs.raft.segment import NoSpace
from dfs.raft.status import status_of
from dfs.raft.storage import LogStorage
from dfs.raft.turns import RunningMember
from dfs.runtime.interfaces import ILane, Runtime

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
        self._runtime = runtime
        self._disk, self._folder = disk, folder
        self._machine, self._given_lane = machine, apply_lane
        self._transport, self._on_fatal = transport, on_fatal
        self._leadership, self._removal = Leadership(), Removal()
        self._running: RunningMember | None = None
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
            self._storage, self.identity = opened.storage, opened.storage.identity
            lanes = self._log_lane, self._apply_lane
            self._running = RunningMember(
                self.config, self._runtime, opened, self._machine, lanes, self._transport, self._leadership,
                self._removal, self._on_fatal,
            )  # fmt: skip
        except Exception:
            await self._release()
            raise
        term, index = self._running.core.term, opened.applied.index
        _log.info("{node} starts in term {term} at entry {index}", node=name, term=term, index=index)
        self._running.start()

    def stop(self) -> Deferred[None]:
        """See IRaft."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        running, storage = self._running, self._storage
        if running is None or storage is None:
            return
        if running.serving:
            await running.hand_over()
        was_serving = running.serving
        running.silence()
        if was_serving:
            await running.lane.when_idle()
            try:
                await self._log_lane.run(storage.mark_commit, running.core.commit_index)
            except NoSpace:
                _log.warn("the disk is full: no commit marker at the end of the log")
        try:
            await self._apply_lane.run(self._machine.close)
        except Exception:  # after a failure of the store its closing may fail too: all else is released
            await self._release()  # not in a finally: a coroutine that is dropped, its process killed, awaits nothing
            if was_serving:
                raise
            _log.failure("the state machine did not close")
        else:
            await self._release()

    async def _release(self) -> None:
        """Give back the files and the lanes."""
        storage, self._storage = self._storage, None
        if storage is not None:
            await self._log_lane.run(storage.close)
        await self._log_lane.stop()
        if self._given_lane is None:
            await self._apply_lane.stop()

    # What others ask

    @property
    def _serving(self) -> bool:
        return self._running is not None and self._running.serving

    @property
    def _core(self) -> RaftCore | None:
        return self._running.core if self._running is not None else None

    def _serves(self) -> RunningMember:
        """Raises Stopped where this node does not."""
        if self._running is None or not self._running.serving or self._running.stopping:
            raise Stopped("the node does not serve")
        return self._running

    def receive(self, member: str, payload: bytes) -> None:
        """See IRaft."""
        running = self._running
        if running is None or not running.serving:
            return
        try:
            message = decode_message(payload)
        except CodecError as error:
            _log.warn("a bad message from {member}: {error}", member=member, error=error)
            return
        running.input(running.core.step, member, message)

    def member_refused(self, member: str) -> None:
        """See IRaft."""
        if self._running is not None:
            self._running.input(self._running.core.member_refused, member)

    def propose(self, payload: bytes) -> Deferred[bytes]:
        """See IRaft."""
        try:
            running = self._serves()
            answer = running.proposals.add(payload)
        except RaftError as error:
            return fail(error)
        running.ask_turn()
        return answer

    def read_index(self) -> Deferred[int]:
        """See IRaft."""
        try:
            running = self._serves()
            core = running.core
            answer = running.reads.add(core.read_index, lambda: core.leader)
        except RaftError as error:
            return fail(error)
        running.ask_turn()
        return answer

    def change(self, change: Change) -> Deferred[Configuration]:
        """See IRaft."""
        try:
            return Deferred.fromCoroutine(self._serves().change(change))
        except Stopped as error:
            return fail(error)

    def configuration(self) -> Configuration:
        """See IRaft."""
        return self._running.core.configuration if self._running is not None else Configuration(())

    def when_removed(self) -> Deferred[None]:
        """See IRaft."""
        return self._removal.wait()

    def transfer(self, to: str | None = None) -> Deferred[str]:
        """See IRaft."""
        try:
            return Deferred.fromCoroutine(self._serves().transfer(to))
        except Stopped as error:
            return fail(error)

    def query(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        """Call ``function`` on the state machine's lane, between two batches: for reads of its store."""
        try:
            return self._serves().applier.run(function, *arguments)
        except Stopped as error:
            return fail(error)

    @property
    def applied_index(self) -> int:
        """The last entry that the state machine has applied, as far as this thread was told; 0 before it runs."""
        return self._running.core.applied_index if self._running is not None else 0

    def status(self) -> RaftStatus:
        """See IRaft."""
        return status_of(self.config, self._running)

    @property
    def snapshot_buffered(self) -> int:
        """Bytes of snapshot pieces that are held for followers (R42)."""
        return self._running.sender.buffered if self._running is not None else 0

    def watch_leadership(self, observer: object) -> None:
        """See IRaft."""
        self._leadership.watch(observer)

