"""Jobs on their way to chunk servers."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from dfs.metaserver.orders import MAX_WAITING, Orders
from dfs.protocol.messages import Job, JobKind
from dfs.protocol.values import FileId, Generation


def job(number: int, kind: JobKind = JobKind.COPY) -> Job:
    return Job(number, kind, FileId(1), 0, Generation(1), 10, bytes(32), (), None)


class OrdersTests(SynchronousTestCase):
    """Node 7 has the orders; times are plain numbers."""

    def setUp(self) -> None:
        self.expired: list[int] = []
        self.orders = Orders(lambda job: self.expired.append(job.job))

    def due(self, now: float = 0.0, limit: int = 10) -> list[int]:
        return [each.job for each in self.orders.due(7, limit, now)]

    def test_given_until_taken(self) -> None:
        """S12: an order rides on every answer until a beat names it, for an answer may be lost."""
        self.orders.put(7, job(1), 30.0)
        self.orders.put(7, job(2), 30.0)
        self.assertEqual((self.due(), self.due()), ([1, 2], [1, 2]))
        self.orders.heard(7, (1,))
        self.assertEqual(self.due(), [2])
        self.assertEqual(self.expired, [])

    def test_bounded_in_an_answer(self) -> None:
        """At most as many as asked for, oldest first; the rest follows."""
        for number in range(5):
            self.orders.put(7, job(number), 30.0)
        self.assertEqual(self.due(limit=2), [0, 1])
        self.orders.heard(7, (0, 1))
        self.assertEqual(self.due(limit=2), [2, 3])

    def test_copies_go_first(self) -> None:
        """However many deletions and doubts wait, a copy rides on the next answer (S13)."""
        self.orders.put(7, job(1, JobKind.DELETE), 30.0)
        self.orders.put(7, job(2, JobKind.VERIFY), 30.0)
        self.orders.put(7, job(3), 30.0)
        self.assertEqual(self.due(limit=1), [3])
        self.assertEqual(self.due(), [3, 2, 1])

    def test_expires(self) -> None:
        """An order that nobody took in time is dropped, and its planner told once."""
        self.orders.put(7, job(1), 30.0)
        self.assertEqual(self.due(30.0), [])
        self.assertEqual(self.due(31.0), [])
        self.assertEqual(self.expired, [1])

    def test_bounded_in_all(self) -> None:
        """Beyond the bound an order fails at once."""
        for number in range(MAX_WAITING + 1):
            self.orders.put(7, job(number), 30.0)
        self.assertEqual(self.expired, [MAX_WAITING])

    def test_death(self) -> None:
        """What waited for a node that died fails, and nothing is left of it."""
        self.orders.put(7, job(1), 30.0)
        self.orders.dropped(7)
        self.assertEqual((self.expired, self.due()), ([1], []))
