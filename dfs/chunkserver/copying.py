"""Doing what metadata orders: copy a replica to a peer, verify one; dfs.chunkserver.removing takes replicas away.

A copy is read, checked against the footer's CRC-32C and hashed while it is sent; it is ended,
and so becomes a replica at the target, only if that hash is the one that metadata recorded
at the commit (S07).  A source that does not match is never copied as good, and reported; it is set aside only where
its own footer and bytes disagree.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from attrs import asdict, evolve
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from dfs.chunkserver.child import PUT_TIMEOUT, Pool
from dfs.chunkserver.handles import Reading
from dfs.chunkserver.removing import Remover
from dfs.chunkserver.sending import Sender
from dfs.chunkserver.store import ChunkStore
from dfs.protocol.errors import (
    BadRequest,
    DeadlinePassed,
    DFSError,
    Disconnected,
    DiskFailed,
    ReplicaCorrupt,
    ReplicaNotFound,
)
from dfs.protocol.interfaces import IConnection
from dfs.protocol.messages import ChunkWritten, Job, JobKind, JobResult, PutChunk, PutLabelled
from dfs.protocol.values import ChunkRef, NodeNumber


class Worker:
    """Performs jobs.

    :param number: our own node number, 0 while it is not known.
    """

    def __init__(
        self,
        clock: IReactorTime,
        node: str,
        store: ChunkStore,
        pool: Pool,
        remover: Remover,
        number: Callable[[], NodeNumber],
    ) -> None:
        self._clock, self._node, self._store, self._pool = clock, node, store, pool
        self._remover, self._number = remover, number

    async def perform(self, job: Job) -> Sequence[JobResult]:
        """One job's results.  Raises DFSError."""
        match job.kind:
            case JobKind.COPY:
                return await self._copy(job)
            case JobKind.DELETE:
                return [_done(job, self._number(), await self._remover.delete(job))]
            case JobKind.VERIFY:
                return [await self._look(job)]
            case JobKind.TRIM:
                return [_done(job, self._number(), await self._remover.trim(job))]
            case JobKind.RESTORE:
                return [_done(job, self._number(), await self._remover.restore(job))]

    # ---- copy -------------------------------------------------------------------------------------

    async def _copy(self, job: Job) -> list[JobResult]:
        if not job.targets or job.grant is None:
            raise BadRequest("a copy names its target and carries a grant")
        ref = _ref(job)
        reading = await self._store.open_reader(ref)
        try:
            self._check_source(job, reading)
            connection = await self._pool.acquire(job.targets[0].address, expect=job.targets[0].name)
            try:
                written = await self._send(job, ref, reading, connection)
            except (Disconnected, DeadlinePassed):
                connection.abort()  # the pool learns of it by itself
                raise
            except BaseException:
                self._pool.release(connection)
                raise
            self._pool.release(connection)
        finally:
            reading.close()
        wanted = {target.node for target in job.targets}
        return [_done(job, one.node, one.number) for one in written.replicas if one.node in wanted]

    def _check_source(self, job: Job, reading: Reading) -> None:
        footer = reading.footer
        if (footer.length, footer.sha256) != (job.length, job.sha256):
            raise self._other_bytes()

    def _other_bytes(self) -> ReplicaCorrupt:
        """Metadata takes the replica off its record.  The file stays: a wrong order must not move what is whole."""
        return ReplicaCorrupt(f"{self._node} holds other bytes than were committed", nodes=(self._node,))

    async def _send(self, job: Job, ref: ChunkRef, reading: Reading, connection: IConnection) -> ChunkWritten:
        assert job.grant is not None
        request = PutChunk(
            ref.file_id,
            ref.index,
            ref.generation,
            job.length,
            max(1, job.length),
            job.targets,
            0,
            len(job.targets),
            False,
            job.grant,
        )
        description = reading.footer.description
        if description is not None:
            request = PutLabelled(**asdict(request, recurse=False), description=description)
        put = connection.open_put(request, PUT_TIMEOUT)
        digest = hashlib.sha256()
        try:
            await Sender(self._clock, reading, put, 0, job.length, digest).run()
            if digest.digest() != job.sha256:
                if await self._store.doubt(ref, "its bytes are not those that were committed") is None:
                    raise self._other_bytes()
                raise DiskFailed(f"{self._node} read a replica wrongly once", nodes=(self._node,))
        except DFSError as error:
            put.abort(error)  # the target leaves nothing behind
            await _first_failure(put.answer, error)
        put.end(job.length, job.sha256)
        written = await put.answer
        if not isinstance(written, ChunkWritten) or written.sha256 != job.sha256:
            raise ReplicaCorrupt(f"{job.targets[0].name} wrote something else", nodes=(job.targets[0].name,))
        return written

    # ---- verify --------------------------------------------------------------------------

    async def _look(self, job: Job) -> JobResult:
        """A bad or absent replica is a result with the number as of which we looked: it proves nothing of a replica
        that was made later (S06)."""
        looked = _done(job, self._number(), self._store.number)
        try:
            await self._verify(job)
        except (ReplicaCorrupt, ReplicaNotFound) as error:
            return evolve(looked, code=error.code, message=error.message)
        return looked

    async def _verify(self, job: Job) -> None:
        footer = await self._store.verify(_ref(job))
        if job.sha256 and footer.sha256 != job.sha256:
            raise self._other_bytes()


def _ref(job: Job) -> ChunkRef:
    return ChunkRef(job.file_id, job.index, job.generation)


def _done(job: Job, node: NodeNumber, number: int) -> JobResult:
    return JobResult(job.job, job.kind, job.file_id, job.index, job.generation, node, number, 0, "")


async def _first_failure(answer: Deferred[object], error: DFSError) -> None:
    """Raise what the target said, where it said something before we gave up; else our own reason."""
    try:
        await answer
    except DFSError as told:
        raise told from error
    raise error
