"""The model of one chunk's moves, explored to the end: two movers, three replicas, a crash at any step."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from dfs.metaserver.test.exploring import Explored
from dfs.metaserver.test.moving_model import (
    DRAINING,
    LOSING,
    REMOVING,
    ROTTEN_BEFORE,
    SCOPES,
    TRIMMING,
    Rules,
    World,
    explore,
)


class MovingModelTests(SynchronousTestCase):
    """Each test takes one rule away and wants to see the hole."""

    def test_all_rules_keep_the_promise(self) -> None:
        """With every rule in force no interleaving of two movers, with a crash after any step, takes a good replica
        that is needed, or leaves one on the record that is not there (S16, S17, S18)."""
        explored = [explore(scope) for scope in SCOPES]
        self.assertEqual([(each.hole, each.road) for each in explored], [("", ())] * len(SCOPES))
        self.assertGreater(sum(each.states for each in explored), 50_000)

    def without(self, scope: World, rule: str) -> Explored:
        explored = explore(scope, evolve(Rules(), **{rule: False}))
        self.assertNotEqual(explored.hole, "", f"the model does not need {rule}")
        return explored

    def test_survivors_are_read(self) -> None:
        """A replica that rotted unseen would be counted on, and the last good one but one trimmed (S16)."""
        self.without(ROTTEN_BEFORE, "survivors_read")

    def test_struck_off_first(self) -> None:
        """Two movers that each order another replica away would leave one of three (S16)."""
        self.without(TRIMMING, "struck_off_first")

    def test_rechecked_in_apply(self) -> None:
        """Both retirements were proposed on the same picture: both would be applied (S16)."""
        self.assertGreaterEqual(str(self.without(TRIMMING, "rechecked_in_apply").road).count("retire"), 2)

    def test_survivors_are_counted(self) -> None:
        """A mover that saw three would take one of two (S16)."""
        self.without(TRIMMING, "survivors_counted")

    def test_retired_stays_retired(self) -> None:
        """An inventory taken before the order would put the replica back on the record, and then the order arrives
        (S06, S17)."""
        self.assertIn("add 0 arrives", self.without(TRIMMING, "retired_stays_retired").road)

    def test_retired_is_kept(self) -> None:
        """The inventory arrives after the report: what is on the record then is nowhere (S06, S17)."""
        self.assertIn("report 0 arrives", self.without(TRIMMING, "retired_is_kept").road)

    def test_number_in_order(self) -> None:
        """A late order would take the replica that was made anew since (S17)."""
        self.without(LOSING, "number_in_order")

    def test_leaving_is_not_counted(self) -> None:
        """A replica on a node that is drained would be counted on (S18)."""
        self.without(DRAINING, "leaving_not_counted")

    def test_removal_is_judged(self) -> None:
        """A node would be forgotten by a picture in which a disk was not lost yet (S16)."""
        self.without(REMOVING, "removal_judged")
