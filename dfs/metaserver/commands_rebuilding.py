"""The replicated commands that rebuild a namespace: the requests themselves.  See dfs.metaserver.commands and
dfs.metaserver.rebuilding."""

from __future__ import annotations

from typing import Any

from dfs.metaserver.packing import SHA256, U8, U32, U64, Codec, Fields, Many
from dfs.metaserver.records import name_text
from dfs.protocol.limits import MAX_RECOVERED
from dfs.protocol.messages import BeginRebuild, CommittedChunk, RecoverFile

RebuildingCommand = BeginRebuild | RecoverFile

chunk_fields = Fields(CommittedChunk, ("index", U32), ("generation", U64), ("length", U32), ("sha256", SHA256))

#: See dfs.metaserver.commands.BY_CODE, of which this is a part.
BY_CODE: dict[int, Codec[Any]] = {
    60: Codec(BeginRebuild, 1, ("file_id", U64), ("generation", U64)),
    61: Codec(
        RecoverFile,
        1,
        ("file_id", U64),
        ("name", name_text),
        ("size", U64),
        ("chunk_size", U32),
        ("replication", U8),
        ("count", U32),
        ("digest", SHA256),
        ("created_ms", U64),
        ("first_index", U32),
        ("chunks", Many(chunk_fields, MAX_RECOVERED)),
    ),
}
