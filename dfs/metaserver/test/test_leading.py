"""A leadership begins whole, however often its beginning fails."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from dfs.kv.interfaces import IKeyValueStore
from dfs.metaserver import founding
from dfs.metaserver.test.cluster import Cluster
from dfs.protocol.errors import Busy
from dfs.protocol.messages import ChangeNode, ListNodes, NodeAnswer, NodeChange, NodePage
from dfs.protocol.values import NodeState


class RemovedMeanwhileTests(SynchronousTestCase):
    """What a member knew as a follower, and is not so any more when it leads."""

    def setUp(self) -> None:
        self.cluster = Cluster()
        self.addCleanup(self.cluster.stop)
        self.cluster.start(4)
        for meta in self.cluster.metas:
            self.cluster.status(meta)  # so that followers know the chunk servers, too
        self.cluster.chunks[3].stop()
        self.cluster.world.run_until(lambda: self.states().get("chunk-4") is NodeState.DEAD, 30.0)
        self.cluster.done(ChangeNode("chunk-4", NodeChange.REMOVE, 0, False), NodeAnswer)
        self.cluster.world.run_until(lambda: "chunk-4" not in self.states(), 30.0)

    def states(self) -> dict[str, NodeState]:
        """Of the chunk servers, as the leader tells."""
        return {info.name: info.state for info in self.cluster.done(ListNodes(0, 100), NodePage).nodes}

    def test_the_next_leader_forgets_it(self) -> None:
        """S18: a chunk server that was removed under the former leader is unknown to the next one."""
        self.cluster.leader().host.kill()
        self.cluster.world.run(5.0)
        self.assertEqual(sorted(self.states()), ["chunk-1", "chunk-2", "chunk-3"])

    def test_followers_forget_it(self) -> None:
        """S18: the status of every member names the chunk servers that there are, and no other."""
        self.cluster.world.run(5.0)
        for meta in self.cluster.metas:
            self.cluster.status(meta)  # reads the tables for the next one
            self.cluster.world.run(0.5)
            names = [info.name for info in self.cluster.status(meta).chunk_servers]
            self.assertEqual(sorted(names), ["chunk-1", "chunk-2", "chunk-3"])


class LoadingTests(SynchronousTestCase):
    """What a new leader does before it serves."""

    def test_a_failed_load_is_tried_again(self) -> None:
        """S12: a failure while a new leader loads delays it and never leaves a leadership that serves nothing."""
        failures: list[Exception] = [Busy("a queue is full"), ZeroDivisionError()]
        is_begun = founding.is_begun

        def flaky(store: IKeyValueStore) -> bool:
            if failures:
                raise failures.pop()
            return is_begun(store)

        self.patch(founding, "is_begun", flaky)
        cluster = Cluster()
        self.addCleanup(cluster.stop)
        cluster.start(3)
        self.assertEqual(cluster.store("a").name, "a")
        self.assertEqual(failures, [])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
