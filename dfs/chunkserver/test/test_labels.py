"""What replicas say of their files: from the client's put to the footers of every copy."""

from __future__ import annotations

from attrs import asdict, evolve
from twisted.trial.unittest import SynchronousTestCase

from dfs.chunkserver import footer as footers
from dfs.chunkserver.footer import Footer
from dfs.chunkserver.layout import Layout
from dfs.chunkserver.test.fakes import blocks_of, content_of, sha256_of
from dfs.chunkserver.test.world import CLUSTER, DATA, NOW_MS, Cluster, chunk
from dfs.protocol import messages as m
from dfs.protocol.errors import Forbidden
from dfs.protocol.labels import label_evidence
from dfs.protocol.trust import Spread
from dfs.protocol.values import PIECE, ChunkRef, Description, Grant, GrantKind, Label, Target

CONTENT = content_of(2 * PIECE + 17)
LABEL = Label("a/b", None, 4 << 20, 2)
REF = chunk(1)


def job(kind: m.JobKind, targets: tuple[Target, ...], grant: Grant | None) -> m.Job:
    return m.Job(
        1, kind, REF.file_id, REF.index, REF.generation, len(CONTENT), sha256_of(CONTENT), targets, grant
    )  # fmt: skip


class LabelTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.cluster = Cluster(3)

    def request(self, description: Description, ref: ChunkRef = REF, *numbers: int) -> m.PutLabelled:
        """A put whose grant is for a file of LABEL."""
        targets = self.cluster.targets(*(numbers or (1, 2)))
        spread = Spread(targets, len(targets))
        grant = self.cluster.keys.sign(
            GrantKind.PUT, ref.file_id, ref.index, ref.generation, 2 * NOW_MS, label_evidence(LABEL), spread
        )
        request = evolve(self.cluster.request(ref, targets, len(targets)), grant=grant)
        return m.PutLabelled(**asdict(request, recurse=False), description=description)

    def put(self, request: m.PutChunk) -> None:
        put = self.cluster.open(request)
        for block in blocks_of(CONTENT):
            put.write(block)
        put.end(len(CONTENT), sha256_of(CONTENT))
        self.cluster.world.run_until(put.answer, 60.0)

    def footer(self, number: int, ref: ChunkRef = REF) -> Footer:
        """What is on a server's disk."""
        disk = self.cluster.world.hosts[f"chunk-{number}"].disk
        file = disk.open(Layout(DATA, CLUSTER).path(ref), writable=False)
        return footers.decode(file.pread(footers.MAX_FOOTER, max(0, file.size() - footers.MAX_FOOTER)), file.size())

    def described(self, number: int) -> tuple[Label, bool, bool]:
        found = self.footer(number).description
        assert found is not None
        return found.label, found.last, found.written_ms > 0

    def test_every_replica_says_its_file(self) -> None:
        """A put with a label is written with it at every target, with the time by the server's own clock."""
        self.cluster.world.run(1.0)
        self.put(self.request(Description(LABEL, True, 10**15)))
        for number in (1, 2):
            self.assertEqual(self.described(number), (LABEL, True, True))
            found = self.footer(number).description
            assert found is not None
            self.assertNotEqual(found.written_ms, 10**15)

    def test_label_of_another_file(self) -> None:
        """No client writes the name or the shape of another file into a replica: the grant stands for the label."""
        for label in (
            evolve(LABEL, name="c"),
            evolve(LABEL, size=5),
            evolve(LABEL, chunk_size=1 << 20),
            evolve(LABEL, replication=1),
        ):
            with self.assertRaises(Forbidden):
                self.put(self.request(Description(label, False, 0)))
        self.assertFalse(self.cluster.holds(1, REF))

    def test_older_client(self) -> None:
        """A put without a label, from a client of before labels, is stored with a footer of version 1 (S39)."""
        said = asdict(self.request(Description(LABEL, False, 0)), recurse=False)
        del said["description"]
        self.put(m.PutChunk(**said))
        for number in (1, 2):
            self.assertIsNone(self.footer(number).description)

    def test_copies_say_the_same(self) -> None:
        """A copy for repair says of its file what its source says, the time of the first write included."""
        self.put(self.request(Description(LABEL, False, 0), REF, 1))
        targets = self.cluster.targets(2)
        grant = self.cluster.grant(REF, GrantKind.COPY, spread=Spread(targets, 1))
        self.cluster.meta.jobs.append(job(m.JobKind.COPY, targets, grant))
        self.cluster.world.run_until(lambda: len(self.cluster.meta.results) > 0)
        self.assertEqual([result.code for result in self.cluster.meta.results], [0])
        self.assertEqual(self.footer(2).description, self.footer(1).description)
        self.assertEqual(self.described(2), (LABEL, False, True))

    def test_served_again(self) -> None:
        """A replica that comes back from the quarantine says what it said before."""
        self.put(self.request(Description(LABEL, False, 0), REF, 1))
        before = self.footer(1)
        self.cluster.meta.jobs.append(job(m.JobKind.RESTORE, (), None))
        self.cluster.world.run_until(lambda: len(self.cluster.meta.results) > 0)
        self.assertEqual([result.code for result in self.cluster.meta.results], [0])
        self.assertEqual(self.footer(1).description, before.description)
        self.assertNotEqual(self.footer(1).number, before.number)
