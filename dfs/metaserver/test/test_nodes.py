"""Who is who, and what follows from death and return."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from dfs.metaserver import commands, queries
from dfs.metaserver.answers import NodeRegistered
from dfs.metaserver.records import Standing
from dfs.metaserver.test.bench import Bench
from dfs.protocol.errors import BadRequest, Forbidden, Unavailable

ONE, TWO = b"1" * 16, b"2" * 16


class NodeTests(SynchronousTestCase):
    """Registration, death, return."""

    def setUp(self) -> None:
        self.bench = Bench()

    def register(self, name: str, incarnation: bytes, address: str = "h:1", rack: str = "") -> NodeRegistered:
        answer = self.bench.do(commands.RegisterNode(name, incarnation, address, rack))
        assert isinstance(answer, NodeRegistered)
        return answer

    def test_number_belongs_to_the_folder(self) -> None:
        """The same folder keeps its number over restarts and new addresses."""
        first = self.register("a", ONE)
        again = self.register("a", ONE, "h:2", "r1")
        self.assertEqual((first.joined, again.joined, again.node), (True, False, first.node))
        record = queries.node(self.bench.machine.store, first.node)
        assert record is not None
        self.assertEqual((record.address, record.rack), ("h:2", "r1"))

    def test_wiped_folder(self) -> None:
        """A new folder under a living name is refused for now; once the former is dead it gets a number of its own."""
        first = self.register("a", ONE)
        with self.assertRaises(Unavailable):
            self.register("a", TWO)
        self.bench.do(commands.NodeDied(first.node))
        second = self.register("a", TWO)
        self.assertNotEqual(second.node, first.node)
        with self.assertRaises(Unavailable):
            self.register("a", ONE)
        with self.assertRaises(Forbidden):
            self.bench.do(commands.NodeReturned(first.node))

    def test_folder_under_another_name(self) -> None:
        """A folder that belongs to one name is refused under another (a directory cloned or mixed up: S19)."""
        self.register("a", ONE)
        with self.assertRaises(Forbidden):
            self.register("b", ONE)

    def test_death_is_one_record(self) -> None:
        """Death and return change the node's record and nothing else (S01, S03)."""
        self.bench.nodes(3)
        self.bench.store_file("a", 3)
        tables = dict(self.bench.machine.store.scan(b"A", b"E"))
        self.assertEqual(self.bench.do(commands.NodeDied(2)).count, 1)
        self.assertEqual(self.bench.do(commands.NodeDied(2)).count, 0)
        dead = dict(self.bench.machine.store.scan(b"A", b"E"))
        self.assertEqual([key for key in tables if tables[key] != dead[key]], [b"D\0\0\0\2"])
        page = queries.list_chunks(self.bench.machine.store, b"c" * 16, 1 << 48 | 1, 0, 10, {})
        self.assertEqual(len(page.chunks[0].replicas), 3)
        self.assertEqual(self.bench.do(commands.NodeReturned(2)).count, 1)

    def test_registration_is_a_return(self) -> None:
        """A dead node that registers is alive again (S03)."""
        first = self.register("a", ONE)
        self.bench.do(commands.NodeDied(first.node))
        self.assertTrue(self.register("a", ONE).returned)
        record = queries.node(self.bench.machine.store, first.node)
        assert record is not None
        self.assertEqual(record.standing, Standing.ALIVE)

    def test_unknown_node(self) -> None:
        """Death of a node that never was is refused."""
        with self.assertRaises(BadRequest):
            self.bench.do(commands.NodeDied(9))

    def test_member_is_pinned(self) -> None:
        """The first incarnation of a metadata member stays, whoever comes later under its name (S28, R35)."""
        self.assertEqual(self.bench.do(commands.PinMember("meta-1", ONE)).incarnation, ONE)
        self.assertEqual(self.bench.do(commands.PinMember("meta-1", TWO)).incarnation, ONE)
        self.assertEqual(self.bench.do(commands.PinMember("meta-2", TWO)).incarnation, TWO)
