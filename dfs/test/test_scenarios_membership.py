"""Membership of the metadata cluster in simulation: one story a test."""

from __future__ import annotations

from dfs.test.stories import ScenarioCase


class MembershipScenarios(ScenarioCase):
    """Stories of who belongs."""

    def test_one_key_two_clusters(self) -> None:
        """A second cluster is founded under the same key by another member list, at an address that the chunk servers
        were given too: they stay with the one that they met first, also when they start again while it is away
        (S28)."""
        self.play("S28", "one key, two clusters")
