"""The whole system in one process: metadata servers, chunk servers and clients, built as production builds them.

Each node is its own host with its own disk.  The cluster key lies as a file on every server's disk and is read at each
start, the tables are the store engine ``memory`` (it keeps what it is told to keep through the simulated disk; the
others open real files), addresses are ``10.0.0.N:7000``.  Clients speak through :func:`dfs.client.api.connect`.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

from attrs import evolve, frozen
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from dfs.chunkserver.config import ChunkServerConfig
from dfs.chunkserver.node import ChunkServer
from dfs.client.api import Client, ClientOptions, connect
from dfs.disk.interfaces import IDisk
from dfs.metaserver.config import MetaConfig
from dfs.metaserver.node import MetaServer
from dfs.protocol.interfaces import SPOKEN
from dfs.protocol.trust import new_cluster_key, read_key_file, write_key_file
from dfs.protocol.values import NodeState, cluster_id_of
from dfs.runtime.interfaces import Runtime
from dfs.simulation.host import SimulatedHost, World
from dfs.simulation.inspection import chunk_server_states, leads, raft_term
from dfs.simulation.ledger import Ledger, WatchedCaller
from dfs.simulation.nodes import Program, SimulatedNode
from dfs.simulation.platter import write_file

T = TypeVar("T")

PORT = 7000
KEY_FILE = "/etc/cluster.key"
DATA = "/data"
LOCAL = "/files"
"""Where a client's own files are."""


@frozen
class ClusterSettings:
    """Sizes and times (seconds) of a simulated cluster: short, so that a minute shows much."""

    meta_nodes: int = 3
    chunk_servers: int = 3
    tick: float = 0.05
    heartbeat_interval: float = 0.5
    suspect_after: float = 1.5
    dead_after: float = 3.0
    lease: float = 6.0
    upload_ttl: float = 15.0
    settle_after: float = 2.0
    racks: tuple[str, ...] = ()
    patience: float = 30.0
    chunk_size: int = 64 << 10
    election_ticks: int = 10
    append_length: int = 256 << 10
    append_window: int = 8
    trailing_entries: int = 10_000
    sync_interval: float = 2.0
    segment_length: int = 1 << 20
    reserve: int = 0
    scrub_period: float = 60.0
    quarantine: float = 30.0
    segments: bool = True


class HostDown(Exception):
    """The client's machine went down while it waited: it will never know."""


class ClusterClient:
    """One client machine.

    :ivar files: the API, once :meth:`enter` has reached the cluster; a new one after each :meth:`open`.
    """

    def __init__(self, cluster: SimulatedCluster, host: SimulatedHost, any_member: bool = False) -> None:
        self.cluster = cluster
        self._any_member = any_member
        self.host = host
        self.files: Client = self._connect()
        self._uploads = 0
        self._entered = False

    def _connect(self) -> Client:
        options = ClientOptions(
            patience=self.cluster.settings.patience, idle_timeout=5.0, hedge_after=0.5, state_folder="/state",
            any_member=self._any_member,
        )
        host, cluster = self.host, self.cluster
        client = connect(cluster.meta_addresses, None, runtime=host.runtime, disk=host.disk, options=options)
        caller: Any = WatchedCaller(client._context.caller, cluster.ledger, host.name, cluster.world.clock.seconds)
        client._context = evolve(client._context, caller=caller)
        return client

    def open(self) -> None:
        """Start the program again, after its machine went down or to forget what it knows."""
        self.host.restart()
        self.files = self._connect()
        self._entered = False

    async def enter(self) -> Client:
        """Begin, as ``async with`` does: reach any metadata server.  Raises DFSError; then it can be tried again."""
        if not self._entered:
            try:
                await self.files.__aenter__()
            except BaseException:
                self.files = self._connect()
                raise
            self._entered = True
        return self.files

    def run(self, coroutine: Coroutine[Deferred[Any], Any, T]) -> Deferred[T]:
        """Run something of this machine's; fails with HostDown when the machine goes down meanwhile."""
        outcome: Deferred[T] = Deferred()
        waiting = True

        def ended(result: T | Failure) -> None:
            nonlocal waiting
            if waiting:
                waiting = False
                outcome.callback(result)  # a Failure makes it an errback

        self.host.on_down.append(lambda: ended(Failure(HostDown(self.host.name))))
        Deferred.fromCoroutine(coroutine).addBoth(ended)  # type: ignore[unused-awaitable]
        return outcome

    def put_local(self, content: bytes, name: str = "") -> str:
        """A file of this machine; its path."""
        self._uploads += 1
        path = f"{LOCAL}/{name or self._uploads}"
        write_file(self.host.disk, path, content)
        return path

    async def upload(self, content: bytes, name: str, **options: Any) -> Any:
        """Upload bytes from a local file; see dfs.client.api.Client.upload."""
        path = self.put_local(content)
        files = await self.enter()
        return await files.upload(path, name, chunk_size=self.cluster.settings.chunk_size, **options)

    async def download(self, name: str, parallel: int = 4) -> bytes:
        """A file's bytes, in memory; see dfs.client.api.Client.download."""
        pieces: list[bytes] = []

        async def take(piece: bytearray) -> None:
            pieces.append(bytes(piece))

        files = await self.enter()
        await files.download(name, take, parallel=parallel)
        return b"".join(pieces)

    async def names(self, prefix: str = "") -> list[str]:
        """All names in the cluster."""
        files = await self.enter()
        return [info.name async for info in files.list(prefix)]


class SimulatedCluster:
    """Servers and clients of one world.

    :ivar meta, chunks: nodes by name, ``meta-1`` and ``chunk-1`` on.
    :ivar peers: the founders' addresses; ``joined`` those of members that joined later.
    :ivar clients: in the order of their making, ``client-1`` on.
    :ivar versions: of the protocol that a server speaks from its next start on, by name; see Identity.
    :ivar packs: whether a chunk server packs small replicas from its next start on, by name; see ClusterSettings.
    :ivar ledger: every request of a client about names, with its answer.
    """

    def __init__(self, world: World, settings: ClusterSettings | None = None) -> None:
        self.world = world
        self.settings = settings if settings is not None else ClusterSettings()
        key = new_cluster_key(entropy_of(world))
        self.cluster_id = cluster_id_of(key)
        self.meta: dict[str, SimulatedNode] = {}
        self.chunks: dict[str, SimulatedNode] = {}
        self.clients: list[ClusterClient] = []
        self.versions: dict[str, tuple[int, int]] = {}
        self.packs: dict[str, bool] = {}
        self.ledger = Ledger()
        hosts = [self._server(f"meta-{n + 1}", key) for n in range(self.settings.meta_nodes)]
        self.peers = {host.name: f"{host.ip}:{PORT}" for host in hosts}
        self.joined: dict[str, str] = {}
        for host in hosts:
            self.meta[host.name] = SimulatedNode(host, self._meta_builder(host))
        for number in range(self.settings.chunk_servers):
            racks = self.settings.racks
            self.add_chunk_server(f"chunk-{number + 1}", key, racks[number % len(racks)] if racks else "")

    @property
    def meta_addresses(self) -> str:
        """What is given to ``--meta``."""
        return ",".join((*self.peers.values(), *self.joined.values()))

    @property
    def nodes(self) -> dict[str, SimulatedNode]:
        """Every server by name."""
        return {**self.meta, **self.chunks}

    def _server(self, name: str, key: bytes) -> SimulatedHost:
        host = self.world.host(name)
        host.disk.make_folders("/etc")
        write_key_file(host.disk, KEY_FILE, key)
        return host

    def add_chunk_server(self, name: str, key: bytes = b"", rack: str = "") -> SimulatedNode:
        """One more chunk server, not started yet."""
        host = self._server(name, key or read_key_file(next(iter(self.meta.values())).host.disk, KEY_FILE))
        self.chunks[name] = node = SimulatedNode(host, self._chunk_builder(host, rack))
        return node

    def relabel(self, name: str, rack: str) -> None:
        """The chunk server has another rack's label from its next start on."""
        node = self.chunks[name]
        node.build = self._chunk_builder(node.host, rack)

    def meta_server(self, name: str, change: Callable[[MetaConfig], MetaConfig]) -> SimulatedNode:
        """A metadata server on a new host, with the cluster's key, set up as ``change`` makes it: neither started nor
        among ``meta`` yet."""
        host = self._server(name, read_key_file(next(iter(self.meta.values())).host.disk, KEY_FILE))
        return SimulatedNode(host, self._meta_builder(host, change))

    def joiner(self, name: str) -> SimulatedNode:
        """A metadata server that waits to be let in, not started yet, and from now on one of ``meta``."""
        address = ""

        def joins(config: MetaConfig) -> MetaConfig:
            return evolve(config, join=True, advertise=address)

        self.meta[name] = node = self.meta_server(name, joins)
        address = self.joined[name] = f"{node.host.ip}:{PORT}"
        return node

    def removed(self, name: str) -> SimulatedNode:
        """It is no metadata server of the cluster any more."""
        self.joined.pop(name, None)
        return self.meta.pop(name)

    def _meta_builder(
        self, host: SimulatedHost, change: Callable[[MetaConfig], MetaConfig] = lambda config: config
    ) -> Callable[[Runtime, IDisk, Callable[[str], None]], Program]:
        settings = self.settings

        def build(runtime: Runtime, disk: IDisk, on_fatal: Callable[[str], None]) -> Program:
            config = MetaConfig(
                node=host.name,
                peers=self.peers,
                listen=f"tcp:{PORT}",
                folder=DATA,
                cluster_key=read_key_file(disk, KEY_FILE),
                store="memory",
                heartbeat_interval=settings.heartbeat_interval,
                suspect_after=settings.suspect_after,
                dead_after=settings.dead_after,
                lease=settings.lease,
                upload_ttl=settings.upload_ttl,
                settle_after=settings.settle_after,
                tick=settings.tick,
                election_ticks=settings.election_ticks,
                append_length=settings.append_length,
                append_window=settings.append_window,
                trailing_entries=settings.trailing_entries,
                sync_interval=settings.sync_interval,
                segment_length=settings.segment_length,
                reserve_length=1 << 16,
                versions=self.versions.get(host.name, SPOKEN),
            )
            server = MetaServer(change(config), runtime, disk, on_fatal)
            server.ready.addErrback(lambda failure: None)  # type: ignore[unused-awaitable]  # told by on_fatal
            return server

        return build

    def _chunk_builder(
        self, host: SimulatedHost, rack: str
    ) -> Callable[[Runtime, IDisk, Callable[[str], None]], Program]:
        settings = self.settings

        def build(runtime: Runtime, disk: IDisk, on_fatal: Callable[[str], None]) -> Program:
            key = read_key_file(disk, KEY_FILE)
            config = ChunkServerConfig(
                node=host.name,
                data=DATA,
                listen=f"tcp:{PORT}",
                advertise=f"{host.ip}:{PORT}",
                meta=(*self.peers.values(), *self.joined.values()),
                key=key,
                rack=rack,
                reserve=settings.reserve,
                scrub_period=settings.scrub_period,
                quarantine=settings.quarantine,
                segments=self.packs.get(host.name, settings.segments),
                segment_size=256 << 10,
                compaction=2.0,
                versions=self.versions.get(host.name, SPOKEN),
            )
            server = ChunkServer(config, runtime, disk, on_fatal)
            server.ready.addErrback(lambda failure: None)  # type: ignore[unused-awaitable]  # told by on_fatal
            return server

        return build

    # Running it.

    def start(self) -> None:
        """Start every server that is down."""
        for node in self.nodes.values():
            node.start()

    def client(self, any_member: bool = False) -> ClusterClient:
        """A new client machine; ``any_member``: see ClientOptions."""
        host = self.world.host(f"client-{len(self.clients) + 1}")
        client = ClusterClient(self, host, any_member)
        self.clients.append(client)
        return client

    def sleep(self, seconds: float) -> Deferred[None]:
        """Fires so many virtual seconds later, whatever goes down meanwhile."""
        done: Deferred[None] = Deferred()
        self.world.clock.callLater(seconds, done.callback, None)
        return done

    def run(self, coroutine: Coroutine[Deferred[Any], Any, T], timeout: float = 300.0) -> T | None:
        """Let time pass until a coroutine has ended; its result.  Raises NeverHappened."""
        return self.world.run_until(Deferred.fromCoroutine(coroutine), timeout)

    # Looking.

    def leader(self) -> SimulatedNode | None:
        """The metadata server that leads the highest term and serves, if there is one."""
        leading = [(raft_term(server), name) for name, server in self.meta_servers() if leads(server)]
        return self.meta[max(leading)[1]] if leading else None

    def meta_servers(self) -> list[tuple[str, MetaServer]]:
        """Those that run, with their names."""
        return [(name, node.program) for name, node in self.meta.items() if node.program is not None]

    def chunk_servers(self) -> list[tuple[str, ChunkServer]]:
        """Those that run, with their names."""
        return [(name, node.program) for name, node in self.chunks.items() if node.program is not None]

    async def wait_leader(self, timeout: float = 30.0) -> SimulatedNode:
        """The leader, as soon as there is one that serves."""
        await self.until(lambda: self.leader() is not None, timeout, "a leader")
        leader = self.leader()
        assert leader is not None
        return leader

    async def wait_ready(self, timeout: float = 30.0) -> None:
        """There is a leader, and it takes every running chunk server for alive."""
        await self.until(self._ready, timeout, "a leader that knows the chunk servers")

    def _ready(self) -> bool:
        leader = self.leader()
        return leader is not None and not self.not_alive(leader, dict(self.chunk_servers()))

    def not_alive(self, leader: SimulatedNode, names: Iterable[str]) -> list[str]:
        """Those of ``names`` that a leader does not take for alive."""
        states = chunk_server_states(leader.program)
        return [name for name in names if states.get(name) is not NodeState.ALIVE]

    async def until(self, predicate: Callable[[], Any], timeout: float, what: str, interval: float = 0.05) -> None:
        """Wait for something to be true.  Raises AssertionError after ``timeout`` virtual seconds."""
        end = self.world.clock.now + timeout
        while not predicate():
            if self.world.clock.now >= end:
                raise AssertionError(f"not within {timeout:g} s: {what}")
            await self.sleep(interval)


def entropy_of(world: World) -> Callable[[int], bytes]:
    """Unguessable bytes for what is made before any host: the cluster key."""
    draw = world.random("cluster key")
    return lambda length: draw.getrandbits(8 * length).to_bytes(length, "big")
