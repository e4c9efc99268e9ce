"""The rules of uploads, chunks and names, one sentence each."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from dfs.metaserver import commands, queries
from dfs.metaserver.commands import Lost
from dfs.metaserver.test.bench import CHUNK, Bench, sha
from dfs.protocol.errors import (
    BadRequest,
    FileExists,
    FileNotFound,
    StaleEpoch,
    Unavailable,
    UploadGone,
)
from dfs.protocol.messages import ChunkCommit, CommitOutcome
from dfs.protocol.values import FileId, Generation

COMMITTED, STALE, GONE = CommitOutcome.COMMITTED, CommitOutcome.STALE, CommitOutcome.GONE


class UploadTests(SynchronousTestCase):
    """Create, resume, allocate, re-place, abort, expire."""

    def setUp(self) -> None:
        self.bench = Bench()
        self.bench.nodes(5)

    def test_placements_name_addresses(self) -> None:
        """A placement has the targets' names and addresses, the primary first, the quorum, and no grant yet."""
        (placement,) = self.bench.create("a", 1, (3, 1, 2)).placements
        self.assertEqual([t.name for t in placement.targets], ["chunk-3", "chunk-1", "chunk-2"])
        self.assertEqual(placement.targets[0].address, "chunk-3:1")
        self.assertEqual((placement.quorum, placement.grant, placement.committed), (2, None, None))

    def test_allocation_repeats(self) -> None:
        """Asking again for an index answers the same generation and targets, whatever is proposed (S26)."""
        granted = self.bench.create("a", 0)
        first = self.bench.allocate(granted.file_id, 1, 0, 3)
        again = self.bench.allocate(granted.file_id, 1, 1, 3, (4, 5, 1))
        self.assertEqual(again[:2], first[1:])
        generations = [p.generation for p in (*first, again[2])]
        self.assertEqual(generations, [1, 2, 3, 4])

    def test_known_size_bounds_the_chunks(self) -> None:
        """No placement is given beyond the end of an upload whose size is known; an empty file needs none (S45)."""
        for size, count in ((0, 0), (1, 1), (CHUNK, 1), (CHUNK + 1, 2)):
            self.assertEqual(len(self.bench.create(f"a{size}", 4, size=size).placements), count)

    def test_too_few_nodes(self) -> None:
        """Below the write quorum nothing is allocated and nothing remains; at the quorum it is degraded."""
        before = self.bench.machine.head.uploads
        with self.assertRaises(Unavailable):
            self.bench.create("a", 1, (1,))
        with self.assertRaises(Unavailable):
            self.bench.create("a", 1, (1, 1, 99))
        self.assertEqual(self.bench.machine.head.uploads, before)
        self.assertTrue(self.bench.create("a", 1, (1, 2)).degraded)
        self.assertFalse(self.bench.create("b", 1, (1, 2, 3)).degraded)

    def test_replace_issues_a_new_generation(self) -> None:
        """After a failed write the chunk has a new generation; the former one's commit is stale."""
        granted = self.bench.create("a")
        old = granted.placements[0]
        (new,) = self.bench.do(commands.ReplaceChunk(granted.file_id, 1, 0, old.generation, (4, 5, 1))).placements
        self.assertGreater(new.generation, old.generation)
        self.assertEqual(self.bench.write(granted, old), STALE)
        self.assertEqual(self.bench.write(granted, new, (4, 5)), COMMITTED)

    def test_replace_again_answers_the_successor(self) -> None:
        """The same request to re-place, come twice, issues one generation (S26)."""
        granted = self.bench.create("a")
        request = commands.ReplaceChunk(granted.file_id, 1, 0, granted.placements[0].generation, (4, 5, 1))
        self.assertEqual(self.bench.do(request), self.bench.do(request))

    def test_replace_of_a_committed_chunk(self) -> None:
        """If it was committed after all, the answer is the existing commit and there is nothing to write."""
        granted = self.bench.create("a")
        (placement,) = granted.placements
        self.bench.write(granted, placement)
        request = commands.ReplaceChunk(granted.file_id, 1, 0, placement.generation, (4, 5, 1))
        (again,) = self.bench.do(request).placements
        assert again.committed is not None
        self.assertEqual((again.targets, again.committed.sha256), ((), sha(0)))

    def test_replace_of_what_was_never_issued(self) -> None:
        """A generation from nowhere is refused."""
        granted = self.bench.create("a")
        for index, generation in ((0, 99), (7, 1)):
            with self.assertRaises(BadRequest):
                self.bench.do(commands.ReplaceChunk(granted.file_id, 1, index, generation, (1, 2, 3)))

    def test_resume_fences_the_former_writer(self) -> None:
        """After a resume the former writer allocates, re-places, commits, finishes and aborts nothing (S40)."""
        granted = self.bench.create("a", 2)
        done, old = granted.placements
        self.bench.write(granted, done)
        resumed = self.bench.do(commands.ResumeUpload(self.bench.operation(), granted.file_id, ((1, 2, 3),) * 2))
        self.assertEqual(resumed.epoch, 2)
        kept, new = resumed.placements
        self.assertEqual(kept.committed.generation, done.generation)
        self.assertGreater(new.generation, old.generation)
        self.assertEqual(self.bench.write(granted, old), STALE)
        file_id = granted.file_id
        for stale in (
            commands.AllocateChunks(file_id, 1, 2, ((1, 2, 3),)),
            commands.ReplaceChunk(file_id, 1, 1, old.generation, (1, 2, 3)),
            commands.AbortUpload(self.bench.operation(), file_id, 1),
            commands.CommitFile(self.bench.operation(), file_id, 1, CHUNK, 1, sha(9), 0),
        ):
            with self.assertRaises(StaleEpoch):
                self.bench.do(stale)
        self.assertEqual(self.bench.write(resumed, new), COMMITTED)
        self.bench.finish(file_id, 2, 2)

    def test_resume_fences_what_it_did_not_allocate_anew(self) -> None:
        """Also a chunk beyond those placed by the resume cannot be committed under its old allocation (the model)."""
        granted = self.bench.create("a", 3)
        self.bench.do(commands.ResumeUpload(self.bench.operation(), granted.file_id, ()))
        self.assertEqual(self.bench.write(granted, granted.placements[2]), STALE)
        (again,) = self.bench.allocate(granted.file_id, 2, 2, 1)
        self.assertEqual(self.bench.write(granted, again), COMMITTED)

    def test_abort_and_expire(self) -> None:
        """An aborted or expired upload is garbage and accepts nothing more (S15)."""
        aborted = self.bench.create("a", 1)
        self.bench.do(commands.AbortUpload(self.bench.operation(), aborted.file_id, 1))
        expired = self.bench.create("b", 1)
        self.assertEqual(self.bench.do(commands.ExpireUpload(expired.file_id, 1)).count, 1)
        for granted in (aborted, expired):
            self.assertEqual(self.bench.write(granted, granted.placements[0]), GONE)
            with self.assertRaises(UploadGone):
                self.bench.allocate(granted.file_id, 1, 1, 1)
        self.assertEqual(len(queries.garbage_page(self.bench.machine.store)), 2)

    def test_expiry_spares_a_resumed_upload(self) -> None:
        """An expiry that was proposed before a resume takes nothing (S40)."""
        granted = self.bench.create("a", 1)
        self.bench.do(commands.ResumeUpload(self.bench.operation(), granted.file_id, ()))
        self.assertEqual(self.bench.do(commands.ExpireUpload(granted.file_id, 1)).count, 0)
        self.assertEqual(self.bench.machine.head.uploads, 1)

    def test_limits_of_shape(self) -> None:
        """Chunk size, replication and quorum out of bounds are refused with a sentence."""
        shapes = [(chunk_size, 3, 2) for chunk_size in (CHUNK + 1, 1 << 10, 128 << 20)]
        shapes += [(CHUNK, replication, quorum) for replication, quorum in ((0, 1), (17, 2), (3, 4), (3, 0))]
        for chunk_size, replication, quorum in shapes:
            with self.assertRaises(BadRequest):
                self.bench.do(
                    commands.CreateUpload(self.bench.operation(), "a", None, chunk_size, replication, quorum, 0, ())
                )


class CommitTests(SynchronousTestCase):
    """Commits of chunks, adds and removals."""

    def setUp(self) -> None:
        self.bench = Bench()
        self.bench.nodes(5)
        self.granted = self.bench.create("a", 3)

    def nodes_of(self, index: int) -> tuple[int, ...]:
        chunk = queries.chunk(self.bench.machine.store, self.granted.file_id, index)
        assert chunk is not None
        return chunk.nodes

    def written(self, index: int, nodes: tuple[int, ...] = (1, 2, 3)) -> ChunkCommit:
        placement = self.granted.placements[index]
        return self.bench.written(self.granted.file_id, index, placement.generation, nodes)

    def test_each_is_judged_alone(self) -> None:
        """In one batch good commits are recorded beside stale and gone ones."""
        good, stale, gone = self.written(0), self.written(1), evolve(self.written(2), file_id=FileId(77))
        stale = evolve(stale, generation=Generation(99))
        self.assertEqual(self.bench.commit(good, stale, gone), (COMMITTED, STALE, GONE))
        self.assertEqual(self.nodes_of(0), (1, 2, 3))

    def test_said_twice(self) -> None:
        """A commit that comes again is answered COMMITTED and counted once (S26)."""
        written = self.written(0)
        self.assertEqual(self.bench.commit(written, written), (COMMITTED, COMMITTED))
        self.assertEqual(self.bench.commit(written), (COMMITTED,))
        upload = queries.upload(self.bench.machine.store, self.granted.file_id)
        assert upload is not None
        self.assertEqual((upload.count, upload.bytes), (1, CHUNK))
        node = queries.node(self.bench.machine.store, 1)
        assert node is not None
        self.assertEqual((node.chunks, node.bytes), (1, CHUNK))

    def test_other_bytes(self) -> None:
        """The same generation with another hash or length is stale: one write wins whole."""
        self.bench.commit(self.written(0))
        other = evolve(self.written(0), sha256=sha(9))
        short = evolve(self.written(0), length=5)
        self.assertEqual(self.bench.commit(other, short), (STALE, STALE))

    def test_below_the_quorum(self) -> None:
        """A commit that names fewer replicas than the quorum, or a node twice, is not recorded (S05)."""
        one = self.written(0, (1,))
        twice = evolve(one, replicas=one.replicas * 2)
        unknown = self.written(0, (1, 77))
        self.assertEqual(self.bench.commit(one, twice, unknown), (STALE,) * 3)
        self.assertEqual(self.bench.machine.head.chunks, 0)

    def test_impossible_lengths(self) -> None:
        """An empty chunk, or one above the chunk size, is not recorded."""
        empty, huge = evolve(self.written(0), length=0), evolve(self.written(1), length=CHUNK + 1)
        self.assertEqual(self.bench.commit(empty, huge), (STALE, STALE))

    def test_late_replicas(self) -> None:
        """A late or copied replica is recorded where generation, length and hash match, else not."""
        self.bench.commit(self.written(0, (1, 2)))
        late = self.written(0, (3,))
        for wrong in (evolve(late, generation=Generation(99)), evolve(late, sha256=sha(5)), evolve(late, length=1)):
            self.assertEqual(self.bench.do(commands.AddReplicas((wrong,))).count, 0)
        self.assertEqual(len(queries.short_page(self.bench.machine.store)), 1)
        self.assertEqual(self.bench.do(commands.AddReplicas((late,))).count, 1)
        self.assertEqual(self.nodes_of(0), (1, 2, 3))
        self.assertEqual(queries.short_page(self.bench.machine.store), [])

    def test_removal_names_the_number(self) -> None:
        """A removal strikes off only what is recorded under that number and not above the inventory's (S06)."""
        written = self.written(0)
        self.bench.commit(written)
        number = written.replicas[2].number
        file_id = self.granted.file_id
        for as_of, named in ((number - 1, number), (number + 5, number + 1)):
            answer = self.bench.do(commands.RemoveReplicas(3, as_of, (Lost(file_id, 0, named),)))
            self.assertEqual(answer.count, 0)
        self.assertEqual(self.bench.do(commands.RemoveReplicas(3, number, (Lost(file_id, 0, number),))).count, 1)
        self.assertEqual(self.nodes_of(0), (1, 2))
        self.assertEqual(queries.short_page(self.bench.machine.store), [(file_id, 0)])

    def test_removal_after_a_copy(self) -> None:
        """A removal that waited while a copy made the replica anew takes nothing (S06, the model)."""
        written = self.written(0)
        self.bench.commit(written)
        self.bench.do(commands.AddReplicas((self.written(0, (3,)),)))
        number = written.replicas[2].number
        removal = commands.RemoveReplicas(3, 1000, (Lost(self.granted.file_id, 0, number),))
        self.assertEqual(self.bench.do(removal).count, 0)
        self.assertEqual(self.nodes_of(0), (1, 2, 3))

    def test_older_word_of_an_add(self) -> None:
        """An add under an older number than the one recorded changes nothing."""
        first, second = self.written(0), self.written(0, (3,))
        self.bench.commit(first)
        self.bench.do(commands.AddReplicas((second,)))
        self.bench.do(commands.AddReplicas((first,)))
        ((_, _, record),) = queries.replicas_page(self.bench.machine.store, 3)
        self.assertEqual(record.number, second.replicas[0].number)


class NameTests(SynchronousTestCase):
    """Commit and delete of files."""

    def setUp(self) -> None:
        self.bench = Bench()
        self.bench.nodes(3)

    def test_two_uploads_of_one_name(self) -> None:
        """The first to commit wins whole, the other is told (S46)."""
        first, second = self.bench.create("a"), self.bench.create("a")
        for granted in (first, second):
            self.bench.write(granted, granted.placements[0])
        self.bench.finish(second.file_id, 1, 1)
        with self.assertRaises(FileExists):
            self.bench.finish(first.file_id, 1, 1)
        self.assertEqual(queries.get_file(self.bench.machine.store, "a", None).file_id, second.file_id)
        with self.assertRaises(FileExists):
            self.bench.create("a")

    def test_commit_after_delete(self) -> None:
        """CommitFile after DeleteFile never resurrects, neither of an upload nor of a finished file (S36)."""
        granted = self.bench.create("a")
        self.bench.write(granted, granted.placements[0])
        self.bench.do(commands.DeleteFile(self.bench.operation(), None, granted.file_id))
        with self.assertRaises(UploadGone):
            self.bench.finish(granted.file_id, 1, 1)
        info = self.bench.store_file("b")
        self.bench.do(commands.DeleteFile(self.bench.operation(), "b", None))
        with self.assertRaises(UploadGone):
            self.bench.finish(info.file_id, 1, 1)
        for name in "ab":
            with self.assertRaises(FileNotFound):
                queries.get_file(self.bench.machine.store, name, None)

    def test_commit_said_again(self) -> None:
        """The same CommitFile under another sequence, beyond what is remembered, is answered alike."""
        info = self.bench.store_file("a")
        self.assertEqual(self.bench.finish(info.file_id, 1, 1), info)

    def test_not_whole(self) -> None:
        """A file with a missing, extra or short chunk, or another size than was said, is not committed."""
        granted = self.bench.create("a", 3)
        first, second, third = granted.placements
        self.bench.write(granted, first)
        self.bench.write(granted, third)
        for count in (2, 3):
            with self.assertRaises(BadRequest):
                self.bench.finish(granted.file_id, 1, count)
        self.bench.commit(self.bench.written(granted.file_id, 1, second.generation, length=5))
        for size in (3 * CHUNK, 2 * CHUNK + 5):
            with self.assertRaises(BadRequest):
                self.bench.finish(granted.file_id, 1, 3, size)
        sized = self.bench.create("b", 1, size=7)
        self.bench.write(sized, sized.placements[0])
        with self.assertRaises(BadRequest):
            self.bench.finish(sized.file_id, 1, 1)

    def test_empty_and_ragged(self) -> None:
        """An empty file and one whose last chunk is a byte are committed (S45)."""
        empty = self.bench.create("empty", 0)
        self.assertEqual(self.bench.finish(empty.file_id, 1, 0).size, 0)
        ragged = self.bench.create("ragged", 2)
        first, last = ragged.placements
        self.bench.write(ragged, first)
        self.bench.commit(self.bench.written(ragged.file_id, 1, last.generation, length=1))
        self.assertEqual(self.bench.finish(ragged.file_id, 1, 2, CHUNK + 1).size, CHUNK + 1)

    def test_delete_what_is_not(self) -> None:
        """Deleting what is not there is FileNotFound; both or neither of name and id is refused."""
        for name, file_id in (("a", None), (None, 77)):
            with self.assertRaises(FileNotFound):
                self.bench.do(commands.DeleteFile(self.bench.operation(), name, file_id))
        for name, file_id in ((None, None), ("a", 1)):
            with self.assertRaises(BadRequest):
                self.bench.do(commands.DeleteFile(self.bench.operation(), name, file_id))

    def test_name_is_free_again(self) -> None:
        """After a delete the name belongs to whoever commits it next, under another file id (S47)."""
        old = self.bench.store_file("a")
        self.bench.do(commands.DeleteFile(self.bench.operation(), "a", None))
        self.assertNotEqual(self.bench.store_file("a").file_id, old.file_id)

    def test_odd_names(self) -> None:
        """Dots, line ends, other scripts and 4,096 bytes are data; NUL, emptiness and 4,097 bytes are refused (S44)."""
        for name in ("../../etc/passwd", "a\nb\r", "名前", ".", "/", "x" * 4096, " "):
            self.bench.create(name)
        for name in ("", "a\0b"):
            with self.assertRaises(BadRequest):
                self.bench.create(name)
        for name in ("x" * 4097, "é" * 2049):
            with self.assertRaises(ValueError):
                self.bench.create(name)
