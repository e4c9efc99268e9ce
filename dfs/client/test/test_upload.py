"""Uploads: every byte once, durable before it counts, or a clear error."""

from __future__ import annotations

import hashlib
import io
from collections.abc import AsyncIterator
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from dfs.client.errors import BadName, BadRequest, LocalFileChanged, LocalFileError, Unavailable
from dfs.client.test.fakes import CHUNK, FakeCluster, sample
from dfs.client.upload import Renewing
from dfs.protocol import messages as m
from dfs.protocol.errors import (
    Cancelled,
    DeadlinePassed,
    Disconnected,
    FileExists,
    Forbidden,
    NoSpace,
    QuorumFailed,
    SessionExpired,
    StaleEpoch,
    UploadGone,
)
from dfs.protocol.values import Description, Label, file_digest

PATH = "/data.bin"


class UploadCase(SynchronousTestCase):
    """A file of a given content, and a cluster."""

    def setUp(self) -> None:
        self.cluster = FakeCluster()
        self.metadata = self.cluster.metadata

    def upload(self, data: bytes | None = None, name: str = "name", **options: Any) -> Any:
        if data is not None:
            self.cluster.write_file(PATH, data)
        options = {"chunk_size": CHUNK, **options}
        return self.cluster.run(self.cluster.client.upload(PATH, name, **options), 300.0)

    def stored(self, name: str = "name") -> bytes:
        """The file as the first replica of each chunk has it."""
        file = self.metadata.file(name)
        pieces = []
        for index, chunk in sorted(file.chunks.items()):
            server = self.cluster.servers[chunk.nodes[0]]
            assert file.info is not None
            pieces.append(server.data[(file.info.file_id, index, chunk.committed.generation)])
        return b"".join(pieces)

    def begin(self, data: bytes, **options: Any) -> Deferred[Any]:
        """An upload on its way."""
        self.cluster.write_file(PATH, data)
        return Deferred.fromCoroutine(self.cluster.client.upload(PATH, "name", **{"chunk_size": CHUNK, **options}))


class SizeTests(UploadCase):
    """S45."""

    def test_edges(self) -> None:
        """Empty, one byte, and a whole number of chunks more or less one byte are stored exactly (S45)."""
        for size in (0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 1, 20 * CHUNK):
            data = sample(size, size)
            result = self.upload(data, f"name-{size}")
            self.assertEqual(self.stored(f"name-{size}"), data)
            self.assertEqual((result.size, result.sent, result.chunks), (size, size, -(-size // CHUNK)))
            hashes = [hashlib.sha256(data[at : at + CHUNK]).digest() for at in range(0, size, CHUNK)]
            self.assertEqual(result.digest, "dfs1:" + file_digest(b"".join(hashes)).hex())

    def test_large_chunks_are_sent_in_batches(self) -> None:
        """A chunk of more than one read is put together as it was."""
        data = sample((5 << 20) + 17)
        self.upload(data, chunk_size=4 << 20)
        self.assertEqual(self.stored(), data)

    def test_connections_are_given_back(self) -> None:
        """No connection is kept after the upload."""
        self.upload(sample(5 * CHUNK))
        self.assertEqual(self.cluster.pool.out, [])

    def test_nothing_in_flight_is_refused(self) -> None:
        """`parallel` of nothing would store an empty file: it is refused before anything is asked."""
        self.assertRaises(BadRequest, self.upload, b"x", parallel=0)
        self.assertEqual(self.metadata.asked, [])


class NameTests(UploadCase):
    """S44."""

    def test_impossible_names(self) -> None:
        """Names that are empty, too long, not UTF-8 or hold NUL are refused with exit code 2 (S44)."""
        for name in ("", "x" * 4097, "é" * 2049, "a\0b", "\udcff"):
            error = self.assertRaises(BadName, self.upload, b"x", name)
            self.assertEqual(error.exit_code, 2)
        self.assertEqual(self.metadata.asked, [])

    def test_strange_names(self) -> None:
        """Dots, line ends and other scripts are names like any other (S44)."""
        for name in ("../../etc/passwd", ".", "a\nb", "файл", "x" * 4096):
            self.upload(b"x", name)
            self.assertEqual(self.stored(name), b"x")


class StreamTests(UploadCase):
    """Sources of unknown length."""

    def test_file_object(self) -> None:
        """A stream whose length nobody knows is stored whole (S45)."""
        for size in (0, 1, CHUNK, 2 * CHUNK + 1):
            data = sample(size)
            client = self.cluster.client
            self.cluster.run(client.upload(io.BytesIO(data), f"name-{size}", chunk_size=CHUNK))
            self.assertEqual(self.stored(f"name-{size}"), data)

    def test_failed_stream_is_given_up(self) -> None:
        """A stream that breaks leaves no name, and metadata is told at once."""

        async def pieces() -> AsyncIterator[bytes]:
            yield sample(CHUNK)
            raise RuntimeError("the source broke")

        work = self.cluster.client.upload(pieces(), "name", chunk_size=CHUNK)
        self.assertRaises(RuntimeError, self.cluster.run, work)
        self.assertEqual(len(self.metadata.of(m.AbortUpload)), 1)
        self.assertEqual(self.metadata.files, {})


class LabelTests(UploadCase):
    """What a chunk is told of its file."""

    def said(self) -> list[tuple[int, Description | None]]:
        """By index, of the puts."""
        puts = sorted(self.cluster.puts, key=lambda put: put.index)
        return [(put.index, put.description if isinstance(put, m.PutLabelled) else None) for put in puts]

    def test_every_chunk_says_its_file(self) -> None:
        """Each put carries name, size where it is known, chunk size and replication; only the last chunk says that it
        is the last, also of a stream that ends with a full chunk."""
        self.metadata.evidence = 7
        for size in (1, CHUNK, 2 * CHUNK, 2 * CHUNK + 1):
            data, count = sample(size), -(-size // CHUNK)
            for known in (True, False):
                self.cluster.puts.clear()
                name = f"name-{size}-{known}"
                if known:
                    self.upload(data, name, replication=2)
                else:
                    source = io.BufferedReader(io.BytesIO(data))
                    work = self.cluster.client.upload(source, name, chunk_size=CHUNK, replication=2)
                    self.cluster.run(work)
                label = Label(name, size if known else None, CHUNK, 2)
                self.assertEqual(
                    self.said(), [(index, Description(label, index == count - 1, 0)) for index in range(count)]
                )

    def test_older_metadata(self) -> None:
        """Where the grant stands for no label, of metadata of before labels, a chunk is put without one (S39)."""
        self.upload(sample(CHUNK + 1))
        self.assertEqual(self.said(), [(0, None), (1, None)])


class RetryTests(UploadCase):
    """What fails is placed anew under a new generation."""

    def test_every_mendable_error(self) -> None:
        """Each error of a chunk server leads to another place, not to failure; its bytes are stored once."""
        errors = (
            QuorumFailed("2 of 3 failed", nodes=("chunk-2",)),
            Disconnected("gone"),
            DeadlinePassed("slow"),
            NoSpace("full"),
            Forbidden("the grant has expired"),
            Cancelled("the node goes down"),
        )
        for number, error in enumerate(errors):
            self.cluster.servers["chunk-1"].put_faults.append(error)
            data = sample(2 * CHUNK, number)
            result = self.upload(data, f"name-{number}", parallel=1)
            self.assertEqual(self.stored(f"name-{number}"), data)
            self.assertEqual(result.sent, 2 * CHUNK)

    def test_guilty_node_is_avoided(self) -> None:
        """The nodes that an error names are avoided; an address that it names is not taken for one."""
        self.cluster.servers["chunk-1"].put_faults.append(QuorumFailed("no", nodes=("chunk-3", "10.0.0.9:1")))
        self.upload(b"x")
        self.assertEqual([request.avoid for request in self.metadata.of(m.ReplaceChunk)], [("chunk-3",)])

    def test_unreachable_primary(self) -> None:
        """A primary that cannot be reached is avoided itself."""
        self.cluster.servers["chunk-1"].down = Disconnected("refused", nodes=("chunk-1:1",))
        self.upload(sample(3 * CHUNK))
        self.assertEqual({request.avoid for request in self.metadata.of(m.ReplaceChunk)}, {("chunk-1",)})
        self.assertEqual(self.stored(), sample(3 * CHUNK))

    def test_lost_answer_is_no_second_copy(self) -> None:
        """A chunk that was committed though its answer was lost is found committed and not sent again (S24, S26)."""
        self.cluster.servers["chunk-1"].lose_answer = True
        result = self.upload(sample(CHUNK))
        self.assertEqual([event for event in self.cluster.events if event.startswith("put")], ["put 0 at chunk-1"])
        self.assertEqual((result.sent, self.stored()), (CHUNK, sample(CHUNK)))

    def test_primary_must_have_stored_what_was_sent(self) -> None:
        """An answer with another SHA-256 than that of the bytes sent is no success (S05)."""
        self.cluster.servers["chunk-1"].says_sha = bytes(32)
        self.cluster.servers["chunk-2"].says_sha = bytes(32)
        self.cluster.servers["chunk-3"].says_sha = bytes(32)
        self.upload(sample(CHUNK))  # found committed with the right one by asking
        self.assertEqual(len(self.metadata.of(m.ReplaceChunk)), 1)

    def test_patience_ends(self) -> None:
        """When every try fails, sent bytes do not count as progress: it ends as unavailable after the patience."""
        for server in self.cluster.servers.values():
            server.put_faults += [QuorumFailed("one of three")] * 1000
        began = self.cluster.world.clock.now
        error = self.assertRaises(Unavailable, self.upload, sample(CHUNK))
        self.assertEqual(error.exit_code, 5)
        self.assertIn("one of three", error.message)
        self.assertLess(self.cluster.world.clock.now - began, 10.0)

    def test_lost_upload_ends_at_once(self) -> None:
        """A delete during an upload is noticed by the uploader (S36)."""
        self.cluster.servers["chunk-1"].put_faults.append(UploadGone("deleted"))
        self.assertRaises(UploadGone, self.upload, sample(CHUNK))
        self.assertEqual(self.metadata.of(m.ReplaceChunk), [])

    def test_lease_is_renewed_and_its_loss_ends_all(self) -> None:
        """The lease is renewed thrice a term; a writer that is fenced off stops, whatever else waits (S36, S40)."""
        for server in self.cluster.servers.values():
            server.put_faults += [Disconnected("gone")] * 1000
        self.cluster.context = self.cluster.new_context(patience=1000.0)
        uploading = self.begin(sample(CHUNK))
        self.cluster.world.run(45.0)
        self.assertEqual(len(self.metadata.of(m.RenewLease)), 2)
        self.metadata.faults[m.RenewLease] = [StaleEpoch("another writer resumed this upload")]
        self.cluster.world.run(20.0)
        self.failureResultOf(uploading, StaleEpoch)
        self.assertEqual(self.cluster.pool.out, [])

    def test_lease_lost_within_its_first_renewal(self) -> None:
        """Where the first renewal fails without any wait its error is told, and stopping then is no error (S36)."""
        host = self.cluster.host
        told: list[object] = []

        async def renew() -> None:
            raise StaleEpoch("another writer resumed this upload")

        def lost(failure: Failure) -> None:
            told.append(failure.type)
            renewing.stop()
            told.append("stopped")

        renewing = Renewing(host.reactor, 1.0, renew, lost)
        self.cluster.world.run(2.0)
        self.assertEqual(told, [StaleEpoch, "stopped"])

    def test_same_name_by_two(self) -> None:
        """The second of two writers of a name is told when it commits (S46)."""
        self.upload(b"first")
        self.assertRaises(FileExists, self.upload, b"second!")
        self.metadata.faults[m.CommitFile] = [FileExists("'other' was created by somebody else meanwhile")]
        self.assertRaises(FileExists, self.upload, b"third..", "other")
        self.assertEqual(self.stored(), b"first")

    def test_forgotten_session(self) -> None:
        """A session that metadata has forgotten is replaced, and the request asked again in the new one (R44)."""
        self.metadata.faults[m.CreateUpload] = [SessionExpired("forgotten")]
        self.upload(b"x")
        first, second = self.metadata.of(m.CreateUpload)
        self.assertNotEqual(first.operation.session, second.operation.session)

    def test_degraded(self) -> None:
        """With fewer chunk servers than copies the upload says `degraded`."""
        self.cluster = FakeCluster(servers=2)
        self.metadata = self.cluster.metadata
        self.assertTrue(self.upload(b"x").degraded)
        self.assertFalse(self.upload(b"x", "two", replication=2).degraded)


class CancelTests(UploadCase):
    """S48."""

    def test_cancelled_anywhere(self) -> None:
        """Cancelled at any moment the upload ends at once with CancelledError, gives back what it took and leaves no
        name; run again it finishes (S48)."""
        data = sample(6 * CHUNK)
        for step in range(1, 200, 3):
            self.cluster = FakeCluster(step)
            self.metadata = self.cluster.metadata
            uploading = self.begin(data, parallel=2)
            for _ in range(step):
                self.cluster.world.clock.step()
            if uploading.called:
                self.assertEqual(self.successResultOf(uploading).size, len(data))
                return
            uploading.cancel()
            self.cluster.world.run(0.1)
            self.failureResultOf(uploading, CancelledError)
            self.assertEqual(self.cluster.pool.out, [])
            self.cluster.world.run(5.0)
            self.upload()
            self.assertEqual(self.stored(), data)
        self.fail("the upload never ended by itself")

    def test_cancelled_while_metadata_is_silent(self) -> None:
        """Giving up a request to metadata is not taken for an answer that may be asked for again (S48)."""
        for kind in (m.CreateUpload, m.AllocateChunks, m.CommitFile):
            self.cluster = FakeCluster()
            self.metadata = self.cluster.metadata
            self.metadata.silent.add(kind)
            uploading = self.begin(sample(20 * CHUNK))
            self.cluster.world.run(1.0)
            uploading.cancel()
            self.cluster.world.run(0.1)
            self.failureResultOf(uploading, CancelledError)


class ChangeTests(UploadCase):
    """The local file changes under the upload (S40)."""

    def test_change_is_noticed(self) -> None:
        """A file that is written to while it is read is not committed (S40)."""
        for index, changed in enumerate((sample(3 * CHUNK, 1), sample(CHUNK), sample(4 * CHUNK))):
            self.cluster = FakeCluster()
            self.metadata = self.cluster.metadata
            self.cluster.servers["chunk-1"].put_faults.append(Disconnected("gone"))
            uploading = self.begin(sample(3 * CHUNK), parallel=1)
            self.cluster.world.run_until(lambda: "put 0 at chunk-1" in self.cluster.events)
            self.cluster.write_file(PATH, changed)
            self.cluster.world.run(10.0)
            self.failureResultOf(uploading, LocalFileChanged)
            self.assertEqual(self.metadata.of(m.CommitFile), [], index)

    def test_missing_file(self) -> None:
        """A path without a file, a folder and something that only looks empty are a sentence."""
        self.assertRaises(LocalFileError, self.upload)
        self.host_folder()
        work = self.cluster.client.upload("/folder", "name")
        self.assertRaises(LocalFileError, self.cluster.run, work)

    def host_folder(self) -> None:
        self.cluster.host.disk.make_folders("/folder")
