"""A namespace made anew: what is recorded, what is refused, and what never happens to the bytes."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, cast

from attrs import evolve
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from dfs.kv.memory import MemoryStore
from dfs.metaserver import commands, inventories, queries
from dfs.metaserver.inventorying import QUIET, SETTLING
from dfs.metaserver.rebuilding import LEAP
from dfs.metaserver.test.bench import CHUNK, Bench, sha
from dfs.metaserver.test.cluster import Cluster
from dfs.protocol.errors import BadRequest, FileExists, FileNotFound, Forbidden, UploadGone
from dfs.protocol.messages import (
    BeginRebuild,
    ChunkCommit,
    CommittedChunk,
    DurableReplica,
    HeldReplica,
    Inventory,
    RecoverFile,
)
from dfs.protocol.values import HISTORY_SHIFT, FileId, Generation, NodeNumber, file_digest

FILE = 5 << 48 | 77
GENERATION = 9 << HISTORY_SHIFT | 1000


def part(first: int = 0, chunks: int = 2, count: int = 2, name: str = "a", file_id: int = FILE) -> RecoverFile:
    """Some chunks of a file whose chunks are full."""
    return RecoverFile(
        FileId(file_id),
        name,
        count * CHUNK,
        CHUNK,
        2,
        count,
        file_digest(b"".join(map(sha, range(count)))),
        123,
        first,
        tuple(
            CommittedChunk(index, Generation(GENERATION - 1), CHUNK, sha(index))
            for index in range(first, first + chunks)
        ),
    )


class BeginTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.bench = Bench()
        self.bench.do(commands.BeginHistory(2, 3))

    def test_ids_go_on_above_all_that_was_seen(self) -> None:
        """What is issued after a rebuild is far above the highest that a chunk server holds, in the same history: no
        replica of before is ever taken for a new one (S16, S28)."""
        self.bench.do(BeginRebuild(FileId(FILE), Generation(GENERATION)))
        self.bench.nodes(3)
        granted = self.bench.create("new")
        self.assertEqual(granted.file_id, FILE + LEAP + 1)
        self.assertEqual(granted.placements[0].generation, GENERATION + LEAP + 1)
        self.assertEqual(granted.placements[0].generation >> HISTORY_SHIFT, GENERATION >> HISTORY_SHIFT)

    def test_said_again(self) -> None:
        """A rebuild is begun once: ids never go back, nor up again while files are written."""
        self.bench.do(BeginRebuild(FileId(FILE), Generation(GENERATION)))
        self.bench.nodes(3)
        before = self.bench.create("new").file_id
        for file_id in (FILE - 5, FILE, FILE + 5):
            self.assertEqual(self.bench.do(BeginRebuild(FileId(file_id), Generation(GENERATION))).count, 0)
        self.assertEqual(self.bench.create("newer").file_id, before + 1)

    def test_not_where_files_are(self) -> None:
        """Metadata that has, or had, files of its own is not lost: nothing is rebuilt into it."""
        self.bench.nodes(3)
        self.bench.create("a")
        self.assertRaises(Forbidden, self.bench.do, BeginRebuild(FileId(FILE), Generation(GENERATION)))
        self.assertRaises(Forbidden, self.bench.do, part())

    def test_nothing_seen(self) -> None:
        """Without any replica there is nothing to rebuild from."""
        self.assertRaises(BadRequest, self.bench.do, BeginRebuild(FileId(0), Generation(0)))
        self.assertRaises(BadRequest, self.bench.do, BeginRebuild(FileId((1 << 64) - 1), Generation(1)))


class SettlingTests(SynchronousTestCase):
    """What chunk servers hold of recovered files is asked for before anything is healed."""

    def setUp(self) -> None:
        cluster = Cluster()
        cluster.start(3)
        term = cluster.leader().term
        assert term is not None
        self.seconds = term.seams.seconds
        self.world, self.inventorying = cluster.world, term.inventorying
        service = cluster.leader().server._service
        assert service is not None
        self.service = service
        self.nodes = [chunk.node for chunk in cluster.chunks]
        self.world.run_until(lambda: all(self.inventorying.may_delete(node) for node in self.nodes))
        for chunk in cluster.chunks:
            chunk.stop()  # no beat disturbs

    def test_healing_waits_for_all(self) -> None:
        """After files were recovered every node is asked once it is quiet, and nothing is healed or deleted before all
        have told: chunks only seem short until then."""
        self.assertTrue(self.inventorying.is_settled(self.nodes))
        self.inventorying.recovered()
        self.assertFalse(self.inventorying.ask(self.nodes[0]), "it is not quiet")
        self.assertFalse(self.inventorying.is_settled(self.nodes))
        self.assertFalse(self.inventorying.may_delete(self.nodes[0]))
        self.world.run(QUIET)
        for node in self.nodes:
            self.assertFalse(self.inventorying.is_settled(self.nodes))
            self.assertTrue(self.inventorying.ask(node))
            self.inventorying._seen.add(node)
        self.assertTrue(self.inventorying.is_settled(self.nodes))

    def test_inventory_that_was_on_its_way(self) -> None:
        """One that was begun before the last file was recorded proves nothing: the node is asked after it again."""
        self.inventorying.wanted(self.nodes[0])
        self.assertTrue(self.inventorying.ask(self.nodes[0]))
        self.inventorying.recovered()
        self.world.run(QUIET)
        self.assertFalse(self.inventorying.ask(self.nodes[1]))
        del self.inventorying._turns[self.nodes[0]]  # it has ended
        self.assertTrue(self.inventorying.ask(self.nodes[0]))

    def test_recorded_though_nobody_waited(self) -> None:
        """A part whose teller hung up may be recorded all the same, and is not new when it is told again: the nodes are
        asked what they hold of it (S12)."""
        for request, patient in ((BeginRebuild(FileId(FILE), Generation(GENERATION)), True), (part(), False)):
            asked = self.service.handlers[type(request)](cast(Any, None), request)
            answer = Deferred.fromCoroutine(cast(Coroutine[Any, Any, object], asked))
            self.world.run(1.0 if patient else 0.0)
            _ = answer.addErrback(lambda failure: failure.trap(CancelledError) and None)
            answer.cancel()
        self.world.run(QUIET)
        self.assertFalse(self.inventorying.is_settled(self.nodes))

    def test_not_without_end(self) -> None:
        """A node that never tells holds healing up for a bounded time (S12)."""
        self.inventorying.recovered()
        self.world.run(QUIET + SETTLING)
        self.assertTrue(self.inventorying.is_settled(self.nodes))


class RecoverTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.bench = Bench()
        self.bench.do(commands.BeginHistory(2, 3))
        self.bench.do(BeginRebuild(FileId(FILE), Generation(GENERATION)))
        self.node = self.bench.nodes(3)[0]

    @property
    def store(self) -> Any:
        return self.bench.machine.store

    def test_a_file_in_parts(self) -> None:
        """A file appears with its last part, whole, under its own id; parts may come again (S26)."""
        for first in (0, 2, 2, 0):
            self.bench.do(part(first, 2, 5))
        self.assertRaises(FileNotFound, queries.get_file, self.store, "a", None)
        self.assertEqual(self.bench.do(part(4, 1, 5)).count, 2)
        file = queries.get_file(self.store, "a", None)
        self.assertEqual((file.file_id, file.size, file.count, file.created_ms), (FILE, 5 * CHUNK, 5, 123))
        self.assertEqual(self.bench.do(part(0, 5, 5)).count, 0)
        head = self.bench.machine.head
        self.assertEqual((head.files, head.file_bytes, head.uploads, head.chunks), (1, 5 * CHUNK, 0, 5))

    def test_a_gap(self) -> None:
        """The last part of a file of which a part is missing makes no name appear."""
        self.bench.do(part(0, 2, 5))
        self.assertRaises(BadRequest, self.bench.do, part(4, 1, 5))
        self.assertRaises(FileNotFound, queries.get_file, self.store, "a", None)

    def test_replicas_come_by_inventory(self) -> None:
        """A recovered chunk is at no node until a node's inventory lists the very bytes; then it counts (S03)."""
        self.bench.do(part())
        chunk = queries.chunk(self.store, FILE, 0)
        assert chunk is not None
        self.assertEqual((chunk.committed, chunk.nodes), (True, ()))
        good = HeldReplica(FileId(FILE), 0, Generation(GENERATION - 1), CHUNK, sha(0), 4)
        bad = HeldReplica(FileId(FILE), 1, Generation(GENERATION - 1), CHUNK, sha(9), 5)
        page = Inventory(NodeNumber(self.node), b"i" * 16, 9, bytes(12), b"\xff" * 12, (good, bad))
        found = inventories.compare(self.store, page)
        self.assertEqual([(each.index, each.replicas[0].number) for each in found.found], [(0, 4)])
        self.assertEqual((found.missing, found.future), ((), 0))

    def test_replicas_of_an_older_history(self) -> None:
        """The committed bytes count whichever history issued them; others of that history are left alone (S16)."""
        old = Generation(4 << HISTORY_SHIFT | 7)
        chunk = CommittedChunk(0, old, CHUNK, sha(0))
        digest = file_digest(sha(0))
        self.bench.do(evolve(part(0, 1, 1), chunks=(chunk,), digest=digest))
        good = HeldReplica(FileId(FILE), 0, old, CHUNK, sha(0), 4)
        page = Inventory(NodeNumber(self.node), b"i" * 16, 9, bytes(12), b"\xff" * 12, (good,))
        self.assertEqual(len(inventories.compare(self.store, page).found), 1)
        other = evolve(good, generation=Generation(old - 1))
        found = inventories.compare(self.store, evolve(page, replicas=(other,)))
        self.assertEqual((found.found, found.unknown), ((), 1))

    def test_unfinished_recovery_never_expires(self) -> None:
        """What a rebuild recorded of a file and did not finish is nobody's garbage, is resumed by no client, and no
        order to delete follows from it (S16)."""
        self.bench.do(part(0, 2, 5))
        held = ChunkCommit(
            FileId(FILE), 0, Generation(GENERATION - 1), CHUNK, sha(0), (DurableReplica(NodeNumber(self.node), 4),)
        )
        self.assertEqual(self.bench.do(commands.AddReplicas((held,))).count, 1)
        self.assertEqual(self.bench.do(commands.ExpireUpload(FILE, 0)).count, 0)
        resume = commands.ResumeUpload(self.bench.operation(), FILE, ())
        self.assertRaises(UploadGone, self.bench.do, resume)
        self.assertIsNone(queries.garbage(self.store, FILE))
        self.assertEqual(self.bench.machine.head.uploads, 1)

    def test_deleted_stays_deleted(self) -> None:
        """A recovered file that was deleted does not come back with a second run, collected or not (S36)."""
        self.bench.do(part())
        self.bench.do(commands.DeleteFile(self.bench.operation(), "a", None))
        self.assertRaises(FileNotFound, self.bench.do, part())
        self.assertTrue(self.bench.do(commands.CollectGarbage(FILE, ())).finished is False)
        freed = tuple(commands.Freed(index, self.node) for index in range(2))
        self.assertTrue(self.bench.do(commands.CollectGarbage(FILE, freed)).finished)
        self.assertRaises(FileNotFound, self.bench.do, part())

    def test_deleted_in_part(self) -> None:
        """What was recovered in part and then deleted by its id does not come back either (S36)."""
        self.bench.do(part(0, 2, 5))
        self.bench.do(commands.DeleteFile(self.bench.operation(), None, FILE))
        freed = tuple(commands.Freed(index, self.node) for index in range(2))
        self.assertTrue(self.bench.do(commands.CollectGarbage(FILE, freed)).finished)
        self.assertRaises(FileNotFound, self.bench.do, part(0, 5, 5))

    def test_nobody_writes_it(self) -> None:
        """What a rebuild recorded and did not finish has no writer: whoever names its epoch adds no chunk, makes no
        name appear and ends nothing (S16)."""
        self.bench.do(part(0, 2, 5))
        digest = file_digest(sha(0) + sha(1))
        for strange in (
            commands.AllocateChunks(FILE, 0, 2, ((1, 2, 3),)),
            commands.ReplaceChunk(FILE, 0, 1, GENERATION - 1, (1, 2, 3)),
            commands.CommitFile(self.bench.operation(), FILE, 0, 5 * CHUNK, 5, digest, 7),
            commands.AbortUpload(self.bench.operation(), FILE, 0),
        ):
            self.assertRaises(UploadGone, self.bench.do, strange)
        self.assertEqual(self.bench.do(part(2, 3, 5)).count, 4)
        self.assertEqual(queries.get_file(self.store, "a", None).count, 5)

    def test_what_was_issued_since(self) -> None:
        """A second run on a cluster in use finds its new files and uploads, too: metadata knows them, whatever became
        of them; ids that it never issued are refused still."""
        for name in ("new", "ended"):
            self.bench.store_file(name)
        self.bench.do(commands.DeleteFile(self.bench.operation(), "ended", None))
        under_way = self.bench.create("under way").file_id
        before = self.bench.machine.head
        for file_id in range(FILE + LEAP + 1, FILE + LEAP + 4):
            self.assertEqual(self.bench.do(part(name="new", file_id=file_id)).count, 0)
        self.assertEqual(under_way, FILE + LEAP + 3)
        self.assertRaises(BadRequest, self.bench.do, part(name="later", file_id=under_way + 1))
        after = self.bench.machine.head
        self.assertEqual((after.files, after.uploads, after.chunks), (before.files, before.uploads, before.chunks))

    def test_names_are_not_taken(self) -> None:
        """A name that another file has is refused, so that the recovered one goes elsewhere."""
        self.bench.do(part())
        self.assertRaises(FileExists, self.bench.do, part(file_id=FILE - 1))
        self.bench.do(part(file_id=FILE - 1, name="lost+found/a"))
        self.assertRaises(FileExists, self.bench.do, evolve(part(), digest=b"d" * 32))

    def test_refused(self) -> None:
        """What contradicts itself, or comes from another history, is refused and leaves nothing."""
        good = part()
        beyond = CommittedChunk(0, Generation(GENERATION + LEAP + 1), CHUNK, sha(0))
        for wrong in (
            evolve(good, file_id=FileId(FILE + LEAP + 1)),
            evolve(good, chunks=(beyond,)),
            evolve(good, chunks=()),
            evolve(good, chunks=good.chunks[::-1]),
            evolve(good, chunks=(evolve(good.chunks[0], length=0), good.chunks[1])),
            evolve(good, chunks=(evolve(good.chunks[0], length=CHUNK + 1), good.chunks[1])),
            evolve(good, size=5),
            evolve(good, name=""),
            evolve(good, chunk_size=5),
        ):
            self.assertRaises(BadRequest, self.bench.do, wrong)
        self.assertEqual((self.bench.machine.head.uploads, self.bench.machine.head.chunks), (0, 0))
        self.assertEqual(Bench(MemoryStore).machine.head.chunks, 0)

    def test_behind_the_last(self) -> None:
        """A chunk behind the last one is refused, also at an index that no record could hold: whatever is applied is
        applied by every member, and must stop none (R34)."""
        for index in (2, (1 << 32) - 1):
            chunk = CommittedChunk(index, Generation(GENERATION - 1), CHUNK, sha(0))
            self.assertRaises(BadRequest, self.bench.do, evolve(part(), first_index=index, chunks=(chunk,)))
        self.assertEqual(self.bench.do(part()).count, 3)

    def test_other_bytes_than_before(self) -> None:
        """A chunk that was recovered is not replaced by another generation later."""
        self.bench.do(part(0, 1, 2))
        other = evolve(part().chunks[0], generation=Generation(GENERATION))
        self.assertRaises(BadRequest, self.bench.do, evolve(part(), chunks=(other, part().chunks[1])))
