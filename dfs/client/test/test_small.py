"""Small files that are under way at the same time share their requests, and nothing else."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from dfs.client.test.fakes import CHUNK, FakeCluster, sample
from dfs.client.upload import UploadResult
from dfs.protocol import messages as m
from dfs.protocol.errors import Disconnected, FileExists, NoSpace, Unavailable, UnknownRequest, UploadGone
from dfs.protocol.limits import MAX_BATCH, MAX_SMALL, MAX_TOGETHER


class SmallFileTests(SynchronousTestCase):
    """Uploads of what is held in memory."""

    def setUp(self) -> None:
        self.cluster = FakeCluster()
        self.metadata = self.cluster.metadata
        self.client = self.cluster.client

    def begin(self, name: str, data: bytes) -> Deferred[UploadResult]:
        return Deferred.fromCoroutine(self.client.upload(data, name, chunk_size=CHUNK))

    def all_of(self, files: dict[str, bytes]) -> dict[str, Any]:
        """Upload all at once; the result, or the error, of each."""

        async def work() -> list[tuple[bool, Any]]:
            return await DeferredList([self.begin(*file) for file in files.items()], consumeErrors=True)

        outcomes = self.cluster.run(work())
        return {
            name: result.value if isinstance(result, Failure) else result
            for name, (_, result) in zip(files, outcomes, strict=True)
        }

    def content(self, name: str) -> bytes:
        async def work() -> bytes:
            return await (await self.client.open(name)).read()

        return self.cluster.run(work())

    def test_shared_requests(self) -> None:
        """Twenty files at once, an empty one among them, take one request a step and come back whole (S45)."""
        files = {f"file-{number}": sample(number * 100, number) for number in range(20)}
        results = self.all_of(files)
        self.assertEqual([result.size for result in results.values()], [len(data) for data in files.values()])
        self.assertEqual([len(self.metadata.of(kind)) for kind in (m.CreateUploads, m.CommitFiles)], [1, 1])
        (commits,) = self.metadata.of(m.CommitFiles)
        self.assertEqual([file.size for file in commits.files], [0])  # the others were finished with their chunks
        self.assertEqual(self.metadata.of(m.CreateUpload), [])
        self.assertEqual([event for event in self.cluster.events if "put" in event], ["put 19 together at chunk-1"])
        self.assertEqual({name: self.content(name) for name in files}, files)

    def test_one_alone(self) -> None:
        """A lone file waits for nobody: it is stored before any time has passed but the network's."""
        began = self.cluster.host.reactor.seconds()
        result = self.all_of({"a": b"x"})["a"]
        self.assertEqual((result.size, result.sent, result.chunks), (1, 1, 1))
        self.assertLess(self.cluster.host.reactor.seconds() - began, 0.01)

    def test_a_bad_part_is_alone(self) -> None:
        """A name that is taken fails its own upload only, whatever travels beside it (S26, S46)."""
        self.all_of({"b": b"first"})
        results = self.all_of({"a": b"1", "b": b"2", "c": b"3"})
        self.assertIsInstance(results["b"], FileExists)
        self.assertEqual([self.content(name) for name in "abc"], [b"1", b"first", b"3"])

    def test_more_than_a_batch(self) -> None:
        """No batch has more parts or bytes than one may have; what does not fit follows in the next."""
        files = {f"file-{number:03}": sample(MAX_SMALL if number < 40 else 10, number) for number in range(100)}
        self.all_of(files)
        for request in self.metadata.of(m.CreateUploads):
            self.assertLessEqual(len(request.uploads), MAX_TOGETHER)
        puts = [event for event in self.cluster.events if event.startswith("put")]
        self.assertGreaterEqual(len(puts), 40 * MAX_SMALL // MAX_BATCH)
        self.assertEqual({name: self.content(name) for name in files}, files)

    def test_put_of_a_part_fails(self) -> None:
        """A chunk that its batch does not make durable is stored alone; the others notice nothing (S24)."""
        self.cluster.servers["chunk-1"].put_faults = [NoSpace("full"), Disconnected("gone")]
        files = {"a": b"1", "b": b"2", "c": b"3"}
        results = self.all_of(files)
        self.assertEqual({name: result.size for name, result in results.items()}, dict.fromkeys("abc", 1))
        self.assertEqual({name: self.content(name) for name in files}, files)
        puts = [event for event in self.cluster.events if event.startswith("put")]
        self.assertEqual(puts[0], "put 3 together at chunk-1")
        self.assertEqual(len(puts), 3)

    def test_answer_of_a_batch_is_lost(self) -> None:
        """What became durable with a batch whose answer was lost is found so and not stored twice (S26)."""
        self.cluster.servers["chunk-1"].lose_answer = True
        files = {"a": b"1", "b": b"2"}
        results = self.all_of(files)
        self.assertEqual([result.chunks for result in results.values()], [1, 1])
        self.assertEqual({name: self.content(name) for name in files}, files)

    def test_finished_though_the_answer_is_lost(self) -> None:
        """A file that a batch finished is no failure of its upload where only the answer was lost, and the primary with
        it (S26)."""
        self.cluster.servers["chunk-1"].lose_answer = True
        self.cluster.servers["chunk-1"].put_faults_alone = [Disconnected("gone")]
        result = self.all_of({"a": b"1"})["a"]
        self.assertEqual((result.size, result.chunks), (1, 1))
        self.assertEqual(len(self.metadata.of(m.ReplaceChunk)), 1)
        self.assertEqual(self.content("a"), b"1")

    def test_refused_for_the_moment(self) -> None:
        """A part that is refused for the moment is asked for again, in vain only until patience ends."""
        self.metadata.part_faults = {"a": [Unavailable("too few")] * 3, "b": [Unavailable("too few")] * 1000}
        results = self.all_of({"a": b"1", "b": b"2", "c": b"3"})
        self.assertEqual(results["a"].size, 1)
        self.assertIsInstance(results["b"], Unavailable)
        self.assertIn("no progress", str(results["b"]))

    def test_commit_is_refused(self) -> None:
        """An upload that was deleted meanwhile is not acknowledged with those beside it, and is given up (S36)."""
        self.metadata.finishes = False
        files = {"a": b"1", "b": b"2"}
        store = self.metadata.commit

        def lose(file_id: int, chunk: m.CommittedChunk, nodes: list[str]) -> None:
            store(file_id, chunk, nodes)
            if file_id == 1:
                del self.metadata.files[1]

        self.metadata.commit = lose  # type: ignore[method-assign]
        results = self.all_of(files)
        self.assertIsInstance(results["a"], UploadGone)
        self.assertEqual(results["b"].size, 1)

    def test_not_finished_with_its_chunk(self) -> None:
        """Where the commit of a chunk does not commit its file, the client commits it, together with others."""
        self.metadata.finishes = False
        results = self.all_of({"a": b"1", "b": b"2"})
        self.assertEqual([result.chunks for result in results.values()], [1, 1])
        self.assertEqual([len(request.files) for request in self.metadata.of(m.CommitFiles)], [2])
        self.assertEqual([self.content(name) for name in "ab"], [b"1", b"2"])

    def test_one_gives_up(self) -> None:
        """Who cancels an upload takes nobody along who travels with it."""

        async def work() -> Any:
            a, b = self.begin("a", b"1"), self.begin("b", b"2")
            a.cancel()
            return await DeferredList([a, b], consumeErrors=True)

        (_, a), (_, b) = self.cluster.run(work())
        a.trap(CancelledError)
        self.assertEqual(b.size, 1)

    def test_older_metadata(self) -> None:
        """Where metadata knows no batches a file goes alone (S39)."""
        self.metadata.faults = {m.CreateUploads: [UnknownRequest("what?")]}
        self.assertEqual(self.all_of({"a": b"1"})["a"].size, 1)
        self.assertEqual(self.content("a"), b"1")
        self.assertEqual(len(self.metadata.of(m.CreateUpload)), 1)
