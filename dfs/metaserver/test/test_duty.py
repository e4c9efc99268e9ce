"""A leader's recurring duties."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from dfs.metaserver.duty import Duty
from dfs.protocol.errors import Unavailable


class DutyTests(SynchronousTestCase):
    """Rounds of one duty, a second apart."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.events: list[object] = []
        self.then: Callable[[], Deferred[bool] | bool] = lambda: False
        self.duty = Duty(self.clock, "duty", 1.0, self.round)
        self.addCleanup(self.duty.stop)

    async def round(self) -> bool:
        self.events.append(self.clock.seconds())
        result = self.then()
        return await result if isinstance(result, Deferred) else result

    def test_again_and_again(self) -> None:
        """A round a second, the first at once."""
        self.duty.start()
        self.clock.pump([0.5] * 4)
        self.assertEqual(self.events, [0.0, 1.0, 2.0])

    def test_failures_do_not_end_it(self) -> None:
        """S12: neither an error that was foreseen nor a defect ends a duty; a defect is logged."""
        failures: list[Exception] = [Unavailable("no quorum"), ZeroDivisionError()]

        def fail() -> bool:
            if failures:
                raise failures.pop(0)
            return False

        self.then = fail
        self.duty.start()
        self.clock.pump([1.0] * 3)
        self.assertEqual(len(self.events), 4)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_a_cancelled_wait_does_not_end_it(self) -> None:
        """S12: what a round waits for may be cancelled by others; the duty goes on."""
        waiting: Deferred[bool] = Deferred()
        self.then = lambda: waiting
        self.duty.start()
        waiting.cancel()
        self.then = lambda: False
        self.clock.advance(1.0)
        self.assertEqual(self.events, [0.0, 1.0])

    def test_rounds_never_overlap(self) -> None:
        """A slow round delays the next; a nudge meanwhile makes that one follow at once."""
        waiting: Deferred[bool] = Deferred()
        self.then = lambda: waiting
        self.duty.start()
        self.clock.advance(5.0)
        self.duty.nudge()
        self.assertEqual(self.events, [0.0])
        self.then = lambda: False
        waiting.callback(False)
        self.clock.advance(0.0)
        self.assertEqual(self.events, [0.0, 5.0])

    def test_more_is_waiting(self) -> None:
        """A round that found more than it could do is followed at once."""
        rounds = [True, True, False]
        self.then = lambda: rounds.pop(0)
        self.duty.start()
        self.clock.pump([0.0] * 3)
        self.assertEqual(self.events, [0.0, 0.0, 0.0])

    def test_stop(self) -> None:
        """Stopping cancels what the round waits for; no round follows, and no call is left."""
        cancelled: list[object] = []
        self.then = lambda: Deferred(cancelled.append)
        self.duty.start()
        self.duty.stop()
        self.duty.nudge()
        self.clock.advance(5.0)
        self.assertEqual((len(cancelled), self.events, self.clock.getDelayedCalls()), (1, [0.0], []))
