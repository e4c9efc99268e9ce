"""Power cuts at every operation of the disk, in simulation (S09, R37)."""

from __future__ import annotations

import random

from twisted.trial.unittest import SynchronousTestCase

from dfs.kv import batchfile
from dfs.kv.folder import StoreFolder
from dfs.kv.interfaces import Batch, scan_all
from dfs.kv.open import open_store
from dfs.kv.test.contract import after, numbered
from dfs.simulation.disk import SimulatedCrash, SimulatedDisk

FOLDER = "/data/tables"
SEEDS = 8  # what a cut keeps of the unsynced is drawn anew for each
REPLACED = [(b"replaced", b"1")]


class PowerCutTests(SynchronousTestCase):
    """The memory store over a disk that forgets what was not synced and tears what it keeps."""

    def setUp(self) -> None:
        self.patch(batchfile, "COMPACT_AT", 500)
        self.synced = 0
        self.applied = 0
        self.switching = False

    def live(self, disk: SimulatedDisk, total: int) -> None:
        """Open, apply with a sync now and then (and compactions in between), close."""
        store = open_store("memory", FOLDER, disk)
        for index in range(int(store.get(b"counter") or b"0") + 1, total + 1):
            self.applied = index  # the power may fail with the record written
            store.apply(numbered(index))
            if index % 4 == 0:
                store.sync()
                self.synced = index
        store.close()
        self.synced = total

    def replace(self, disk: SimulatedDisk) -> None:
        """Install a replacement."""
        place = StoreFolder(disk, FOLDER)
        place.open()
        place.begin().apply(Batch(dict(REPLACED)))
        self.switching = True
        place.switch()
        place.close()

    def check(self, disk: SimulatedDisk, step: int) -> bool:
        """What is there after the cut is a prefix with all that was synced, or the whole replacement."""
        store = open_store("memory", FOLDER, disk)
        pairs = list(scan_all(store, b""))
        count = int(store.get(b"counter") or b"0")
        store.close()
        if self.switching and pairs == REPLACED:
            return True
        self.assertTrue(self.synced <= count <= self.applied, (step, self.synced, count, self.applied))
        self.assertEqual(pairs, after(count), step)
        return False

    def test_cut_at_every_operation(self) -> None:
        """At whatever operation the power fails, twice in a row, a prefix with every synced batch is left."""
        for seed in range(SEEDS):
            self.cut_at_every_operation(seed)

    def cut_at_every_operation(self, seed: int) -> None:
        for step in range(1, 2000):
            disk = SimulatedDisk()
            self.synced = self.applied = 0
            chance = random.Random(seed * 10_000 + step)
            disk.crash_at(step)
            try:
                self.live(disk, 24)
            except SimulatedCrash:
                disk.crash(chance)
                disk.crash_at(chance.randrange(1, 40))
                try:
                    self.live(disk, 24)
                except SimulatedCrash:
                    disk.crash(chance)
                disk.crash_at(None)
                self.check(disk, step)
            else:
                self.assertTrue(step > 50, step)
                return
        self.fail("the history never ended")

    def test_cut_in_a_switch(self) -> None:
        """At whatever operation of a switch the power fails, the former store or the replacement is left, whole."""
        for seed in range(SEEDS):
            self.cut_in_a_switch(seed)

    def cut_in_a_switch(self, seed: int) -> None:
        outcomes = set()
        for step in range(1, 500):
            disk = SimulatedDisk()
            self.live(disk, 6)
            self.applied, self.switching = 6, False
            disk.crash_at(step)
            try:
                self.replace(disk)
            except SimulatedCrash:
                disk.crash(random.Random(seed * 10_000 + step))
                disk.crash_at(None)
                outcomes.add(self.check(disk, step))
            else:
                disk.crash(random.Random(seed * 10_000 + step))
                self.assertTrue(self.check(disk, step))
                self.assertEqual(outcomes, {True, False})
                return
        self.fail("the switch never ended")
