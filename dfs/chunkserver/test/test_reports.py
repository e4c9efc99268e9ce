"""Reports to metadata: what goes on beside what."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from dfs.chunkserver.test.world import Cluster
from dfs.protocol import messages as m
from dfs.protocol.interfaces import IConnection
from dfs.protocol.values import FileId, Generation


class InventoryTests(SynchronousTestCase):
    def test_beats_go_on_beside_an_inventory(self) -> None:
        """A long inventory, slowly taken, holds up no beat: it must not make its own node a dead one (S02)."""
        cluster = Cluster(1)
        store = cluster.servers[1].store
        assert store is not None
        for number in range(1, 20_001):
            store.index.add(m.HeldReplica(FileId(number), 0, Generation(1), 10, bytes(32), number))
        reactor = cluster.world.hosts["meta-1"].reactor
        taken: list[m.Inventory] = []
        beats: list[float] = []
        handle = cluster.meta.handle

        def slowly(connection: IConnection, request: object) -> Deferred[object]:
            answer: Deferred[Any]
            if isinstance(request, m.Inventory):
                taken.append(request)
                answer = Deferred()
                reactor.callLater(1.0, answer.callback, m.InventoryTaken(0, 0, 0))
                return answer
            if isinstance(request, m.Heartbeat):
                beats.append(cluster.world.clock.now)
                answer = handle(connection, request)
                return answer.addCallback(evolve, inventory=not taken)
            return handle(connection, request)

        self.patch(cluster.meta, "handle", slowly)
        cluster.world.run_until(lambda: bool(taken) and taken[-1].upto == b"\xff" * 12)
        self.assertEqual(sum(len(page.replicas) for page in taken), 20_000)
        self.assertLess(max(later - earlier for earlier, later in pairwise(beats)), 5.0)
