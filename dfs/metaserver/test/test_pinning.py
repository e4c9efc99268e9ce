"""Whose messages count: the pinned incarnation of a member, and until then the first that spoke."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from dfs.metaserver.members import Members
from dfs.metaserver.pinning import Pinning

FIRST, SECOND = b"1" * 16, b"2" * 16


class PinningTests(SynchronousTestCase):
    """A node that has heard of one member."""

    def setUp(self) -> None:
        self.pinning = Pinning(Members({"meta-1": "10.0.0.1:7000"}))

    def test_before_the_pin(self) -> None:
        """R35: before a member is pinned only the incarnation that spoke first is listened to: wiped in that moment, it
        cannot vote twice."""
        self.assertTrue(self.pinning.admits("meta-1", FIRST))
        self.assertFalse(self.pinning.admits("meta-1", SECOND))
        self.assertTrue(self.pinning.admits("meta-1", FIRST))

    def test_the_pin_decides(self) -> None:
        """R35: what the tables say counts, whoever spoke here first."""
        self.assertTrue(self.pinning.admits("meta-1", FIRST))
        self.pinning.read({"meta-1": SECOND})
        self.assertFalse(self.pinning.admits("meta-1", FIRST))
        self.assertTrue(self.pinning.admits("meta-1", SECOND))

    def test_others_are_nobodys_business(self) -> None:
        """Nothing is remembered of names that are no members, however many come (S43)."""
        for number in range(100):
            self.assertTrue(self.pinning.admits(f"stranger-{number}", FIRST))
            self.assertTrue(self.pinning.admits(f"stranger-{number}", SECOND))
