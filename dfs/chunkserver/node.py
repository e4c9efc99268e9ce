"""The whole chunk server: opens its folder, listens, reports; drains and stops.

Order of a start: lock and identity of the folder, the store's validation, the port,
then the reports to metadata: nobody hears of this node before it can serve.  Order of a
stop: no more puts, what runs may end, connections closed, the lock given back last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from attrs import evolve
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger

from dfs.chunkserver.clustertime import ClusterClock
from dfs.chunkserver.commit import CommitBatcher
from dfs.chunkserver.compacting import Compactor
from dfs.chunkserver.config import ChunkServerConfig
from dfs.chunkserver.copying import Worker
from dfs.chunkserver.damage import Damage
from dfs.chunkserver.errors import RefusedStart
from dfs.chunkserver.founding import Founding, read_founding
from dfs.chunkserver.get import Gets
from dfs.chunkserver.heartbeat import Self, Standing
from dfs.chunkserver.identity import FolderIdentity, OpenFolder, claim, open_folder
from dfs.chunkserver.jobs import Jobs
from dfs.chunkserver.keeping import Keeper
from dfs.chunkserver.layout import Layout
from dfs.chunkserver.put import Surroundings
from dfs.chunkserver.rebuilding import Rebuilding
from dfs.chunkserver.removing import Remover
from dfs.chunkserver.reporting import Reporting
from dfs.chunkserver.scrubbing import Scrubber
from dfs.chunkserver.service import ChunkService
from dfs.chunkserver.store import ChunkStore
from dfs.chunkserver.writing import WriteRules
from dfs.disk.interfaces import IDisk
from dfs.protocol.errors import DFSError, InternalError, Unavailable
from dfs.protocol.interfaces import Identity
from dfs.protocol.leader import LeaderCaller
from dfs.protocol.listen import ServerFactory
from dfs.protocol.messages import JudgeQuarantined, QuarantineJudged, QuarantineVerdict, ReportDamage, SetAside
from dfs.protocol.pool import BulkPool
from dfs.protocol.trust import KeyRing
from dfs.protocol.values import Role, cluster_id_of
from dfs.runtime.errors import DeadlineExceeded
from dfs.runtime.interfaces import Runtime
from dfs.runtime.timeout import deadline

_log = Logger()

CONNECTIONS = 128
"""Bulk connections to one peer: more than puts and copies together, so that none waits for another's end
(two servers that wait for each other's connections would stand still)."""

CALL_TIMEOUT = 5.0
CALL_PATIENCE = 30.0

DRAIN = 10.0
"""Seconds that transfers in progress get to end when the server stops."""


class ChunkServer(Service):
    """One chunk server.

    :ivar ready: fires once it serves; fails with RefusedStart.
    :param on_fatal: called once with a sentence when it cannot start or go on; the process had better end.
    """

    def __init__(
        self, config: ChunkServerConfig, runtime: Runtime, disk: IDisk, on_fatal: Callable[[str], None] | None = None
    ) -> None:
        self.config, self.runtime, self.disk = config, runtime, disk
        self.ready: Deferred[ChunkServer] = Deferred()
        self.on_fatal = on_fatal
        self.cluster = cluster_id_of(config.key)
        self.clock = ClusterClock()
        self.store: ChunkStore | None = None
        self.service: ChunkService | None = None
        self.port: IListeningPort | None = None
        self._folder: OpenFolder | None = None
        self._factory: ServerFactory | None = None
        self._leader: LeaderCaller | None = None
        self._pool: BulkPool | None = None
        self._jobs: Jobs | None = None
        self._scrubber: Scrubber | None = None
        self._reporting: Reporting | None = None
        self._keeper: Keeper | None = None
        self._compactor: Compactor | None = None
        self._starting: Deferred[None] | None = None
        self._fatal = False

    # ---- start ------------------------------------------------------------------------------------

    def startService(self) -> None:
        Service.startService(self)
        self._starting = Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        try:
            identity = await self._open()
            await self._build(identity)
        except RefusedStart as error:
            _log.critical("{node} does not start: {error}", node=self.config.node, error=error)
            self.ready.errback(error)
            if self.on_fatal is not None:
                self.on_fatal(str(error))
            return
        if self.running:
            if self._scrubber is not None:
                self._scrubber.start()
            if self._reporting is not None:
                self._reporting.start()
            if self._keeper is not None:
                self._keeper.start()
            if self._compactor is not None:
                self._compactor.start()
            self.ready.callback(self)

    async def _open(self) -> FolderIdentity:
        """The folder is ours, validated, and its store open."""
        config, threads = self.config, self.runtime.threads
        self._folder = await threads.run(open_folder, self.disk, config.data, config.node, self.cluster)
        identity = self._folder.identity
        if identity is None:
            incarnation = self.runtime.entropy(16)
            identity = await threads.run(claim, self.disk, self._folder, config.node, self.cluster, incarnation)
        layout = Layout(config.data, self.cluster)
        rules = WriteRules(config.reserve, config.durable, config.segments, config.segment_size)
        store = ChunkStore(self.runtime, self.disk, layout, config.node, rules)
        try:
            report = await store.open()
        except DFSError as error:
            raise RefusedStart(f"{config.data} cannot be used: {error}") from error
        _log.info(
            "{node} holds {replicas} replicas ({cleaned} unfinished writes removed, {aside} files set aside now)",
            node=config.node,
            replicas=report.replicas,
            cleaned=report.cleaned,
            aside=report.set_aside,
        )
        store.on_failure = lambda sentence: self._kick()  # metadata had better know at once
        self.store = store
        return identity

    async def _build(self, folder: FolderIdentity) -> None:
        """Wire everything up and listen.  Raises RefusedStart when the port is taken."""
        config, runtime, store = self.config, self.runtime, self.store
        assert store is not None
        known = await runtime.threads.run(read_founding, self.disk, config.data)
        founding = Founding(self.disk, runtime.threads, config.data, known, self._founding_pinned)
        identity = Identity(
            Role.CHUNK, config.node, self.cluster, folder.incarnation, config.key, known, config.versions
        )
        self._leader = LeaderCaller(runtime, identity, config.meta)
        self._pool = BulkPool(runtime, identity, CONNECTIONS, self.cluster_time_ms)
        batcher = CommitBatcher(self._ask_leader)
        around = Surroundings(
            runtime, config.node, store, self._pool, batcher.commit, batcher.add, batcher.finish_all
        )  # fmt: skip
        keys = KeyRing(config.key, self.cluster)
        gets = Gets(runtime.reactor, store)
        service = self.service = ChunkService(around, keys, self.clock, gets)
        store.time_ms = self.cluster_time_ms
        self._compactor = Compactor(runtime, store, config.compaction)
        keeper = self._keeper = Keeper(
            runtime,
            config.node,
            store,
            config.quarantine,
            lambda offers: self._judged(standing, offers),
            lambda held: batcher.add(standing.durable(held)),
        )
        remover = Remover(
            runtime.reactor, store, keeper, keys, self.clock, lambda: standing.number, lambda: standing.term
        )
        worker = Worker(runtime.reactor, config.node, store, self._pool, remover, lambda: standing.number)
        jobs = self._jobs = Jobs(runtime.reactor, worker.perform, config.copies, self._kick)
        who = Self(config.node, config.advertise, folder.incarnation, runtime.entropy(16), config.rack)
        standing = Standing(runtime, who, store, jobs, self.clock, lambda: service.streams, founding)
        if config.scrub_period:
            scrubber = Scrubber(runtime, store, config.scrub_period, lambda: service.streams > 0)
            self._scrubber = standing.scrubber = scrubber
        service.rebuilding = Rebuilding(
            config.node, store, founding, runtime.reactor.seconds, lambda: standing.heard, self._end_later
        )
        standing.clients = lambda now: (service.clients, gets.traffic.rate(now))
        store.doubts.on_damage = partial(self._report_damage, standing)
        self._factory = ServerFactory(runtime, identity, service, self.cluster_time_ms)
        await self._listen(self._factory)
        self._reporting = Reporting(standing, identity, config.meta, self._leader, self._refused)

    async def _listen(self, factory: ServerFactory) -> None:
        endpoint: Any = serverFromString(self.runtime.reactor, self.config.listen)
        try:
            self.port = await endpoint.listen(factory)
        except CannotListenError as error:
            raise RefusedStart(
                f"{self.config.listen} cannot be listened on ({error.socketError}): is another node running there?"
            ) from error

    def _founding_pinned(self, founding: bytes) -> None:
        """From here on our Hellos name it."""
        for speaker in (self._factory, self._leader, self._pool):
            if speaker is not None:
                speaker.identity = evolve(speaker.identity, founding=founding)
        if self._reporting is not None:
            self._reporting.introduce(founding)

    def _end_later(self, seconds: float, sentence: str) -> None:
        """The process has to be started again; who asked for it hears the answer first."""
        self.runtime.reactor.callLater(seconds, self._refused, sentence)

    def _refused(self, sentence: str) -> None:
        """Metadata will not have us: nothing that comes back by itself."""
        if self._fatal:
            return
        self._fatal = True
        _log.critical("{node} stops: {sentence}", node=self.config.node, sentence=sentence)
        if self.on_fatal is not None:
            self.on_fatal(f"{self.config.node} stops: {sentence}")

    def cluster_time_ms(self) -> int:
        """Our estimate, for Hello."""
        return self.clock.now_ms(self.runtime.reactor.seconds())

    def _ask_leader(self, request: object) -> Deferred[object]:
        assert self._leader is not None
        return self._leader.call(request, CALL_TIMEOUT, CALL_PATIENCE)

    def _kick(self) -> None:
        if self._reporting is not None:
            self._reporting.kick()

    async def _judged(self, standing: Standing, offers: tuple[SetAside, ...]) -> Sequence[QuarantineVerdict]:
        """Metadata's verdicts on what is set aside.  Raises DFSError."""
        if not standing.number:
            raise Unavailable("metadata does not know this node yet")
        judged = await self._ask_leader(JudgeQuarantined(standing.number, standing.who.incarnation, offers))
        if not isinstance(judged, QuarantineJudged) or len(judged.verdicts) != len(offers):
            raise InternalError("metadata answered the question of a quarantine with something else")
        return judged.verdicts

    def _report_damage(self, standing: Standing, damage: Damage) -> None:
        """Metadata had better know at once; if this word is lost, the next inventory tells."""
        self._kick()
        if standing.number:
            held = damage.replica
            incarnation, where = standing.who.incarnation, (held.file_id, held.index, held.generation)
            report = ReportDamage(standing.number, incarnation, *where, held.number, damage.kind, damage.offset)
            self._last_report = self._ask_leader(report).addErrback(
                lambda failure: _log.info("a damaged replica was not reported: {error}", error=failure.value)
            )

    # ---- stop -------------------------------------------------------------------------------------

    def stopService(self) -> Deferred[None]:
        Service.stopService(self)
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if self._starting is not None:
            await self._starting
        if self.port is not None:
            await self._closed(self.port)
        if self.service is not None:
            await self._drained(self.service)
        if self._reporting is not None:
            self._reporting.stop()
        if self._jobs is not None:
            self._jobs.stop()
        if self._factory is not None:
            self._factory.stop()
        if self._pool is not None:
            await self._pool.stop()
        if self._leader is not None:
            await self._leader.stop()
        if self._folder is not None and await self._at_rest():
            self._folder.lock.release()

    async def _at_rest(self) -> bool:
        """Whether no thread works in our folder any more; the lock of one that hangs goes with the process."""
        if self.store is None:
            return True
        try:
            if self._keeper is not None:
                await deadline(Deferred.fromCoroutine(self._keeper.stop()), DRAIN, self.runtime.reactor, "the keeper")
            if self._compactor is not None:
                stopped = Deferred.fromCoroutine(self._compactor.stop())
                await deadline(stopped, DRAIN, self.runtime.reactor, "the compaction")
            if self._scrubber is not None:
                await deadline(Deferred.fromCoroutine(self._scrubber.stop()), DRAIN, self.runtime.reactor, "the scrub")
            await deadline(self.store.idle(), DRAIN, self.runtime.reactor, "the disk's last calls")
        except DeadlineExceeded:
            _log.error("the disk does not end its calls: {data} stays locked", data=self.config.data)
            return False
        return True

    async def _closed(self, port: IListeningPort) -> None:
        stopping: Any = port.stopListening()
        if stopping is not None:
            await stopping

    async def _drained(self, service: ChunkService) -> None:
        """Give what runs a while to end; clients of what does not retry elsewhere."""
        try:
            await deadline(service.drain(), DRAIN, self.runtime.reactor, "draining")
        except DeadlineExceeded:
            _log.info("not all transfers ended within {seconds:g} s: they are cut", seconds=DRAIN)
