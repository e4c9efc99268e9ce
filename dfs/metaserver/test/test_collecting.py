"""The collector's wheel in a whole cluster."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from dfs.metaserver import commands
from dfs.metaserver.test.cluster import Cluster
from dfs.protocol import messages as m
from dfs.protocol.errors import Busy


class CollectingTests(SynchronousTestCase):
    """S15."""

    def setUp(self) -> None:
        self.cluster = Cluster()
        self.cluster.start(4)
        self.addCleanup(self.cluster.stop)

    def garbage(self) -> int:
        machine = self.cluster.leader().server._machine
        assert machine is not None
        return machine.head.garbage

    def test_a_refused_proposal_strands_nothing(self) -> None:
        """When one command of a round is refused, the collector is told of it and of those behind it, so that a later
        sweep does what they were to do (S12)."""
        term = self.cluster.leader().term
        assert term is not None
        told: list[tuple[int, bool]] = []

        async def refused(command: Any, answer: Any) -> Any:
            raise Busy("not now")

        collector = term.collecting.collector
        waiting = [commands.CollectGarbage(number, ()) for number in (1, 2, 3)]
        for name, value in {
            "request": lambda now: None,
            "plan": lambda now, reachable: [],
            "commands": lambda: waiting,
            "collected": lambda file_id, finished: told.append((file_id, finished)),
        }.items():
            self.patch(collector, name, value)
        self.patch(term.seams.proposer, "propose", refused)
        self.failureResultOf(Deferred.fromCoroutine(term.collecting.round()), Busy)
        self.assertEqual(told, [(1, False), (2, False), (3, False)])

    def test_a_copy_that_ends_after_its_file(self) -> None:
        """A copy that ends after its file was deleted is noted, so that its target is ordered to delete as well."""
        file = self.cluster.store("a")
        spare = next(c for c in self.cluster.chunks if c.name not in self.cluster.replicas(file))
        source = self.cluster.chunk(next(iter(self.cluster.replicas(file))))
        page = self.cluster.done(m.ListChunks(file.file_id, 0, 1), m.ChunkPage)
        silent = [c for c in self.cluster.chunks if c not in (spare, source)]
        for chunk in silent:
            chunk.silent = True  # so that the record is still there
        self.cluster.done(m.DeleteFile(self.cluster.operation(), "a", None), m.FileInfo)
        source.results[5] = m.JobResult(
            5, m.JobKind.COPY, file.file_id, 0, page.chunks[0].generation, spare.node, 200, 0, ""
        )
        self.cluster.world.run(10.0)
        for chunk in silent:
            chunk.silent = False
        self.cluster.world.run(150.0)
        self.assertIn(m.JobKind.DELETE, [job.kind for job in spare.jobs])
        self.assertEqual(self.garbage(), 0)
