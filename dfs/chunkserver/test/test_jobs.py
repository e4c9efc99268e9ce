"""The table of jobs, and the estimate of cluster time that their grants are judged by."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from dfs.chunkserver.clustertime import MAX_FREE_RUN_MS, ClusterClock
from dfs.chunkserver.jobs import MOST_HANGING, MOST_JOBS, VERIFY_PATIENCE, Jobs
from dfs.metaserver.granting import VALID_MS
from dfs.protocol.errors import DeadlinePassed, InternalError, NoSpace
from dfs.protocol.messages import Job, JobKind, JobResult
from dfs.protocol.trust import KeyRing
from dfs.protocol.values import FileId, Generation, GrantKind, NodeNumber


def job(number: int, index: int = 0) -> Job:
    return Job(number, JobKind.VERIFY, FileId(1), index, Generation(1), 0, b"", (), None)


class JobsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.began: list[tuple[Job, Deferred[None]]] = []
        self.beats = 0
        self.clock = Clock()
        self.jobs = Jobs(self.clock, self.perform, 2, self.beat)

    def beat(self) -> None:
        self.beats += 1

    async def perform(self, job: Job) -> Sequence[JobResult]:
        going: Deferred[None] = Deferred()
        self.began.append((job, going))
        await going
        return [JobResult(job.job, job.kind, job.file_id, job.index, job.generation, NodeNumber(1), 5, 0, "")]

    def numbers(self) -> list[int]:
        return [one.job for one, _ in self.began]

    def test_few_at_once(self) -> None:
        """No more run at once than allowed; the next begins when one ends, and a beat is due."""
        self.jobs.accept([job(number) for number in range(4)])
        self.assertEqual(self.numbers(), [0, 1])
        self.assertEqual(sorted(self.jobs.running), [0, 1, 2, 3])
        self.began[0][1].callback(None)
        self.assertEqual(self.numbers(), [0, 1, 2])
        self.assertEqual(self.beats, 1)
        self.assertEqual([one.job for one in self.jobs.results(10)], [0])

    def test_hanging_jobs(self) -> None:
        """S12, S23: a job that hangs is reported as failed in time and its place goes to the next; with too many that
        hang none begins; one that ends after all makes room and is not reported again."""
        self.jobs.accept([job(number, number) for number in range(12)])
        for _ in range(4):
            self.clock.advance(VERIFY_PATIENCE)
        count = MOST_HANGING + 1  # the last two began when one of them was still allowed
        self.assertEqual(self.numbers(), list(range(count)))
        self.assertEqual((self.jobs.hanging, self.jobs.active), (count, 0))
        results = self.jobs.results(10)
        self.assertEqual([(one.job, one.code) for one in results], [(n, DeadlinePassed.code) for n in range(count)])
        self.jobs.taken(results)
        self.jobs.accept([job(1, 1)])
        self.assertNotIn(1, self.jobs.running)
        self.began[2][1].callback(None)
        self.began[3][1].callback(None)
        self.assertEqual(self.numbers(), list(range(count + 2)))
        self.assertEqual(self.jobs.results(10), ())
        self.began[count][1].callback(None)
        self.assertEqual([(one.job, one.code) for one in self.jobs.results(10)], [(count, 0)])
        self.jobs.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_nothing_to_report(self) -> None:
        """A job that ended without a result is reported as failed: what nobody takes would stay for ever (S12)."""

        async def perform(job: Job) -> Sequence[JobResult]:
            return []

        jobs = Jobs(self.clock, perform, 2, self.beat)
        jobs.accept([job(1)])
        (result,) = jobs.results(10)
        self.assertEqual((result.job, result.code), (1, InternalError.code))
        jobs.taken([result])
        jobs.accept([job(1)])
        self.assertEqual(len(jobs.results(10)), 1)

    def test_duplicates(self) -> None:
        """An order given again is not done again while it is queued, running or unreported; the same number for
        another chunk is another order, and once reported the number is free (S12)."""
        self.jobs.accept([job(1)])
        self.jobs.accept([job(1), job(1, index=7)])
        self.assertEqual(len(self.began), 2)
        self.began[0][1].callback(None)
        self.jobs.accept([job(1)])
        self.assertEqual(len(self.began), 2)
        self.jobs.taken(self.jobs.results(10))
        self.jobs.accept([job(1)])
        self.assertEqual(len(self.began), 3)

    def test_bound(self) -> None:
        """More orders than the table holds are left for later."""
        self.jobs.accept([job(number) for number in range(MOST_JOBS + 50)])
        self.assertEqual(len(self.jobs.running), MOST_JOBS)

    def test_failures_are_results(self) -> None:
        """A job that raises is reported with its code, a defect too, and the next one runs (S12)."""
        self.jobs.accept([job(1), job(2), job(3)])
        self.began[0][1].errback(NoSpace("full"))
        self.began[1][1].errback(ValueError("a defect"))
        self.began[2][1].callback(None)
        codes = {one.job: one.code for one in self.jobs.results(10)}
        self.assertEqual(codes, {1: NoSpace.code, 2: InternalError.code, 3: 0})
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_result_of_another_chunk_is_kept(self) -> None:
        """Only what was taken is forgotten."""
        self.jobs.accept([job(1)])
        self.began[0][1].callback(None)
        (result,) = self.jobs.results(10)
        self.jobs.taken([evolve(result, index=9)])
        self.assertEqual(self.jobs.results(10), (result,))


class ClusterClockTests(SynchronousTestCase):
    def test_never_goes_back(self) -> None:
        """The estimate goes with our clock, jumps forward with metadata's, and never back by the word of a node that
        does not lead (S34)."""
        clock = ClusterClock()
        self.assertFalse(clock.known)
        clock.observe(0, 1.0, leads=True)
        self.assertFalse(clock.known)
        clock.observe(5000, 10.0, leads=False)
        self.assertEqual(clock.now_ms(12.0), 7000)
        clock.observe(6000, 12.0, leads=False)
        self.assertEqual(clock.now_ms(12.0), 7000)
        clock.observe(9000, 12.0, leads=False)
        self.assertEqual(clock.now_ms(13.0), 10000)

    def test_follows_the_leader(self) -> None:
        """After two hours without metadata, whose time stood still, a new grant is good (S34)."""
        clock, keys, ref = ClusterClock(), KeyRing(b"k" * 32, b"c" * 16), (FileId(1), 0, Generation(1))
        clock.observe(9_000_000, 0.0, leads=True)
        self.assertEqual(clock.now_ms(7200.0), 9_000_000 + MAX_FREE_RUN_MS)
        clock.observe(9_000_005, 7200.0, leads=True)
        grant = keys.sign(GrantKind.PUT, *ref, 9_000_005 + VALID_MS)
        keys.check(grant, GrantKind.PUT, *ref, clock.now_ms(7200.0))
        self.assertEqual(clock.now_ms(7200.0), 9_000_005)
