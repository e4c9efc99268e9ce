"""Three real metadata servers in a simulated world, chunk servers that only talk, and clients that ask raw requests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from attrs import evolve
from twisted.internet.defer import Deferred

from dfs.metaserver.config import MetaConfig
from dfs.metaserver.leading import LeaderTerm
from dfs.metaserver.node import MetaServer
from dfs.protocol import messages as m
from dfs.protocol.dial import connect
from dfs.protocol.errors import DeadlinePassed, DFSError, Disconnected, NotLeader, Unavailable
from dfs.protocol.interfaces import IConnection, Identity
from dfs.protocol.link import Link
from dfs.protocol.values import CHUNK_SIZE, FileId, Generation, NodeNumber, Purpose, Role, cluster_id_of, file_digest
from dfs.simulation.host import SimulatedHost, World

KEY = bytes(range(32))
PORT = 7000
SHA256 = b"\x5a" * 32

Answer = TypeVar("Answer")


class Meta:
    """One metadata host and the server that runs there now."""

    def __init__(self, cluster: Cluster, host: SimulatedHost) -> None:
        self.cluster, self.host, self.name = cluster, host, host.name
        self.address = f"{host.ip}:{PORT}"
        self.fatal: list[str] = []

    def config(self) -> MetaConfig:
        return self.cluster.configure(
            MetaConfig(
                node=self.name,
                peers={meta.name: meta.address for meta in self.cluster.metas},
                listen=f"tcp:{PORT}:interface={self.host.ip}",
                folder="/data",
                cluster_key=KEY,
                store="memory",
                heartbeat_interval=1.0,
                suspect_after=3.0,
                dead_after=6.0,
                segment_length=1 << 20,
                reserve_length=64 << 10,
            )
        )

    def start(self) -> None:
        self.server = MetaServer(self.config(), self.host.runtime, self.host.disk, self.fatal.append)
        self.server.startService()

    def restart(self) -> None:
        self.host.restart()
        self.start()

    @property
    def term(self) -> LeaderTerm | None:
        return self.server._term if self.host.up else None


class Chunk:
    """A chunk server that registers, beats, and says that it did each job; ``silent`` it says nothing."""

    def __init__(self, cluster: Cluster, number: int) -> None:
        self.cluster, self.name = cluster, f"chunk-{number}"
        self.host = cluster.world.host(self.name)
        self.address = f"{self.host.ip}:{PORT}"
        self.incarnation = bytes([number]) * 16
        self.boot = bytes([number]) * 15 + b"\x01"
        self.node = NodeNumber(0)
        self.number = 100
        self.free = 100 << 30
        self.silent = False
        self.jobs: list[m.Job] = []
        self.results: dict[int, m.JobResult] = {}
        self.code = 0
        self.held: tuple[m.HeldReplica, ...] | None = None  # None: its inventories prove nothing
        self.taken: list[m.InventoryTaken] = []
        self.refused: list[DFSError] = []
        self.leader: IConnection | None = None
        self._links: list[Link] = []

    def start(self) -> None:
        identity = Identity(Role.CHUNK, self.name, cluster_id_of(KEY), self.incarnation, KEY)
        for meta in self.cluster.metas:
            link = Link(self.host.runtime, meta.address, identity, Purpose.CONTROL, expect=meta.name)
            link.startService()
            self._links.append(link)
            _ = Deferred.fromCoroutine(self._report(link))

    def stop(self) -> None:
        self.host.kill()

    async def _report(self, link: Link) -> None:
        clock = self.host.runtime.reactor
        while True:
            pause: Deferred[None] = Deferred()
            clock.callLater(0.5, pause.callback, None)
            await pause
            connection = link.connection
            if connection is None or self.silent:
                continue
            try:
                await self._beat(connection)
            except (NotLeader, Disconnected, DeadlinePassed, Unavailable):
                continue
            except DFSError as error:
                self.refused.append(error)

    async def _register(self, connection: IConnection) -> None:
        request = m.Register(
            self.name, self.address, self.incarnation, self.boot, "", 1 << 40, self.free, self.number
        )
        registered = await connection.call(request, 5.0)
        assert isinstance(registered, m.Registered)
        self.node = registered.node

    async def _beat(self, connection: IConnection) -> None:
        if not self.node:
            await self._register(connection)
        results = tuple(self.results.values())
        answer = await connection.call(
            m.Heartbeat(
                node=self.node,
                incarnation=self.incarnation,
                boot=self.boot,
                total=1 << 40,
                free=self.free,
                used=0,
                chunks=0,
                quarantined=0,
                streams=0,
                number=self.number,
                running=(),
                results=results,
            ),
            5.0,
        )
        assert isinstance(answer, m.HeartbeatAnswer)
        if answer.leads:
            self.leader = connection
            for result in results:
                del self.results[result.job]
            for job in answer.jobs:
                self._do(job)
        if answer.register:
            await self._register(connection)
        if answer.inventory:
            number = 0 if self.held is None else self.number
            await self.send_inventory(connection, number, self.held or ())

    def _do(self, job: m.Job) -> None:
        if job.job in self.results:
            return
        self.jobs.append(job)
        self.number += 1
        node = job.targets[0].node if job.targets else self.node
        self.results[job.job] = m.JobResult(
            job.job, job.kind, job.file_id, job.index, job.generation, node, self.number, self.code, ""
        )

    async def send_inventory(self, connection: IConnection, number: int, held: tuple[m.HeldReplica, ...]) -> None:
        page = m.Inventory(self.node, self.incarnation, number, b"\0" * 12, b"\xff" * 12, held)
        taken = await connection.call(page, 5.0)
        assert isinstance(taken, m.InventoryTaken)
        self.taken.append(taken)


class Cluster:
    """A world with ``metas`` and as many chunk servers as a test makes."""

    def __init__(self, seed: int = 1, configure: Callable[[MetaConfig], MetaConfig] = lambda config: config) -> None:
        self.world = World(seed)
        self.configure = configure
        self.metas: list[Meta] = []
        self.metas += [Meta(self, self.world.host(f"meta-{number}")) for number in (1, 2, 3)]
        self.chunks: list[Chunk] = []
        self.client = self.world.host("client")
        self._connections: dict[str, IConnection] = {}
        self._sequence = 0

    def start(self, chunks: int = 0) -> None:
        """All up, with a leader that serves and every chunk server registered."""
        for meta in self.metas:
            meta.start()
        for meta in self.metas:
            self.world.run_until(meta.server.ready)
        self.leader()
        for number in range(1, chunks + 1):
            self.chunks.append(Chunk(self, number))
            self.chunks[-1].start()
        self.world.run_until(lambda: all(chunk.leader for chunk in self.chunks))

    def leader(self, others: tuple[Meta, ...] = ()) -> Meta:
        """The one that leads and serves, none of ``others``."""
        found: list[Meta] = []

        def leads() -> bool:
            found[:] = [meta for meta in self.metas if meta not in others and meta.term and meta.term.loaded]
            return bool(found)

        self.world.run_until(leads)
        return found[0]

    def stop(self) -> None:
        for meta in self.metas:
            if meta.host.up:
                self.world.run_until(meta.server.stopService())

    # ---- asking

    def ask(self, meta: Meta, request: object, timeout: float = 5.0) -> Any:
        """One request to one node; its answer, or raise its error."""
        return self.world.run_until(self.asking(meta, request, timeout), 30.0)

    def asking(self, meta: Meta, request: object, timeout: float = 5.0) -> Deferred[object]:
        return Deferred.fromCoroutine(self._ask(meta, request, timeout))

    async def _ask(self, meta: Meta, request: object, timeout: float) -> object:
        connection = self._connections.get(meta.name)
        if connection is None:
            identity = Identity(Role.CLIENT, "client", b"", bytes(16), b"")
            connection = await connect(self.client.runtime, meta.address, identity, Purpose.CONTROL)
            self._connections[meta.name] = connection
            _ = connection.when_closed().addCallback(lambda _: self._connections.pop(meta.name, None))
        try:
            return await connection.call(request, timeout)
        except DeadlinePassed:
            connection.abort()
            raise

    def done(self, request: object, answer: type[Answer], patience: float = 30.0) -> Answer:
        """As a client does it: find the leader, and ask again until it is answered for good."""
        end = self.world.clock.now + patience
        while True:
            for meta in self.metas:
                if not meta.host.up:
                    continue
                try:
                    found = self.ask(meta, request)
                except (NotLeader, Unavailable, Disconnected, DeadlinePassed):
                    continue
                assert isinstance(found, answer), found
                return found
            assert self.world.clock.now < end, f"{request} was not answered"
            self.world.run(0.1)

    # ---- uploads by raw requests

    def operation(self) -> m.Operation:
        """A new one, of one session born at the founding."""
        self._sequence += 1
        return m.Operation(b"\0" * 7 + b"\x01" + b"clientid", self._sequence, max(0, self._sequence - 20))

    def create(self, name: str, size: int | None = CHUNK_SIZE, count: int = 1, replication: int = 3) -> m.UploadGranted:
        request = m.CreateUpload(self.operation(), name, size, CHUNK_SIZE, replication, count)
        return self.done(request, m.UploadGranted)

    def commit_chunk(self, file_id: FileId, placement: m.Placement, durable: int = 3) -> m.CommitOutcome:
        """As the primary does it, over the connection of one of the chunk servers."""
        commit = self.chunk_commit(file_id, placement.index, placement.generation, placement, durable)
        outcomes = self.from_chunk(m.CommitChunks((commit,)))
        assert isinstance(outcomes, m.CommitOutcomes)
        return outcomes.outcomes[0]

    def chunk_commit(
        self, file_id: FileId, index: int, generation: Generation, placement: m.Placement, durable: int = 3
    ) -> m.ChunkCommit:
        replicas = []
        for target in placement.targets[:durable]:
            chunk = self.chunk(target.name)
            chunk.number += 1
            replicas.append(m.DurableReplica(target.node, chunk.number))
        return m.ChunkCommit(file_id, index, generation, CHUNK_SIZE, SHA256, tuple(replicas))

    def from_chunk(self, request: object, chunk: Chunk | None = None) -> object:
        """A chunk server asks the leader, until it is answered."""
        speaker = chunk or next(chunk for chunk in self.chunks if not chunk.silent)
        while True:
            self.leader()
            speaker.leader = None
            self.world.run_until(lambda: speaker.leader is not None)
            assert speaker.leader is not None
            try:
                return self.world.run_until(speaker.leader.call(request, 5.0))
            except (NotLeader, Unavailable, Disconnected, DeadlinePassed):
                self.world.run(0.1)

    def finish(self, granted: m.UploadGranted, count: int = 1) -> m.FileInfo:
        request = m.CommitFile(
            self.operation(), granted.file_id, granted.epoch, count * CHUNK_SIZE, count, file_digest(SHA256 * count)
        )
        return self.done(request, m.FileInfo)

    def store(self, name: str, durable: int = 3) -> m.FileInfo:
        """A whole file of one chunk."""
        granted = self.create(name)
        assert self.commit_chunk(granted.file_id, granted.placements[0], durable) is m.CommitOutcome.COMMITTED
        return self.finish(granted)

    def chunk(self, name: str) -> Chunk:
        return next(chunk for chunk in self.chunks if chunk.name == name)

    def replicas(self, file: m.FileInfo) -> dict[str, str]:
        """Where the first chunk is: node and state."""
        page = self.done(m.ListChunks(file.file_id, 0, 10), m.ChunkPage)
        return {replica.node: replica.state.name for replica in page.chunks[0].replicas}

    def status(self, meta: Meta | None = None) -> m.Status:
        status = self.ask(meta or self.leader(), m.GetStatus())
        assert isinstance(status, m.Status)
        return status


def longer_silence(config: MetaConfig) -> MetaConfig:
    """Nobody dies in a short test."""
    return evolve(config, dead_after=600.0, suspect_after=300.0)
