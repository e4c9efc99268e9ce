"""The primary's word to metadata: many chunks' commits in one request.

While a request is in flight the next commits gather; they leave together when it has
ended.  So one log entry carries many chunks and a lone chunk waits for nobody.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from dfs.protocol.errors import Busy, DFSError, InternalError, StaleGeneration, UnknownRequest, UploadGone
from dfs.protocol.messages import (
    AddReplicas,
    ChunkCommit,
    CommitChunks,
    CommitOutcome,
    CommitOutcomes,
    FinishOutcome,
    FinishUploads,
    UploadsFinished,
)

_log = Logger()

MOST = 256
"""Commits in one request."""

WAITING = 4096
"""Commits that may wait; above it Busy."""


class CommitBatcher:
    """Gathers commits.

    :param call: asks the leading metadata node; it retries by itself and fails with a DFSError in the end.
    """

    def __init__(self, call: Callable[[object], Deferred[object]]) -> None:
        self._call = call
        self._commits: deque[tuple[ChunkCommit, Deferred[CommitOutcome]]] = deque()
        self._adds: deque[ChunkCommit] = deque()
        self._sending = False
        self._task: Deferred[None] | None = None

    async def commit(self, commit: ChunkCommit) -> None:
        """Returns when it is committed.  Raises StaleGeneration, UploadGone, Busy, or what the call failed with."""
        if len(self._commits) >= WAITING:
            raise Busy("too many chunks wait for metadata")
        done: Deferred[CommitOutcome] = Deferred()
        self._commits.append((commit, done))
        self._kick()
        error = _refusal(await done)
        if error is not None:
            raise error

    async def finish_all(self, commits: Sequence[ChunkCommit]) -> list[DFSError | bool]:
        """Commit the only chunks of small files, and the files with them: for each whether the file is finished, or
        the error that it is not committed for."""
        try:
            outcomes = await self._finish(commits)
        except Exception as error:  # noqa: BLE001 - as in _send_commits
            return [_told(error) for _ in commits]
        found: list[DFSError | bool] = []
        for outcome in outcomes:
            refusal = _refusal(outcome)
            found.append(outcome == FinishOutcome.FINISHED if refusal is None else refusal)
        return found

    async def _finish(self, commits: Sequence[ChunkCommit]) -> Sequence[CommitOutcome | FinishOutcome]:
        answer: object
        try:
            answer = await self._call(FinishUploads(tuple(commits)))
        except UnknownRequest:  # metadata of before small files travelled together
            answer = await self._call(CommitChunks(tuple(commits)))
        if not isinstance(answer, UploadsFinished | CommitOutcomes) or len(answer.outcomes) != len(commits):
            raise InternalError("metadata answered a commit with something else")
        return answer.outcomes

    def add(self, replicas: ChunkCommit) -> None:
        """Tell of replicas that became durable later; where that fails the next inventory tells it."""
        if len(self._adds) < WAITING:
            self._adds.append(replicas)
            self._kick()

    def _kick(self) -> None:
        if not self._sending:
            self._sending = True
            self._task = Deferred.fromCoroutine(self._run())

    async def _run(self) -> None:
        try:
            while self._commits or self._adds:
                if self._commits:
                    await self._send_commits()
                if self._adds:
                    await self._send_adds()
        finally:
            self._sending = False

    async def _send_commits(self) -> None:
        batch = [self._commits.popleft() for _ in range(min(MOST, len(self._commits)))]
        try:
            answer = await self._call(CommitChunks(tuple(commit for commit, _ in batch)))
            if not isinstance(answer, CommitOutcomes) or len(answer.outcomes) != len(batch):
                raise InternalError("metadata answered a commit with something else")
        except Exception as error:  # noqa: BLE001 - a defect in one batch must not hold up the others
            for _, done in batch:
                done.errback(_told(error))
            return
        for (_, done), outcome in zip(batch, answer.outcomes, strict=True):
            done.callback(outcome)

    async def _send_adds(self) -> None:
        batch = [self._adds.popleft() for _ in range(min(MOST, len(self._adds)))]
        try:
            await self._call(AddReplicas(tuple(batch)))
        except Exception as error:  # noqa: BLE001 - as above
            _log.info("{count} late replicas are left to the inventory: {error}", count=len(batch), error=_told(error))


def _refusal(outcome: CommitOutcome | FinishOutcome) -> DFSError | None:
    """Why a chunk must not be acknowledged."""
    if outcome == CommitOutcome.STALE:
        return StaleGeneration("the chunk was placed anew: this write came too late")
    if outcome == CommitOutcome.GONE:
        return UploadGone("the upload was deleted, aborted or has expired")
    return None


def _told(error: Exception) -> DFSError:
    """What a put hears of a call that failed; a defect's traceback stays in the log."""
    if isinstance(error, DFSError):
        return error
    _log.failure("a request to metadata failed in a way that was not foreseen", Failure(error))
    return InternalError("the commit could not be sent; the node's log tells why")
