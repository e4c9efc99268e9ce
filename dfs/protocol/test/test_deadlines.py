"""Many deadlines on one timer."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from dfs.protocol.deadlines import Deadlines


class DeadlineTests(SynchronousTestCase):
    """Each comes in its time, and once."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.late: list[tuple[float, int, float]] = []
        self.deadlines = Deadlines(
            self.clock, lambda request_id, seconds: self.late.append((self.clock.seconds(), request_id, seconds))
        )

    def run_for(self, steps: int) -> None:
        for _ in range(steps):
            self.clock.advance(0.5)

    def test_each_in_its_time(self) -> None:
        """Whatever their order, each deadline comes when it is due, also one that is earlier than those before it."""
        for request_id, seconds in ((1, 5.0), (3, 2.0), (5, 3.0), (7, 1.0)):
            self.deadlines.begin(request_id, seconds)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.run_for(4)
        self.deadlines.begin(9, 0.5)
        self.run_for(8)
        self.assertEqual(self.late, [(1.0, 7, 1.0), (2.0, 3, 2.0), (2.5, 9, 0.5), (3.0, 5, 3.0), (5.0, 1, 5.0)])
        self.assertEqual((len(self.deadlines), self.clock.getDelayedCalls()), (0, []))

    def test_ended(self) -> None:
        """What ended in time is not called, and the next deadline comes in its own time, on the timer of the former."""
        self.deadlines.begin(1, 5.0)
        self.run_for(2)
        self.deadlines.end(1)
        self.deadlines.end(1)
        self.deadlines.begin(3, 5.0)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.run_for(20)
        self.assertEqual(self.late, [(6.0, 3, 5.0)])

    def test_one_ends_another(self) -> None:
        """A deadline whose passing ends or begins other requests calls each that is left, once."""
        late: list[int] = []

        def expired(request_id: int, _: float) -> None:
            late.append(request_id)
            deadlines.end(3)
            if request_id == 1:
                deadlines.begin(7, 1.0)

        deadlines = Deadlines(self.clock, expired)
        for request_id in (1, 3, 5):
            deadlines.begin(request_id, 1.0)
        self.run_for(6)
        self.assertEqual(late, [1, 5, 7])

    def test_one_begins_another(self) -> None:
        """A request that is asked anew when its deadline passed, with more time, delays the deadline of no other."""
        late: list[tuple[float, int]] = []

        def expired(request_id: int, _: float) -> None:
            late.append((self.clock.seconds(), request_id))
            if request_id == 1:
                deadlines.begin(5, 30.0)

        deadlines = Deadlines(self.clock, expired)
        deadlines.begin(1, 1.0)
        deadlines.begin(3, 2.0)
        self.run_for(70)
        self.assertEqual(late, [(1.0, 1), (2.0, 3), (31.0, 5)])

    def test_stop(self) -> None:
        """After its end nothing is called, and nothing is left on the clock."""
        self.deadlines.begin(1, 1.0)
        self.deadlines.stop()
        self.deadlines.stop()
        self.run_for(4)
        self.assertEqual((self.late, self.clock.getDelayedCalls()), ([], []))
