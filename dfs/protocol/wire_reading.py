"""Declarations of the messages of :mod:`dfs.protocol.messages_reading` (see :mod:`dfs.protocol.layout`)."""

from __future__ import annotations

from dfs.protocol import messages as m
from dfs.protocol import wire_metadata as w
from dfs.protocol.layout import U64, Record

GET_FILE_AT = Record(m.GetFileAt, at_least=U64, request=w.GET_FILE)
FILE_AT = Record(m.FileAt, applied=U64, answer=w.FILE_INFO)
LIST_CHUNKS_AT = Record(m.ListChunksAt, at_least=U64, request=w.LIST_CHUNKS)
CHUNK_PAGE_AT = Record(m.ChunkPageAt, applied=U64, answer=w.CHUNK_PAGE)
LIST_FILES_AT = Record(m.ListFilesAt, at_least=U64, request=w.LIST_FILES)
FILE_PAGE_AT = Record(m.FilePageAt, applied=U64, answer=w.FILE_PAGE)
