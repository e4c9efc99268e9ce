"""Changes of the membership that the swarm of bare cores has tripped over."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from dfs.raft.core import Config, Refusal
from dfs.raft.membership import AddLearner, Promote
from dfs.raft.test.cluster import Cluster
from dfs.raft.test.script import SteadyChance


class LimitTests(SynchronousTestCase):
    """What would not fit is refused, never raised."""

    def test_an_eighth_voter_is_refused(self) -> None:
        """R54, R56: a learner beside seven voters is not promoted, and the leader leads on."""
        cluster = Cluster("abcdefg", SteadyChance(), config=Config("?"))
        cluster.elect("a")
        cluster.join("h")
        self.assertIsNone(cluster.do("a", "change", AddLearner("h", "")).refusal)
        cluster.settle()
        cluster.run(6)
        taken = cluster.do("a", "change", Promote("h"))
        self.assertEqual(taken.refusal, Refusal.TOO_MANY_MEMBERS)
        self.assertEqual(len(cluster.core("a").configuration.voters), 7)
        self.assertEqual(cluster.core("a").role, "leader")
