"""Tickers, deadlines, back-off and the lag monitor, on a clock turned by hand."""

from __future__ import annotations

from random import Random
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from dfs.runtime.backoff import Backoff, full_jitter
from dfs.runtime.errors import DeadlineExceeded
from dfs.runtime.lag import SAMPLES, LagMonitor
from dfs.runtime.ticker import Ticker
from dfs.runtime.timeout import deadline


class TickerTests(SynchronousTestCase):
    """Ticker"""

    def setUp(self) -> None:
        self.clock = Clock()
        self.ticks: list[int] = []
        self.ticker = Ticker(self.clock, 1.0, self.ticks.append, "test")

    def test_ticks(self) -> None:
        """The body is called once an interval from start to stop, and both may be repeated."""
        self.ticker.start()
        self.ticker.start()
        self.clock.pump([1.0] * 3)
        self.ticker.stop()
        self.ticker.stop()
        self.clock.pump([1.0] * 3)
        self.assertEqual(self.ticks, [1, 1, 1])
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.ticker.start()
        self.clock.advance(1)
        self.assertEqual(len(self.ticks), 4)

    def test_now(self) -> None:
        """Asked to, it ticks within start."""
        self.ticker.start(now=True)
        self.assertEqual(self.ticks, [1])

    def test_missed_ticks_are_counted(self) -> None:
        """After a stall the ticks that were due come as one call that tells how many (R60)."""
        self.ticker.start()
        self.clock.advance(1)
        self.clock.advance(12)
        self.clock.advance(1)
        self.assertEqual(self.ticks, [1, 12, 1])

    def test_exceptions_do_not_end_it(self) -> None:
        """What the body raises is logged, and the next tick comes (R60)."""

        def body(ticks: int) -> None:
            self.ticks.append(ticks)
            if len(self.ticks) == 1:
                raise ZeroDivisionError

        ticker = Ticker(self.clock, 1.0, body)
        ticker.start()
        self.clock.pump([1.0] * 3)
        self.assertEqual(self.ticks, [1, 1, 1])
        self.assertTrue(ticker.running)
        self.assertEqual(ticker.errors, 1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_body_may_stop_it(self) -> None:
        """A body that stops its ticker ends it there."""
        ticker = Ticker(self.clock, 1.0, lambda ticks: ticker.stop())
        ticker.start()
        self.clock.pump([1.0] * 3)
        self.assertFalse(ticker.running)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class DeadlineTests(SynchronousTestCase):
    """deadline"""

    def setUp(self) -> None:
        self.clock = Clock()

    def test_in_time(self) -> None:
        """A result or failure before the deadline passes through and leaves no timer."""
        slow: Deferred[int] = Deferred()
        bad: Deferred[int] = Deferred()
        limited, failed = deadline(slow, 5, self.clock), deadline(bad, 5, self.clock)
        self.clock.advance(4)
        slow.callback(3)
        bad.errback(ZeroDivisionError())
        self.assertEqual(self.successResultOf(limited), 3)
        self.failureResultOf(failed, ZeroDivisionError)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_too_late(self) -> None:
        """At the deadline it fails with a sentence and the loser is cancelled."""
        cancelled: list[Any] = []
        never: Deferred[int] = Deferred(cancelled.append)
        limited = deadline(never, 5, self.clock, "the write")
        self.clock.advance(4.9)
        self.assertNoResult(limited)
        self.clock.advance(0.2)
        failure = self.failureResultOf(limited, DeadlineExceeded)
        self.assertEqual(str(failure.value), "the write did not end within 5 s")
        self.assertEqual(cancelled, [never])

    def test_cancelled_from_outside(self) -> None:
        """Cancelling it is not a missed deadline."""
        limited: Deferred[int] = deadline(Deferred(), 5, self.clock)
        limited.cancel()
        self.failureResultOf(limited, CancelledError)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_canceller_with_its_own_error(self) -> None:
        """Whatever error the cancelled loser ends with, the caller sees the deadline."""
        loser: Deferred[int] = Deferred(lambda deferred: deferred.errback(ZeroDivisionError()))
        limited = deadline(loser, 5, self.clock)
        self.clock.advance(5)
        self.failureResultOf(limited, DeadlineExceeded)

    def test_result_in_spite_of_cancelling(self) -> None:
        """A loser that answers its cancellation with a result has its result used."""
        limited: Deferred[int] = deadline(Deferred(lambda deferred: deferred.callback(3)), 5, self.clock)
        self.clock.advance(5)
        self.assertEqual(self.successResultOf(limited), 3)


class OnlyRandom(Random):
    """A generator of which only random() may be used."""

    def __init__(self, draws: list[float]) -> None:
        super().__init__(0)
        self.draws = draws

    def random(self) -> float:
        return self.draws.pop(0)

    def getrandbits(self, k: int, /) -> int:
        raise AssertionError("only random() draws the same everywhere at one call each")


class BackoffTests(SynchronousTestCase):
    """Backoff and its policy"""

    def test_full_jitter(self) -> None:
        """The bound doubles up to the limit; the wait is a uniform draw below it."""
        policy = full_jitter(OnlyRandom([0.5] * 6), first=1.0, limit=6.0)
        self.assertEqual([policy(attempt) for attempt in (0, 1, 2, 3, 4, 10_000)], [0.5, 1.0, 2.0, 3.0, 3.0, 3.0])

    def test_draws(self) -> None:
        """Each wait is drawn anew."""
        policy = full_jitter(OnlyRandom([0.0, 0.25, 0.75]), first=4.0)
        self.assertEqual([policy(0), policy(0), policy(0)], [0.0, 1.0, 3.0])

    def test_count(self) -> None:
        """Failures in a row raise the bound, a success takes it back."""
        backoff = Backoff(full_jitter(OnlyRandom([1.0] * 4), first=1.0, limit=100.0))
        waits = [backoff.next_delay() for _ in range(3)]
        backoff.reset()
        self.assertEqual(waits + [backoff.next_delay()], [1.0, 2.0, 4.0, 1.0])


class LagMonitorTests(SynchronousTestCase):
    """LagMonitor"""

    def setUp(self) -> None:
        self.clock = Clock()
        self.monitor = LagMonitor(self.clock, interval=0.1, limit=0.02)

    def test_measures(self) -> None:
        """A stall shows as lag: last, worst and the count of late turns (R61)."""
        self.monitor.start()
        self.monitor.start()
        self.assertEqual((self.monitor.last, self.monitor.worst), (0.0, 0.0))
        for seconds in (0.1, 0.35, 0.1):
            self.clock.advance(seconds)
        self.assertAlmostEqual(self.monitor.last, 0.0)
        self.assertAlmostEqual(self.monitor.worst, 0.25)
        self.assertEqual(self.monitor.late_count, 1)
        self.monitor.stop()
        self.monitor.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_old_stalls_are_forgotten(self) -> None:
        """The worst is of the last samples only."""
        self.monitor.start()
        self.clock.advance(0.5)
        for _ in range(SAMPLES):
            self.clock.advance(0.1)
        self.assertLess(self.monitor.worst, 0.02)
        self.assertEqual(self.monitor.late_count, 1)
