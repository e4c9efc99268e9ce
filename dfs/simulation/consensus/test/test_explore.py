"""Exhaustive search of small scopes over the real core, each group's state once."""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from dfs.raft.core import HardState
from dfs.simulation.consensus.cells import TIME_OUT, Cells
from dfs.simulation.consensus.explore import SCOPES, Scope, Search

STATES = int(os.environ.get("DFS_CONSENSUS_STATES", "20000"))


class SearchTests(SynchronousTestCase):
    """No order of events within a scope breaks a property."""

    def _search(self, name: str) -> None:
        search = Search(SCOPES[name])
        search.run(STATES)
        self.assertTrue(search.complete or search.count >= STATES)

    def test_votes(self) -> None:
        """R01 to R03, R06, R07: three candidates in three terms, slow disks and a crash: one leader a term."""
        self._search("votes")

    def test_replication(self) -> None:
        """R13 to R18, R21 to R23: two leaders, three entries, slow disks and a crash lose nothing committed."""
        self._search("replication")

    def test_leaders(self) -> None:
        """R13 to R18: three terms, three entries and a crash, with disks that answer at once."""
        self._search("leaders")

    def test_figure_8(self) -> None:
        """R17: from the logs of the paper's figure 8 no order of events commits an old term's entry and loses it."""
        self._search("figure 8")

    def test_stale_tails(self) -> None:
        """R13, R15, R16: a longer and stale log is neither kept nor acknowledged nor committed."""
        self._search("stale tail")
        self._search("late tail")

    def test_growing(self) -> None:
        """R51 to R53, R55: two founders let a third in, promote it and remove one another, leaders too."""
        self._search("growing")

    def test_shrinking(self) -> None:
        """R51, R52, R55: three members remove one another while leaders change."""
        self._search("shrinking")

    def test_doubles(self) -> None:
        """R06, R24: a packet that is delivered twice does no harm."""
        self._search("doubles")


class MachineryTests(SynchronousTestCase):
    """The search itself."""

    def test_an_end(self) -> None:
        """A scope in which one member campaigns once and all is lost but two messages has an end, whichever of the
        three it is, and states that differ by names only are one."""
        one = Search(Scope(1, 0, 2, instant_disks=True, candidates=(0,)))
        one.run()
        other = Search(Scope(1, 0, 2, instant_disks=True, candidates=(2,)))
        other.run()
        self.assertTrue(one.complete and other.complete)
        self.assertEqual(one.count, other.count)
        self.assertLess(one.count, 100)

    def test_the_way_is_told(self) -> None:
        """The steps to a state are told from the first to the last."""
        search = Search(Scope(1, 0, 2, instant_disks=True, candidates=(0,)))
        search.run()
        way = search.way(search.count - 1, TIME_OUT * 3)
        self.assertEqual((way[0], way[-1]), ("time-out a", "time-out a"))
        self.assertTrue(any(line.startswith("a->") for line in way))

    def test_a_move_is_worked_out_once(self) -> None:
        """The same input to the same member's state is the same value."""
        cells = Cells(("a", "b", "c"), instant_disks=True)
        start = cells.start(0, HardState(), ())
        self.assertIs(cells.move(start, TIME_OUT), cells.move(start, TIME_OUT))
        self.assertEqual(len(cells.packets), 2)
