"""Inventories by digest: the index's ranges, and what travels."""

from __future__ import annotations

from random import Random
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from dfs.chunkserver import index as indexes
from dfs.chunkserver.index import LAST, ReplicaIndex
from dfs.chunkserver.listing import FIRST, Listing
from dfs.protocol import messages as m
from dfs.protocol.digests import digest_of, replica_hash
from dfs.protocol.errors import Disconnected, UnknownRequest
from dfs.protocol.values import ChunkRef, FileId, Generation, NodeNumber


def held(file_id: int, index: int = 0, generation: int = 1, number: int = 1) -> m.HeldReplica:
    return m.HeldReplica(FileId(file_id), index, Generation(generation), 10, b"s" * 32, number)


def place(replica: m.HeldReplica) -> bytes:
    return replica.file_id.to_bytes(8, "big") + replica.index.to_bytes(4, "big")


class RangeTests(SynchronousTestCase):
    def check(self, index: ReplicaIndex, replicas: list[m.HeldReplica], limit: int, size: int) -> None:
        """All ranges, a few at a time, are what one would count by hand."""
        after, seen = FIRST, 0
        while after != LAST:
            ranges = index.ranges(b"" if after == FIRST else after, limit, size)
            self.assertLessEqual(len(ranges), limit)
            for one in ranges:
                inside = [each for each in replicas if after < place(each) <= one.upto]
                total = sum(replica_hash(each.file_id, each.index, each.number) for each in inside)
                self.assertEqual((one.count, one.digest), (len(inside), digest_of(total)))
                after, seen = one.upto, seen + one.count
        self.assertEqual(seen, len(replicas))

    def test_follow_every_change(self) -> None:
        """S06: after any adds, replacements and removes the digests are those of what is held, wherever blocks were
        split, and no chunk's generations are in two ranges."""
        self.patch(indexes, "BLOCK_RECORDS", 8)
        random = Random(5)
        index, now = ReplicaIndex(), dict[ChunkRef, m.HeldReplica]()
        for number in range(1, 600):
            one = held(random.randrange(1, 30), random.randrange(3), random.randrange(1, 4), number)
            key = ChunkRef(one.file_id, one.index, one.generation)
            if random.random() < 0.35 and now:
                key = random.choice(sorted(now))
                del now[key]
                self.assertTrue(index.remove(key))
            else:
                now[key] = one
                index.add(one)
            if number % 40 == 0:
                self.check(index, list(now.values()), random.randrange(1, 5), random.randrange(1, 30))

    def test_empty(self) -> None:
        """An empty server has one empty range, which ends everything."""
        self.assertEqual(ReplicaIndex().ranges(b"", 3, 8), [m.RangeDigest(LAST, 0, bytes(16))])


class FakeConnection:
    """A metadata node that says which ranges differ, by position in the whole inventory."""

    def __init__(self, differing: set[int], compares: bool = True) -> None:
        self.differing, self.compares = differing, compares
        self.pages: list[m.Inventory] = []
        self.ranges = 0
        self.answer: Any = None

    def call(self, request: Any, timeout: float) -> Deferred[Any]:
        if isinstance(request, m.Inventory):
            self.pages.append(request)
            return succeed(m.InventoryTaken(0, 0, 0))
        if not self.compares:
            return fail(UnknownRequest("older"))
        first, self.ranges = self.ranges, self.ranges + len(request.ranges)
        differing = tuple(at for at in range(len(request.ranges)) if first + at in self.differing)
        return succeed(self.answer or m.InventoryDiffers(differing))


class FakeStore:
    number = 9_999_999

    def __init__(self, index: ReplicaIndex) -> None:
        self.index = index


class ListingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.index = ReplicaIndex()
        for number in range(1, 20_001):
            self.index.add(held(number, number=number))

    def listing(self, connection: Any) -> Deferred[None]:
        store: Any = FakeStore(self.index)
        return Deferred.fromCoroutine(Listing(connection, store, NodeNumber(1), b"i" * 16, lambda: True).send())

    def test_nothing_differs(self) -> None:
        """S01: a node whose record is true lists nothing, in one word for sixty thousand replicas."""
        connection = FakeConnection(set())
        self.successResultOf(self.listing(connection))
        self.assertEqual((connection.pages, connection.ranges), ([], 20))

    def test_only_what_differs(self) -> None:
        """S06: the replicas of a differing range are listed, all of them, as of the number, and no others."""
        connection = FakeConnection({3, 19})
        self.successResultOf(self.listing(connection))
        ranges = self.index.ranges(b"", 64, 1024)
        for at in (3, 19):
            pages = [page for page in connection.pages if ranges[at - 1].upto <= page.after < ranges[at].upto]
            self.assertEqual(pages[0].after, ranges[at - 1].upto)
            self.assertEqual(pages[-1].upto, ranges[at].upto)
            self.assertEqual(sum(len(page.replicas) for page in pages), ranges[at].count)
        self.assertLess(sum(len(page.replicas) for page in connection.pages), 3000)
        self.assertEqual({page.number for page in connection.pages}, {FakeStore.number})

    def test_older_metadata(self) -> None:
        """S39: to a metadata node that does not compare everything is listed."""
        connection = FakeConnection(set(), compares=False)
        self.successResultOf(self.listing(connection))
        self.assertEqual(sum(len(page.replicas) for page in connection.pages), 20_000)
        self.assertEqual([page.after for page in connection.pages[1:]], [page.upto for page in connection.pages[:-1]])
        self.assertEqual((connection.pages[0].after, connection.pages[-1].upto), (FIRST, LAST))

    def test_nonsense(self) -> None:
        """S43: a position that was not asked for ends the inventory, nothing else."""
        connection = FakeConnection(set())
        connection.answer = m.InventoryDiffers((9999,))
        self.failureResultOf(self.listing(connection), Disconnected)
