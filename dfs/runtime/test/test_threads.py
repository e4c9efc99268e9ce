"""Real threads: order in a lane, results on the reactor thread, batches, stopping."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Queue
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from dfs.runtime.errors import ThreadsStopped
from dfs.runtime.interfaces import ILane, IThreads
from dfs.runtime.threads import PoolThreads

PATIENCE = 20.0


class Waker:
    """The slice of a reactor that threads use: calls wait here until the test turns the loop."""

    def __init__(self) -> None:
        self.calls: Queue[tuple[Callable[..., Any], tuple[Any, ...]]] = Queue()

    def callFromThread(self, callable: Callable[..., Any], *args: Any) -> None:
        self.calls.put((callable, args))

    def turn_until(self, deferred: Deferred[Any]) -> None:
        """Run what threads asked for until the Deferred fired."""
        while not deferred.called:
            function, arguments = self.calls.get(timeout=PATIENCE)
            function(*arguments)


class PoolThreadsTests(SynchronousTestCase):
    """PoolThreads on a waker that the test turns by hand."""

    def setUp(self) -> None:
        self.waker = Waker()
        self.threads = PoolThreads(self.waker, size=4)  # type: ignore[arg-type]
        self.addCleanup(self.stop)

    def stop(self) -> None:
        stopped = self.threads.stop()
        self.waker.turn_until(stopped)
        self.successResultOf(stopped)

    def result(self, deferred: Deferred[Any]) -> Any:
        self.waker.turn_until(deferred)
        return self.successResultOf(deferred)

    def test_provides_interfaces(self) -> None:
        """Pool and lane provide their interfaces."""
        verifyObject(IThreads, self.threads)
        verifyObject(ILane, self.threads.lane("log"))

    def test_runs_elsewhere_and_answers_here(self) -> None:
        """The function runs on another thread, its result comes back on this one."""
        fired: list[int] = []

        def note(ident: int) -> int:
            fired.append(threading.get_ident())
            return ident

        done = self.threads.run(threading.get_ident).addCallback(note)
        self.assertNotEqual(self.result(done), threading.get_ident())
        self.assertEqual(fired, [threading.get_ident()])

    def test_failures_come_back(self) -> None:
        """What the function raises is the Deferred's failure, and the thread lives on."""
        lane = self.threads.lane("log")
        failed = lane.run(int, "x")
        self.waker.turn_until(failed)
        self.failureResultOf(failed, ValueError)
        self.assertEqual(self.result(lane.run(int, "3")), 3)

    def test_lane_keeps_order(self) -> None:
        """Calls of a lane run one at a time on one thread, and their results come in the order of asking (R63)."""
        lane = self.threads.lane("log")
        ran: list[tuple[int, int]] = []
        fired: list[int] = []

        def work(number: int) -> int:
            ran.append((number, threading.get_ident()))
            return number

        calls = [lane.run(work, number).addCallback(fired.append) for number in range(500)]
        self.assertEqual(lane.depth, 500)
        self.result(calls[-1])
        self.assertEqual(fired, list(range(500)))
        self.assertEqual([number for number, _ in ran], list(range(500)))
        self.assertEqual(len({ident for _, ident in ran}), 1)
        self.assertEqual(lane.depth, 0)

    def test_one_wakeup_for_a_batch(self) -> None:
        """Results that gather while the reactor is busy share one wake-up."""
        lane = self.threads.lane("log")
        ended = threading.Event()
        calls = [lane.run(int, number) for number in range(100)]
        calls.append(lane.run(ended.set))
        # The lane ran everything before the reactor turned once; only the last result may be on its way still.
        self.assertTrue(ended.wait(PATIENCE))
        self.result(calls[-1])
        self.assertEqual([self.successResultOf(call) for call in calls[:-1]], list(range(100)))
        self.assertLessEqual(self.threads.completions.wakeups, 2)

    def test_pool_works_in_parallel(self) -> None:
        """As many calls as the pool has threads run at once, and no more."""
        together = threading.Barrier(4)
        calls = [self.threads.run(together.wait, PATIENCE) for _ in range(4)]
        self.assertEqual(sorted(self.result(call) for call in calls), [0, 1, 2, 3])

    def test_cancelling_gives_up_the_result_only(self) -> None:
        """A cancelled call fails at once; its work is still done."""
        lane = self.threads.lane("log")
        gate = threading.Event()
        ran: list[str] = []
        first = lane.run(gate.wait, PATIENCE)
        second = lane.run(ran.append, "second")
        second.cancel()
        self.failureResultOf(second, CancelledError)
        gate.set()
        self.result(first)
        self.result(lane.run(int, "1"))
        self.assertEqual(ran, ["second"])

    def test_stop_waits_and_refuses(self) -> None:
        """Stopping ends what was asked before, refuses what is asked after, and fires when the thread is gone."""
        lane = self.threads.lane("log")
        gate = threading.Event()
        done = lane.run(gate.wait, PATIENCE)
        stopped, again = lane.stop(), lane.stop()
        self.assertNoResult(stopped)
        self.failureResultOf(lane.run(int, "1"), ThreadsStopped)
        gate.set()
        self.result(stopped)
        self.result(again)
        self.assertEqual(self.successResultOf(done), True)
        self.assertNotIn("log-0", [thread.name for thread in threading.enumerate()])
        self.successResultOf(lane.stop())

    def test_stop_of_all(self) -> None:
        """Stopping the threads stops pool and lanes, and no lane can be made afterwards."""
        lane = self.threads.lane("log")
        calls = [lane.run(int, "1"), self.threads.run(int, "2")]
        self.stop()
        self.assertEqual([self.successResultOf(call) for call in calls], [1, 2])
        self.failureResultOf(self.threads.run(int, "1"), ThreadsStopped)
        self.failureResultOf(lane.run(int, "1"), ThreadsStopped)
        self.assertRaises(ThreadsStopped, self.threads.lane, "late")
