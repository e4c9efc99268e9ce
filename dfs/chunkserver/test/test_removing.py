"""Orders that take a replica away, or bring it back, and the word of a target that its copy is on disk."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from dfs.chunkserver.layout import Layout
from dfs.chunkserver.store import ChunkStore
from dfs.chunkserver.test.fakes import content_of, sha256_of
from dfs.chunkserver.test.world import CLUSTER, DATA, NOW_MS, Cluster, chunk
from dfs.protocol import messages as m
from dfs.protocol.errors import Forbidden, ReplicaCorrupt
from dfs.protocol.messages import Removal, RemovalKind, Survivor
from dfs.protocol.trust import Spread
from dfs.protocol.values import HISTORY_SHIFT, ChunkRef, Generation, GrantKind, NodeNumber

CONTENT = content_of(200_000)


class RemovingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.cluster = Cluster(2)
        self.cluster.put(chunk(1), CONTENT, self.cluster.targets(1), quorum=1)
        self.jobs = 0

    @property
    def store(self) -> ChunkStore:
        store = self.cluster.servers[1].store
        assert store is not None
        return store

    def number(self, ref: ChunkRef = chunk(1)) -> int:
        held = self.store.index.get(ref)
        assert held is not None
        return held.number

    def removal(self, **changes: Any) -> Removal:
        """A good order to trim the replica, changed."""
        ref = chunk(1)
        good = Removal(
            kind=RemovalKind.SURPLUS,
            file_id=ref.file_id,
            index=ref.index,
            generation=ref.generation,
            node=NodeNumber(1),
            number=self.number(),
            committed=ref.generation,
            survivors=(Survivor(NodeNumber(2), 3), Survivor(NodeNumber(3), 4)),
            term=1,
            evidence=9,
            expires_ms=NOW_MS * 2,
            mac=b"",
        )
        return self.cluster.keys.sign_removal(evolve(good, mac=bytes(32), **changes))

    def order(self, kind: m.JobKind, removal: Removal | None = None, ref: ChunkRef = chunk(1)) -> m.JobResult:
        """Give node 1 a job and wait for its result."""
        self.jobs += 1
        before = len(self.cluster.meta.results)
        targets = self.cluster.targets(2) if kind == m.JobKind.COPY else ()
        grant = self.cluster.grant(ref, GrantKind.COPY, spread=Spread(targets, 1)) if targets else None
        job = m.Job(self.jobs, kind, *_fields(ref), len(CONTENT), sha256_of(CONTENT), targets, grant, removal)
        self.cluster.meta.jobs.append(job)
        self.cluster.world.run_until(lambda: len(self.cluster.meta.results) > before)
        return self.cluster.meta.results[-1]

    def test_trim(self) -> None:
        """S16: a surplus replica goes to the quarantine on an order that names the survivors; again is success."""
        removal = self.removal()
        for _ in range(2):
            self.assertEqual(self.order(m.JobKind.TRIM, removal).code, 0)
            self.assertFalse(self.cluster.holds(1, chunk(1)))
            self.assertEqual([one.reason for one in self.store.quarantine.all()], ["surplus"])

    def test_refused(self) -> None:
        """S16, S17: nothing goes without leave, on another cluster's word, after its time, for another node, number or
        replica, from a former leader, without survivors or without evidence."""
        meta = self.cluster.meta
        meta.term = 5
        self.cluster.world.run(3.0)
        good = self.removal(term=5)
        wrong = [
            None,
            evolve(good, mac=b"\x01" * 32),
            evolve(good, number=good.number + 1),
            *(
                self.removal(**{"term": 5, **change})
                for change in (
                    {"expires_ms": NOW_MS - 1},
                    {"node": NodeNumber(2)},
                    {"number": good.number + 1},
                    {"index": 4},
                    {"term": 4},
                    {"survivors": ()},
                    {"survivors": (Survivor(NodeNumber(1), 3),)},
                    {"evidence": 0},
                    {"committed": Generation(2)},
                    {"kind": RemovalKind.STALE},
                )
            ),
        ]
        for removal in wrong:
            self.assertEqual(self.order(m.JobKind.TRIM, removal).code, Forbidden.code, removal)
        self.assertTrue(self.cluster.holds(1, chunk(1)))
        self.assertEqual(self.order(m.JobKind.TRIM, good).code, 0)

    def test_made_anew(self) -> None:
        """S06, S16: an order for a replica that was made anew since it was given reaches nothing."""
        removal = self.removal()
        self.assertEqual(self.order(m.JobKind.TRIM, removal).code, 0)
        self.cluster.put(chunk(1), CONTENT, self.cluster.targets(1), quorum=1)
        self.assertEqual(self.order(m.JobKind.TRIM, removal).code, Forbidden.code)
        self.assertTrue(self.cluster.holds(1, chunk(1)))

    def test_stale_generation(self) -> None:
        """S16: a replica of an older generation of the same history goes aside; one of another history never."""
        base = 7 << HISTORY_SHIFT
        old, foreign = chunk(1, generation=base + 1), chunk(1)
        self.cluster.put(old, CONTENT, self.cluster.targets(1), quorum=1)
        for ref, code in ((old, 0), (foreign, Forbidden.code)):
            removal = self.removal(
                kind=RemovalKind.STALE,
                generation=ref.generation,
                number=self.number(ref),
                committed=Generation(base + 2),
                evidence=0,
                survivors=(),
            )
            self.assertEqual(self.order(m.JobKind.TRIM, removal, ref).code, code)
        self.assertEqual([self.cluster.holds(1, ref) for ref in (old, foreign)], [False, True])

    def test_restore(self) -> None:
        """S17: a trimmed replica is served again on metadata's order, and the result names its new number."""
        before = self.number()
        self.order(m.JobKind.TRIM, self.removal())
        result = self.order(m.JobKind.RESTORE)
        self.assertEqual((result.code, result.number), (0, self.number()))
        self.assertGreater(result.number, before)
        _, got = self.cluster.get(1, chunk(1), 0, len(CONTENT))
        self.assertEqual(bytes(got.content[: len(CONTENT)]), CONTENT)

    def test_end_of_the_file(self) -> None:
        """S15: when the file ends, what is set aside of it goes with the rest."""
        self.order(m.JobKind.TRIM, self.removal())
        grant = self.cluster.grant(chunk(1), GrantKind.DELETE)
        job = m.Job(99, m.JobKind.DELETE, *_fields(chunk(1)), 0, bytes(32), (), grant)
        self.cluster.meta.jobs.append(job)
        self.cluster.world.run_until(lambda: self.cluster.meta.results[-1].job == 99)
        self.assertEqual(self.store.quarantined, 0)

    def test_copy_is_read_back(self) -> None:
        """S07, S17: a copy that rots on its way to the disk is found before anybody hears that it is durable."""
        target, path = self.cluster.servers[2].store, Layout(DATA, CLUSTER).path(chunk(1))
        disk = self.cluster.world.hosts["chunk-2"].disk
        rename = disk.rename

        def rot(source: str, name: str) -> None:
            rename(source, name)
            if name == path:
                disk.flip_bits(path, 100)

        self.patch(disk, "rename", rot)
        self.assertEqual(self.order(m.JobKind.COPY).code, ReplicaCorrupt.code)
        assert target is not None
        self.assertIsNone(target.index.get(chunk(1)))
        self.assertEqual([one.reason for one in target.quarantine.all()], ["corrupt"])
        self.flushLoggedErrors()


def _fields(ref: ChunkRef) -> tuple[Any, int, Any]:
    return ref.file_id, ref.index, ref.generation
