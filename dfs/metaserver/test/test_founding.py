"""Histories of one key never share what they issue."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from dfs.metaserver import commands, founding
from dfs.metaserver.test.bench import Bench
from dfs.metaserver.test.cluster import Cluster
from dfs.protocol import messages as m
from dfs.protocol.errors import BadRequest
from dfs.protocol.values import HISTORY_SHIFT


class FoundingTests(SynchronousTestCase):
    """S16."""

    def setUp(self) -> None:
        self.bench = Bench()

    def test_begins_once(self) -> None:
        """The first command draws where file ids and generations begin; a second one changes nothing."""
        self.assertFalse(founding.is_begun(self.bench.machine.store))
        self.assertEqual(self.bench.do(commands.BeginHistory(9, 77)).count, 1)
        self.assertTrue(founding.is_begun(self.bench.machine.store))
        self.assertEqual(self.bench.do(commands.BeginHistory(8, 78)).count, 0)
        self.bench.nodes(3)
        granted = self.bench.create("a")
        self.assertEqual(granted.file_id, 9 << 48 | 1)
        self.assertEqual(granted.placements[0].generation, (77 << HISTORY_SHIFT) + 1)

    def test_not_after_the_first_file(self) -> None:
        """A history that has issued ids keeps its own."""
        self.bench.nodes(3)
        self.bench.create("a")
        self.assertEqual(self.bench.do(commands.BeginHistory(9, 77)).count, 0)

    def test_out_of_range(self) -> None:
        """Numbers that would not fit are refused."""
        for incarnation, history in ((0, 1), (32, 1), (1, 0), (1, 1 << 24)):
            self.assertRaises(BadRequest, self.bench.do, commands.BeginHistory(incarnation, history))

    def test_the_draw_is_in_range(self) -> None:
        """Whatever chance gives, the command can be applied."""
        for byte in (b"\x00", b"\xff"):
            bench = Bench()
            self.assertEqual(bench.do(founding.draw(byte.__mul__)).count, 1)

    def test_clusters_founded_with_one_key(self) -> None:
        """Two foundings with the same key issue no generation in common: what deletes in one never reaches the
        other's bytes."""
        histories = []
        for seed in (1, 2):
            cluster = Cluster(seed)
            cluster.start(3)
            file = cluster.store("a")
            page = cluster.done(m.ListChunks(file.file_id, 0, 1), m.ChunkPage)
            histories.append(page.chunks[0].generation >> HISTORY_SHIFT)
            cluster.stop()
        self.assertNotEqual(histories[0], histories[1])
        self.assertGreater(min(histories), 0)
