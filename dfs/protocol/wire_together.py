"""Declarations of the messages about many small files (see :mod:`dfs.protocol.layout` for the kinds)."""

from __future__ import annotations

from dfs.protocol import messages as m
from dfs.protocol.layout import U8, U16, U32, U64, Choice, Flag, Items, Maybe, Raw, Record, Text
from dfs.protocol.limits import MAX_HINT, MAX_NODE_NAME, MAX_SENTENCE, MAX_TOGETHER
from dfs.protocol.values import MAX_REPLICATION
from dfs.protocol.wire_chunks import CHUNK_COMMIT, DURABLE_REPLICAS
from dfs.protocol.wire_metadata import CHUNK_INFO, FILE_INFO, GET_FILE, NAME, OPERATION, SHA256, TARGETS

REFUSAL = Record(m.Refusal, code=U16, message=Text(MAX_SENTENCE), hint=Text(MAX_HINT))
NEW_UPLOAD = Record(m.NewUpload, name=NAME, size=U32)
CREATE_UPLOADS = Record(
    m.CreateUploads,
    operation=OPERATION,
    chunk_size=U32,
    replication=U8,
    uploads=Items(NEW_UPLOAD, MAX_TOGETHER),
)
GRANTED_UPLOAD = Record(m.GrantedUpload, file_id=U64, generation=U64, mac=Raw(32))
UPLOAD_OUTCOME = Record(m.UploadOutcome, granted=Maybe(GRANTED_UPLOAD), refusal=Maybe(REFUSAL))
UPLOADS_GRANTED = Record(
    m.UploadsGranted,
    lease_ms=U32,
    targets=TARGETS,
    quorum=U8,
    expires_ms=U64,
    outcomes=Items(UPLOAD_OUTCOME, MAX_TOGETHER),
)
FINISHED_UPLOAD = Record(m.FinishedUpload, file_id=U64, epoch=U64, size=U64, count=U32, digest=SHA256)
COMMIT_FILES = Record(m.CommitFiles, operation=OPERATION, files=Items(FINISHED_UPLOAD, MAX_TOGETHER))
COMMIT_REFUSAL = Record(m.CommitRefusal, refusal=Maybe(REFUSAL))
FILES_COMMITTED = Record(m.FilesCommitted, outcomes=Items(COMMIT_REFUSAL, MAX_TOGETHER))
OPEN_FILES = Record(m.OpenFiles, files=Items(GET_FILE, MAX_TOGETHER))
OPENED_FILE = Record(m.OpenedFile, info=Maybe(FILE_INFO), chunk=Maybe(CHUNK_INFO))
FILES_OPENED = Record(m.FilesOpened, files=Items(OPENED_FILE, MAX_TOGETHER))
SMALL_CHUNK = Record(
    m.SmallChunk, file_id=U64, generation=U64, length=U32, crc=U32, sha256=SHA256, mac=Raw(32), name=NAME
)
PUT_CHUNKS = Record(
    m.PutChunks,
    chunk_size=U32,
    replication=U8,
    targets=TARGETS,
    position=U8,
    quorum=U8,
    expires_ms=U64,
    chunks=Items(SMALL_CHUNK, MAX_TOGETHER),
)
CHUNK_OUTCOME = Record(m.ChunkOutcome, replicas=DURABLE_REPLICAS, finished=Flag(), refusal=Maybe(REFUSAL))
CHUNKS_WRITTEN = Record(
    m.ChunksWritten,
    outcomes=Items(CHUNK_OUTCOME, MAX_TOGETHER),
    dropped=Items(Text(MAX_NODE_NAME), MAX_REPLICATION),
)
WANTED_CHUNK = Record(m.WantedChunk, file_id=U64, index=U32, generation=U64)
GET_CHUNKS = Record(m.GetChunks, chunks=Items(WANTED_CHUNK, MAX_TOGETHER))
FOUND_CHUNK = Record(m.FoundChunk, length=U32, refusal=Maybe(REFUSAL))
CHUNKS_HEAD = Record(m.ChunksHead, chunks=Items(FOUND_CHUNK, MAX_TOGETHER))
FINISH_UPLOADS = Record(m.FinishUploads, commits=Items(CHUNK_COMMIT, MAX_TOGETHER))
UPLOADS_FINISHED = Record(m.UploadsFinished, outcomes=Items(Choice(m.FinishOutcome), MAX_TOGETHER))
