"""Declarations of the messages to and from chunk servers (see :mod:`dfs.protocol.layout` for the kinds)."""

from __future__ import annotations

from dfs.protocol import messages as m
from dfs.protocol.layout import U8, U16, U32, U64, Choice, Flag, Items, Maybe, Raw, Record, Text
from dfs.protocol.limits import MAX_COMMITS, MAX_INVENTORY, MAX_JOBS, MAX_NODE_NAME, MAX_SENTENCE
from dfs.protocol.values import MAX_NAME, MAX_REPLICATION, Description, Label
from dfs.protocol.wire_metadata import ADDRESS, GRANT, NODE_NAME, SHA256, TARGETS

DURABLE_REPLICA = Record(m.DurableReplica, node=U32, number=U64)
DURABLE_REPLICAS = Items(DURABLE_REPLICA, 4 * MAX_REPLICATION)
SURVIVOR = Record(m.Survivor, node=U32, number=U64)
REMOVAL = Record(
    m.Removal,
    kind=Choice(m.RemovalKind),
    file_id=U64,
    index=U32,
    generation=U64,
    node=U32,
    number=U64,
    committed=U64,
    survivors=Items(SURVIVOR, 4 * MAX_REPLICATION),
    term=U64,
    evidence=U64,
    expires_ms=U64,
    mac=Raw(32),
)
JOB = Record(
    m.Job,
    job=U64,
    kind=Choice(m.JobKind),
    file_id=U64,
    index=U32,
    generation=U64,
    length=U32,
    sha256=SHA256,
    targets=TARGETS,
    grant=Maybe(GRANT),
    removal=Maybe(REMOVAL),
)
JOB_RESULT = Record(
    m.JobResult,
    job=U64,
    kind=Choice(m.JobKind),
    file_id=U64,
    index=U32,
    generation=U64,
    node=U32,
    number=U64,
    code=U16,
    message=Text(MAX_SENTENCE),
)
HELD_REPLICA = Record(
    m.HeldReplica, file_id=U64, index=U32, generation=U64, length=U32, sha256=SHA256, number=U64
)
CHUNK_COMMIT = Record(
    m.ChunkCommit,
    file_id=U64,
    index=U32,
    generation=U64,
    length=U32,
    sha256=SHA256,
    replicas=DURABLE_REPLICAS,
)
COMMITS = Items(CHUNK_COMMIT, MAX_COMMITS)

REGISTER = Record(
    m.Register,
    name=NODE_NAME,
    address=ADDRESS,
    incarnation=Raw(16),
    boot=Raw(16),
    rack=NODE_NAME,
    total=U64,
    free=U64,
    number=U64,
)
REGISTERED = Record(m.Registered, node=U32, heartbeat_ms=U32, cluster_time_ms=U64, inventory=Flag())
HEARTBEAT = Record(
    m.Heartbeat,
    node=U32,
    incarnation=Raw(16),
    boot=Raw(16),
    total=U64,
    free=U64,
    used=U64,
    chunks=U64,
    quarantined=U64,
    streams=U32,
    number=U64,
    running=Items(U64, MAX_JOBS),
    results=Items(JOB_RESULT, MAX_JOBS),
    clients=U32,
    client_rate=U64,
)
HEARTBEAT_ANSWER = Record(
    m.HeartbeatAnswer,
    leads=Flag(),
    term=U64,
    cluster_time_ms=U64,
    register=Flag(),
    inventory=Flag(),
    jobs=Items(JOB, MAX_JOBS),
    next_ms=U32,
)
INVENTORY = Record(
    m.Inventory,
    node=U32,
    incarnation=Raw(16),
    number=U64,
    after=Raw(12),
    upto=Raw(12),
    replicas=Items(HELD_REPLICA, MAX_INVENTORY),
)
INVENTORY_TAKEN = Record(m.InventoryTaken, unknown=U32, missing=U32, added=U32)
COMMIT_CHUNKS = Record(m.CommitChunks, commits=COMMITS)
COMMIT_OUTCOMES = Record(m.CommitOutcomes, outcomes=Items(Choice(m.CommitOutcome), MAX_COMMITS))
ADD_REPLICAS = Record(m.AddReplicas, replicas=COMMITS)
PUT_CHUNK = Record(
    m.PutChunk,
    file_id=U64,
    index=U32,
    generation=U64,
    length=Maybe(U32),
    limit=U32,
    targets=TARGETS,
    position=U8,
    quorum=U8,
    commit=Flag(),
    grant=GRANT,
)
LABEL = Record(Label, name=Text(MAX_NAME), size=Maybe(U64), chunk_size=U32, replication=U8)
DESCRIPTION = Record(Description, label=LABEL, last=Flag(), written_ms=U64)
PUT_LABELLED = Record(m.PutLabelled, **PUT_CHUNK.kinds, description=DESCRIPTION)
CHUNK_WRITTEN = Record(
    m.ChunkWritten,
    length=U32,
    sha256=SHA256,
    replicas=DURABLE_REPLICAS,
    dropped=Items(Text(MAX_NODE_NAME), MAX_REPLICATION),
)
GET_CHUNK = Record(m.GetChunk, file_id=U64, index=U32, generation=U64, offset=U32, length=U32)
CHUNK_HEAD = Record(m.ChunkHead, length=U32, sha256=SHA256)
VERIFY_CHUNK = Record(m.VerifyChunk, file_id=U64, index=U32, generation=U64)
VERIFIED = Record(m.Verified, length=U32, sha256=SHA256)
DONE = Record(m.Done)
