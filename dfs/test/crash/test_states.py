"""A fixed sample of the crash states of each store; ``make test-long`` tries ten thousand."""

from __future__ import annotations

import shutil
from itertools import islice
from random import Random

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from dfs.kv.engines import is_installed
from dfs.test.crash import strace
from dfs.test.crash.chunks import Chunks
from dfs.test.crash.draws import State, states
from dfs.test.crash.hunt import SUBJECTS, Found, Hunt, compare, digest_of, scratch
from dfs.test.crash.lives import judge, live
from dfs.test.crash.packed import Segments
from dfs.test.crash.raftlog import RaftLog
from dfs.test.crash.recording import Killed, Recorder, RecordingDisk, write_tree
from dfs.test.crash.subjects import Subject
from dfs.test.crash.tables import Tables

SEED = 7
STEPS = 8
ROUNDS = 7
"""Draws at each position: the four plain ones, and some more."""


class Sample(SynchronousTestCase):
    """Gives a folder for states."""

    def setUp(self) -> None:
        self.folder = scratch()
        self.addCleanup(shutil.rmtree, self.folder)

    def tried(self, subject: Subject, count: int, per_recording: int) -> Found:
        """Judge so many states; none may be wrong."""
        found = Hunt(subject, SEED, self.folder, per_recording).run(count)
        self.assertEqual(found.problems, [])
        self.assertEqual(found.states, count)
        return found


class SampleTests(Sample):
    """Everything acknowledged is there, nothing half is, and it opens."""

    def test_raft_log(self) -> None:
        """S30 R01 R26 R28 R29 R37: the log opens with every acknowledged vote and entry, and a torn tail is dropped."""
        self.tried(RaftLog(), 200, 30)

    def test_semidbm(self) -> None:
        """R29 R33 R37: what semidbm's store opens with is a prefix of whole batches with every synced one."""
        self.tried(Tables("semidbm"), 200, 30)

    def test_chunks(self) -> None:
        """S05 S09 S10: each replica is whole or absent, those that were acknowledged are there, none comes back."""
        self.tried(Chunks(), 80, 20)

    def test_segments(self) -> None:
        """S05 S09 S15 S17: each packed replica is whole or absent, those acknowledged are there, and none comes back,
        through rotation and compaction."""
        self.tried(Segments(), 120, 30)

    def test_berkeleydb(self) -> None:
        """R31 R33: Berkeley DB, its own system calls recorded, opens with a prefix of whole batches with every synced
        one, through checkpoints and the removal of its log files."""
        if not is_installed("berkeleydb"):
            raise SkipTest("berkeleydb is not installed")
        if not strace.works():
            raise SkipTest(strace.NOT_HERE)
        (subject,) = (subject for subject in SUBJECTS if subject.traced)
        self.tried(subject, 80, 40)


class KilledTests(Sample):
    """A process killed before a folder's sync leaves names that are seen and not durable; the next one builds on
    them, and then the power fails."""

    def cut(self, subject: Subject, seed: int, kill_at: int) -> list[State] | None:
        """Distinct states that a power cut leaves in the second life; None where the first was not killed."""
        root = f"{self.folder}/life-{kill_at}"
        write_tree(root, {})
        recorder = Recorder(root)
        recorder.mark(subject.empty)
        recorder.kill_at_naming = kill_at
        disk = RecordingDisk(recorder)
        try:
            live(subject, disk, root, Random(seed), STEPS, recorder.mark, clean=True)
            return None
        except Killed:
            pass
        finally:
            disk.end_process()
        recorder.kill_at_naming = None
        before = len(recorder.calls)
        disk = RecordingDisk(recorder)
        live(subject, disk, root, Random(seed), 2, recorder.mark, clean=True)
        disk.end_process()
        compare(recorder.recording, root)
        positions = frozenset(range(before, len(recorder.calls) + 1))
        drawn = islice(states(recorder.recording, Random(kill_at), positions), ROUNDS * len(positions))
        return list({digest_of(state): state for state in drawn}.values())

    def survives(self, subject: Subject, seed: int) -> None:
        """Kill before each of the folder syncs of a life."""
        with subject.small():
            for kill_at in range(100):
                found = self.cut(subject, seed, kill_at)
                if found is None:
                    self.assertGreater(kill_at, 5)
                    return
                for state in found:
                    verdict = judge(subject, state, f"{self.folder}/state", Random(1))
                    self.assertEqual(verdict.problem, "", f"killed before folder sync {kill_at}; {state.story}")
        self.fail("the life never ended")

    def test_raft_log(self) -> None:
        """R26: a vote or an entry is acknowledged only in files whose names are durable, whoever made them."""
        self.survives(RaftLog(), 2)

    def test_tables(self) -> None:
        """R26 R37: a synced batch lies behind names that are durable, whoever made them; a former generation goes
        only when its successor is durable."""
        self.survives(Tables("semidbm"), 3)
