"""Requests of writers: the leader chooses the nodes, the command carries the choice, the answer is signed.

Mutations that carry an Operation take effect once however often they are sent (S26); AllocateChunks and ReplaceChunk
answer the same when asked again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from dfs.metaserver import commands, queries
from dfs.metaserver.choosing import Choice, Nodes
from dfs.metaserver.leading import LeaderTerm
from dfs.metaserver.records import UploadRecord
from dfs.metaserver.seams import Seams
from dfs.protocol import messages as m
from dfs.protocol.errors import BadRequest, DFSError, UploadGone
from dfs.protocol.limits import MAX_PLACEMENTS
from dfs.protocol.messages import Done, FileInfo, Lease, Placements, UploadGranted
from dfs.protocol.values import MAX_CHUNK_SIZE, MAX_REPLICATION, Label

Placed = TypeVar("Placed", UploadGranted, Placements)


class Uploading:
    """:param leading: the present leadership; raises NotLeader or Unavailable."""

    def __init__(self, seams: Seams, leading: Callable[[], LeaderTerm]) -> None:
        self._seams = seams
        self._leading = leading
        self._propose = seams.proposer.propose

    async def create(self, request: m.CreateUpload) -> UploadGranted:
        """See CreateUpload."""
        term = self._leading()
        check_replication(request.replication)
        quorum = self._seams.config.write_quorum.of(request.replication)
        count = _wanted(request.count, request.size, request.chunk_size)
        choice = self._choice(term)
        placements = choice.chunks(0, count, request.replication, request.chunk_size, request.size)
        command = commands.CreateUpload(
            operation=request.operation,
            name=request.name,
            size=request.size,
            chunk_size=request.chunk_size,
            replication=request.replication,
            quorum=quorum,
            wall_ms=self._seams.wall_ms(),
            placements=placements,
        )
        return self._granted(term, request.name, await self._placed(choice, command, UploadGranted))

    async def resume(self, request: m.ResumeUpload) -> UploadGranted:
        """See ResumeUpload."""
        term = self._leading()
        upload = await self._upload(request.file_id)
        count = _wanted(request.count, upload.size, upload.chunk_size) if upload is not None else 0
        choice = self._choice(term)
        placements: tuple[Nodes, ...] = ()
        if upload is not None:
            placements = choice.chunks(0, count, upload.replication, upload.chunk_size, upload.size)
        command = commands.ResumeUpload(request.operation, request.file_id, placements)
        granted = await self._placed(choice, command, UploadGranted)
        return self._granted(term, (upload or await self._existing(request.file_id)).name, granted)

    async def allocate(self, request: m.AllocateChunks) -> Placements:
        """See AllocateChunks."""
        term = self._leading()
        upload = await self._existing(request.file_id)
        count = _wanted(request.count, None, upload.chunk_size)
        choice = self._choice(term)
        placements = choice.chunks(
            request.first_index, count, upload.replication, upload.chunk_size, upload.size
        )  # fmt: skip
        command = commands.AllocateChunks(request.file_id, request.epoch, request.first_index, placements)
        placed = await self._placed(choice, command, Placements)
        term.check()
        term.leases.granted(request.file_id, request.epoch, term.now_ms())
        return term.granter.placed(request.file_id, _label(upload), placed)

    async def replace(self, request: m.ReplaceChunk) -> Placements:
        """See ReplaceChunk."""
        term = self._leading()
        upload = await self._existing(request.file_id)
        roster = self._seams.roster
        avoid = {number for number in map(roster.named, request.avoid) if number is not None}
        choice, length = self._choice(term), min(upload.chunk_size, MAX_CHUNK_SIZE)
        nodes = choice.chunk(request.index, upload.replication, length, avoid)
        if len(nodes) < upload.quorum:  # better a node that failed before than none
            nodes = choice.chunk(request.index, upload.replication, length)
        command = commands.ReplaceChunk(
            request.file_id, request.epoch, request.index, request.generation, nodes
        )
        placed = await self._placed(choice, command, Placements)
        term.check()
        return term.granter.placed(request.file_id, _label(upload), placed)

    async def renew(self, request: m.RenewLease) -> Lease:
        """See RenewLease: from memory, unless the table knows no such upload or another epoch."""
        term = self._leading()
        try:
            return Lease(term.leases.renew(request.file_id, request.epoch, term.now_ms()))
        except DFSError:
            upload = await self._upload(request.file_id)
            term.check()
            if upload is None or upload.epoch != request.epoch:
                raise
        term.leases.granted(request.file_id, request.epoch, term.now_ms())
        return Lease(term.leases.renew(request.file_id, request.epoch, term.now_ms()))

    async def commit(self, request: m.CommitFile) -> FileInfo:
        """See CommitFile."""
        term = self._leading()
        command = commands.CommitFile(
            operation=request.operation,
            file_id=request.file_id,
            epoch=request.epoch,
            size=request.size,
            count=request.count,
            digest=request.digest,
            wall_ms=self._seams.wall_ms(),
        )
        file = await self._propose(command, FileInfo)
        term.leases.ended(file.file_id)
        return file

    async def abort(self, request: m.AbortUpload) -> Done:
        """See AbortUpload."""
        term = self._leading()
        command = commands.AbortUpload(request.operation, request.file_id, request.epoch)
        done = await self._propose(command, Done)
        term.leases.ended(request.file_id)
        return done

    async def delete(self, request: m.DeleteFile) -> FileInfo:
        """See DeleteFile."""
        term = self._leading()
        command = commands.DeleteFile(request.operation, request.name, request.file_id)
        file = await self._propose(command, FileInfo)
        term.leases.ended(file.file_id)
        return file

    # ---- choices

    def _granted(self, term: LeaderTerm, name: str, granted: UploadGranted) -> UploadGranted:
        term.check()
        term.leases.granted(granted.file_id, granted.epoch, term.now_ms())
        return term.granter.upload(name, granted)

    def _choice(self, term: LeaderTerm) -> Choice:
        return Choice(self._seams.roster, term.repair.views(), self._seams.runtime.random.random)

    async def _placed(self, choice: Choice, command: commands.Command, answer: type[Placed]) -> Placed:
        """The answer of a command that carries choices; those that it did not take are given back."""
        taken: tuple[m.Placement, ...] = ()
        try:
            placed = await self._propose(command, answer)
            taken = placed.placements
        finally:
            choice.answered(taken)
        return placed

    async def _upload(self, file_id: int) -> UploadRecord | None:
        """As applied here: the command judges it anew."""
        return await self._seams.reader.read(queries.upload, file_id)

    async def _existing(self, file_id: int) -> UploadRecord:
        upload = await self._upload(file_id)
        if upload is None:
            raise UploadGone("the upload was deleted, aborted or has expired", hint="start it again")
        return upload


def _label(upload: UploadRecord) -> Label:
    """What the file's replicas say of it."""
    return Label(upload.name, upload.size, upload.chunk_size, upload.replication)


def check_replication(replication: int) -> None:
    """Raises BadRequest."""
    if not 1 <= replication <= MAX_REPLICATION:
        raise BadRequest(f"replication {replication} is not from 1 to {MAX_REPLICATION}")


def _wanted(count: int, size: int | None, chunk_size: int) -> int:
    """How many placements to draw: no more than the file has chunks, where its size is known."""
    if not 0 <= count <= MAX_PLACEMENTS:
        raise BadRequest(f"at most {MAX_PLACEMENTS} placements at once, not {count}")
    if size is None or chunk_size <= 0:
        return count
    return min(count, -(-size // chunk_size))
