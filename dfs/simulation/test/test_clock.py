"""Virtual time: order, cancelling, moving, dead owners, bounded memory."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall, deferLater
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from dfs.simulation.clock import HeapClock


class Host:
    """An owner of calls whose clock runs at twice the world's pace."""

    def __init__(self, clock: HeapClock) -> None:
        self.clock = clock
        self.running = True
        self.rate = 2.0

    def seconds(self) -> float:
        return 1000.0 + self.clock.now * self.rate


class HeapClockTests(SynchronousTestCase):
    """HeapClock by itself."""

    def setUp(self) -> None:
        self.clock = HeapClock()
        self.events: list[Any] = []

    def note(self, what: Any) -> None:
        self.events.append((self.clock.now, what))

    def test_provides_interfaces(self) -> None:
        """Clock and calls provide Twisted's interfaces."""
        verifyObject(IReactorTime, self.clock)
        verifyObject(IDelayedCall, self.clock.callLater(1, self.note, "x"))

    def test_order(self) -> None:
        """Calls run by time, and those of equal time in the order of their scheduling."""
        for name, delay in (("c", 2), ("a", 1), ("b", 1), ("z", 0)):
            self.clock.callLater(delay, self.note, name)
        self.clock.advance(5)
        self.assertEqual(self.events, [(0, "z"), (1, "a"), (1, "b"), (2, "c")])
        self.assertEqual(self.clock.seconds(), 5)

    def test_calls_made_meanwhile(self) -> None:
        """A call scheduled by a call runs in the same advance when it is due in it."""
        self.clock.callLater(1, self.clock.callLater, 1, self.note, "inner")
        self.clock.callLater(1, self.clock.callLater, 9, self.note, "later")
        self.clock.advance(3)
        self.assertEqual(self.events, [(2, "inner")])

    def test_step_and_advance_to_next(self) -> None:
        """A step runs one call; advancing to the next runs all of its time; both tell when nothing is left."""
        for name in "ab":
            self.clock.callLater(1, self.note, name)
        self.clock.callLater(2, self.note, "c")
        self.clock.callLater(2, self.note, "d")
        self.clock.callLater(1.5, self.note, "never").cancel()
        self.assertTrue(self.clock.step())
        self.assertEqual(self.events, [(1, "a")])
        self.assertTrue(self.clock.step())
        self.assertTrue(self.clock.advance_to_next())
        self.assertEqual(self.events[1:], [(1, "b"), (2, "c"), (2, "d")])
        self.assertFalse(self.clock.step())
        self.assertFalse(self.clock.advance_to_next())
        self.assertEqual(self.clock.now, 2)

    def test_states(self) -> None:
        """A call that ran or was cancelled refuses what makes no sense any more."""
        call = self.clock.callLater(1, self.note, "x")
        cancelled = self.clock.callLater(1, self.note, "y")
        cancelled.cancel()
        self.assertFalse(cancelled.active())
        self.assertTrue(call.active())
        self.clock.advance(1)
        self.assertFalse(call.active())
        for verb in (call.cancel, lambda: call.reset(1), lambda: call.delay(1)):
            self.assertRaises(AlreadyCalled, verb)
        for verb in (cancelled.cancel, lambda: cancelled.reset(1), lambda: cancelled.delay(1)):
            self.assertRaises(AlreadyCancelled, verb)
        self.assertEqual(self.events, [(1, "x")])
        self.assertRaises(ValueError, self.clock.callLater, -1, self.note, "past")

    def test_reset_and_delay(self) -> None:
        """A call can be moved both ways, and runs once."""
        sooner, later, longer = (self.clock.callLater(5, self.note, name) for name in ("s", "l", "d"))
        self.clock.advance(1)
        sooner.reset(1)
        later.reset(10)
        longer.delay(2)
        self.assertEqual([call.getTime() for call in (sooner, later, longer)], [2, 11, 7])
        self.assertEqual(self.clock.getDelayedCalls(), [sooner, longer, later])
        self.clock.advance(20)
        self.assertEqual(self.events, [(2, "s"), (7, "d"), (11, "l")])

    def test_errors_do_not_stop_time(self) -> None:
        """What a call raises is logged and the next call runs."""
        self.clock.callLater(1, lambda: 1 / 0)
        self.clock.callLater(1, self.note, "next")
        self.clock.advance(1)
        self.assertEqual(self.events, [(1, "next")])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_dead_owner_is_silent(self) -> None:
        """Calls of an owner that stopped running are never made."""
        host = Host(self.clock)
        self.clock.schedule(host, 1, self.note, ("host",), {})
        self.clock.callLater(2, self.note, "world")
        self.assertEqual(len(self.clock.pending(host)), 1)
        host.running = False
        self.assertEqual(self.clock.pending(host), [])
        self.assertEqual(self.clock.next_time(), 2)
        self.clock.advance(5)
        self.assertEqual(self.events, [(2, "world")])

    def test_owner_with_its_own_pace(self) -> None:
        """A call's time is told and moved by its owner's clock."""
        host = Host(self.clock)
        call = self.clock.schedule(host, 3, self.note, ("x",), {})
        self.clock.advance(1)
        self.assertEqual(call.getTime(), 1006)
        call.reset(1)
        self.assertEqual(call.getTime(), 1003)
        self.clock.advance(0.5)
        self.assertEqual(self.events, [(1.5, "x")])

    def test_stale_entries_are_bounded(self) -> None:
        """A time-out that is moved and cancelled all day does not fill the heap."""
        call = self.clock.callLater(10, self.note, "x")
        for _ in range(20_000):
            call.reset(10)
            self.clock.callLater(10, self.note, "y").cancel()
        self.assertLess(len(self.clock._heap), 2000)
        self.clock.advance(10)
        self.assertEqual(self.events, [(10, "x")])

    def test_under_twisted(self) -> None:
        """LoopingCall and deferLater run on it."""
        loop = LoopingCall(self.note, "tick")
        loop.clock = self.clock
        ended = loop.start(1, now=False)
        done = deferLater(self.clock, 2.5, self.note, "late")
        self.clock.advance(3)
        loop.stop()
        self.successResultOf(ended)
        self.successResultOf(done)
        self.assertEqual(self.events, [(1, "tick"), (2, "tick"), (2.5, "late"), (3, "tick")])
