"""The rules of many small files in one entry: each part alone, the whole exactly once."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from dfs.kv.interfaces import prefix_end
from dfs.metaserver import commands, queries, tables
from dfs.metaserver import commands_together as together
from dfs.metaserver.test.bench import CHUNK, Bench, sha
from dfs.metaserver.uploading_together import open_files
from dfs.protocol.errors import BadRequest, FileExists, SessionExpired, StaleEpoch, Unavailable, UploadGone
from dfs.protocol.limits import MAX_SMALL
from dfs.protocol.messages import (
    ChunkCommit,
    CommitOutcome,
    FilesCommitted,
    FinishedUpload,
    FinishOutcome,
    GetFile,
    GrantedUpload,
    NewUpload,
    UploadsFinished,
    UploadsGranted,
)
from dfs.protocol.values import FileId, Generation, file_digest

FINISHED = FinishOutcome.FINISHED


class TogetherTests(SynchronousTestCase):
    """CreateUploads and CommitFiles."""

    def setUp(self) -> None:
        self.bench = Bench()
        self.bench.nodes(4)

    def command(self, *parts: tuple[str, int], nodes: tuple[int, ...] = (3, 1, 2)) -> together.CreateUploads:
        uploads = tuple(NewUpload(name, size) for name, size in parts)
        return together.CreateUploads(self.bench.operation(), CHUNK, 3, 2, 7, nodes, uploads)

    def create(self, *parts: tuple[str, int], nodes: tuple[int, ...] = (3, 1, 2)) -> UploadsGranted:
        answer = self.bench.do(self.command(*parts, nodes=nodes))
        assert isinstance(answer, UploadsGranted)
        return answer

    def granted(self, answer: UploadsGranted) -> list[GrantedUpload]:
        return [outcome.granted for outcome in answer.outcomes if outcome.granted is not None]

    def write(self, upload: GrantedUpload, length: int) -> None:
        written = self.bench.written(upload.file_id, 0, upload.generation, (3, 1, 2), length)
        self.assertEqual(self.bench.commit(written), (CommitOutcome.COMMITTED,))

    def finished(self, upload: GrantedUpload, size: int, epoch: int = 1) -> FinishedUpload:
        count = 1 if size else 0
        return FinishedUpload(upload.file_id, epoch, size, count, file_digest(sha(0) * count))

    def commit(self, *files: FinishedUpload) -> FilesCommitted:
        answer = self.bench.do(together.CommitFiles(self.bench.operation(), 8, files))
        assert isinstance(answer, FilesCommitted)
        return answer

    def codes(self, answer: UploadsGranted | FilesCommitted) -> list[int]:
        return [0 if outcome.refusal is None else outcome.refusal.code for outcome in answer.outcomes]

    def test_files_of_one_batch(self) -> None:
        """Small files and an empty one begin by one entry at the same nodes and end by one entry, each whole (S45)."""
        index = self.bench.index
        answer = self.create(("a", 10), ("b", 0), ("c", MAX_SMALL))
        self.assertEqual([target.name for target in answer.targets], ["chunk-3", "chunk-1", "chunk-2"])
        a, b, c = self.granted(answer)
        self.assertEqual((b.generation, len({a.file_id, b.file_id, c.file_id})), (0, 3))
        self.assertGreater(c.generation, a.generation)
        self.write(a, 10)
        self.write(c, MAX_SMALL)
        committed = self.commit(self.finished(a, 10), self.finished(b, 0), self.finished(c, MAX_SMALL))
        self.assertEqual(self.codes(committed), [0, 0, 0])
        self.assertEqual((self.bench.machine.head.files, self.bench.machine.head.uploads), (3, 0))
        self.assertEqual(self.bench.index - index, 4)

    def test_a_bad_part_is_alone(self) -> None:
        """A part that is refused leaves no trace and takes none of the others along, whatever its place (S26)."""
        self.bench.store_file("there")
        before = self.bench.machine.head
        answer = self.create(("a", 1), ("there", 1), ("", 1), ("big", MAX_SMALL + 1), ("b", 1))
        self.assertEqual(self.codes(answer), [0, FileExists.code, BadRequest.code, BadRequest.code, 0])
        after = self.bench.machine.head
        self.assertEqual((after.uploads - before.uploads, after.file_counter - before.file_counter), (2, 2))
        self.assertEqual(after.generation - before.generation, 2)
        a, b = self.granted(answer)
        self.write(a, 1)
        stale = self.finished(a, 1, epoch=2)
        ended = evolve(stale, file_id=FileId(a.file_id + 1000))
        unwritten = self.finished(b, 1)
        committed = self.commit(stale, ended, unwritten, self.finished(a, 1))
        self.assertEqual(self.codes(committed), [StaleEpoch.code, UploadGone.code, BadRequest.code, 0])

    def test_a_name_twice_in_a_batch(self) -> None:
        """Two uploads of one name may begin together; the first to be committed has it, the other is told (S46)."""
        a, b = self.granted(self.create(("same", 0), ("same", 0)))
        self.assertEqual(self.codes(self.commit(self.finished(a, 0), self.finished(b, 0))), [0, FileExists.code])
        self.assertEqual(self.bench.machine.head.files, 1)

    def test_said_again(self) -> None:
        """A batch whose answer was lost has the same answer, to the byte, and one effect (S26, R44)."""
        create = self.command(("a", 1), ("b", 0), ("", 0))
        first = self.bench.raw(create)
        self.assertEqual(self.bench.raw(create), first)
        self.assertEqual(self.bench.machine.head.uploads, 2)
        answer = self.bench.do(create)
        (_, b) = self.granted(answer)
        commit = together.CommitFiles(self.bench.operation(), 8, (self.finished(b, 0),))
        first = self.bench.raw(commit)
        self.assertEqual(self.bench.raw(commit), first)
        self.bench.do(together.CommitFiles(self.bench.operation(), 8, ()))
        self.assertRaises(SessionExpired, self.bench.do, commit)
        self.assertEqual(self.bench.machine.head.files, 1)

    def test_too_few_nodes(self) -> None:
        """Below the write quorum each part says so and nothing begins, but for empty files, which need no node."""
        answer = self.create(("a", 1), ("b", 0), ("c", 1), nodes=(1,))
        self.assertEqual(self.codes(answer), [Unavailable.code, 0, Unavailable.code])
        self.assertEqual(self.bench.machine.head.uploads, 1)

    def test_cut_alike(self) -> None:
        """The same parts in one batch and one by one leave the same tables."""
        other = Bench()
        other.nodes(4)
        self.create(("a", 1), ("b", 2), ("c", 0))
        one = self.bench.machine.store
        for name, size in (("a", 1), ("b", 2), ("c", 0)):
            uploads = (NewUpload(name, size),)
            other.do(together.CreateUploads(other.operation(), CHUNK, 3, 2, 7, (3, 1, 2), uploads))
        two = other.machine.store
        for table in (tables.UPLOADS, tables.CHUNKS, tables.NODES):
            pairs = one.scan(table, prefix_end(table), 100)
            self.assertEqual(pairs, two.scan(table, prefix_end(table), 100))
        self.assertEqual(len(one.scan(tables.UPLOADS, prefix_end(tables.UPLOADS), 100)), 3)

    def finish(self, *written: ChunkCommit) -> list[FinishOutcome]:
        answer = self.bench.do(together.FinishUploads(8, written))
        assert isinstance(answer, UploadsFinished)
        return list(answer.outcomes)

    def word(self, upload: GrantedUpload, length: int) -> ChunkCommit:
        return self.bench.written(upload.file_id, 0, upload.generation, (3, 1, 2), length)

    def test_finished_with_its_chunk(self) -> None:
        """The commit of the only chunk of an upload is the commit of its file, once however often it is said; the
        client's own commit of it is as good (S26)."""
        a, b = self.granted(self.create(("a", 10), ("b", 20)))
        words = self.word(a, 10), self.word(b, 20)
        self.assertEqual(self.finish(*words), [FINISHED, FINISHED])
        self.assertEqual(self.finish(*words), [FINISHED, FINISHED])
        self.assertEqual((self.bench.machine.head.files, self.bench.machine.head.uploads), (2, 0))
        info = queries.get_file(self.bench.machine.store, "a", None)
        self.assertEqual((info.size, info.count, info.digest), (10, 1, file_digest(sha(0))))
        self.assertEqual(self.codes(self.commit(self.finished(a, 10))), [0])

    def test_not_finished(self) -> None:
        """A chunk that is not all of its upload, is stale, or is of an upload that ended, finishes nothing; a name that
        was taken meanwhile leaves the chunk committed, and the writer is told when it commits (S36, S46)."""
        a, b, c, d = self.granted(self.create(("a", 10), ("same", 10), ("same", 10), ("gone", 10)))
        self.bench.do(commands.DeleteFile(self.bench.operation(), None, d.file_id))
        stale = evolve(self.word(a, 10), generation=Generation(a.generation + 100))
        outcomes = self.finish(self.word(a, 9), self.word(b, 10), self.word(c, 10), self.word(d, 10), stale)
        COMMITTED, STALE, GONE = FinishOutcome.COMMITTED, FinishOutcome.STALE, FinishOutcome.GONE
        self.assertEqual(outcomes, [COMMITTED, FINISHED, COMMITTED, GONE, STALE])
        self.assertEqual(self.bench.machine.head.files, 1)
        self.assertEqual(self.codes(self.commit(self.finished(c, 10))), [FileExists.code])

    def test_taken_over(self) -> None:
        """The word of a chunk that a former writer stored, said again after another one took the upload over, makes no
        name appear: that is for the writer who has the upload to say (S46)."""
        a, b = self.granted(self.create(("same", 10), ("same", 10)))
        first, second = self.word(a, 10), self.word(b, 10)
        self.assertEqual(self.finish(first, second), [FINISHED, FinishOutcome.COMMITTED])
        self.bench.do(commands.DeleteFile(self.bench.operation(), "same", None))
        self.bench.do(commands.ResumeUpload(self.bench.operation(), b.file_id, ()))
        self.assertEqual(self.finish(second), [FinishOutcome.COMMITTED])
        self.assertEqual(self.bench.machine.head.files, 0)
        self.assertEqual(self.codes(self.commit(self.finished(b, 10, epoch=2))), [0])

    def test_open(self) -> None:
        """Files are opened by name or id with their only chunk; one that is not there stands for itself (S42)."""
        self.bench.store_file("one")
        two = self.bench.store_file("two", 2)
        gone = GetFile("none", None)
        answer = open_files(
            self.bench.machine.store, b"c" * 16, (GetFile("one", None), gone, GetFile(None, two.file_id)), {}
        )
        found = [(file.info and file.info.name, file.chunk and file.chunk.index) for file in answer.files]
        self.assertEqual(found, [("one", 0), (None, None), ("two", None)])
