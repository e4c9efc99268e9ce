"""Requests of readers: linearizable, a page at a time."""

from __future__ import annotations

from collections.abc import Callable

from dfs.metaserver import queries, surveying
from dfs.metaserver.leading import LeaderTerm
from dfs.metaserver.seams import Seams
from dfs.protocol import messages as m
from dfs.protocol.errors import BadRequest
from dfs.protocol.messages import ChunkPage, Done, FileInfo, FilePage, SurveyPage


class FilesReading:
    """:param leading: the present leadership; raises NotLeader or Unavailable."""

    def __init__(self, seams: Seams, leading: Callable[[], LeaderTerm]) -> None:
        self._seams = seams
        self._leading = leading

    async def get_file(self, request: m.GetFile) -> FileInfo:
        """See GetFile."""
        self._leading()
        return await self._seams.reader.read(queries.get_file, request.name, request.file_id)

    async def list_files(self, request: m.ListFiles) -> FilePage:
        """See ListFiles."""
        self._leading()
        return await self._seams.reader.read(queries.list_files, request.prefix, request.token, request.limit)

    async def list_chunks(self, request: m.ListChunks) -> ChunkPage:
        """See ListChunks.  The states of nodes are this leader's opinion."""
        states = self._leading().states()
        return await self._seams.reader.read(
            queries.list_chunks,
            self._seams.config.cluster_id,
            request.file_id,
            request.first_index,
            request.limit,
            states,
        )

    async def survey(self, request: m.Survey) -> SurveyPage:
        """See Survey.  The states of nodes are this leader's opinion."""
        states = self._leading().states()
        return await self._seams.reader.read(surveying.survey, request.after, request.limit, states)

    async def report_corrupt(self, request: m.ReportCorrupt) -> Done:
        """See ReportCorrupt: a hint, so the node re-reads; only what is recorded there is worth that (S11)."""
        term = self._leading()
        node = self._seams.roster.named(request.node)
        if node is None:
            raise BadRequest(f"there is no chunk server {request.node!r}")
        chunk = await self._seams.reader.read(queries.copies, request.file_id, request.index)
        term.check()
        if chunk is not None and chunk.generation == request.generation and node in chunk.nodes:
            term.repair.verify(node, request.file_id, request.index, request.generation)
        return Done()
