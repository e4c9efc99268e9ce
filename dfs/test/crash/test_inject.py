"""A few faults of the kernel in real processes; ``make test-long`` puts one in the place of every call."""

from __future__ import annotations

import shutil

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from dfs.kv.engines import is_installed
from dfs.test.crash import strace
from dfs.test.crash.hunt import SUBJECTS, scratch
from dfs.test.crash.injecting import FAULTS, Injection

NUMBERS = {"SIGKILL": 5, "EIO": 4, "ENOSPC": 2}
"""Which call after the opening, by fault; ENOSPC counts those that take room, of which an opening makes few."""


class InjectTests(SynchronousTestCase):
    """Whatever call fails, what was acknowledged is there, and the process goes on or says why it does not."""

    def survives(self, name: str) -> None:
        if not is_installed("berkeleydb") and name == "berkeleydb":
            raise SkipTest("berkeleydb is not installed")
        if not strace.works():
            raise SkipTest(strace.NOT_HERE)
        (subject,) = (subject for subject in SUBJECTS if subject.name == name)
        folder = scratch()
        self.addCleanup(shutil.rmtree, folder)
        with subject.small():
            injection = Injection(subject, folder)
            for fault in FAULTS:
                number = NUMBERS[fault.name] + (0 if fault.name == "ENOSPC" else injection.opening)
                self.assertEqual(injection.tried(fault, number), [], f"{fault.name} at call {number}")

    def test_raft_log(self) -> None:
        """S27 S31 R27 R32: the Raft log stops after EIO, and goes on after ENOSPC with the log as it was."""
        self.survives("raftlog")

    def test_semidbm(self) -> None:
        """S21 S31 R33: semidbm's store stops at the first error and opens with whole batches."""
        self.survives("semidbm")

    def test_chunks(self) -> None:
        """S21 S31 S09: a chunk server's store refuses what failed, goes on where it may, and after a failed sync
        neither writes nor starts again before the machine did."""
        self.survives("chunks")

    def test_segments(self) -> None:
        """S21 S31 S09: so does one that packs small replicas."""
        self.survives("segments")

    def test_berkeleydb(self) -> None:
        """S21 S31 R33: Berkeley DB's store stops at the first error and opens with whole batches."""
        self.survives("berkeleydb")
