"""Orders from metadata: copy, delete, verify; queued within a bound, reported until a leader took the result.

A job is known by its number *and* what it names, only while it is queued, running or
unreported: numbers of another leader never hide a new order, and nothing is blocked by an
entry that leaked (S12).

A job that hangs, in a thread that waits for a dying disk above all, is reported as failed after its patience, and its
place goes to the next (S23).  The thread cannot be stopped: with MOST_HANGING of them no further job begins.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from dfs.protocol.errors import DeadlinePassed, DFSError, InternalError
from dfs.protocol.messages import Job, JobKind, JobResult
from dfs.protocol.values import NodeNumber

_log = Logger()

MOST_JOBS = 1000
"""Jobs queued, running or not yet reported; more are not accepted, and metadata gives them again."""

PATIENCE = 60.0
"""Seconds that a job may take, and one more for each SLOWEST bytes of its chunk."""

SLOWEST = 1 << 20

VERIFY_PATIENCE = 300.0
"""Seconds that the reading of a replica may take: its order does not name the length."""

MOST_HANGING = 4
"""Jobs that were given up and still hang, above which none begins."""

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
        self,
        clock: IReactorTime,
        perform: Callable[[Job], Awaitable[Sequence[JobResult]]],
        at_once: int,
        ended: Callable[[], None],
    ) -> None:
        self._clock, self._perform, self._at_once, self._ended = clock, perform, at_once, ended
        self._timers: dict[Key, IDelayedCall] = {}
        self._hanging: dict[Key, Deferred[None] | None] = {}
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

    @property
    def hanging(self) -> int:
        """How many were given up and have not ended."""
        return len(self._hanging)

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
        known = {key_of(job) for job in self._queue} | set(self._running) | set(self._results) | set(self._hanging)
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
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _next(self) -> None:
        while (
            self._queue
            and len(self._running) < self._at_once
            and len(self._hanging) < MOST_HANGING
            and not self._stopped
        ):
            job = self._queue.popleft()
            key = key_of(job)
            self._running[key] = None
            self._timers[key] = self._clock.callLater(patience_of(job), self._give_up, job)
            task = Deferred.fromCoroutine(self._run(job))
            if key in self._running:
                self._running[key] = task

    def _give_up(self, job: Job) -> None:
        """It hangs: somebody else had better do it, and its place is for the next."""
        key = key_of(job)
        del self._timers[key]
        self._hanging[key] = self._running.pop(key)
        _log.error("job {job} hangs and is given up: {kind} of {file_id}/{index}", **_said(job))
        self._finish(job, (failed(job, DeadlinePassed("the job did not end in time; the disk may hang")),))

    def _finish(self, job: Job, results: tuple[JobResult, ...]) -> None:
        self._results[key_of(job)] = results
        if len(self._queue) <= FEW:
            self._ended()
        self._next()

    async def _run(self, job: Job) -> None:
        try:
            results = tuple(await self._perform(job))
        except DFSError as error:
            _log.warn("job {job} failed: {error}", job=job.job, error=error)
            results = (failed(job, error),)
        except Exception:  # noqa: BLE001 - a defect in one job must not end the others
            _log.failure("job {job} failed", job=job.job)
            results = (failed(job, InternalError("the job failed; the node's log tells how")),)
        key = key_of(job)
        if key in self._hanging:
            del self._hanging[key]
            _log.info("job {job} ended after all: {kind} of {file_id}/{index}", **_said(job))
            self._next()
            return
        del self._running[key]
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
        if not results:  # nothing to report would never be taken, and stay for ever (S12)
            results = (failed(job, InternalError("the job ended without a result")),)
        self._finish(job, results)


def patience_of(job: Job) -> float:
    """Seconds that a job may take."""
    return VERIFY_PATIENCE if job.kind is JobKind.VERIFY else PATIENCE + job.length / SLOWEST


def _said(job: Job) -> dict[str, object]:
    return {"job": job.job, "kind": job.kind.name, "file_id": job.file_id, "index": job.index}


def failed(job: Job, error: DFSError) -> JobResult:
    """The result of a job that raised."""
    target = job.targets[0].node if job.targets else NodeNumber(0)
    return JobResult(job.job, job.kind, job.file_id, job.index, job.generation, target, 0, error.code, error.message)
