"""Downloads: the committed bytes, whole, or no file at all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, TypeVar

from attrs import evolve
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from dfs.client.download import partial_path
from dfs.client.errors import ChunkUnreachable, ChunkUnreadable, LocalFileError, OutputExists
from dfs.client.fetching import Fetch
from dfs.client.opening import Wanted
from dfs.client.test.fakes import CHUNK, FakeCluster, sample
from dfs.disk.errors import DiskFull, SyncFailed
from dfs.protocol import messages as m
from dfs.protocol.errors import Cancelled, Disconnected, FileNotFound, Unavailable

T = TypeVar("T")

DATA = sample(5 * CHUNK + 3)
OUT = "/out"


class Recorder:
    """A place that remembers how far it was written."""

    end = 0

    def write(self, offset: int, pieces: Sequence[memoryview]) -> None:
        self.end = max(self.end, offset + sum(len(piece) for piece in pieces))


async def collect(items: AsyncIterator[T]) -> list[T]:
    return [item async for item in items]


class DownloadCase(SynchronousTestCase):
    """A stored file."""

    def setUp(self) -> None:
        self.cluster = FakeCluster()
        self.metadata = self.cluster.metadata
        self.cluster.store("name", DATA)

    def download(self, **options: Any) -> Any:
        return self.cluster.run(self.cluster.client.download("name", OUT, **options), 300.0)

    def begin(self, **options: Any) -> Deferred[Any]:
        return Deferred.fromCoroutine(self.cluster.client.download("name", OUT, **options))

    def out(self) -> bytes | None:
        return self.cluster.read_file(OUT)

    def gets(self) -> list[str]:
        return [event for event in self.cluster.events if event.startswith("get")]

    def info(self) -> m.FileInfo:
        found = self.metadata.file("name").info
        assert found is not None
        return found

    def partial(self) -> bytes | None:
        return self.cluster.read_file(partial_path(OUT, self.info().file_id))


class WholeTests(DownloadCase):
    """Files that come back."""

    def test_edges(self) -> None:
        """Empty, one byte, and a whole number of chunks more or less one byte come back exactly (S45)."""
        for size in (0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK):
            data = sample(size, size)
            self.cluster.store(f"name-{size}", data)
            result = self.cluster.run(self.cluster.client.download(f"name-{size}", f"/out-{size}"))
            self.assertEqual(self.cluster.read_file(f"/out-{size}"), data)
            self.assertEqual(result.size, size)

    def test_large_chunks(self) -> None:
        """Chunks of many blocks are written and verified a batch at a time."""
        data = sample(9 << 20)
        self.cluster.store("large", data, 4 << 20)
        self.cluster.run(self.cluster.client.download("large", OUT))
        self.assertEqual(self.out(), data)

    def test_durable(self) -> None:
        """A power cut right after success loses nothing of the file."""
        self.download()
        self.cluster.host.crash()
        self.assertEqual(self.out(), DATA)
        self.assertIsNone(self.partial())

    def test_missing(self) -> None:
        """A name that is not there is FileNotFound, exit code 3."""
        work = self.cluster.client.download("other", OUT)
        self.assertEqual(self.assertRaises(FileNotFound, self.cluster.run, work).exit_code, 3)

    def test_existing_output(self) -> None:
        """What is there is never overwritten without being told; a folder never (exit code 4)."""
        self.cluster.write_file(OUT, b"mine")
        self.assertEqual(self.assertRaises(OutputExists, self.download).exit_code, 4)
        self.assertEqual(self.out(), b"mine")
        self.download(force=True)
        self.assertEqual(self.out(), DATA)
        self.cluster.host.disk.make_folders("/folder")
        work = self.cluster.client.download("name", "/folder", force=True)
        self.assertRaises(OutputExists, self.cluster.run, work)

    def test_output_that_appears_meanwhile(self) -> None:
        """A file that appears under the name while the bytes come is not overwritten either."""
        downloading = self.begin()
        self.cluster.world.run_until(lambda: len(self.gets()) == 6)
        self.cluster.write_file(OUT, b"mine")
        self.cluster.world.run(1.0)
        self.failureResultOf(downloading, OutputExists)
        self.assertEqual(self.out(), b"mine")

    def test_stream(self) -> None:
        """To a stream the bytes come in order, each chunk verified before its first byte."""
        got = bytearray()

        async def write(data: bytearray) -> None:
            got.extend(data)

        self.cluster.run(self.cluster.client.download("name", write, parallel=3))
        self.assertEqual(bytes(got), DATA)
        self.assertEqual(self.cluster.pool.out, [])

    def test_wrong_digest(self) -> None:
        """Chunks that do not give the committed digest are no file."""
        file = self.metadata.file("name")
        file.info = evolve(self.info(), digest=bytes(32))
        self.assertRaises(ChunkUnreadable, self.download)
        self.assertIsNone(self.out())


class KilledTests(DownloadCase):
    """S41, S48."""

    def test_killed_at_any_step(self) -> None:
        """Killed at any moment there is no file under the final name; the next run fetches only what is missing
        (S41)."""
        for step in range(1, 120, 5):
            self.setUp()
            downloading = self.begin(parallel=2)
            for _ in range(step):
                self.cluster.world.clock.step()
            whole = downloading.called
            self.cluster.host.restart()
            if whole:
                self.assertEqual(self.out(), DATA)
                continue
            self.assertIn(self.out(), (None, DATA))
            self.cluster.context = self.cluster.new_context()
            self.download(force=True)
            self.assertEqual(self.out(), DATA)

    def test_resumes(self) -> None:
        """Chunks that a killed download had are hashed and kept; a bad one is fetched anew (S41)."""
        self.abandoned = self.begin(parallel=1)
        self.cluster.world.run_until(lambda: len(self.gets()) == 4)
        self.cluster.host.restart()
        self.cluster.context = self.cluster.new_context()
        self.cluster.events.clear()
        self.cluster.host.disk.flip_bits(partial_path(OUT, self.info().file_id), CHUNK + 1)
        self.download()
        self.assertEqual({int(event.split()[1]) for event in self.gets()}, {1, 3, 4, 5})
        self.assertEqual(self.out(), DATA)

    def test_cancelled_anywhere(self) -> None:
        """Cancelled at any moment it ends at once with CancelledError, holds no connection and nothing is written
        afterwards (S48)."""
        for step in range(1, 120, 3):
            self.setUp()
            downloading = self.begin(parallel=2)
            for _ in range(step):
                self.cluster.world.clock.step()
            if downloading.called:
                self.assertEqual(self.out(), DATA)
                return
            downloading.cancel()
            self.cluster.world.run(0.1)
            self.failureResultOf(downloading, CancelledError)
            before = self.partial()
            self.assertEqual(self.cluster.pool.out, [])
            self.cluster.world.run(5.0)
            self.assertEqual(self.partial(), before)
        self.fail("the download never ended by itself")

    def test_power_cut_at_every_operation(self) -> None:
        """Whatever the power cut leaves, the final name has all bytes or is not there (S41)."""
        for step in range(1, 60):
            self.setUp()
            self.cluster.host.disk.crash_at(step)
            self.abandoned = self.begin(parallel=1)
            self.cluster.world.run(5.0)
            self.cluster.host.disk.crash_at(None)
            if self.cluster.host.up:
                self.assertEqual(self.out(), DATA)
                return
            self.assertIn(self.out(), (None, DATA), step)
        self.fail("the download never ended by itself")

    def test_two_at_once(self) -> None:
        """A second download to the same place is refused and harms nothing."""
        first = self.begin()
        self.cluster.world.run_until(self.gets)
        self.assertRaises(LocalFileError, self.download)
        self.cluster.world.run(5.0)
        self.successResultOf(first)
        self.assertEqual(self.out(), DATA)


class DiskTests(DownloadCase):
    """The local disk fails."""

    def test_errors(self) -> None:
        """A full or failing disk and a missing folder are a sentence, and no file."""
        for operation, error in (("pwrite", DiskFull), ("sync", SyncFailed)):
            fault = self.cluster.host.disk.inject(operation, "/", error)
            self.assertRaises(LocalFileError, self.download)
            self.assertIsNone(self.out())
            self.cluster.host.disk.recover(fault)
        self.assertEqual(self.cluster.pool.out, [])
        work = self.cluster.client.download("name", "/no/such/folder")
        self.assertIn("make the folder", self.assertRaises(LocalFileError, self.cluster.run, work).hint)


class ReplicaTests(DownloadCase):
    """Replicas that fail."""

    def spoil(self, node: str, served: Callable[[bytes], bytes]) -> None:
        self.cluster.servers[node].served = served

    def test_corrupt_replicas(self) -> None:
        """Bytes with another SHA-256 than was committed are never kept, whatever their CRCs say; the replica is
        reported and another one read (S11)."""
        for wrong in (
            lambda data: bytes(len(data)),
            lambda data: data[:-1],
            lambda data: data + b"x" * CHUNK,
            lambda data: data[:-1] + bytes([data[-1] ^ 1]),
        ):
            self.setUp()
            self.spoil("chunk-1", wrong)
            self.spoil("chunk-2", wrong)
            self.download()
            self.assertEqual(self.out(), DATA)
            reported = {report.node for report in self.metadata.of(m.ReportCorrupt)}
            self.assertTrue(reported and reported <= {"chunk-1", "chunk-2"})

    def test_no_replica_writes_beyond_its_chunk(self) -> None:
        """A replica that sends more than its chunk does not touch its neighbour's bytes (S11)."""
        self.spoil("chunk-1", lambda data: data + bytes(CHUNK))
        self.spoil("chunk-2", lambda data: data + bytes(CHUNK))
        for chunk in self.cluster.run(collect(self.cluster.client.chunks(self.info()))):
            place = Recorder()
            wanted = Wanted("name", self.info().file_id, chunk, 0, chunk.length)
            self.cluster.run(Fetch(self.cluster.context, wanted, place, lambda _: None).run())
            self.assertLessEqual(place.end, chunk.length)

    def test_wrong_head(self) -> None:
        """A replica that says that it holds something else is corrupt before its first byte (S11)."""
        server = self.cluster.servers["chunk-1"]
        for key in server.data:
            server.data[key] = bytes(CHUNK)
        self.download()
        self.assertEqual(self.out(), DATA)

    def test_all_corrupt(self) -> None:
        """When every replica is corrupt the error names file, chunk, and what was found at which node; exit 6 (S42)."""
        for node in self.cluster.servers:
            self.spoil(node, lambda data: bytes(len(data)))
        error = self.assertRaises(ChunkUnreadable, self.download)
        self.assertEqual((error.exit_code, error.nodes), (6, ("chunk-1", "chunk-2", "chunk-3")))
        for word in ("chunk ", "'name'", "chunk-1: ", "chunk-2: ", "chunk-3: ", "SHA-256"):
            self.assertIn(word, error.message)
        self.assertIsNone(self.out())

    def test_all_unreachable(self) -> None:
        """When no replica can be reached it waits for the patience, then says so; exit 5 (S42)."""
        for server in self.cluster.servers.values():
            server.down = Disconnected("connection refused")
        began = self.cluster.world.clock.now
        error = self.assertRaises(ChunkUnreachable, self.download)
        self.assertEqual(error.exit_code, 5)
        self.assertIn("chunk-2: connection refused", error.message)
        self.assertGreaterEqual(self.cluster.world.clock.now - began, 5.0)

    def test_replicas_come_back(self) -> None:
        """A replica that comes back within the patience serves."""
        for server in self.cluster.servers.values():
            server.down = Disconnected("connection refused")
        downloading = self.begin()
        self.cluster.world.run(2.0)
        self.cluster.servers["chunk-3"].down = None
        self.cluster.world.run(5.0)
        self.successResultOf(downloading)
        self.assertEqual(self.out(), DATA)

    def test_a_node_that_gives_up_by_itself(self) -> None:
        """A Cancelled that a node tells (it goes down) is not our own giving up: the next replica is read."""
        for node in ("chunk-1", "chunk-2"):
            self.cluster.servers[node].down = Cancelled("the request was given up")
        self.download()
        self.assertEqual(self.out(), DATA)

    def test_hedge(self) -> None:
        """A replica that does not answer costs the hedge's delay, not the time-out, and its late answer is refused."""
        self.cluster.servers["chunk-1"].heads_after = 1.5
        self.cluster.servers["chunk-2"].heads_after = None
        began = self.cluster.world.clock.now
        self.download(parallel=6)
        self.assertLess(self.cluster.world.clock.now - began, 4.0)
        self.assertEqual(self.out(), DATA)
        self.cluster.world.run(5.0)
        self.assertEqual(self.cluster.pool.out, [])


class DeletedTests(DownloadCase):
    """S47."""

    def test_deleted_and_uploaded_again(self) -> None:
        """A file that is deleted while it is read, and uploaded again under its name, ends the read: never a mix
        (S47)."""
        for server in self.cluster.servers.values():
            server.down = Disconnected("gone")
        downloading = self.begin(parallel=1)
        self.cluster.world.run(0.5)
        for server in self.cluster.servers.values():
            server.down = None
        self.cluster.run(self.cluster.client.delete("name"))
        self.cluster.store("name", sample(len(DATA), 3))
        self.cluster.world.run(10.0)
        failure = self.failureResultOf(downloading, ChunkUnreadable)
        self.assertIn("deleted while it was read", failure.value.message)
        self.assertIsNone(self.out())

    def test_metadata_away_while_chunks_are_fetched(self) -> None:
        """A read whose chunk list is known needs no metadata."""
        downloading = self.begin(parallel=1)
        self.cluster.world.run_until(lambda: len(self.gets()) == 1)
        self.metadata.faults[m.ListChunks] = [Unavailable("no leader")] * 100
        self.cluster.world.run(5.0)
        self.assertEqual(self.successResultOf(downloading).size, len(DATA))


class RangeTests(DownloadCase):
    """`open(name).read(offset, length)`."""

    def test_ranges(self) -> None:
        """Any range is exactly that of the file, short only at its end (S45)."""
        edges = (0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 7, len(DATA) - 1, len(DATA), len(DATA) + 5)

        async def check() -> None:
            file = await self.cluster.client.open("name", parallel=2)
            for offset in edges:
                for length in (0, 1, CHUNK, 2 * CHUNK + 1, None):
                    end = None if length is None else offset + length
                    self.assertEqual(await file.read(offset, length), DATA[offset:end], (offset, length))

        self.cluster.run(check(), 1000.0)
        self.assertEqual(self.cluster.pool.out, [])

    def test_mistakes(self) -> None:
        """Negative offsets and lengths are refused."""

        async def read(offset: int, length: int) -> None:
            await (await self.cluster.client.open("name")).read(offset, length)

        self.assertRaises(ValueError, self.cluster.run, read(-1, 1))
        self.assertRaises(ValueError, self.cluster.run, read(0, -1))

    def test_whole_chunk_is_held_against_its_hash(self) -> None:
        """A range that is a whole chunk is verified by SHA-256 too (S11)."""
        self.cluster.servers["chunk-1"].served = lambda data: bytes(len(data))
        self.cluster.servers["chunk-2"].served = lambda data: bytes(len(data))

        async def read() -> bytes:
            return await (await self.cluster.client.open("name")).read(CHUNK, CHUNK)

        self.assertEqual(self.cluster.run(read()), DATA[CHUNK : 2 * CHUNK])
