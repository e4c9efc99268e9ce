"""The storage on the kernel's files."""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from dfs.disk.errors import Locked
from dfs.disk.real import RealDisk
from dfs.raft.core.types import HardState, SnapshotMark
from dfs.raft.storage import open_storage
from dfs.raft.test.test_storage import FOUNDER, SCRIPT, Model, carry_out, state_of


class RealDiskTests(SynchronousTestCase):
    """One pass over everything with real files."""

    def test_script(self) -> None:
        """The script of changes reads back the same from real files after each restart."""
        disk, folder = RealDisk(), self.mktemp()
        path = os.path.abspath(folder)
        model = Model()
        for change in SCRIPT:
            storage = open_storage(disk, path, FOUNDER, 4096, 4096)
            carry_out(storage, change)
            model.step(change)
            self.assertEqual(state_of(storage), model.state())
            storage.close()
        storage = open_storage(disk, path, FOUNDER, 4096, 4096)
        self.assertEqual(storage.hard_state, HardState(6, "a"))
        self.assertEqual(storage.base, SnapshotMark(100, 6))

    def test_second_process(self) -> None:
        """A folder that another process has open is refused."""
        disk, path = RealDisk(), os.path.abspath(self.mktemp())
        storage = open_storage(disk, path, FOUNDER, 4096, 4096)
        self.assertRaises(Locked, open_storage, disk, path, FOUNDER, 4096, 4096)
        storage.close()
        open_storage(disk, path, FOUNDER, 4096, 4096).close()
