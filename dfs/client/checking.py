"""Whether files are whole: what metadata records of each, and on demand the bytes of every replica.

From the record alone: every chunk is there, in order; their lengths add up to the file's size, their hashes to its
digest; and each has as many readable replicas as the file asks for.  ``deep`` reads every replica and verifies it.
Nothing is changed; a replica that turns out bad is reported to metadata where the caller wants that.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Sequence

from attrs import frozen

from dfs.client.concurrency import gather
from dfs.client.context import Context
from dfs.client.errors import DFSError
from dfs.client.opening import Wanted, open_replica
from dfs.client.surveying import Part
from dfs.protocol.errors import ReplicaCorrupt, ReplicaNotFound, StaleGeneration
from dfs.protocol.messages import ChunkInfo, Replica, ReportCorrupt, SurveyedChunk, SurveyedNode
from dfs.protocol.values import FileId, chunk_id


class Damage(enum.StrEnum):
    """What is wrong with a file, worst first."""

    LOST = "lost"  # a chunk has no replica on a node that is not dead
    BROKEN = "broken"  # the record contradicts itself
    CORRUPT = "corrupt"  # a replica's bytes are not those that were committed
    MISSING = "missing"  # a replica is recorded and not there
    SINGLE = "single copy"  # a chunk has one readable replica and should have more
    SHORT = "short of copies"
    UNREACHABLE = "unreachable"  # a replica could not be read now


DAMAGE_OF: dict[type[DFSError], Damage] = {
    ReplicaCorrupt: Damage.CORRUPT,
    ReplicaNotFound: Damage.MISSING,
    StaleGeneration: Damage.MISSING,
}
"""What an answer to a read says of the replica."""


@frozen
class Finding:
    """One thing that is wrong; ``index`` None: with the file as a whole; ``node`` "": with the record."""

    name: str
    file_id: int
    index: int | None
    damage: Damage
    node: str
    sentence: str


class RecordCheck:
    """Folds the parts of all files; see the module.

    :ivar files: looked at, with ``chunks`` and ``bytes``.
    """

    def __init__(self) -> None:
        self.files = self.chunks = self.bytes = 0
        self._next = self._size = 0
        self._hashes = hashlib.sha256()

    def take(self, part: Part) -> list[Finding]:
        """What the record says against these chunks."""
        found = []
        for chunk in part.chunks:
            if chunk.index != self._next:
                found.append(self._finding(part, self._next, Damage.BROKEN, "chunks are not recorded in a row"))
            self._next = chunk.index + 1
            self._size += chunk.length
            self._hashes.update(chunk.sha256)
            found += self._redundancy(part, chunk)
        self.chunks += len(part.chunks)
        if part.last:
            found += self._whole(part)
        return found

    def _redundancy(self, part: Part, chunk: SurveyedChunk) -> list[Finding]:
        readable, wanted = len(part.readable(chunk)), part.info.replication
        if readable >= wanted:
            return []
        damage = Damage.LOST if not readable else Damage.SINGLE if readable == 1 else Damage.SHORT
        sentence = f"{readable} of {wanted} replicas can be read ({len(chunk.nodes)} are recorded)"
        return [self._finding(part, chunk.index, damage, sentence)]

    def _whole(self, part: Part) -> list[Finding]:
        found, info = [], part.info
        if (self._next, self._size) != (info.count, info.size):
            sentence = f"{self._next} chunks, {self._size} bytes are recorded; {info.count}, {info.size} belong there"
            found.append(self._finding(part, None, Damage.BROKEN, sentence))
        elif self._hashes.digest() != info.digest:
            sentence = "the hashes of its chunks do not give its digest"
            found.append(self._finding(part, None, Damage.BROKEN, sentence))
        self.files += 1
        self.bytes += info.size
        self._next = self._size = 0
        self._hashes = hashlib.sha256()
        return found

    def _finding(self, part: Part, index: int | None, damage: Damage, sentence: str) -> Finding:
        return Finding(part.info.name, part.info.file_id, index, damage, "", sentence)


class DeepCheck:
    """Reads replicas and throws the bytes away.

    :param report: tell metadata of what is corrupt, which then re-reads, sets aside and replaces it.
    """

    def __init__(self, context: Context, parallel: int, report: bool) -> None:
        self._context, self._parallel, self._report = context, parallel, report
        self.replicas = 0

    async def take(self, part: Part) -> list[Finding]:
        """What is wrong with the replicas of these chunks."""
        jobs = iter([(chunk, node) for chunk in part.chunks for node in part.readable(chunk)])
        found: list[Finding] = []

        async def worker() -> None:
            for chunk, node in jobs:
                found.extend(await self._replica(part, chunk, node))

        await gather(self._context.runtime.reactor, (worker() for _ in range(self._parallel)))
        return sorted(found, key=lambda finding: (finding.index or 0, finding.node))

    async def _replica(self, part: Part, chunk: SurveyedChunk, node: SurveyedNode) -> list[Finding]:
        self.replicas += 1
        error = await self._read(part, chunk, node)
        if error is None:
            return []
        damage = DAMAGE_OF.get(type(error), Damage.UNREACHABLE)
        if self._report and damage in (Damage.CORRUPT, Damage.MISSING):
            report = ReportCorrupt(FileId(part.info.file_id), chunk.index, chunk.generation, node.name)
            self._context.reports.send(report)
        return [Finding(part.info.name, part.info.file_id, chunk.index, damage, node.name, str(error))]

    async def _read(self, part: Part, chunk: SurveyedChunk, node: SurveyedNode) -> DFSError | None:
        """What was wrong with one replica, None if nothing was."""
        context = self._context
        identity = chunk_id(context.caller.cluster, FileId(part.info.file_id), chunk.index)
        replica = Replica(node.name, node.address, node.state)
        info = ChunkInfo(chunk.index, identity, chunk.generation, chunk.length, chunk.sha256, (replica,))
        wanted = Wanted(part.info.name, part.info.file_id, info, 0, chunk.length)
        try:
            opened = await open_replica(context, wanted, Nowhere(), replica)
        except DFSError as error:
            return error
        try:
            await opened.sink.finished()
        except DFSError as error:
            return error
        finally:
            context.pool.release(opened.connection)
        return None


class Nowhere:
    """A place for bytes that nobody keeps."""

    def write(self, offset: int, pieces: Sequence[memoryview]) -> None:
        """See dfs.client.receiving.Place."""
