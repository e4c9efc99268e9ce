"""Declarations of the messages of :mod:`dfs.protocol.messages_rebuilding` (see :mod:`dfs.protocol.layout`)."""

from __future__ import annotations

from dfs.protocol import messages as m
from dfs.protocol.layout import U8, U16, U32, U64, Blob, Flag, Items, Maybe, Raw, Record
from dfs.protocol.limits import MAX_RECOVERED, MAX_REPLICA_PAGE
from dfs.protocol.wire_chunks import DESCRIPTION, HELD_REPLICA
from dfs.protocol.wire_metadata import COMMITTED_CHUNK, NAME, NODE_NAME, SHA256

LIST_REPLICAS = Record(m.ListReplicas, after=Raw(12), limit=U16)
DESCRIBED_REPLICA = Record(m.DescribedReplica, held=HELD_REPLICA, description=Maybe(DESCRIPTION))
REPLICA_PAGE = Record(
    m.ReplicaPage,
    node=NODE_NAME,
    founding=Blob(32),
    upto=Raw(12),
    replicas=Items(DESCRIBED_REPLICA, MAX_REPLICA_PAGE),
    unreadable=U32,
)
ADOPT_CLUSTER = Record(m.AdoptCluster, former=Blob(32), founding=Raw(16))
BEGIN_REBUILD = Record(m.BeginRebuild, file_id=U64, generation=U64)
RECOVER_FILE = Record(
    m.RecoverFile,
    file_id=U64,
    name=NAME,
    size=U64,
    chunk_size=U32,
    replication=U8,
    count=U32,
    digest=SHA256,
    created_ms=U64,
    first_index=U32,
    chunks=Items(COMMITTED_CHUNK, MAX_RECOVERED),
)
RECOVERED = Record(m.Recovered, new=Flag())
