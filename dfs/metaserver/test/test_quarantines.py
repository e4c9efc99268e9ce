"""What metadata says of replicas that chunk servers have set aside."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from dfs.metaserver.test.cluster import SHA256, Chunk, Cluster
from dfs.protocol import messages as m
from dfs.protocol.errors import Forbidden
from dfs.protocol.values import FileId, Generation

KEEP, ADMIT, DELETE = m.QuarantineVerdict.KEEP, m.QuarantineVerdict.ADMIT, m.QuarantineVerdict.DELETE


class VerdictTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.cluster = Cluster()
        self.cluster.start(4)
        self.file = self.cluster.store("a")
        (self.chunk,) = self.cluster.done(m.ListChunks(self.file.file_id, 0, 1), m.ChunkPage).chunks
        self.holders = [self.cluster.chunk(name) for name in sorted(self.cluster.replicas(self.file))]
        (self.other,) = [chunk for chunk in self.cluster.chunks if chunk not in self.holders]
        self.aside = m.SetAside(
            self.file.file_id, 0, self.chunk.generation, self.chunk.length, self.chunk.sha256, True, True
        )
        self.assertEqual(len(self.chunk.sha256), len(SHA256))

    def ask(self, chunk: Chunk, *asides: m.SetAside) -> tuple[m.QuarantineVerdict, ...]:
        assert chunk.leader is not None
        request = m.JudgeQuarantined(chunk.node, chunk.incarnation, asides)
        judged = self.cluster.world.run_until(chunk.leader.call(request, 5.0))
        assert isinstance(judged, m.QuarantineJudged)
        return judged.verdicts

    def seen(self) -> None:
        """Every node's inventory was seen, and holds what is recorded."""
        term = self.cluster.leader().term
        assert term is not None
        held = m.HeldReplica(
            self.file.file_id, 0, self.chunk.generation, self.chunk.length, self.chunk.sha256, 1
        )
        for chunk in self.cluster.chunks:
            chunk.held = (held,) if chunk in self.holders else ()
            term.inventorying.wanted(chunk.node)
        numbers = [chunk.node for chunk in self.cluster.chunks]
        self.cluster.world.run_until(lambda: all(term.inventorying.may_delete(number) for number in numbers))

    def test_full_elsewhere(self) -> None:
        """S16: what is set aside goes when its time is over and the chunk has its full replication elsewhere; not
        before, and not at a holder, whose own record is no survivor."""
        self.seen()
        self.assertEqual(self.ask(self.other, self.aside, evolve(self.aside, expired=False)), (DELETE, KEEP))
        self.assertEqual(self.ask(self.holders[0], self.aside), (KEEP,))

    def test_unseen_nodes_are_no_survivors(self) -> None:
        """S16: a record counts as a survivor only of a node that told this leader all it holds."""
        self.seen()
        term = self.cluster.leader().term
        assert term is not None
        term.inventorying._seen.discard(self.holders[0].node)
        self.assertEqual(self.ask(self.other, self.aside), (KEEP,))

    def test_dead_nodes_are_no_survivors(self) -> None:
        """S16: nothing goes while one of the survivors is silent; what is whole is served again instead (S11)."""
        self.seen()
        self.holders[0].silent = True
        self.cluster.world.run(4.0)
        rotten = evolve(self.aside, whole=False)
        self.assertEqual(self.ask(self.other, self.aside, rotten), (ADMIT, KEEP))

    def test_admits_only_the_committed_bytes(self) -> None:
        """S07: other bytes, another length or generation are not admitted, however whole they are."""
        self.holders[0].silent = True
        self.cluster.world.run(4.0)
        wrong = (
            evolve(self.aside, sha256=b"\x01" * 32),
            evolve(self.aside, length=self.aside.length + 1),
            evolve(self.aside, generation=Generation(self.aside.generation + 1)),
            evolve(self.aside, whole=False),
        )
        self.assertEqual(self.ask(self.other, *wrong), (KEEP,) * 4)
        self.assertEqual(self.ask(self.other, self.aside), (ADMIT,))

    def test_unknown_is_kept(self) -> None:
        """S16: what metadata does not know, what is newer than all that it issued, and what is of another history is
        kept for ever."""
        self.seen()
        kept = (
            evolve(self.aside, file_id=FileId(999)),
            evolve(self.aside, index=7),
            evolve(self.aside, generation=Generation(self.aside.generation + 1000)),
            evolve(self.aside, generation=Generation(3)),
        )
        self.assertEqual(self.ask(self.other, *kept), (KEEP,) * 4)

    def test_garbage(self) -> None:
        """S15: of a file that has ended what is set aside goes when its time is over."""
        self.seen()
        for chunk in self.holders:
            chunk.code = 1  # they do not get round to deleting
        self.cluster.done(m.DeleteFile(self.cluster.operation(), "a", None), m.FileInfo)
        self.assertEqual(self.ask(self.other, self.aside, evolve(self.aside, expired=False)), (DELETE, KEEP))

    def test_speaks_for_itself_only(self) -> None:
        """S43: a chunk server cannot ask for another."""
        assert self.other.leader is not None
        request = m.JudgeQuarantined(self.holders[0].node, self.holders[0].incarnation, (self.aside,))
        with self.assertRaises(Forbidden):
            self.cluster.world.run_until(self.other.leader.call(request, 5.0))
