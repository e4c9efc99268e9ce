"""Stories of what lies on disks, played where small chunks are not packed: each replica has a file of its own.

The other modules play them, and all others, as a cluster is by default: with small chunks in segments.
"""

from __future__ import annotations

from dfs.test.stories import ScenarioCase


class FileScenarios(ScenarioCase):
    """DFS_SEGMENTS=off, and on its way from one to the other."""

    def test_packing_on_and_off(self) -> None:
        """Chunk servers begin to pack one after the other and leave off again: what is there is read, copied between
        both layouts, and deleted (S39)."""
        self.play("S39", "packing on and off")

    def test_durable_when_acknowledged(self) -> None:
        """The room loses power at each acknowledgement: files are there on as many disks as the quorum (S05)."""
        self.play("S05", "power cut at each acknowledgement", segments=False)

    def test_a_corrupt_source(self) -> None:
        """Files have rotted on one server when another dies: only what is sound is copied (S07)."""
        self.play("S07", "a corrupt source", segments=False)

    def test_killed_at_each_step_of_a_write(self) -> None:
        """A chunk server dies at one operation of its disk after the other: each file is whole or absent (S09)."""
        self.play("S09", "killed at each step of a write", segments=False)

    def test_replicas_cut_short_at_rest(self) -> None:
        """Empty, zero-filled and truncated files are set aside by a start (S10)."""
        self.play("S10", "replicas cut short at rest", segments=False)

    def test_rot_found_through_restarts(self) -> None:
        """The scrub of files comes to its end through restarts (S11)."""
        self.play("S11", "rot found through restarts", segments=False)

    def test_an_unreadable_sector(self) -> None:
        """The disk does not read a file any more: it is set aside and replaced (S11)."""
        self.play("S11", "an unreadable sector", segments=False)

    def test_vanished_files(self) -> None:
        """Somebody deletes files of replicas: the scrub misses them (S11)."""
        self.play("S11", "vanished files", segments=False)

    def test_rot_leaves_the_disk_in_the_end(self) -> None:
        """A rotten file is kept for its time, and deleted on metadata's word (S16)."""
        self.play("S16", "rot leaves the disk in the end", segments=False)

    def test_whole_after_all(self) -> None:
        """A file that is readable again is served again (S11)."""
        self.play("S11", "whole after all", segments=False)

    def test_a_full_disk(self) -> None:
        """A disk is full in the middle of a chunk: nothing half is left of it, and deletes work (S21)."""
        self.play("S21", "a full disk", segments=False)
