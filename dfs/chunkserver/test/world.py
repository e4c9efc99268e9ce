"""Chunk servers in a simulated world, with a metadata node that says what a test wants."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from dfs.chunkserver.config import ChunkServerConfig
from dfs.chunkserver.node import ChunkServer
from dfs.chunkserver.test.fakes import blocks_of, sha256_of
from dfs.protocol import messages as m
from dfs.protocol.dial import connect
from dfs.protocol.errors import DFSError, UnknownRequest
from dfs.protocol.interfaces import Block, IBlockSink, IConnection, Identity, IPut, IService
from dfs.protocol.listen import ServerFactory
from dfs.protocol.trust import NOWHERE, KeyRing, Spread
from dfs.protocol.values import (
    ChunkRef,
    FileId,
    Generation,
    Grant,
    GrantKind,
    NodeNumber,
    Purpose,
    Role,
    Target,
    cluster_id_of,
)
from dfs.simulation.host import SimulatedHost, World

KEY = b"k" * 32
CLUSTER = cluster_id_of(KEY)
NOW_MS = 5_000_000
PORT = 7000
DATA = "/srv/data"


@implementer(IService)
class FakeMeta:
    """A metadata node that leads: it notes what it hears and answers as it is told."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.jobs: list[m.Job] = []
        self.results: list[m.JobResult] = []
        self.commits: list[m.ChunkCommit] = []
        self.held: dict[int, list[m.HeldReplica]] = {}
        self.inventory = False
        self.outcome = m.CommitOutcome.COMMITTED
        self.leads = True
        self.term = 1
        self.refusal: DFSError | None = None  # of registrations

    def connected(self, connection: IConnection) -> None:
        pass

    def disconnected(self, connection: IConnection) -> None:
        pass

    def handle(self, connection: IConnection, request: object) -> Deferred[object]:
        self.heard.append(request)
        match request:
            case m.Register():
                if self.refusal is not None:
                    return fail(self.refusal)
                number = NodeNumber(int(request.name.rpartition("-")[2]))
                return succeed(m.Registered(number, 1000, NOW_MS, self.inventory))
            case m.Heartbeat():
                return succeed(self._beat(request))
            case m.CompareInventory():
                return succeed(m.InventoryDiffers(tuple(range(len(request.ranges)))))
            case m.Inventory():
                self.held.setdefault(request.node, []).extend(request.replicas)
                return succeed(m.InventoryTaken(0, 0, 0))
            case m.CommitChunks():
                self.commits += request.commits
                return succeed(m.CommitOutcomes((self.outcome,) * len(request.commits)))
            case m.AddReplicas() | m.ReportDamage() | m.ReportHealth():
                return succeed(m.Done())
        return fail(UnknownRequest("not here"))

    def _beat(self, beat: m.Heartbeat) -> m.HeartbeatAnswer:
        """Jobs go to node 1 only."""
        if self.leads:
            self.results += beat.results
            self.jobs = [job for job in self.jobs if job.job not in [one.job for one in beat.results]]
        jobs = tuple(self.jobs) if beat.node == 1 and self.leads else ()
        return m.HeartbeatAnswer(self.leads, self.term, NOW_MS, False, False, jobs)

    def put_opened(self, connection: Any, request: object, stream: Any) -> tuple[IBlockSink, Deferred[object]]:
        raise UnknownRequest("not here")

    def get_opened(self, connection: Any, request: object, stream: Any) -> Deferred[object]:
        raise UnknownRequest("not here")

    def message_received(self, connection: Any, payload: bytes) -> None:
        pass


@implementer(IBlockSink)
class Collector:
    """Takes a get's blocks."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.content = bytearray()
        self.done: Deferred[tuple[int, bytes]] = Deferred()

    def block_received(self, block: Block) -> None:
        self.blocks.append(block)
        for view in block.pieces:
            self.content += view

    def end_received(self, length: int, sha256: bytes) -> None:
        self.done.callback((length, sha256))

    def stream_failed(self, error: DFSError) -> None:
        self.done.errback(error)


class Cluster:
    """One metadata node, ``count`` chunk servers named chunk-1 and so on, and a client's host."""

    def __init__(self, count: int, seed: int = 1) -> None:
        self.world = World(seed)
        self.keys = KeyRing(KEY, CLUSTER)
        self.meta = FakeMeta()
        self.world.host("meta-1")
        self.meta_address = f"{self.start_metadata(KEY).ip}:{PORT}"
        self.client = self.world.host("client")
        self.servers: dict[int, ChunkServer] = {}
        for number in range(1, count + 1):
            self.world.host(f"chunk-{number}")
            self.start(number)
        for number in self.servers:
            self.world.run_until(self.servers[number].ready)
        self.world.run_until(lambda: all(server.clock.known for server in self.servers.values()))

    def start_metadata(self, key: bytes) -> SimulatedHost:
        """Let the metadata node listen, with this cluster's key or another's."""
        host = self.world.hosts["meta-1"]
        identity = Identity(Role.META, host.name, cluster_id_of(key), b"m" * 16, key)
        host.reactor.listenTCP(PORT, ServerFactory(host.runtime, identity, self.meta, lambda: NOW_MS))
        return host

    def start(self, number: int) -> ChunkServer:
        """Start a chunk server on its host's disk."""
        host = self.world.hosts[f"chunk-{number}"]
        config = ChunkServerConfig(
            host.name, DATA, f"tcp:{PORT}", f"{host.ip}:{PORT}", (self.meta_address,), KEY, reserve=0
        )
        self.servers[number] = server = ChunkServer(config, host.runtime, host.disk)
        server.startService()
        return server

    def targets(self, *numbers: int, chain: bool = False) -> tuple[Target, ...]:
        """A star, or a chain, of chunk servers."""
        return tuple(
            Target(
                NodeNumber(number),
                f"chunk-{number}",
                f"{self.world.hosts[f'chunk-{number}'].ip}:{PORT}",
                max(0, position - 1) if chain else 0,
            )
            for position, number in enumerate(numbers)
        )

    def grant(
        self, ref: ChunkRef, kind: GrantKind = GrantKind.PUT, expires_ms: int = NOW_MS * 2, spread: Spread = NOWHERE
    ) -> Grant:
        """Leave from metadata."""
        return self.keys.sign(kind, ref.file_id, ref.index, ref.generation, expires_ms, 5, spread)

    def dial(self, number: int, purpose: Purpose = Purpose.BULK, trusted: bool = False) -> IConnection:
        """A client's connection to a chunk server, or a metadata node's."""
        target = self.targets(number)[0]
        stranger = Identity(Role.CLIENT, "", b"", b"", b"")
        identity = Identity(Role.META, "meta-1", CLUSTER, b"m" * 16, KEY) if trusted else stranger
        connection = self.world.run_until(connect(self.client.runtime, target.address, identity, purpose))
        assert connection is not None
        return connection

    def request(self, ref: ChunkRef, targets: tuple[Target, ...], quorum: int = 2, limit: int = 8 << 20) -> m.PutChunk:
        grant = self.grant(ref, spread=Spread(targets, quorum))
        return m.PutChunk(ref.file_id, ref.index, ref.generation, None, limit, targets, 0, quorum, True, grant)

    def open(self, request: m.PutChunk) -> IPut:
        """A client's put to the first target."""
        return self.dial(request.targets[0].node).open_put(request, 30.0)

    def put(self, ref: ChunkRef, content: bytes, targets: tuple[Target, ...], quorum: int = 2) -> m.ChunkWritten:
        """Write a chunk and wait for the answer."""
        put = self.open(self.request(ref, targets, quorum))
        for block in blocks_of(content):
            put.write(block)
        put.end(len(content), sha256_of(content))
        written = self.world.run_until(put.answer, 120.0)
        assert isinstance(written, m.ChunkWritten)
        return written

    def get(self, number: int, ref: ChunkRef, offset: int, length: int) -> tuple[m.ChunkHead, Collector]:
        """Read a range and wait for its end."""
        collector = Collector()
        request = m.GetChunk(ref.file_id, ref.index, ref.generation, offset, length)
        opened = self.world.run_until(self.dial(number).open_get(request, collector, 30.0))
        assert opened is not None
        self.world.run_until(collector.done)
        head: Any = opened[0]
        return head, collector

    def holds(self, number: int, ref: ChunkRef) -> bool:
        """Whether a chunk server has the replica in its index."""
        store = self.servers[number].store
        return store is not None and store.index.get(ref) is not None


def chunk(file_id: int, index: int = 0, generation: int = 1) -> ChunkRef:
    return ChunkRef(FileId(file_id), index, Generation(generation))
