"""The shell's parts one by one: merging writes, the storage's lane, waiting proposals, a transfer's window."""

from __future__ import annotations

import random
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from dfs.raft.codec import encode_entry
from dfs.raft.core.types import HardState, Outgoing, Proposed, ReadState, Ready, Refusal, Role, Standing
from dfs.raft.errors import Busy, NotLeader, OutcomeUnknown, Stopped
from dfs.raft.leadership import Leadership
from dfs.raft.messages import Entry, EntryKind, VoteReply
from dfs.raft.proposals import Proposals, Reads
from dfs.raft.segment import NoSpace
from dfs.raft.spans import SpanIndex
from dfs.raft.storage import Write
from dfs.raft.storage_lane import StorageLane, merge
from dfs.raft.test.shells import outcome


def entry(index: int, term: int = 1) -> Entry:
    return encode_entry(index, term, EntryKind.COMMAND, b"x", 0)


def ready(number: int, **changes: Any) -> Ready:
    empty: dict[str, Any] = dict.fromkeys(
        ("entries", "messages_now", "messages_after", "committed", "reads", "reads_lost", "entry_reads",
         "snapshots_wanted", "arrived"), ()
    )  # fmt: skip
    empty |= dict.fromkeys(("hard_state", "reset_to", "truncate_from", "unknown", "standing"))
    return Ready(**{**empty, "number": number, "commit_index": 0, **changes})


class MergeTests(SynchronousTestCase):
    """Successive Readys as one transaction."""

    def test_merge_equals_one_after_the_other(self) -> None:
        """R28: for random sequences of appends and truncations the merged write leaves the same log."""
        chance = random.Random(5)
        for _ in range(300):
            log = [entry(index) for index in range(1, 6)]
            start, readys = list(log), []
            for number in range(1, 6):
                cut = chance.randint(2, len(log) + 1)
                fresh = tuple(entry(cut + step, number + 1) for step in range(chance.randint(0, 3)))
                truncates = cut <= len(log)
                readys.append(ready(number, truncate_from=cut if truncates else None, entries=fresh))
                log[cut - 1 :] = fresh
            write = merge(readys)
            if write.truncate_from is not None:
                del start[write.truncate_from - 1 :]
            self.assertEqual([*start, *write.entries], log)

    def test_newest_vote(self) -> None:
        """R01: the newest term and vote of the batch are written."""
        write = merge([ready(1, hard_state=HardState(2, "a")), ready(2), ready(3, hard_state=HardState(3)), ready(4)])
        self.assertEqual(write, Write(HardState(3)))


class FakeLane:
    """Runs nothing by itself; ``calls`` wait for the test."""

    name = "fake"
    depth = 0

    def __init__(self) -> None:
        self.calls: list[tuple[Any, Deferred[Any]]] = []

    def run(self, function: Any, *arguments: Any) -> Deferred[Any]:
        done: Deferred[Any] = Deferred()
        self.calls.append((arguments, done))
        return done

    def stop(self) -> Deferred[None]:
        return succeed(None)


class FakeStorage:
    def write(self, write: Write) -> None:
        raise AssertionError("the fake lane does not run it")


class StorageLaneTests(SynchronousTestCase):
    """Order and batching of the writes."""

    def setUp(self) -> None:
        self.clock, self.lane = Clock(), FakeLane()
        self.events: list[Any] = []
        self.writes = StorageLane(
            self.lane,  # type: ignore[arg-type]
            FakeStorage(),  # type: ignore[arg-type]
            self.clock,
            lambda found: self.events.append(found.number),
            lambda failure: self.events.append(failure.value),
            lambda full: self.events.append(("full", full)),
        )

    def test_next_batch_gathers_while_one_is_written(self) -> None:
        """R63: what comes while a sync runs is one batch after it, reported in order."""
        for number in range(1, 5):
            self.writes.submit(ready(number, entries=(entry(number),)))
        self.assertEqual(len(self.lane.calls), 1)
        self.assertEqual(self.events, [])
        self.lane.calls[0][1].callback(None)
        self.assertEqual(self.events, [1])
        self.assertEqual([found.index for found in self.lane.calls[1][0][0].entries], [2, 3, 4])
        self.lane.calls[1][1].callback(None)
        self.assertEqual(self.events, [1, 2, 3, 4])

    def test_messages_wait_for_earlier_writes(self) -> None:
        """R01: a Ready that writes nothing is reported only after the writes before it."""
        vote = (Outgoing("b", VoteReply(2, True, False)),)
        self.writes.submit(ready(1, hard_state=HardState(2, "b")))
        self.writes.submit(ready(2, messages_after=vote))
        self.writes.after_all(lambda: self.events.append("after"))
        self.assertEqual(self.events, [])
        self.lane.calls[0][1].callback(None)
        self.assertEqual(self.events, [1, 2, "after"])
        self.writes.submit(ready(3, messages_after=vote))
        self.assertEqual(self.events, [1, 2, "after", 3])

    def test_full_disk_is_tried_again(self) -> None:
        """R32: a full disk keeps the batch, says so, and writes it again a second later."""
        self.writes.submit(ready(1, entries=(entry(1),)))
        self.lane.calls[0][1].errback(Failure(NoSpace("full")))
        self.assertEqual(self.events, [("full", True)])
        self.clock.advance(1.0)
        self.assertEqual(self.lane.calls[1][0], self.lane.calls[0][0])
        self.assertEqual(self.writes.outstanding(), 1.0)
        self.lane.calls[1][1].callback(None)
        self.assertEqual(self.events, [("full", True), ("full", False), 1])

    def test_failure_is_final(self) -> None:
        """R27: any other failure is reported once and nothing is written again."""
        error = OSError("gone")
        self.writes.submit(ready(1, entries=(entry(1),)))
        self.lane.calls[0][1].errback(Failure(error))
        self.clock.advance(10.0)
        self.assertEqual(self.events, [error])
        self.assertEqual(len(self.lane.calls), 1)

    def test_stop_reports_nothing(self) -> None:
        """R62: after stop a write that ends is not reported, and whoever waits for quiet is told."""
        self.writes.submit(ready(1, entries=(entry(1),)))
        self.writes.submit(ready(2, entries=(entry(2),)))
        self.writes.stop()
        quiet = outcome(self.writes.when_idle())
        self.assertEqual(quiet, [])
        self.lane.calls[0][1].callback(None)
        self.assertEqual((self.events, quiet, len(self.lane.calls)), ([], [None], 1))


class ProposalTests(SynchronousTestCase):
    """Each Deferred fires exactly once (R62)."""

    def test_ends(self) -> None:
        """R46 R62: applied, overwritten, unknown, refused and stopped proposals end once, each in its own way."""
        proposals = Proposals(1000)
        answers = [outcome(proposals.add(b"%d" % number)) for number in range(6)]
        proposals.propose(lambda payloads: Proposed(10, 3, 4, Refusal.BUSY))
        proposals.applied(10, 3, b"ten")
        proposals.applied(10, 3, b"again")
        proposals.applied(11, 4, b"other")
        proposals.unknown(12, 12, "gone")
        late = outcome(proposals.add(b"late"))
        proposals.stop()
        proposals.stop()
        kinds = [[found if isinstance(found, bytes) else type(found) for found in each] for each in [*answers, late]]
        self.assertEqual(
            kinds, [[b"ten"], [OutcomeUnknown], [OutcomeUnknown], [OutcomeUnknown], [Busy], [Busy], [Stopped]]
        )
        self.assertEqual(len(proposals), 0)

    def test_cancelled(self) -> None:
        """R62: a proposal whose caller gave up is applied without a second firing."""
        proposals = Proposals(1000)
        answer = proposals.add(b"x")
        results = outcome(answer)
        proposals.propose(lambda payloads: Proposed(1, 1, 1))
        answer.cancel()
        proposals.applied(1, 1, b"late")
        self.assertEqual(len(results), 1)

    def test_bound(self) -> None:
        """R25: beyond the limit of queued bytes a proposal is refused at once."""
        proposals = Proposals(10)
        outcome(proposals.add(b"12345678"))
        self.assertRaises(Busy, proposals.add, b"123")
        proposals.propose(lambda payloads: Proposed(1, 1, 1))
        outcome(proposals.add(b"123"))

    def test_reads(self) -> None:
        """R47: a confirmed read waits for its index; a lost one names the leader; each fires once."""
        reads = Reads(20)
        numbers: list[int] = []
        answers = [outcome(reads.add(lambda number: numbers.append(number), lambda: "b")) for _ in range(4)]
        self.assertEqual(len(set(numbers)), 4)
        reads.confirmed(ReadState(numbers[0], 7), 5)
        reads.confirmed(ReadState(numbers[1], 5), 5)
        self.assertEqual((answers[0], answers[1]), ([], [5]))
        reads.applied(8)
        reads.lost(numbers[2], "b")
        reads.stop()
        self.assertEqual(answers[0], [8])
        self.assertEqual([type(each[0]) for each in answers[2:]], [NotLeader, Stopped])

    def test_reads_age(self) -> None:
        """R62: a confirmed read ends after its patience where this member does not lead; a younger one goes on."""
        reads = Reads(20)
        numbers: list[int] = []
        answers = [outcome(reads.add(lambda number: numbers.append(number), lambda: "b")) for _ in range(2)]
        reads.confirmed(ReadState(numbers[0], 7), 5)
        reads.tick(10, False, "b")
        reads.confirmed(ReadState(numbers[1], 6), 5)
        reads.tick(10, True, "a")
        self.assertEqual(answers, [[], []])
        reads.tick(1, False, "b")
        self.assertEqual([type(one) for one in answers[0]], [NotLeader])
        reads.applied(7)
        self.assertEqual((len(answers[0]), answers[1]), (1, [7]))


class LeadershipTests(SynchronousTestCase):
    """When observers are told."""

    def test_order(self) -> None:
        """S29: an entry of an older term does not announce; the own term's does, once; losing it is told once."""
        told: list[tuple[bool, int]] = []

        class Observer:
            def leadership_changed(self, leads: bool, term: int) -> None:
                told.append((leads, term))

        leadership = Leadership()
        leadership.watch(Observer())
        leadership.stands(Standing(Role.LEADER, 5, "a"))
        leadership.applied(4)
        self.assertEqual(told, [])
        leadership.applied(5)
        leadership.applied(5)
        leadership.stands(Standing(Role.FOLLOWER, 6, "b"))
        leadership.ended()
        self.assertEqual(told, [(True, 5), (False, 5)])


class SpanTests(SynchronousTestCase):
    """The sparse index against a plain list."""

    def test_against_a_model(self) -> None:
        """For random appends, cuts and compactions each live entry is found where it was last written, no other is."""
        for seed in range(30):
            chance = random.Random(seed)
            spans = SpanIndex()
            model: dict[int, tuple[int, int]] = {}
            base, last, offset, sequence = 0, 0, 512, 1
            for _ in range(60):
                if chance.random() < 0.15:
                    sequence, offset = sequence + 1, 512
                if chance.random() < 0.1 and last > base:
                    base = chance.randint(base, last)
                    spans.drop_through(base)
                cut = last if chance.random() < 0.7 else chance.randint(base, last)
                count = chance.randint(0, 4)
                length = chance.choice([512, 40_000])
                spans.append(sequence, offset, offset + length, cut, count)
                model = {index: place for index, place in model.items() if base < index <= cut}
                model |= dict.fromkeys(range(cut + 1, cut + count + 1), (sequence, offset))
                last, offset = cut + count, offset + length
                for index in range(base + 1, last + 3):
                    span = spans.find(index)
                    if index not in model:
                        self.assertIsNone(span)
                        continue
                    assert span is not None
                    place = model[index]
                    self.assertEqual(span.sequence, place[0])
                    self.assertTrue(span.start <= place[1] < span.end)
