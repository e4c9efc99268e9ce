"""A chunk server gives a healthy replica up on metadata's word, and keeps it aside."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from dfs.chunkserver.test.fakes import content_of, sha256_of
from dfs.chunkserver.test.world import NOW_MS, Cluster, chunk
from dfs.protocol import messages as m
from dfs.protocol.errors import Forbidden
from dfs.protocol.values import BLOCK, NodeNumber

CONTENT = content_of(3 * BLOCK)


class TrimTests(SynchronousTestCase):
    """Node 1 holds a replica."""

    def setUp(self) -> None:
        self.cluster = Cluster(2)
        self.cluster.put(chunk(1), CONTENT, self.cluster.targets(1), quorum=1)



    def trim(self, job: int, **changes: Any) -> m.JobResult:
        """Order node 1 to give its replica up as surplus, with a removal of which ``changes`` are another."""
        ref, store = chunk(1), self.cluster.servers[1].store
        assert store is not None
        held = store.index.get(ref)
        removal = m.Removal(
            kind=m.RemovalKind.SURPLUS,
            file_id=ref.file_id,
            index=ref.index,
            generation=ref.generation,
            node=NodeNumber(1),
            number=held.number if held is not None else 0,
            committed=ref.generation,
            survivors=(m.Survivor(NodeNumber(2), 5),),
            term=1,
            evidence=9,
            expires_ms=NOW_MS * 2,
            mac=b"",
        )
        return self.give(job, self.cluster.keys.sign_removal(evolve(removal, **changes)))

    def give(self, job: int, removal: m.Removal | None) -> m.JobResult:
        """Give node 1 the order and wait for its result."""
        ref = chunk(1)
        before = len(self.cluster.meta.results)
        sha256 = sha256_of(CONTENT)
        self.cluster.meta.jobs.append(
            m.Job(job, m.JobKind.TRIM, ref.file_id, ref.index, ref.generation, 0, sha256, (), None, removal)
        )
        self.cluster.world.run_until(lambda: len(self.cluster.meta.results) > before)
        return self.cluster.meta.results[-1]

    def test_trim(self) -> None:
        """A surplus replica is set aside on metadata's signed word, never deleted at once; again is success (S16)."""
        result = self.trim(1)
        store = self.cluster.servers[1].store
        assert store is not None
        self.assertEqual((result.code, result.node, store.quarantined), (0, 1, 1))
        self.assertFalse(self.cluster.holds(1, chunk(1)))
        self.assertIsNone(store.index.get(chunk(1)))
        self.assertEqual(self.trim(2).code, 0)

    def test_trim_refused(self) -> None:
        """An order for another number, of a former leader, without survivors or without evidence moves nothing, nor
        does one that is not signed, or names nothing (S16, S17)."""
        refused: tuple[dict[str, Any], ...] = (
            {"number": 77},
            {"term": 0},
            {"survivors": ()},
            {"evidence": 0},
            {"node": NodeNumber(2)},
            {"expires_ms": 1},
        )
        for job, changes in enumerate(refused):
            self.assertEqual(self.trim(job + 1, **changes).code, Forbidden.code, changes)
        self.assertEqual(self.give(20, None).code, Forbidden.code)
        self.assertTrue(self.cluster.holds(1, chunk(1)))
