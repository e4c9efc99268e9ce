"""Pages of files and chunks; inventories beside the record."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from dfs.metaserver import commands, inventories, queries, tables
from dfs.metaserver.commands import Lost
from dfs.metaserver.test.bench import CHUNK, CLUSTER, Bench, sha
from dfs.protocol.errors import BadRequest, FileNotFound
from dfs.protocol.limits import MAX_BODY
from dfs.protocol.messages import ChunkCommit, DurableReplica, HeldReplica, Inventory
from dfs.protocol.values import HISTORY_SHIFT, FileId, Generation, NodeNumber, NodeState, chunk_id
from dfs.protocol.wire import encode


class QueryTests(SynchronousTestCase):
    """What clients read."""

    def setUp(self) -> None:
        self.bench = Bench()
        self.bench.nodes(3)
        self.store = self.bench.machine.store

    def names(self, prefix: str, limit: int) -> list[list[str]]:
        pages, token = [], b""
        while True:
            page = queries.list_files(self.store, prefix, token, limit)
            pages.append([file.name for file in page.files])
            token = page.token
            if not token:
                return pages

    def test_list_in_pages(self) -> None:
        """Thousands of files list in pages in byte order, each name once, with one scan a page (S37)."""
        names = [f"d/{number:05}" for number in range(2500)]
        for name in names:
            granted = self.bench.create(name, 0)
            self.bench.finish(granted.file_id, 1, 0)
        self.bench.store_file("c")
        self.bench.store_file("e")
        pages = self.names("d/", 1000)
        self.assertEqual([len(page) for page in pages], [1000, 1000, 500])
        self.assertEqual([name for page in pages for name in page], names)

    def test_list_while_it_changes(self) -> None:
        """A name that is there throughout appears exactly once, whatever comes and goes between the pages."""
        for name in "bdfh":
            self.bench.store_file(name)
        page = queries.list_files(self.store, "", b"", 2)
        self.bench.do(commands.DeleteFile(self.bench.operation(), "d", None))
        self.bench.store_file("a")
        self.bench.store_file("e")
        rest = queries.list_files(self.store, "", page.token, 10)
        self.assertEqual([f.name for f in (*page.files, *rest.files)], ["b", "d", "e", "f", "h"])

    def test_prefix_edges(self) -> None:
        """An exact name, a prefix at the end of the order, an empty result, an exact page."""
        for name in ("a", "ab", "b", "\U0010ffff"):
            self.bench.store_file(name)
        self.assertEqual(self.names("a", 2), [["a", "ab"]])
        self.assertEqual(self.names("\U0010ffff", 5), [["\U0010ffff"]])
        self.assertEqual(self.names("zz", 5), [[]])
        self.assertEqual(self.names("", 2), [["a", "ab"], ["b", "\U0010ffff"]])
        for limit in (0, 1001):
            with self.assertRaises(BadRequest):
                queries.list_files(self.store, "", b"", limit)

    def test_chunks_in_pages(self) -> None:
        """Chunks list in pages with their replicas' names and states; uncommitted ones are passed over."""
        granted = self.bench.create("a", 5)
        for placement in granted.placements:
            if placement.index != 2:
                self.bench.write(granted, placement)
        self.bench.do(commands.NodeDied(3))
        states = {1: NodeState.SUSPECT}
        page = queries.list_chunks(self.store, CLUSTER, granted.file_id, 0, 3, states)
        self.assertEqual(([chunk.index for chunk in page.chunks], page.next_index), ([0, 1], 3))
        first = page.chunks[0]
        self.assertEqual([r.state for r in first.replicas], [NodeState.SUSPECT, NodeState.ALIVE, NodeState.DEAD])
        self.assertEqual(first.chunk_id, chunk_id(CLUSTER, granted.file_id, 0))
        last = queries.list_chunks(self.store, CLUSTER, granted.file_id, 3, 3, states)
        self.assertEqual(([chunk.index for chunk in last.chunks], last.next_index), ([3, 4], None))
        with self.assertRaises(FileNotFound):
            queries.list_chunks(self.store, CLUSTER, 99, 0, 3, states)

    def test_get(self) -> None:
        """A file is found by name and by id; neither or both is refused."""
        info = self.bench.store_file("a")
        self.assertEqual(queries.get_file(self.store, "a", None), info)
        self.assertEqual(queries.get_file(self.store, None, info.file_id), info)
        for name, file_id in (("b", None), (None, 5)):
            with self.assertRaises(FileNotFound):
                queries.get_file(self.store, name, file_id)
        with self.assertRaises(BadRequest):
            queries.get_file(self.store, None, None)

    def test_long_names_list(self) -> None:
        """Every page of names as long as they may be can be sent, and each name is on one (S44)."""
        names = [f"{number:04}".ljust(4096, "x") for number in range(300)]
        for name in names:
            self.bench.finish(self.bench.create(name, 0).file_id, 1, 0)
        token, found = b"", list[str]()
        while True:
            page = queries.list_files(self.store, "", token, 1000)
            self.assertLess(len(encode(page)), MAX_BODY)
            found += [file.name for file in page.files]
            token = page.token
            if not token:
                break
        self.assertEqual(found, names)

    def test_long_node_names(self) -> None:
        """A page of chunks at nodes with long names and addresses can be sent, and the next goes on after it (S44)."""
        for number in range(4, 12):
            name = f"{number}".ljust(255, "n")
            self.bench.do(commands.RegisterNode(name, bytes([number]) * 16, name, ""))
        granted = self.bench.create("a", 1, nodes=tuple(range(4, 12)), replication=8)
        for begin in range(1, 400, 50):
            placements = (tuple(range(4, 12)),) * 50
            self.bench.do(commands.AllocateChunks(granted.file_id, 1, begin, placements))
        for index in range(401):
            chunk = queries.chunk(self.store, granted.file_id, index)
            assert chunk is not None
            durable = tuple(DurableReplica(NodeNumber(node), index + 1) for node in chunk.nodes)
            commit = ChunkCommit(granted.file_id, index, Generation(chunk.generation), CHUNK, sha(index), durable)
            self.bench.do(commands.CommitChunks((commit,)))
        first: int | None = 0
        found: list[int] = []
        while first is not None:
            page = queries.list_chunks(self.store, CLUSTER, granted.file_id, first, 1000, {})
            self.assertLess(len(encode(page)), MAX_BODY)
            found += [chunk.index for chunk in page.chunks]
            first = page.next_index
        self.assertEqual(found, list(range(401)))


class InventoryTests(SynchronousTestCase):
    """What a node says it holds, beside the record."""

    def setUp(self) -> None:
        self.bench = Bench()
        self.bench.nodes(3)
        self.granted = self.bench.create("a", 4)
        for placement in self.granted.placements[:3]:
            self.bench.write(self.granted, placement)

    def held(self, index: int, number: int, generation: int = 0) -> HeldReplica:
        issued = generation or self.granted.placements[index].generation
        return HeldReplica(self.granted.file_id, index, Generation(issued), CHUNK, sha(index), number)

    def compare(
        self, number: int, *replicas: HeldReplica, after: bytes = b"", upto: bytes = tables.LAST_PLACE
    ) -> inventories.Differences:
        inventory = Inventory(NodeNumber(1), b"", number, after, upto, replicas)
        return inventories.compare(self.bench.machine.store, inventory)

    def test_all_is_well(self) -> None:
        """What is held as recorded makes no difference."""
        found = self.compare(3, *(self.held(index, index + 1) for index in range(3)))
        self.assertEqual(found, inventories.Differences((), (), 0, 0, (), None))

    def test_missing(self) -> None:
        """What is recorded and not held is missing, but only if its number is at or below the inventory's (S06)."""
        file_id = self.granted.file_id
        found = self.compare(2, self.held(0, 1))
        self.assertEqual(found.missing, (Lost(file_id, 1, 2),))

    def test_held_in_another_generation(self) -> None:
        """Bytes of another generation do not stand in for the committed one."""
        found = self.compare(3, self.held(0, 1, 99), self.held(1, 2), self.held(2, 3))
        self.assertEqual(found.missing, (Lost(self.granted.file_id, 0, 1),))
        self.assertEqual(found.found, ())

    def test_of_another_history(self) -> None:
        """S16: what another history stored under a file id of ours is unknown, garbage or not; what ours never issued
        shows that it was put back."""
        issued = self.bench.machine.head.generation
        foreign = self.held(0, 9, (5 << HISTORY_SHIFT) + 1)
        found = self.compare(0, foreign, self.held(0, 9, issued + 1))
        self.assertEqual((found.unknown, found.future), (1, 1))
        self.bench.do(commands.AbortUpload(self.bench.operation(), self.granted.file_id, 1))
        found = inventories.compare(
            self.bench.machine.store, Inventory(NodeNumber(2), b"", 0, b"", tables.LAST_PLACE, (foreign,))
        )
        self.assertEqual((found.found, found.unknown, found.future), ((), 1, 0))

    def test_found(self) -> None:
        """What is held, matches and is not recorded is added; it may then be recorded (S03)."""
        file_id = self.granted.file_id
        self.bench.do(commands.RemoveReplicas(1, 9, (Lost(file_id, 0, 1),)))
        found = self.compare(3, *(self.held(index, index + 1) for index in range(3)))
        self.assertEqual(len(found.found), 1)
        self.bench.do(commands.AddReplicas(found.found))
        self.assertEqual(self.compare(3, *(self.held(i, i + 1) for i in range(3))).found, ())

    def test_unknown_is_counted(self) -> None:
        """What metadata has no record of is counted, and nothing is said to be done about it (S16)."""
        stranger = HeldReplica(FileId(77), 0, Generation(1), 5, sha(1), 9)
        found = self.compare(9, *(self.held(i, i + 1) for i in range(3)), stranger)
        self.assertEqual((found.unknown, found.found, found.missing), (1, (), ()))

    def test_target_in_progress(self) -> None:
        """What a target holds of a chunk that is not committed yet is neither found nor unknown."""
        found = self.compare(9, *(self.held(i, i + 1) for i in range(4)))
        self.assertEqual((found.unknown, found.found), (0, ()))

    def test_page_bounds(self) -> None:
        """A page speaks only of what lies above after, up to and including upto."""
        file_id = self.granted.file_id
        found = self.compare(9, after=tables.place(file_id, 0), upto=tables.place(file_id, 1))
        self.assertEqual(found.missing, (Lost(file_id, 1, 2),))

    def test_ended_file_is_noted(self) -> None:
        """An unlisted replica of an ended file is reported, so that it will be deleted (S15)."""
        self.bench.do(commands.RemoveReplicas(1, 9, (Lost(self.granted.file_id, 0, 1),)))
        self.bench.do(commands.DeleteFile(self.bench.operation(), None, self.granted.file_id))
        self.bench.do(commands.CollectGarbage(self.granted.file_id, (commands.Freed(0, 1),)))
        found = self.compare(9, *(self.held(i, i + 1) for i in range(3)))
        self.bench.do(commands.AddReplicas(found.found))
        chunk = queries.chunk(self.bench.machine.store, self.granted.file_id, 0)
        assert chunk is not None
        self.assertIn(1, chunk.tried)

    def test_large_difference_is_cut(self) -> None:
        """A page that misses more than a slice is compared in slices, each missing replica once."""
        self.patch(inventories, "MAX_COMPARED", 2)
        inventory = Inventory(NodeNumber(1), b"", 9, b"", tables.LAST_PLACE, (self.held(2, 3),))
        missing, after, steps = [], b"", 0
        while True:
            found = inventories.compare(self.bench.machine.store, inventory, after or None)
            missing += [lost.index for lost in found.missing]
            steps += 1
            if found.after is None:
                break
            after = found.after
        self.assertEqual((missing, steps), ([0, 1], 2))
