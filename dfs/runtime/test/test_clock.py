"""The wall clock may step; timers do not notice."""

from __future__ import annotations

import time

from twisted.internet import base
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.task import LoopingCall
from twisted.trial.unittest import SynchronousTestCase

from dfs.runtime.clock import install_monotonic

HOUR = 3600.0


class Clocks:
    """A monotonic clock, and a wall clock that can be stepped."""

    def __init__(self) -> None:
        self.elapsed = 0.0
        self.step = 0.0

    def monotonic(self) -> float:
        return self.elapsed

    def wall(self) -> float:
        return 1_700_000_000.0 + self.elapsed + self.step


class InstallMonotonicTests(SynchronousTestCase):
    """A private reactor of Twisted's, its two clocks turned by hand."""

    def setUp(self) -> None:
        self.clocks = Clocks()
        self.patch(base.ReactorBase, "seconds", staticmethod(self.clocks.wall))
        self.reactor = SelectReactor()
        self.addCleanup(self.close)
        self.ticks: list[float] = []
        self.loop = LoopingCall(self.tick)
        self.loop.clock = self.reactor

    def close(self) -> None:
        if self.loop.running:
            self.loop.stop()
        for reader in self.reactor.removeAll():
            reader.connectionLost(None)

    def tick(self) -> None:
        self.ticks.append(self.clocks.elapsed)

    def turn(self, seconds: int) -> None:
        """Let time pass, the reactor running its due calls ten times a second."""
        for _ in range(seconds * 10):
            self.clocks.elapsed = round(self.clocks.elapsed + 0.1, 6)
            self.reactor.runUntilCurrent()

    def ticks_around(self, step: float) -> list[int]:
        """How many ticks came in 10 s before, and in 10 s after, the wall clock stepped."""
        ended = self.loop.start(1, now=False)
        self.turn(10)
        before = len(self.ticks)
        self.clocks.step = step
        self.turn(10)
        self.loop.stop()
        self.successResultOf(ended)
        return [before, len(self.ticks) - before]

    def test_steps_have_no_effect(self) -> None:
        """A wall clock that steps back by an hour disturbs no LoopingCall (R59)."""
        install_monotonic(self.reactor, self.clocks.monotonic)
        before, after = self.ticks_around(-HOUR)
        self.assertGreaterEqual(before, 9)
        self.assertGreaterEqual(after, 9)

    def test_steps_forward_have_no_effect(self) -> None:
        """A wall clock that steps forward by an hour ends no time-out early (R59)."""
        install_monotonic(self.reactor, self.clocks.monotonic)
        timeout = self.reactor.callLater(60, self.tick)
        before, after = self.ticks_around(HOUR)
        self.assertTrue(timeout.active())
        timeout.cancel()
        self.assertLessEqual(before + after, 20)
        self.assertGreaterEqual(after, 9)

    def test_without_it_a_step_silences(self) -> None:
        """On Twisted's own clock the same step back stops the ticks: what is guarded against is real."""
        self.assertEqual(self.ticks_around(-HOUR)[1], 0)

    def test_too_late(self) -> None:
        """It refuses once calls are scheduled, and is idempotent before."""
        install_monotonic(self.reactor, self.clocks.monotonic)
        call = self.reactor.callLater(1, self.tick)
        install_monotonic(self.reactor, self.clocks.monotonic)
        self.assertRaises(RuntimeError, install_monotonic, self.reactor, time.monotonic)
        call.cancel()

    def test_default(self) -> None:
        """The kernel's monotonic clock is installed unless another is given."""
        install_monotonic(self.reactor)
        earlier = time.monotonic()
        self.assertLessEqual(earlier, self.reactor.seconds())
        self.assertLessEqual(self.reactor.seconds(), time.monotonic())
