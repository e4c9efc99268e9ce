"""Damaged disks, servers in trouble and strangers in a simulated cluster: one story a test."""

from __future__ import annotations

from dfs.test.stories import ScenarioCase


class DamageScenarios(ScenarioCase):
    """Stories of disks."""

    def test_a_corrupt_source(self) -> None:
        """A node dies and all that another one holds has rotted: only what is sound is copied (S07)."""
        self.play("S07", "a corrupt source")

    def test_killed_at_each_step_of_a_write(self) -> None:
        """A chunk server dies at one operation of its disk after the other: each replica is whole or absent (S09)."""
        self.play("S09", "killed at each step of a write")

    def test_replicas_cut_short_at_rest(self) -> None:
        """Empty, zero-filled and truncated replicas never outrank good ones at a start (S10)."""
        self.play("S10", "replicas cut short at rest")

    def test_one_rotten_server_after_the_other(self) -> None:
        """All replicas rot in turn: readers get good bytes, and each is replaced (S11)."""
        self.play("S11", "one rotten server after the other")

    def test_a_rotten_log(self) -> None:
        """A bit flips in the middle of a member's log: it refuses with a sentence and cuts nothing off (S30)."""
        self.play("S30", "a rotten log")


class HindranceScenarios(ScenarioCase):
    """Stories of servers that are short, slow, out of reach, and of strangers."""

    def test_one_candidate_for_two_copies(self) -> None:
        """One server has room for one of two missing copies; the rest follows when another one joins (S13, S14)."""
        self.play("S14", "one candidate for two copies")

    def test_a_pair_that_does_not_hear_one_another(self) -> None:
        """Two chunk servers do not hear one another: writes go round it (S22)."""
        self.play("S22", "a pair that does not hear one another")

    def test_a_slow_disk(self) -> None:
        """A disk takes ten seconds for a sync, of a chunk server, of the leader: nobody waits for it (S23)."""
        self.play("S23", "a slow disk")

    def test_snapshots_all_the_time(self) -> None:
        """Snapshots are taken and sent all the time: no heartbeat is missed (S33)."""
        self.play("S33", "snapshots all the time")

    def test_strangers(self) -> None:
        """Noise on every port: clients are served, no server ends (S43)."""
        self.play("S43", "strangers")

    def test_odd_names(self) -> None:
        """Names that look like paths are data; impossible ones are refused; nothing is written elsewhere (S44)."""
        self.play("S44", "odd names")
