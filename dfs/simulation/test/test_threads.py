"""Simulated threads: lanes in order, disk costs as delay, silence after a crash."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from dfs.runtime.errors import ThreadsStopped
from dfs.runtime.interfaces import ILane, IThreads
from dfs.simulation.disk import Costs, SimulatedDisk, SimulatedFile
from dfs.simulation.host import World
from dfs.simulation.platter import peek


def noting(events: list[Any], event: Any) -> Callable[[Any], None]:
    """A callback that notes an event."""
    return lambda _: events.append(event)


class SimulatedThreadsTests(SynchronousTestCase):
    """The threads of one simulated host."""

    def setUp(self) -> None:
        self.world = World(1)
        self.host = self.world.host("a")
        self.threads = self.host.runtime.threads
        self.events: list[Any] = []

    def test_provides_interfaces(self) -> None:
        """Threads and lanes provide their interfaces."""
        verifyObject(IThreads, self.threads)
        verifyObject(ILane, self.threads.lane("log"))

    def test_nothing_runs_at_once(self) -> None:
        """A call neither runs nor answers before time passes."""
        done = self.threads.run(self.events.append, 1)
        self.assertEqual(self.events, [])
        self.assertNoResult(done)
        self.world.run(1)
        self.assertEqual(self.events, [1])
        self.successResultOf(done)

    def test_lane_keeps_order(self) -> None:
        """Calls of a lane run and answer in the order of asking, one at a time (R63)."""
        lane = self.threads.lane("log")
        answers = []
        for number in range(50):
            done = lane.run(self.events.append, ("ran", number))
            answers.append(done.addCallback(noting(self.events, ("answered", number))))
        self.assertEqual(lane.depth, 50)
        self.world.run(1)
        self.assertEqual(self.events, [(what, number) for number in range(50) for what in ("ran", "answered")])
        self.assertEqual(lane.depth, 0)
        self.assertTrue(all(answer.called for answer in answers))

    def test_pool_shuffles_by_seed(self) -> None:
        """Calls of the pool end in an order that the seed draws."""

        def order(seed: int) -> list[int]:
            world = World(seed)
            threads = world.host("a").runtime.threads
            ended: list[int] = []
            calls = [threads.run(int).addCallback(noting(ended, number)) for number in range(20)]
            world.run(1)
            self.assertTrue(all(call.called for call in calls))
            return ended

        self.assertEqual(order(1), order(1))
        self.assertNotEqual(order(1), order(2))
        self.assertEqual(sorted(order(1)), list(range(20)))

    def test_disk_costs_are_delay(self) -> None:
        """What a call did on the disk delays its answer and the lane's next call."""
        self.host.disk.costs = Costs(operation=1.0, sync=0.0)
        self.host.disk.take_cost()
        lane = self.threads.lane("disk")
        first, second = lane.run(self.host.disk.exists, "/"), lane.run(self.host.disk.exists, "/")
        self.world.run(0.99)
        self.assertNoResult(first)
        self.world.run(0.02)
        self.successResultOf(first)
        self.assertNoResult(second)
        self.world.run(1)
        self.successResultOf(second)

    def test_crash_before_and_after_the_disk(self) -> None:
        """A crash while a slow disk is asked to sync finds nothing done, or all done and nobody told, by the seed."""
        found = set()
        for seed in range(20):
            host = World(seed).host("a")
            host.disk.slowness = 1000.0
            file = host.disk.open("/made", create=True)

            def make(file: SimulatedFile = file, disk: SimulatedDisk = host.disk) -> None:
                file.pwrite([b"x"], 0)
                file.sync()
                disk.sync_folder("/")

            done = host.runtime.threads.run(make)
            host.world.run(0.2)
            self.assertNoResult(done)
            host.crash()
            found.add(peek(host.disk, "/made") == b"x")
        self.assertEqual(found, {False, True})

    def test_failures_come_back(self) -> None:
        """What the function raises is the Deferred's failure."""
        done = self.threads.run(int, "x")
        self.world.run(1)
        self.failureResultOf(done, ValueError)

    def test_cancelling_gives_up_the_result_only(self) -> None:
        """A cancelled call fails at once; its work is still done."""
        done = self.threads.run(self.events.append, 1)
        done.cancel()
        self.failureResultOf(done, CancelledError)
        self.world.run(1)
        self.assertEqual(self.events, [1])

    def test_crash_silences(self) -> None:
        """After a crash of the host nothing is run and nothing is answered."""
        lane = self.threads.lane("log")
        calls = [lane.run(self.events.append, number) for number in range(3)]
        self.world.run_until(lambda: self.events)
        self.host.crash()
        self.world.run(1)
        self.assertEqual(self.events, [0])
        for call in calls[1:]:
            self.assertNoResult(call)

    def test_crash_inside_a_call(self) -> None:
        """A crash planned on the disk takes the host down in the middle of a call, whatever that catches."""
        disk = self.host.disk
        disk.make_folders("/d")

        def work() -> None:
            try:
                disk.open("/d/f", create=True).pwrite([b"x"], 0)
            except Exception:
                self.events.append("caught")

        disk.crash_at(2)
        done = self.threads.run(work)
        self.world.run(1)
        self.assertFalse(self.host.up)
        self.assertNoResult(done)
        self.assertEqual(self.events, [])
        self.host.restart()
        again = self.host.runtime.threads.run(disk.exists, "/d")
        self.world.run(1)
        self.assertEqual(self.successResultOf(again), True)

    def test_stop(self) -> None:
        """Stopping ends what was asked before and refuses what is asked after."""
        lane = self.threads.lane("log")
        done = lane.run(self.events.append, 1)
        stopped = self.threads.stop()
        self.failureResultOf(lane.run(int), ThreadsStopped)
        self.failureResultOf(self.threads.run(int), ThreadsStopped)
        self.assertRaises(ThreadsStopped, self.threads.lane, "late")
        self.assertNoResult(stopped)
        self.world.run(1)
        self.successResultOf(done)
        self.successResultOf(stopped)
        self.assertEqual(self.events, [1])
