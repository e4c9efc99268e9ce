"""Commits that leave together."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from dfs.chunkserver.commit import MOST, CommitBatcher
from dfs.protocol.errors import InternalError, StaleGeneration, Unavailable, UploadGone
from dfs.protocol.messages import AddReplicas, ChunkCommit, CommitChunks, CommitOutcome, CommitOutcomes, Done
from dfs.protocol.values import FileId, Generation

OK = CommitOutcome.COMMITTED


def commit(index: int) -> ChunkCommit:
    return ChunkCommit(FileId(1), index, Generation(1), 10, b"s" * 32, ())


class CommitBatcherTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.calls: list[tuple[Any, Deferred[object]]] = []
        self.batcher = CommitBatcher(self.call)

    def call(self, request: object) -> Deferred[object]:
        answer: Deferred[object] = Deferred()
        self.calls.append((request, answer))
        return answer

    def begin(self, index: int) -> Deferred[None]:
        return Deferred.fromCoroutine(self.batcher.commit(commit(index)))

    def test_gathers_while_one_is_in_flight(self) -> None:
        """A lone commit leaves at once; those that come meanwhile leave together, each with its own outcome."""
        first = self.begin(0)
        rest = [self.begin(index) for index in (1, 2, 3)]
        self.assertEqual(len(self.calls), 1)
        self.calls[0][1].callback(CommitOutcomes((OK,)))
        self.successResultOf(first)
        self.assertEqual([one.index for one in self.calls[1][0].commits], [1, 2, 3])
        self.calls[1][1].callback(CommitOutcomes((OK, CommitOutcome.STALE, CommitOutcome.GONE)))
        self.successResultOf(rest[0])
        self.failureResultOf(rest[1], StaleGeneration)
        self.failureResultOf(rest[2], UploadGone)

    def test_bounds_a_request(self) -> None:
        """No request carries more commits than metadata takes."""
        waiting = [self.begin(index) for index in range(MOST + 2)]
        self.calls[0][1].callback(CommitOutcomes((OK,)))
        self.assertEqual(len(self.calls[1][0].commits), MOST)
        self.calls[1][1].callback(CommitOutcomes((OK,) * MOST))
        self.calls[2][1].callback(CommitOutcomes((OK,)))
        for one in waiting:
            self.successResultOf(one)

    def test_failures(self) -> None:
        """A call that fails, or an answer of another length, fails its own commits and not the next ones."""
        first = self.begin(0)
        second = self.begin(1)
        self.calls[0][1].errback(Unavailable("no leader"))
        self.failureResultOf(first, Unavailable)
        self.calls[1][1].callback(CommitOutcomes((OK, OK)))
        self.failureResultOf(second, InternalError)
        third = self.begin(2)
        self.calls[2][1].callback(CommitOutcomes((OK,)))
        self.successResultOf(third)

    def test_adds(self) -> None:
        """Late replicas are told, and a failure to tell them is nobody's failure."""
        self.batcher.add(commit(5))
        self.assertIsInstance(self.calls[0][0], AddReplicas)
        self.calls[0][1].errback(Unavailable("no leader"))
        self.batcher.add(commit(6))
        self.calls[1][1].callback(Done())
        self.assertEqual(len(self.calls), 2)

    def test_commit_from_within_an_answer(self) -> None:
        """A commit that begins while another is being answered is not forgotten."""
        chained: list[Deferred[None]] = []
        first = self.begin(0).addCallback(lambda _: chained.append(self.begin(1)))
        self.calls[0][1].callback(CommitOutcomes((OK,)))
        self.successResultOf(first)
        self.calls[1][1].callback(CommitOutcomes((OK,)))
        self.successResultOf(chained[0])
        self.assertIsInstance(self.calls[1][0], CommitChunks)

    def test_defect_in_one_batch(self) -> None:
        """A call that fails by a defect, at once or later, fails its own commits; the next ones are sent."""
        first = self.begin(0)
        self.calls[0][1].errback(ValueError("cannot be encoded"))
        self.failureResultOf(first, InternalError)

        def broken(request: object) -> Deferred[object]:
            raise TypeError("a defect")

        self.patch(self.batcher, "_call", broken)
        self.failureResultOf(self.begin(1), InternalError)
        self.batcher.add(commit(2))
        self.patch(self.batcher, "_call", self.call)
        last = self.begin(3)
        self.calls[-1][1].callback(CommitOutcomes((OK,)))
        self.successResultOf(last)
        self.assertEqual(len(self.flushLoggedErrors(ValueError, TypeError)), 3)
