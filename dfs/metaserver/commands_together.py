"""The replicated commands about many small files at once.  See dfs.metaserver.commands and dfs.metaserver.together."""

from __future__ import annotations

from typing import Any

from attrs import frozen

from dfs.metaserver.packing import ID16, SHA256, U8, U32, U64, Codec, Fields, Many
from dfs.metaserver.records import name_text
from dfs.protocol.limits import MAX_TOGETHER
from dfs.protocol.messages import ChunkCommit, DurableReplica, FinishedUpload, NewUpload, Operation

Nodes = tuple[int, ...]


@frozen
class CreateUploads:
    """``nodes`` are the node numbers proposed for the one chunk of each, primary first; () where none could be
    found."""

    operation: Operation
    chunk_size: int
    replication: int
    quorum: int
    wall_ms: int
    nodes: Nodes
    uploads: tuple[NewUpload, ...]


@frozen
class CommitFiles:
    """Each is judged alone, like a CommitFile."""

    operation: Operation
    wall_ms: int
    files: tuple[FinishedUpload, ...]


@frozen
class FinishUploads:
    """Each is judged alone, as by CommitChunks; the commit of an upload's only chunk is the commit of its file."""

    wall_ms: int
    commits: tuple[ChunkCommit, ...]


TogetherCommand = CreateUploads | CommitFiles | FinishUploads

operation_fields = Fields(Operation, ("session", ID16), ("sequence", U64), ("floor", U64))
nodes_field = Many(U32, 16)
new_upload_fields = Fields(NewUpload, ("name", name_text), ("size", U32))
finished_fields = Fields(
    FinishedUpload, ("file_id", U64), ("epoch", U32), ("size", U64), ("count", U32), ("digest", SHA256)
)

durable_fields = Fields(DurableReplica, ("node", U32), ("number", U64))
commit_fields = Fields(
    ChunkCommit,
    ("file_id", U64),
    ("index", U32),
    ("generation", U64),
    ("length", U32),
    ("sha256", SHA256),
    ("replicas", Many(durable_fields, 16)),
)

#: See dfs.metaserver.commands.BY_CODE, of which this is a part.
BY_CODE: dict[int, Codec[Any]] = {
    50: Codec(
        CreateUploads,
        1,
        ("operation", operation_fields),
        ("chunk_size", U32),
        ("replication", U8),
        ("quorum", U8),
        ("wall_ms", U64),
        ("nodes", nodes_field),
        ("uploads", Many(new_upload_fields, MAX_TOGETHER)),
    ),
    51: Codec(
        CommitFiles,
        1,
        ("operation", operation_fields),
        ("wall_ms", U64),
        ("files", Many(finished_fields, MAX_TOGETHER)),
    ),
    52: Codec(FinishUploads, 1, ("wall_ms", U64), ("commits", Many(commit_fields, MAX_TOGETHER))),
}
