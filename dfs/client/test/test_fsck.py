"""fsck: what is wrong with files, and nothing that is not."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from dfs.client.checking import Damage, Finding
from dfs.client.fsck import Report
from dfs.client.test.fakes import CHUNK, FakeCluster, sample
from dfs.protocol import messages as m
from dfs.protocol.errors import Disconnected
from dfs.protocol.values import NodeState


class FsckCase(SynchronousTestCase):
    """Three servers, three files; one of them is empty, one is longer than a page."""

    def setUp(self) -> None:
        self.cluster = FakeCluster()
        self.metadata = self.cluster.metadata
        self.cluster.store("a/long", sample(4 * CHUNK + 3))
        self.cluster.store("a/empty", b"")
        self.cluster.store("b", sample(CHUNK))
        self.found: list[Finding] = []

    def check(self, prefix: str = "", **options: Any) -> Report:
        self.found = []
        return self.cluster.run(self.cluster.client.check(prefix, self.found.append, **options), 300.0)

    def told(self) -> list[tuple[str, int | None, Damage, str]]:
        return [(each.name, each.index, each.damage, each.node) for each in self.found]

    def file(self, name: str) -> m.FileInfo:
        info = self.metadata.file(name).info
        assert info is not None
        return info


class RecordTests(FsckCase):
    """What the record alone tells."""

    def test_whole(self) -> None:
        """Files that are whole are counted and nothing is told of them."""
        report = self.check()
        self.assertEqual((report.files, report.chunks, report.bytes), (3, 6, 5 * CHUNK + 3))
        self.assertEqual((self.found, report.exit_code, report.replicas), ([], 0, 0))

    def test_prefix(self) -> None:
        """Only files whose name begins so are looked at."""
        self.assertEqual(self.check("a/").files, 2)
        self.assertEqual(self.check("nothing").files, 0)

    def test_dead_nodes(self) -> None:
        """A dead node's replicas do not count: short, at one copy, lost; exit code 1 until something is lost (S42)."""
        for dead, damage, code in (
            (["chunk-1"], Damage.SHORT, 1),
            (["chunk-1", "chunk-2"], Damage.SINGLE, 1),
            (["chunk-1", "chunk-2", "chunk-3"], Damage.LOST, 6),
        ):
            self.metadata.states = dict.fromkeys(dead, NodeState.DEAD)
            report = self.check("b")
            self.assertEqual((self.told(), report.exit_code), ([("b", 0, damage, "")], code))

    def test_suspect_nodes_count(self) -> None:
        """A node that is only suspect, or in maintenance, still holds what it holds."""
        self.metadata.states = {"chunk-1": NodeState.SUSPECT, "chunk-2": NodeState.MAINTENANCE}
        self.assertEqual(self.check().exit_code, 0)

    def test_record_contradicts_itself(self) -> None:
        """A missing chunk, another length or another hash is found from the record alone, and is exit code 6."""
        file = self.metadata.file("a/long")
        whole = dict(file.chunks)

        def broken() -> list[tuple[int | None, Damage]]:
            report = self.check("a/long")
            self.assertEqual(report.exit_code, 6)
            return [(each.index, each.damage) for each in self.found]

        del file.chunks[2]
        self.assertEqual(broken(), [(2, Damage.BROKEN), (None, Damage.BROKEN)])
        file.chunks = {**whole, 4: evolve(whole[4], committed=evolve(whole[4].committed, length=2))}
        self.assertEqual(broken(), [(None, Damage.BROKEN)])
        file.chunks = {**whole, 1: evolve(whole[1], committed=evolve(whole[1].committed, sha256=bytes(32)))}
        self.assertEqual(broken(), [(None, Damage.BROKEN)])

    def test_deleted_meanwhile(self) -> None:
        """A file that is deleted while its pages are fetched is not told of as broken (S47)."""
        file_id = self.file("a/long").file_id

        def delete() -> None:
            self.metadata.files.pop(file_id, None)

        self.metadata.between_pages = delete
        report = self.check()
        self.assertEqual((self.found, report.exit_code), ([], 0))


class DeepTests(FsckCase):
    """What reading every replica tells."""

    def reports(self) -> list[m.ReportCorrupt]:
        return self.metadata.of(m.ReportCorrupt)

    def test_every_replica_is_read(self) -> None:
        """Deep reads each replica of each chunk, and finds nothing wrong where nothing is."""
        report = self.check(deep=True)
        self.assertEqual((report.replicas, self.found, report.exit_code), (18, [], 0))
        gets = [event for event in self.cluster.events if event.startswith("get")]
        self.assertEqual(len(gets), 18)

    def test_bit_rot(self) -> None:
        """One flipped bit in one of three replicas is found, and its node and chunk are named (S11)."""

        def rotten(data: bytes) -> bytes:
            return data[:-1] + bytes([data[-1] ^ 1])

        self.cluster.servers["chunk-2"].served = rotten
        report = self.check("b", deep=True)
        self.assertEqual((self.told(), report.exit_code), ([("b", 0, Damage.CORRUPT, "chunk-2")], 6))
        self.assertEqual(self.reports(), [])

    def test_repair_reports(self) -> None:
        """With repair, and only then, metadata is told of the bad replica."""
        self.cluster.servers["chunk-2"].served = bytes.upper
        self.check("b", deep=True, repair=True)
        self.assertEqual([(each.index, each.node) for each in self.reports()], [(0, "chunk-2")])

    def test_missing_replica(self) -> None:
        """A replica that is recorded and not there is told of, with its node."""
        self.cluster.servers["chunk-3"].data.clear()
        self.check("b", deep=True)
        self.assertEqual(self.told(), [("b", 0, Damage.MISSING, "chunk-3")])

    def test_moved_meanwhile(self) -> None:
        """A replica that metadata no longer looks for at that node is not told of."""
        stored = self.metadata.file("b").chunks[0]
        self.cluster.servers["chunk-3"].data.clear()
        nodes = list(stored.nodes)
        page = self.metadata._Survey

        def survey(request: m.Survey) -> m.SurveyPage:
            stored.nodes[:] = nodes
            answer = page(request)
            stored.nodes.remove("chunk-3")
            return answer

        self.metadata._Survey = survey  # type: ignore[method-assign]
        self.check("b", deep=True)
        self.assertEqual(self.found, [])

    def test_unreachable(self) -> None:
        """A node that cannot be reached is a lack of certainty, not of bytes: exit code 1, and nothing is reported."""
        self.cluster.servers["chunk-1"].down = Disconnected("refused")
        report = self.check("b", deep=True, repair=True)
        self.assertEqual((self.told(), report.exit_code), ([("b", 0, Damage.UNREACHABLE, "chunk-1")], 1))
        self.assertEqual(self.reports(), [])

