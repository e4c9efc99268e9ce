"""Declarations of the messages to and from metadata servers (see :mod:`dfs.protocol.layout` for the kinds)."""

from __future__ import annotations

from dfs.protocol import messages as m
from dfs.protocol.layout import U8, U16, U32, U64, Blob, Choice, Flag, Items, Maybe, Raw, Record, Text
from dfs.protocol.limits import (
    MAX_ADDRESS,
    MAX_ALARMS,
    MAX_CHUNK_SERVERS,
    MAX_META_MEMBERS,
    MAX_NODE_NAME,
    MAX_NODES,
    MAX_PAGE,
    MAX_PLACEMENTS,
    MAX_SENTENCE,
    MAX_TOKEN,
)
from dfs.protocol.values import MAX_NAME, MAX_REPLICATION, Grant, GrantKind, NodeState, Target

NODE_NAME = Text(MAX_NODE_NAME)
ADDRESS = Text(MAX_ADDRESS)
NAME = Text(MAX_NAME)
SHA256 = Raw(32)

GRANT = Record(
    Grant,
    kind=Choice(GrantKind),
    file_id=U64,
    index=U32,
    generation=U64,
    expires_ms=U64,
    evidence=U64,
    mac=Raw(32),
)
TARGET = Record(Target, node=U32, name=NODE_NAME, address=ADDRESS, parent=U8)
TARGETS = Items(TARGET, MAX_REPLICATION)
OPERATION = Record(m.Operation, session=Raw(16), sequence=U64, floor=U64)
COMMITTED_CHUNK = Record(m.CommittedChunk, index=U32, generation=U64, length=U32, sha256=SHA256)
PLACEMENT = Record(
    m.Placement,
    index=U32,
    generation=U64,
    targets=TARGETS,
    quorum=U8,
    grant=Maybe(GRANT),
    committed=Maybe(COMMITTED_CHUNK),
)
PLACEMENTS = Items(PLACEMENT, MAX_PLACEMENTS)
REPLICA = Record(m.Replica, node=NODE_NAME, address=ADDRESS, state=Choice(NodeState))
CHUNK_INFO = Record(
    m.ChunkInfo,
    index=U32,
    chunk_id=Raw(32),
    generation=U64,
    length=U32,
    sha256=SHA256,
    replicas=Items(REPLICA, 4 * MAX_REPLICATION),
)
META_MEMBER = Record(m.MetaMember, name=NODE_NAME, address=ADDRESS)
CHUNK_SERVER_INFO = Record(
    m.ChunkServerInfo,
    name=NODE_NAME,
    address=ADDRESS,
    state=Choice(NodeState),
    rack=NODE_NAME,
    used=U64,
    free=U64,
    chunks=U64,
    quarantined=U64,
    quarantined_bytes=U64,
    scrubbed=U64,
    to_scrub=U64,
)

CREATE_UPLOAD = Record(
    m.CreateUpload, operation=OPERATION, name=NAME, size=Maybe(U64), chunk_size=U32, replication=U8, count=U16
)
RESUME_UPLOAD = Record(m.ResumeUpload, operation=OPERATION, file_id=U64, count=U16)
UPLOAD_GRANTED = Record(
    m.UploadGranted,
    file_id=U64,
    epoch=U64,
    lease_ms=U32,
    chunk_size=U32,
    replication=U8,
    size=Maybe(U64),
    degraded=Flag(),
    placements=PLACEMENTS,
)
ALLOCATE_CHUNKS = Record(
    m.AllocateChunks, operation=OPERATION, file_id=U64, epoch=U64, first_index=U32, count=U16
)
REPLACE_CHUNK = Record(
    m.ReplaceChunk,
    operation=OPERATION,
    file_id=U64,
    epoch=U64,
    index=U32,
    generation=U64,
    avoid=Items(NODE_NAME, MAX_NODES),
)
PLACEMENTS_ANSWER = Record(m.Placements, placements=PLACEMENTS)
RENEW_LEASE = Record(m.RenewLease, file_id=U64, epoch=U64)
LEASE = Record(m.Lease, lease_ms=U32)
COMMIT_FILE = Record(
    m.CommitFile, operation=OPERATION, file_id=U64, epoch=U64, size=U64, count=U32, digest=SHA256
)
ABORT_UPLOAD = Record(m.AbortUpload, operation=OPERATION, file_id=U64, epoch=U64)
FILE_INFO = Record(
    m.FileInfo,
    name=NAME,
    file_id=U64,
    size=U64,
    digest=SHA256,
    replication=U8,
    chunk_size=U32,
    count=U32,
    created_ms=U64,
)
GET_FILE = Record(m.GetFile, name=Maybe(NAME), file_id=Maybe(U64))
LIST_CHUNKS = Record(m.ListChunks, file_id=U64, first_index=U32, limit=U16)
CHUNK_PAGE = Record(m.ChunkPage, chunks=Items(CHUNK_INFO, MAX_PAGE), next_index=Maybe(U32))
LIST_FILES = Record(m.ListFiles, prefix=NAME, token=Blob(MAX_TOKEN), limit=U16)
FILE_PAGE = Record(m.FilePage, files=Items(FILE_INFO, MAX_PAGE), token=Blob(MAX_TOKEN))
SURVEY = Record(m.Survey, after=Blob(MAX_TOKEN), limit=U16)
SURVEYED_CHUNK = Record(
    m.SurveyedChunk, index=U32, generation=U64, length=U32, sha256=SHA256, nodes=Items(U32, MAX_NODES)
)
SURVEYED_FILE = Record(m.SurveyedFile, info=FILE_INFO, chunks=Items(SURVEYED_CHUNK, MAX_PAGE))
SURVEYED_NODE = Record(
    m.SurveyedNode, number=U32, name=NODE_NAME, address=ADDRESS, state=Choice(NodeState), rack=NODE_NAME
)
SURVEY_PAGE = Record(
    m.SurveyPage,
    files=Items(SURVEYED_FILE, MAX_PAGE),
    nodes=Items(SURVEYED_NODE, MAX_CHUNK_SERVERS),
    next=Blob(MAX_TOKEN),
)
DELETE_FILE = Record(m.DeleteFile, operation=OPERATION, name=Maybe(NAME), file_id=Maybe(U64))
REPORT_CORRUPT = Record(m.ReportCorrupt, file_id=U64, index=U32, generation=U64, node=NODE_NAME)
GET_STATUS = Record(m.GetStatus)
STATUS = Record(
    m.Status,
    cluster_id=Raw(16),
    node=NODE_NAME,
    role=NODE_NAME,
    leader=Maybe(NODE_NAME),
    term=U64,
    applied=U64,
    state_hash=Blob(64),
    members=Items(META_MEMBER, MAX_META_MEMBERS),
    chunk_servers=Items(CHUNK_SERVER_INFO, MAX_CHUNK_SERVERS),
    files=U64,
    bytes=U64,
    debt_chunks=U64,
    debt_bytes=U64,
    debt_single_copy=U64,
    alarms=Items(Text(MAX_SENTENCE), MAX_ALARMS),
)
