"""Reads that any member serves, where the client asked for that: as new as the leader's.

A follower asks the leader for its read index, one message for all reads that wait, and answers from its own tables once
it has applied so far (Raft thesis 6.4): it takes the tables' work off the leader, not the round to a quorum.  The
answer says what was applied here when it was read; a client that names the highest such index it has seen never sees
the state go back, whoever answers (R49).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from dfs.kv.interfaces import IKeyValueStore
from dfs.metaserver import queries
from dfs.metaserver.leading import LeaderTerm
from dfs.metaserver.seams import Seams
from dfs.protocol.errors import Unavailable
from dfs.protocol.messages import (
    ChunkPageAt,
    FileAt,
    FilePageAt,
    GetFileAt,
    ListChunksAt,
    ListFilesAt,
)
from dfs.protocol.values import NodeState

Found = TypeVar("Found")


def with_index(store: IKeyValueStore, question: Callable[..., Found], arguments: tuple[Any, ...]) -> tuple[int, Found]:
    """The answer and the index at which it holds, in one go on the tables' lane."""
    head = queries.head(store)
    return (head.index if head is not None else 0), question(store, *arguments)


class AnyReading:
    """:param term: the present leadership of this node, or None."""

    def __init__(self, seams: Seams, term: Callable[[], LeaderTerm | None]) -> None:
        self._seams, self._term = seams, term

    async def get_file(self, request: GetFileAt) -> FileAt:
        """See GetFileAt."""
        asked = request.request
        return FileAt(*await self._read(request.at_least, queries.get_file, asked.name, asked.file_id))

    async def list_files(self, request: ListFilesAt) -> FilePageAt:
        """See ListFilesAt."""
        asked = request.request
        found = await self._read(request.at_least, queries.list_files, asked.prefix, asked.token, asked.limit)
        return FilePageAt(*found)

    async def list_chunks(self, request: ListChunksAt) -> ChunkPageAt:
        """See ListChunksAt.  The states of nodes are this member's opinion."""
        asked = request.request
        cluster, states = self._seams.config.cluster_id, self._states()
        found = await self._read(
            request.at_least,
            queries.list_chunks,
            cluster,
            asked.file_id,
            asked.first_index,
            asked.limit,
            states,
        )
        return ChunkPageAt(*found)

    async def _read(self, at_least: int, question: Callable[..., Found], *arguments: Any) -> tuple[int, Found]:
        index, found = await self._seams.reader.read(with_index, question, arguments)
        if index < at_least:
            raise Unavailable(
                f"{self._seams.config.node} is at entry {index}, and the client has seen {at_least}",
                hint="another member may be further",
            )
        return index, found

    def _states(self) -> dict[int, NodeState]:
        term = self._term()
        if term is not None and term.loaded:
            return term.states()
        roster, now = self._seams.roster, self._seams.seconds()
        return {number: roster.opinion(number, now) for number in roster.numbers()}
