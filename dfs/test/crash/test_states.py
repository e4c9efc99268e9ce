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
from dfs.test.crash.hunt import SUBJECTS, Found, Hunt, compare, scratch
from dfs.test.crash.lives import judge, live
from dfs.test.crash.raftlog import RaftLog
from dfs.test.crash.recording import Killed, Recorder, RecordingDisk, write_tree
from dfs.test.crash.subjects import Subject
from dfs.test.crash.tables import Tables

SEED = 7
FOUNDING_CALLS = 40
"""More calls than the founding of a table folder or a log takes."""


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

    def test_berkeleydb(self) -> None:
        """R31 R33: Berkeley DB, its own system calls recorded, opens with a prefix of whole batches with every synced
        one, through checkpoints and the removal of its log files."""
        if not is_installed("berkeleydb"):
            raise SkipTest("berkeleydb is not installed")
        if not strace.works():
            raise SkipTest(strace.NOT_HERE)
        (subject,) = (subject for subject in SUBJECTS if subject.traced)
        self.tried(subject, 80, 40)


class FoundingTests(Sample):
    """A process killed at each call of a founding leaves names that are seen and not durable; the next one builds
    on them, and the power fails."""

    def built_on(self, subject: Subject, kill_at: int) -> list[State]:
        """What a power cut leaves of the second life, whatever was not synced being lost."""
        root = f"{self.folder}/life-{kill_at}"
        write_tree(root, {})
        recorder = Recorder(root)
        recorder.mark(subject.empty)
        for kill, steps in ((kill_at, 1), (None, 3)):
            recorder.kill_at = kill
            disk = RecordingDisk(recorder)
            try:
                live(subject, disk, root, Random(kill_at), steps, recorder.mark, clean=kill is None)
            except Killed:
                pass
            finally:
                disk.end_process()
        compare(recorder.recording, root)
        return list(islice(states(recorder.recording, Random(1)), len(recorder.calls) + 1))[:-1:2]

    def survives(self, subject: Subject) -> None:
        with subject.small():
            for kill_at in range(FOUNDING_CALLS):
                for state in self.built_on(subject, kill_at):
                    verdict = judge(subject, state, f"{self.folder}/state", Random(1))
                    self.assertEqual(verdict.problem, "", f"killed at call {kill_at}; {state.story}")

    def test_raft_log(self) -> None:
        """R26: a vote or an entry is acknowledged only in files whose names are durable, whoever made them."""
        self.survives(RaftLog())

    def test_tables(self) -> None:
        """R26 R37: a synced batch lies behind names that are durable, whoever made them."""
        self.survives(Tables("semidbm"))
