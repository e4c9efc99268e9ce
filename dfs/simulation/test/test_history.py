"""The checker of histories accepts what can be explained and nothing else."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from dfs.simulation.history import History, Kind, Operation, Outcome


class HistoryTests(SynchronousTestCase):
    """Small histories of one name."""

    def setUp(self) -> None:
        self.history = History()

    def begin(self, kind: Kind, value: str = "") -> Operation:
        return self.history.begin("c", kind, "n", value, 0.0)

    def did(self, kind: Kind, value: str = "", outcome: Outcome = Outcome.DONE) -> None:
        self.history.end(self.begin(kind, value), outcome)

    def right(self) -> bool:
        return not self.history.violations()

    def test_plain_life(self) -> None:
        """Upload, read, delete, not found, another upload: one after the other."""
        self.did(Kind.READ, outcome=Outcome.REFUSED)
        self.did(Kind.UPLOAD, "a")
        self.did(Kind.READ, "a")
        self.did(Kind.UPLOAD, "x", Outcome.REFUSED)
        self.did(Kind.DELETE)
        self.did(Kind.READ, outcome=Outcome.REFUSED)
        self.did(Kind.UPLOAD, "b")
        self.did(Kind.READ, "b")
        self.assertTrue(self.right())

    def test_acknowledged_upload_is_missing(self) -> None:
        """A read that does not find what was acknowledged is a violation."""
        self.did(Kind.UPLOAD, "a")
        self.did(Kind.READ, outcome=Outcome.REFUSED)
        self.assertFalse(self.right())

    def test_deleted_name_is_back(self) -> None:
        """A read that finds what was deleted is a violation."""
        self.did(Kind.UPLOAD, "a")
        self.did(Kind.DELETE)
        self.did(Kind.READ, "a")
        self.assertFalse(self.right())

    def test_stale_read(self) -> None:
        """A read of an older value after a newer one was seen is a violation."""
        self.did(Kind.UPLOAD, "a")
        self.did(Kind.DELETE)
        self.did(Kind.UPLOAD, "b")
        self.did(Kind.READ, "a")
        self.assertFalse(self.right())

    def test_nobody_uploaded_it(self) -> None:
        """A read of bytes that nobody uploaded is a violation."""
        self.did(Kind.UPLOAD, "a", Outcome.REFUSED)
        self.assertFalse(self.right())

    def test_two_winners(self) -> None:
        """Two uploads of one name both acknowledged are a violation, also when they overlap."""
        one, other = self.begin(Kind.UPLOAD, "a"), self.begin(Kind.UPLOAD, "b")
        self.history.end(one, Outcome.DONE)
        self.history.end(other, Outcome.DONE)
        self.assertFalse(self.right())

    def test_finished_again(self) -> None:
        """An upload that was committed unnoticed and is finished again is acknowledged without a second effect."""
        self.did(Kind.UPLOAD, "a", Outcome.UNKNOWN)
        self.did(Kind.READ, "a")
        self.history.end(self.history.begin("c", Kind.UPLOAD, "n", "a", 0.0, again=True), Outcome.DONE)
        self.assertTrue(self.right())
        self.did(Kind.UPLOAD, "a")
        self.assertFalse(self.right())

    def test_one_winner(self) -> None:
        """Of two overlapping uploads one wins and the other is told."""
        one, other = self.begin(Kind.UPLOAD, "a"), self.begin(Kind.UPLOAD, "b")
        self.history.end(other, Outcome.REFUSED)
        self.history.end(one, Outcome.DONE)
        self.did(Kind.READ, "a")
        self.assertTrue(self.right())

    def test_unknown_may_happen_late_or_never(self) -> None:
        """An upload whose outcome is not known may appear any time later, and once seen it stays."""
        self.did(Kind.UPLOAD, "a", Outcome.UNKNOWN)
        self.assertTrue(self.right())
        self.did(Kind.READ, outcome=Outcome.REFUSED)
        self.did(Kind.READ, "a")
        self.assertTrue(self.right())
        self.did(Kind.READ, outcome=Outcome.REFUSED)
        self.assertFalse(self.right())

    def test_failed_reads_say_nothing(self) -> None:
        """A read that failed is no evidence."""
        self.did(Kind.UPLOAD, "a")
        self.did(Kind.READ, "zzz", Outcome.UNKNOWN)
        self.assertTrue(self.right())

    def test_overlapping_read_and_delete(self) -> None:
        """A read beside a delete may see either state, but not a third."""
        self.did(Kind.UPLOAD, "a")
        delete, read, other = self.begin(Kind.DELETE), self.begin(Kind.READ, "a"), self.begin(Kind.READ)
        self.history.end(read, Outcome.DONE)
        self.history.end(other, Outcome.REFUSED)
        self.history.end(delete, Outcome.DONE)
        self.assertTrue(self.right())
