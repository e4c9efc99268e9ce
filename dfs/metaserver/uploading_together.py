"""Requests of writers and readers of many small files at once: one entry of the log, one round of reading.

All uploads of a batch get the same nodes, drawn once for the bytes of all: their chunks then travel as one stream and
are synced together.  Batches spread over the nodes as single chunks do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from dfs.kv.interfaces import IKeyValueStore
from dfs.metaserver import commands_together as commands
from dfs.metaserver import queries
from dfs.metaserver.choosing import Choice
from dfs.metaserver.leading import LeaderTerm
from dfs.metaserver.seams import Seams
from dfs.metaserver.uploading import check_replication
from dfs.protocol import messages as m
from dfs.protocol.errors import BadRequest, FileNotFound
from dfs.protocol.messages import (
    FilesCommitted,
    FilesOpened,
    FinishOutcome,
    OpenedFile,
    Placement,
    UploadsFinished,
    UploadsGranted,
)
from dfs.protocol.values import NodeState


class UploadingTogether:
    """:param leading: the present leadership; raises NotLeader or Unavailable."""

    def __init__(self, seams: Seams, leading: Callable[[], LeaderTerm]) -> None:
        self._seams = seams
        self._leading = leading

    async def create(self, request: m.CreateUploads) -> UploadsGranted:
        """See CreateUploads."""
        term = self._leading()
        check_replication(request.replication)
        if not request.uploads:
            raise BadRequest("a batch of no uploads")
        choice = Choice(self._seams.roster, term.repair.views(), self._seams.runtime.random.random)
        length = sum(upload.size for upload in request.uploads)
        command = commands.CreateUploads(
            operation=request.operation,
            chunk_size=request.chunk_size,
            replication=request.replication,
            quorum=self._seams.config.write_quorum.of(request.replication),
            wall_ms=self._seams.wall_ms(),
            nodes=choice.chunk(0, request.replication, length) if length else (),
            uploads=request.uploads,
        )
        taken: tuple[Placement, ...] = ()
        try:
            granted = await self._seams.proposer.propose(command, UploadsGranted)
            if any(outcome.granted is not None for outcome in granted.outcomes):
                taken = (Placement(0, 0, granted.targets, granted.quorum, None, None),)  # type: ignore[arg-type]
        finally:
            choice.answered(taken)
        term.check()
        for outcome in granted.outcomes:
            if outcome.granted is not None:
                term.leases.granted(outcome.granted.file_id, 1, term.now_ms())
        return term.granter.uploads(request, granted)

    async def commit(self, request: m.CommitFiles) -> FilesCommitted:
        """See CommitFiles."""
        term = self._leading()
        command = commands.CommitFiles(request.operation, self._seams.wall_ms(), request.files)
        committed = await self._seams.proposer.propose(command, FilesCommitted)
        for file, outcome in zip(request.files, committed.outcomes, strict=True):
            if outcome.refusal is None:
                term.leases.ended(file.file_id)
        return committed

    async def finish(self, request: m.FinishUploads) -> UploadsFinished:
        """See FinishUploads."""
        term = self._leading()
        command = commands.FinishUploads(self._seams.wall_ms(), request.commits)
        finished = await self._seams.proposer.propose(command, UploadsFinished)
        for commit, outcome in zip(request.commits, finished.outcomes, strict=True):
            if outcome is FinishOutcome.FINISHED:
                term.leases.ended(commit.file_id)
        return finished

    async def open(self, request: m.OpenFiles) -> FilesOpened:
        """See OpenFiles.  The states of nodes are this leader's opinion."""
        states = self._leading().states()
        cluster = self._seams.config.cluster_id
        return await self._seams.reader.read(open_files, cluster, request.files, states)


def open_files(
    store: IKeyValueStore, cluster_id: bytes, files: tuple[m.GetFile, ...], states: Mapping[int, NodeState]
) -> FilesOpened:
    """Each with its chunk where it has just one.  Raises BadRequest."""
    opened = []
    for file in files:
        try:
            info = queries.get_file(store, file.name, file.file_id)
        except FileNotFound:
            opened.append(OpenedFile(None, None))
            continue
        chunk = None
        if info.count == 1:
            page = queries.list_chunks(store, cluster_id, info.file_id, 0, 1, states)
            chunk = page.chunks[0] if page.chunks else None
        opened.append(OpenedFile(info, chunk))
    return FilesOpened(tuple(opened))

