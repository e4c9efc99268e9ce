"""The simulated disk keeps the shared contract."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from dfs.disk.test.contract import DiskContract
from dfs.simulation.disk import SimulatedDisk


class SimulatedDiskContractTests(DiskContract, SynchronousTestCase):
    """The shared contract on a simulated disk."""

    def setUp(self) -> None:
        self.disk = SimulatedDisk()
        self.root = "/data"
        self.disk.make_folders(self.root)
