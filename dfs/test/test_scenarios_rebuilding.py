"""All metadata of a simulated cluster is lost and rebuilt from its chunk servers: one story a test."""

from __future__ import annotations

from dfs.client import rebuilding
from dfs.test.stories import ScenarioCase


class RebuildingScenarios(ScenarioCase):
    """Stories of a namespace that is made anew."""

    def test_metadata_is_lost(self) -> None:
        """All metadata is lost while a chunk server is down: every acknowledged file comes back, what is deleted after
        that stays deleted when the late server is asked too, and no replica goes (S16)."""
        self.play("S16", "metadata is lost")

    def test_files_in_parts(self) -> None:
        """The same where each file is told in many parts, and rebuilds are cut off between them (S16, S26)."""
        self.patch(rebuilding, "MAX_RECOVERED", 1)
        self.play("S16", "metadata is lost")

    def test_metadata_is_lost_and_moves(self) -> None:
        """The new metadata is of another founding: chunk servers follow it by the rebuild alone (S28)."""
        self.play("S28", "metadata is lost and moves")

    def test_nothing_to_rebuild(self) -> None:
        """A rebuild of metadata that is not lost is refused, and changes nothing (S28)."""
        self.play("S28", "nothing to rebuild")
