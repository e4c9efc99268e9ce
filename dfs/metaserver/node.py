"""One metadata server: tables, Raft, links, listening port; started and stopped in order.

Start: lock the folder, open the tables on their lane, start Raft on the same lane, dial the other members, listen.
Stop: the reverse.  Whatever breaks a promise (a failed sync, corruption, a broken invariant) ends the node once and for
all: it says nothing more, and ``on_fatal`` is called with the sentence that tells the operator what to do (S31).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import evolve
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger
from twisted.python.failure import Failure

from dfs.disk.interfaces import IDisk, IDiskLock
from dfs.metaserver.alarms import Alarms
from dfs.metaserver.config import MetaConfig
from dfs.metaserver.fatal import Removed, fatal_sentence, is_foreseen
from dfs.metaserver.leading import LeaderTerm
from dfs.metaserver.machine import MetadataMachine
from dfs.metaserver.members import Members
from dfs.metaserver.neighbours import Neighbours
from dfs.metaserver.pinning import Pinning, founding_of, members
from dfs.metaserver.proposing import Proposer
from dfs.metaserver.raft_transport import RaftTransport
from dfs.metaserver.reading import Reader
from dfs.metaserver.roster import Roster
from dfs.metaserver.seams import Seams
from dfs.metaserver.service import MetaService
from dfs.metaserver.status import StatusView
from dfs.protocol.interfaces import Identity
from dfs.protocol.listen import ServerFactory, server_factory
from dfs.protocol.trust import KeyRing
from dfs.protocol.values import Role
from dfs.raft.errors import RaftError, StorageCorrupt
from dfs.raft.node import RaftNode
from dfs.runtime.interfaces import ILane, Runtime

_log = Logger()

LINGER = 2.0
"""Seconds from hearing that this member was removed until it stops."""


def lock_folder(disk: IDisk, folder: str) -> IDiskLock:
    """Make the data folder if it is new, and keep other processes off.  Blocks; raises DiskError."""
    disk.make_folders(folder)
    return disk.lock(f"{folder}/LOCK")


class MetaServer(Service):
    """:param on_fatal: called once with a sentence when the node cannot start or go on; the process should end.

    :ivar ready: fires once it serves; fails with what the start failed with.
    """

    def __init__(
        self,
        config: MetaConfig,
        runtime: Runtime,
        disk: IDisk,
        on_fatal: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self.config = config
        self.ready: Deferred[None] = Deferred()
        self.stopped = False
        self._runtime = runtime
        self._disk = disk
        self._on_fatal = on_fatal
        self._failed = False
        self._starting: Deferred[None] | None = None
        self._watching: Deferred[None] | None = None
        self._lock: IDiskLock | None = None
        self._lane: ILane | None = None
        self._machine: MetadataMachine | None = None
        self._raft: RaftNode | None = None
        self._port: IListeningPort | None = None
        self._factory: ServerFactory | None = None
        self._service: MetaService | None = None
        self._status: StatusView | None = None
        self._members = Members(config.peers)
        self._pinning = Pinning(self._members, self._founding_learnt)
        self._transport = RaftTransport(runtime, config.node, self._members, self._pinning.admits)
        self._neighbours = Neighbours(runtime, self._members, self._pinning.admits)

    # ---- start

    def startService(self) -> None:
        Service.startService(self)
        self._starting = Deferred.fromCoroutine(self._start()).addErrback(self._not_started)

    async def _start(self) -> None:
        config, threads = self.config, self._runtime.threads
        self._lane = lane = threads.lane(f"tables {config.node}")
        self._lock = await lane.run(lock_folder, self._disk, config.folder)
        self._machine = machine = await lane.run(self._open_machine)
        self._raft = raft = RaftNode(
            config.raft(),
            self._runtime,
            self._disk,
            f"{config.folder}/raft",
            machine,
            self._transport,
            self._raft_failed,
            lane,
        )
        seams = self._seams(machine, raft)
        self._status = status = StatusView(seams, raft.status, lambda: self._term, self._pinning)
        self._service = MetaService(seams, self._transport, status, raft)
        self._pinning.read(await lane.run(lambda: members(machine.store)))
        raft.watch_leadership(self)
        await raft.start()
        assert raft.identity is not None
        founding = founding_of(raft.identity.configuration)
        identity = Identity(
            Role.META, config.node, config.cluster_id, raft.identity.incarnation, config.cluster_key,
            founding or self._pinning.founding, config.versions,
        )  # fmt: skip
        if not (self._pinning.admits(config.node, identity.incarnation) and self._pinning.founded(founding)):
            raise StorageCorrupt(f"{config.folder}/raft was lost or replaced beside the tables that remember another")
        self._factory = server_factory(self._runtime, identity, self._service, self.cluster_time_ms)
        self._port = await serverFromString(self._runtime.reactor, config.listen).listen(self._factory)
        status.start()
        self._transport.start(raft, identity, self._service, self.cluster_time_ms)
        self._neighbours.start(identity)
        _log.info("{node} listens at {listen}", node=config.node, listen=config.listen)
        self._watching = raft.when_removed().addCallback(self._removed)
        self.ready.callback(None)

    def _founding_learnt(self, founding: bytes) -> None:
        """Our Hellos name it from here on."""
        if self._factory is not None and not self._factory.identity.founding:
            self._factory.identity = identity = evolve(self._factory.identity, founding=founding)
            self._transport.introduce(identity)
            self._neighbours.introduce(identity)

    def _open_machine(self) -> MetadataMachine:
        config = self.config
        folder = config.open_tables(self._disk, f"{config.folder}/tables", config.store)
        try:
            return MetadataMachine(folder, config.cluster_id)
        except BaseException:
            folder.close()
            raise

    def _seams(self, machine: MetadataMachine, raft: RaftNode) -> Seams:
        config = self.config
        return Seams(
            config=config,
            members=self._members,
            runtime=self._runtime,
            machine=machine,
            proposer=Proposer(raft, self.cluster_time_ms, self._members),
            reader=Reader(raft, machine, self._runtime.reactor, self._members, self._fatal),
            roster=Roster(config.suspect_after),
            alarms=Alarms(),
            keys=KeyRing(config.cluster_key, config.cluster_id),
            neighbours=self._neighbours,
        )

    async def _not_started_cleanly(self, failure: Failure) -> None:
        await self._close()
        self._fatal(failure)
        self.ready.errback(failure)

    def _not_started(self, failure: Failure) -> Deferred[None]:
        return Deferred.fromCoroutine(self._not_started_cleanly(failure))

    # ---- stop

    def stopService(self) -> Deferred[None]:
        """Orderly: hand leadership over, answer nothing new, close what is open.  Fires when everything is closed."""
        Service.stopService(self)
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if self._starting is not None:
            await self._starting
        await self._hand_over()
        await self._close()

    async def _hand_over(self) -> None:
        """A planned stop costs no election time-out: who has caught up furthest leads before we fall silent (R58)."""
        raft = self._raft
        if raft is None or self._failed or raft.status().role != "leader" or len(raft.status().members) < 2:
            return
        try:
            leader = await raft.transfer()
        except RaftError as error:
            _log.info("leadership is not handed over: {error}", error=error)
        else:
            _log.info("{leader} leads from here on", leader=leader)

    async def _close(self) -> None:
        if self.stopped:
            return
        self.stopped = True
        if self._port is not None:
            await _when(self._port.stopListening())
        if self._factory is not None:
            self._factory.stop()
        if self._status is not None:
            self._status.stop()
        self._end_term()
        if self._raft is not None:
            await self._raft.stop()
        self._transport.stop()
        await _when(self._neighbours.stop())
        if self._lane is not None:
            await self._lane.run(self._release)
            await self._lane.stop()

    def _release(self) -> None:
        """On the lane: what Raft did not close, and the lock last."""
        try:
            if self._machine is not None:
                self._machine.close()
        finally:
            if self._lock is not None:
                self._lock.release()

    # ---- what Raft tells

    @property
    def _term(self) -> LeaderTerm | None:
        return self._service.term if self._service is not None else None

    def leadership_changed(self, leads: bool, term: int) -> None:
        """See IRaft.watch_leadership."""
        self._end_term()
        service = self._service
        if leads and service is not None and not self.stopped:
            began = LeaderTerm(service.seams, term, self._pinning)
            service.leads(began)
            began.start()

    def _end_term(self) -> None:
        if self._service is not None and self._service.term is not None:
            self._service.term.stop()
            self._service.ceased()

    def cluster_time_ms(self) -> int:
        """The leader's reckoning; elsewhere what was last seen applied."""
        term = self._term
        if term is not None and term.loaded:
            return max(1, term.now_ms())
        return self._status.cluster_time_ms if self._status is not None else 1

    def _removed(self, _: object) -> None:
        """See IRaft.when_removed.  For a moment it still shows clients the way to the others."""
        self._runtime.reactor.callLater(LINGER, self._end_removed)

    def _end_removed(self) -> None:
        if self.stopped:
            return
        self._fatal(Failure(Removed(f"it was removed from the cluster by `dfs meta remove --name {self.config.node}`")))

    def _raft_failed(self, failure: Failure) -> None:
        self._fatal(failure)

    def _fatal(self, failure: Failure) -> None:
        """The end, told once: nothing is served after this."""
        if self._failed:
            return
        self._failed = True
        sentence = fatal_sentence(self.config.node, self.config.folder, failure)
        if not is_foreseen(failure):
            _log.failure("{node} failed", failure, node=self.config.node)
        _log.critical("{sentence}", sentence=sentence)
        self._end_term()
        if self._factory is not None:
            self._factory.stop()
        self._transport.stop()
        self._on_fatal(sentence)


async def _when(result: Any) -> None:
    """Await a Deferred, or nothing where there is none."""
    if isinstance(result, Deferred):
        await result
