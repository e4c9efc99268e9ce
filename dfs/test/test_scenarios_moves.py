"""Moves of replicas in a simulated cluster: one story a test."""

from __future__ import annotations

from dfs.test.stories import ScenarioCase


class MoveScenarios(ScenarioCase):
    """Stories of trims, drains, maintenance, racks and balance."""

    def test_surplus_is_trimmed(self) -> None:
        """A dead node's chunks were copied when it comes back: the surplus is trimmed, into quarantine, and every
        chunk keeps its whole replicas (S03, S16)."""
        self.play("S03", "the surplus of a node that came back is trimmed")

    def test_announced_restart(self) -> None:
        """A node whose absence was announced is away for longer than the time-out: nothing is copied before its time
        is over (S04)."""
        self.play("S04", "an announced restart")

    def test_dead_node_is_removed(self) -> None:
        """A node that never comes back is forgotten, with the garbage that it held (S15)."""
        self.play("S15", "a dead node is removed")

    def test_rotten_survivors(self) -> None:
        """When the surplus is to be trimmed, most of what would stay has rotted unseen: nothing good goes for its
        sake (S16)."""
        self.play("S16", "rotten survivors")

    def test_moves_through_crashes(self) -> None:
        """Nodes are drained and taken back while whoever has a part in it is killed or loses power at any moment:
        nothing is lost (S17)."""
        self.play("S17", "moves through crashes")

    def test_drained_while_written(self) -> None:
        """A node is drained while files are written to it; when it says drained, everything is whole without it, and
        it can be removed (S18)."""
        self.play("S18", "a node is drained while it is written to")

    def test_labels_change(self) -> None:
        """Two replicas of a chunk never share a rack while another has room; when labels change it is corrected
        (S20)."""
        self.play("S20", "labels of racks change")

    def test_rebalanced(self) -> None:
        """A new node is empty while the others fill up: rebalancing moves replicas there and stops by itself
        (S20)."""
        self.play("S20", "rebalanced onto a new node")
