"""The state travels whole, verified, and replaces nothing before that (S32, R37 to R40)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from dfs.disk.real import RealDisk
from dfs.kv.errors import BadStream
from dfs.kv.folder import StoreFolder
from dfs.kv.interfaces import Batch, scan_all
from dfs.metaserver import queries
from dfs.metaserver.machine import MetadataMachine
from dfs.metaserver.test.bench import CLUSTER, Bench
from dfs.metaserver.transaction import ShortChunk
from dfs.raft.interfaces import Command, ISnapshotSink, ISnapshotSource


class SnapshotTests(SynchronousTestCase):
    """From one machine into another."""

    def setUp(self) -> None:
        self.source = Bench()
        self.source.nodes(3)
        for number in range(40):
            self.source.store_file(f"file-{number:03}", 2)
        self.target = Bench()

    def stream(self, piece: int = 1000) -> list[bytes]:
        opened = self.source.machine.open_snapshot()
        pieces = []
        while got := opened.read(piece):
            pieces.append(got)
        opened.close()
        return pieces

    def test_travels_whole(self) -> None:
        """The receiver has the same records, mark and hash, and goes on from there."""
        sink = self.target.machine.receive_snapshot()
        self.assertTrue(verifyObject(ISnapshotSink, sink))
        for piece in self.stream():
            sink.write(piece)
        mark = sink.commit()
        self.assertEqual(mark, self.source.machine.applied())
        self.assertEqual(self.target.machine.applied(), mark)
        self.assertEqual(self.target.machine.durable_index(), mark.index)
        self.assertEqual(self.target.machine.state_hash(), self.source.machine.state_hash())
        entry = self.source.entry(None)
        for bench in (self.source, self.target):
            bench.machine.apply([entry])
        self.assertEqual(self.target.machine.state_hash(), self.source.machine.state_hash())

    def test_consistent_while_entries_are_applied(self) -> None:
        """The stream is the state of its mark, whatever is applied while it is read."""
        opened = self.source.machine.open_snapshot()
        self.assertTrue(verifyObject(ISnapshotSource, opened))
        expected = self.source.machine.state_hash()
        sink = self.target.machine.receive_snapshot()
        number = 0
        while piece := opened.read(3000):
            sink.write(piece)
            number += 1
            self.source.store_file(f"new-{number}")
        opened.close()
        self.assertGreater(number, 3)
        self.assertEqual(sink.commit(), opened.mark)
        self.assertEqual(self.target.machine.state_hash(), expected)

    def test_any_flipped_byte(self) -> None:
        """A stream with a flipped bit is refused wherever it is flipped, and the former state stays."""
        whole = b"".join(self.stream())
        self.target.node("x")
        before = self.target.machine.state_hash()
        for offset in range(0, len(whole), max(1, len(whole) // 40)):
            sink = self.target.machine.receive_snapshot()
            with self.assertRaises(ValueError):
                sink.write(whole[:offset] + bytes([whole[offset] ^ 4]) + whole[offset + 1 :])
                sink.commit()
            sink.abort()
        self.assertEqual(self.target.machine.state_hash(), before)
        self.assertEqual(len(queries.nodes_page(self.target.machine.store)), 1)

    def test_cut(self) -> None:
        """A stream that ends early is refused; abort and a new transfer work after it."""
        pieces = self.stream()
        sink = self.target.machine.receive_snapshot()
        for piece in pieces[:-1]:
            sink.write(piece)
        with self.assertRaises(ValueError):
            sink.commit()
        sink.abort()
        again = self.target.machine.receive_snapshot()
        for piece in pieces:
            again.write(piece)
        self.assertEqual(again.commit(), self.source.machine.applied())

    def test_former_transfer_is_thrown_away(self) -> None:
        """A new transfer throws the former unfinished one away."""
        pieces = self.stream()
        first = self.target.machine.receive_snapshot()
        first.write(pieces[0])
        second = self.target.machine.receive_snapshot()
        for piece in pieces:
            second.write(piece)
        first.abort()
        self.assertEqual(second.commit(), self.source.machine.applied())

    def test_wrong_record_hash(self) -> None:
        """A sender whose tables differ from their running hash is found out before anything is replaced (S38)."""
        store = self.source.machine.store
        key, value = store.scan(b"C", b"D", 1)[0]
        store.apply(Batch({key: value[:-1] + bytes([value[-1] ^ 1])}))
        sink = self.target.machine.receive_snapshot()
        for piece in self.stream():
            sink.write(piece)
        with self.assertRaises(BadStream):
            sink.commit()
        self.assertEqual(self.target.machine.applied().index, 0)

    def test_other_cluster_and_older_state(self) -> None:
        """A snapshot of another cluster (R35), or older than what is applied (R39), is refused."""
        pieces = self.stream()
        self.target.machine.apply([Command(10_000, 9, b"")])
        older = self.target.machine.receive_snapshot()
        stranger = MetadataMachine(Bench().folder.__class__(type(self.source.machine.store)), b"z" * 16)
        foreign = stranger.receive_snapshot()
        for sink in (older, foreign):
            for piece in pieces:
                sink.write(piece)
            with self.assertRaises(BadStream):
                sink.commit()

    def test_planner_is_told(self) -> None:
        """After an install the leader's planner is told that events were missed."""
        sink = self.target.machine.receive_snapshot()
        for piece in self.stream():
            sink.write(piece)
        sink.commit()
        self.assertTrue(self.target.machine.take_events()[1])
        self.assertNotIn(ShortChunk, map(type, self.target.machine.take_events()[0]))

    def test_into_a_folder_on_disk(self) -> None:
        """Received beside the tables in use, switched by a rename; opened again it is the received state (R37)."""
        path = self.mktemp()
        folder = StoreFolder(RealDisk(), path, "memory")
        machine = MetadataMachine(folder, CLUSTER)
        machine.apply([Command(1, 1, b"")])
        sink = machine.receive_snapshot()
        for piece in self.stream():
            sink.write(piece)
        sink.commit()
        machine.close()
        again = MetadataMachine(StoreFolder(RealDisk(), path, "memory"), CLUSTER)
        self.addCleanup(again.close)
        self.assertEqual(again.state_hash(), self.source.machine.state_hash())
        self.assertEqual(list(scan_all(again.store, b"")), list(scan_all(self.source.machine.store, b"")))
