"""Every link graph of three nodes and a sample of those of five has a stable leader where it can have one."""

from __future__ import annotations

from itertools import permutations

from twisted.trial.unittest import SynchronousTestCase

from dfs.simulation.consensus.digraphs import able, classes, links
from dfs.simulation.consensus.graphs import Cut, Verdict, cuts, examine, summary


class DigraphTests(SynchronousTestCase):
    """The enumeration."""

    def test_counts(self) -> None:
        """There are as many classes of directed graphs as mathematics says: 1, 3, 16, 218, 9,608."""
        self.assertEqual([len(classes(nodes)) for nodes in range(1, 6)], [1, 3, 16, 218, 9608])

    def test_one_of_each_class(self) -> None:
        """Every graph of three nodes has exactly one image among the representatives."""
        chosen = {links(3, mask) for mask in classes(3)}
        for mask in range(64):
            images = {frozenset((image[i], image[j]) for i, j in links(3, mask)) for image in permutations(range(3))}
            self.assertEqual(len(images & chosen), 1, mask)

    def test_who_is_able(self) -> None:
        """A two-way majority counts the node itself; a link in one direction only does not count."""
        whole = (1 << 20) - 1
        self.assertEqual(able(5, whole), [0, 1, 2, 3, 4])
        self.assertEqual(able(5, 0), [])
        self.assertEqual(able(3, 0b000101), [0, 1])  # 0 to 1 and 1 to 0
        self.assertEqual(sum(1 for mask in range(64) if able(3, mask)), 37)
        self.assertEqual(sum(1 for mask in classes(5) if able(5, mask)), 6338)


class GraphTests(SynchronousTestCase):
    """The group over them."""

    def _examine(self, nodes: int) -> list[Verdict]:
        verdicts = [examine(cut) for cut in cuts(full=False) if cut.nodes == nodes]
        self.assertEqual([verdict for verdict in verdicts if verdict.violation], [])
        return verdicts

    def test_every_graph_of_three(self) -> None:
        """R09: over each of the 64 graphs of three nodes, founded or led by any of them at the cut, somebody with a
        two-way majority leads within five election time-outs, no term grows any more, proposals commit, and whoever
        led before and can go on leads on (R08); with unequal logs the group is safe, and live within five time-outs of
        the heal."""
        verdicts = self._examine(3)
        self.assertEqual(summary(verdicts)["graphs"], 64)
        self.assertEqual(len(verdicts), 37 * 4 + 64)

    def test_a_sample_of_the_graphs_of_five(self) -> None:
        """R09: the same for every 240th of the 9,608 classes of graphs of five nodes; all of them with
        ``python -m dfs.simulation.consensus.graphs --all``."""
        self.assertEqual(summary(self._examine(5))["graphs"], 41)

    def test_nobody_able_is_seen(self) -> None:
        """A graph in which nobody has a majority fails the examination: it can fail."""
        self.assertIn("nobody leads", examine(Cut(3, 0)).violation)
