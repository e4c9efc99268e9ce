"""Changes of the membership that the swarm of bare cores has tripped over."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from dfs.raft.core import Config, Refusal
from dfs.raft.membership import AddLearner, Promote, Remove
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


class LeavingTests(SynchronousTestCase):
    """A member that was removed and is still being told so (R57)."""

    def test_one_that_needs_a_snapshot_is_spoken_to_with_heartbeats_only(self) -> None:
        """R57: a removed member whose next entries were compacted answers each heartbeat once; leader and member do
        not talk as fast as the network lets them."""
        cluster = Cluster("abc", SteadyChance(), config=Config("?"))
        cluster.elect("a")
        cluster.run(4)

        def without_c(sender: str, to: str) -> bool:
            return "c" not in (sender, to)

        cluster.do("a", "propose", [b"x"] * 3)
        cluster.run(1, without_c)
        self.assertIsNone(cluster.do("a", "change", Remove("c")).refusal)
        cluster.run(4, without_c)
        self.assertEqual(cluster.core("a").configuration.voters, ("a", "b"))
        cluster.sync_state("a")
        cluster.compact("a", cluster.core("a").applied_index)
        cluster.do("a", "member_refused", "c")
        cluster.run(4)  # it would not come to rest
        self.assertEqual(cluster.core("a").role, "leader")
