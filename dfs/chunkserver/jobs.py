"""Orders from metadata: copy, delete, verify; queued within a bound, reported until a leader took the result.

A job is known by its number *and* what it names, only while it is queued, running or
unreported: numbers of another leader never hide a new order, and nothing is blocked by an
entry that leaked (S12).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from dfs.protocol.errors import DFSError, InternalError
from dfs.protocol.messages import Job, JobKind, JobResult
from dfs.protocol.values import NodeNumber

_log = Logger()

MOST_JOBS = 1000
"""Jobs queued, running or not yet reported; more are not accepted, and metadata gives them again."""

FEW = 2
"""With no more jobs than this in the queue a beat asks for more."""

Key = tuple[int, JobKind, int, int, int]


def key_of(job: Job | JobResult) -> Key:
    """What makes two orders the same."""
    return job.job, job.kind, job.file_id, job.index, job.generation


class Jobs:
    """The table of jobs.

    :param perform: does one job and returns its results; raises DFSError.
    :param ended: called when a job ended or the queue runs low: time for a beat.
    """

    def __init__(
        self, perform: Callable[[Job], Awaitable[Sequence[JobResult]]], at_once: int, ended: Callable[[], None]
    ) -> None:
        self._perform, self._at_once, self._ended = perform, at_once, ended
        self._queue: deque[Job] = deque()
        self._running: dict[Key, Deferred[None] | None] = {}
        self._results: dict[Key, tuple[JobResult, ...]] = {}
        self._stopped = False

    @property
    def running(self) -> tuple[int, ...]:
        """Numbers of the jobs accepted and not yet reported."""
        return tuple(key[0] for key in self._running) + tuple(job.job for job in self._queue)

    @property
    def active(self) -> int:
        """How many run now."""
        return len(self._running)

    def results(self, most: int) -> tuple[JobResult, ...]:
        """Results that no leader has taken yet, oldest first."""
        found: list[JobResult] = []
        for results in self._results.values():
            if len(found) + len(results) > most:
                break
            found += results
        return tuple(found)

    def accept(self, jobs: Iterable[Job]) -> None:
        """Queue the orders that are new."""
        known = {key_of(job) for job in self._queue} | set(self._running) | set(self._results)
        for job in jobs:
            if key_of(job) not in known and len(known) < MOST_JOBS:
                known.add(key_of(job))
                self._queue.append(job)
        self._next()

    def taken(self, results: Iterable[JobResult]) -> None:
        """A leading metadata node has these results."""
        for result in results:
            self._results.pop(key_of(result), None)

    def stop(self) -> None:
        """Begin no more; what runs goes on to its end."""
        self._stopped = True
        self._queue.clear()

    def _next(self) -> None:
        while self._queue and len(self._running) < self._at_once and not self._stopped:
            job = self._queue.popleft()
            self._running[key_of(job)] = None
            task = Deferred.fromCoroutine(self._run(job))
            if key_of(job) in self._running:
                self._running[key_of(job)] = task

    async def _run(self, job: Job) -> None:
        try:
            results = tuple(await self._perform(job))
        except DFSError as error:
            _log.warn("job {job} failed: {error}", job=job.job, error=error)
            results = (failed(job, error),)
        except Exception:  # noqa: BLE001 - a defect in one job must not end the others
            _log.failure("job {job} failed", job=job.job)
            results = (failed(job, InternalError("the job failed; the node's log tells how")),)
        finally:
            del self._running[key_of(job)]
        if not results:  # nothing to report would never be taken, and stay for ever (S12)
            results = (failed(job, InternalError("the job ended without a result")),)
        self._results[key_of(job)] = results
        if len(self._queue) <= FEW:
            self._ended()
        self._next()


def failed(job: Job, error: DFSError) -> JobResult:
    """The result of a job that raised."""
    target = job.targets[0].node if job.targets else NodeNumber(0)
    return JobResult(job.job, job.kind, job.file_id, job.index, job.generation, target, 0, error.code, error.message)
