"""What a chunk server does for a rebuild."""

from __future__ import annotations

from attrs import asdict
from twisted.trial.unittest import SynchronousTestCase

from dfs.chunkserver.founding import read_founding, write_founding
from dfs.chunkserver.rebuilding import SILENCE
from dfs.chunkserver.test.fakes import blocks_of, content_of, sha256_of
from dfs.chunkserver.test.world import DATA, NOW_MS, Cluster, chunk
from dfs.protocol import messages as m
from dfs.protocol.errors import BadRequest, Forbidden, WrongCluster
from dfs.protocol.labels import label_evidence
from dfs.protocol.trust import Spread
from dfs.protocol.values import Description, GrantKind, Label, Purpose

FORMER, NEW = b"f" * 16, b"n" * 16
START, END = bytes(12), b"\xff" * 12


class RebuildingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.cluster = Cluster(1)
        self.host = self.cluster.world.hosts["chunk-1"]

    def ask(self, request: object, trusted: bool = True) -> object:
        connection = self.cluster.dial(1, Purpose.CONTROL, trusted)
        return self.cluster.world.run_until(connection.call(request, 30.0))

    def page(self, after: bytes = START, limit: int = 10) -> m.ReplicaPage:
        answer = self.ask(m.ListReplicas(after, limit))
        assert isinstance(answer, m.ReplicaPage)
        return answer

    def put(self, file_id: int, label: Label) -> None:
        """A chunk that says its file."""
        ref, targets = chunk(file_id), self.cluster.targets(1)
        evidence = label_evidence(label)
        grant = self.cluster.keys.sign(
            GrantKind.PUT, ref.file_id, 0, ref.generation, 2 * NOW_MS, evidence, Spread(targets, 1)
        )
        plain = m.PutChunk(ref.file_id, 0, ref.generation, None, 1 << 20, targets, 0, 1, True, grant)
        put = self.cluster.open(m.PutLabelled(**asdict(plain, recurse=False), description=Description(label, True, 0)))
        content = content_of(100 + file_id)
        for block in blocks_of(content):
            put.write(block)
        put.end(len(content), sha256_of(content))
        self.cluster.world.run_until(put.answer, 60.0)

    def belong_to(self, founding: bytes) -> None:
        """Start the server again as one that stays with a cluster of this founding; its metadata is silent."""
        self.cluster.world.hosts["meta-1"].kill()
        self.host.kill()
        self.host.restart()
        write_founding(self.host.disk, DATA, founding)
        self.cluster.world.run_until(self.cluster.start(1).ready)

    def test_pages(self) -> None:
        """Every replica is listed once, page by page, with what its footer says of its file."""
        for file_id in range(1, 6):
            self.put(file_id, Label(f"file-{file_id}", None, 1 << 20, 3))
        self.cluster.put(chunk(6), content_of(7), self.cluster.targets(1), quorum=1)
        found: list[m.DescribedReplica] = []
        after = START
        while after != END:
            page = self.page(after, 2)
            self.assertLessEqual(len(page.replicas), 2)
            self.assertEqual((page.node, page.unreadable), ("chunk-1", 0))
            found += page.replicas
            after = page.upto
        named = [(each.held.file_id, each.description.label.name if each.description else "") for each in found]
        self.assertEqual(named, [*((n, f"file-{n}") for n in range(1, 6)), (6, "")])
        self.assertEqual(found[0].held.sha256, sha256_of(content_of(101)))

    def test_only_who_proves_the_key(self) -> None:
        """Names are told, and clusters left, on the word of nobody but a holder of the key."""
        for request in (m.ListReplicas(START, 10), m.AdoptCluster(FORMER, NEW)):
            with self.assertRaises(Forbidden):
                self.ask(request, trusted=False)

    def test_limits(self) -> None:
        """A page of no or too many replicas is not asked for."""
        for limit in (0, 1000):
            with self.assertRaises(BadRequest):
                self.page(limit=limit)

    def test_adopts_and_ends(self) -> None:
        """Told to leave the lost cluster that it belongs to, a server writes the new one down and ends (S28)."""
        self.belong_to(FORMER)
        fatal: list[str] = []
        self.cluster.servers[1].on_fatal = fatal.append
        self.assertEqual(self.ask(m.AdoptCluster(FORMER, NEW)), m.Done())
        self.assertEqual(read_founding(self.host.disk, DATA), NEW)
        self.cluster.world.run(1.0)
        self.assertIn("start it again", fatal[0])

    def test_another_former(self) -> None:
        """A server that belongs to another cluster than the one that is lost stays with it (S28)."""
        self.belong_to(FORMER)
        with self.assertRaises(WrongCluster):
            self.ask(m.AdoptCluster(b"x" * 16, NEW))
        self.assertEqual(self.ask(m.AdoptCluster(b"x" * 16, FORMER)), m.Done())
        self.assertEqual(read_founding(self.host.disk, DATA), FORMER)

    def test_not_while_its_metadata_lives(self) -> None:
        """A server that heard from the metadata of its cluster just now does not leave it, whoever asks (S28)."""
        self.belong_to(FORMER)
        rebuilding = self.cluster.servers[1].service
        assert rebuilding is not None and rebuilding.rebuilding is not None
        heard = self.cluster.servers[1].runtime.reactor.seconds()
        rebuilding.rebuilding._heard = lambda: heard
        with self.assertRaises(Forbidden):
            self.ask(m.AdoptCluster(FORMER, NEW))
        self.assertEqual(read_founding(self.host.disk, DATA), FORMER)
        self.cluster.world.run(SILENCE)
        self.assertEqual(self.ask(m.AdoptCluster(FORMER, NEW)), m.Done())

    def test_a_server_of_no_cluster(self) -> None:
        """One that was never let in leaves nothing: it registers where it is told to."""
        self.belong_to(FORMER)
        self.host.disk.unlink(f"{DATA}/founding")
        self.host.kill()
        self.host.restart()
        self.cluster.world.run_until(self.cluster.start(1).ready)
        self.assertEqual(self.ask(m.AdoptCluster(FORMER, NEW)), m.Done())
        self.assertEqual(read_founding(self.host.disk, DATA), b"")
