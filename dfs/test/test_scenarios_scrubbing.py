"""The scrub in a simulated cluster: one story a test."""

from __future__ import annotations

from dfs.test.stories import ScenarioCase


class ScrubbingScenarios(ScenarioCase):
    """Stories of what nobody reads."""

    def test_rot_that_nobody_reads(self) -> None:
        """Replicas rot and nobody reads them: the scrub finds all of them, they are set aside and replaced (S11)."""
        self.play("S11", "rot that nobody reads")

    def test_rot_found_through_restarts(self) -> None:
        """The node restarts again and again, by SIGTERM and by kill: the scrub comes to its end all the same (S11)."""
        self.play("S11", "rot found through restarts")

    def test_an_unreadable_sector(self) -> None:
        """The disk does not read one replica any more: it is set aside and replaced, and the node goes on serving
        (S11)."""
        self.play("S11", "an unreadable sector")

    def test_vanished_files(self) -> None:
        """Somebody deletes the files of replicas: the scrub misses them, and they are made anew (S11)."""
        self.play("S11", "vanished files")

    def test_rot_leaves_the_disk_in_the_end(self) -> None:
        """What is rotten is replaced elsewhere, kept for its time, and then deleted on metadata's word (S16)."""
        self.play("S16", "rot leaves the disk in the end")

    def test_whole_after_all(self) -> None:
        """The last live replica of a chunk cannot be read for a while, and is set aside: as soon as it can be read
        again it is served again (S11)."""
        self.play("S11", "whole after all")
