"""The model of one chunk's life, explored to the end."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from dfs.metaserver.test.exploring import Explored
from dfs.metaserver.test.model import ENDING, RESTARTING, SCOPES, TAKING_STOCK, WRITING, Rules, World, explore


class ModelTests(SynchronousTestCase):
    """Each test takes one rule away and wants to see the hole."""

    def test_all_rules_keep_the_promise(self) -> None:
        """With every rule in force no reachable state of any scope breaks the promise (S05, S06, S36)."""
        explored = [explore(scope) for scope in SCOPES]
        self.assertEqual([(each.hole, each.road) for each in explored], [("", ())] * len(SCOPES))
        self.assertGreater(min(each.states for each in explored), 500)

    def without(self, scope: World, rule: str) -> Explored:
        explored = explore(scope, evolve(Rules(), **{rule: False}))
        self.assertNotEqual(explored.hole, "", f"the model does not need {rule}")
        return explored

    def test_generation_is_needed(self) -> None:
        """Commits of an abandoned generation would be recorded."""
        self.without(WRITING, "generation_checked")

    def test_epoch_is_needed(self) -> None:
        """A writer that slept would commit over the one who resumed (S40)."""
        self.assertIn("resume", self.without(WRITING, "epoch_checked").road)

    def test_match_of_a_late_add_is_needed(self) -> None:
        """A straggler of another generation would be recorded as a replica."""
        self.without(WRITING, "add_checked")

    def test_numbers_are_needed(self) -> None:
        """An inventory older than a write would evict what the write stored (S06)."""
        self.without(TAKING_STOCK, "numbers_compared")

    def test_recheck_in_apply_is_needed(self) -> None:
        """A removal that waited in the log would strike off a replica made meanwhile (S06)."""
        road = self.without(TAKING_STOCK, "rechecked_in_apply").road
        self.assertTrue(any(step.startswith("copy to") for step in road), road)

    def test_number_never_goes_back(self) -> None:
        """A counter that starts anew makes an old inventory look newer than a new write (S06)."""
        self.without(RESTARTING, "number_kept_over_restart")

    def test_deletion_needs_an_ended_file(self) -> None:
        """What metadata does not know may be about to be committed (S16)."""
        self.without(WRITING, "delete_needs_ended_file")

    def test_ids_never_return(self) -> None:
        """A delayed order to delete would destroy another file's chunk."""
        self.without(ENDING, "ids_never_return")

    def test_ended_stays_ended(self) -> None:
        """A file could live again while its chunks are deleted (S36)."""
        self.without(ENDING, "ended_stays_ended")
