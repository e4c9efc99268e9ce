"""How a metadata server is set up.  The defaults are for production; tests and simulation make times short."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import field, frozen

from dfs.disk.interfaces import IDisk
from dfs.kv.folder import StoreFolder
from dfs.metaserver.snapshotting import IStoreFolder
from dfs.protocol.interfaces import SPOKEN
from dfs.protocol.values import cluster_id_of
from dfs.raft.node_config import NodeConfig
from dfs.runtime.options import WriteQuorum

OpenTables = Callable[[IDisk, str, str], IStoreFolder]


def open_tables(disk: IDisk, folder: str, engine: str) -> IStoreFolder:
    """The tables in ``folder`` by one of dfs.kv's engines; also ``memory``, which keeps them through any IDisk."""
    tables: IStoreFolder = StoreFolder(disk, folder, engine)
    return tables


@frozen
class MetaConfig:
    """One metadata server.  Times are seconds.

    :ivar node: its name; one of ``peers`` unless it joins.
    :ivar peers: every founder's name and advertised address, itself included; the same on each of them.  One that joins
        names some that belong already.
    :ivar join: where the folder is new, wait to be let in instead of founding a cluster (S28).
    :ivar advertise: where others reach us, "" where ``peers`` says it.
    :ivar listen: an endpoint description, as in ``tcp:7000:interface=127.0.0.1``.
    :ivar folder: absolute; holds ``raft`` and ``tables``.
    :ivar store: the engine of the tables: auto, berkeleydb, semidbm, memory.
    :ivar tick: of Raft; the other times of Raft are in ticks.
    :ivar versions: of the protocol, the lowest and the highest that it speaks: what the release knows (S39).
    :ivar jobs_per_answer: jobs that ride on one heartbeat answer at most.
    """

    node: str
    peers: Mapping[str, str]
    listen: str
    folder: str
    cluster_key: bytes = field(repr=False)
    join: bool = False
    advertise: str = ""
    store: str = "auto"
    write_quorum: WriteQuorum = field(factory=lambda: WriteQuorum("majority"))
    heartbeat_interval: float = 3.0
    suspect_after: float = 10.0
    dead_after: float = 30.0
    lease: float = 60.0
    upload_ttl: float = 86400.0
    repair_streams: int = 2
    move_rate: int = 0  # bytes/s that all moves together may take; 0: no limit
    node_move_rate: int = 100 << 20  # the same of one node
    settle_after: float = 600.0  # from a node's return until copies are trimmed because of it
    jobs_per_answer: int = 64
    tick: float = 0.05
    election_ticks: int = 10
    trailing_entries: int = 10_000
    sync_interval: float = 10.0
    segment_length: int = 0  # bytes of one segment of the log; 0: Raft's own default
    reserve_length: int = 16 << 20
    append_length: int = 256 << 10  # these two: of Raft's messages, see NodeConfig
    append_window: int = 8
    versions: tuple[int, int] = SPOKEN
    open_tables: OpenTables = open_tables

    @property
    def cluster_id(self) -> bytes:
        """16 bytes that the key decides."""
        return cluster_id_of(self.cluster_key)

    @property
    def address(self) -> str:
        """Where others reach us."""
        return self.advertise or self.peers[self.node]

    def raft(self) -> NodeConfig:
        """Raft's share of the settings."""
        shape: dict[str, Any] = {"segment_length": self.segment_length} if self.segment_length else {}
        return NodeConfig(
            node=self.node,
            members=self.peers,
            cluster_id=self.cluster_id,
            join=self.join,
            tick=self.tick,
            election_ticks=self.election_ticks,
            trailing_entries=self.trailing_entries,
            sync_interval=self.sync_interval,
            reserve_length=self.reserve_length,
            append_length=self.append_length,
            append_window=self.append_window,
            **shape,
        )
