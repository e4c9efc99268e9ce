"""A leadership begins whole, however often its beginning fails."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from dfs.kv.interfaces import IKeyValueStore
from dfs.metaserver import founding
from dfs.metaserver.test.cluster import Cluster
from dfs.protocol.errors import Busy


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
