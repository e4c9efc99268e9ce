"""Uploads that were killed go on where they stopped (S40)."""

from __future__ import annotations

import json

from dfs.client.errors import LocalFileChanged, LocalFileError
from dfs.client.manifest import KEPT, Manifest, ManifestFolder
from dfs.client.test.fakes import CHUNK, STATE, sample
from dfs.client.test.test_upload import PATH, UploadCase
from dfs.disk.errors import ReadOnly
from dfs.protocol import messages as m
from dfs.protocol.errors import FileExists, Unavailable

DATA = sample(6 * CHUNK)


class ResumeTests(UploadCase):
    """A client that died, and the next one."""

    def die_after(self, chunks: int) -> None:
        """An upload whose process is gone once so many chunks are durable."""
        self.abandoned = self.begin(DATA, parallel=1)
        self.cluster.world.run_until(lambda: any(len(f.chunks) >= chunks for f in self.metadata.files.values()))
        self.cluster.host.restart()
        self.cluster.context = self.cluster.new_context()
        self.cluster.events.clear()
        self.metadata.asked.clear()

    def puts(self) -> list[str]:
        return [event for event in self.cluster.events if event.startswith("put")]

    def test_durable_chunks_are_not_sent_again(self) -> None:
        """What is durable is hashed again and not sent; the rest is (S40)."""
        self.die_after(4)
        result = self.upload()
        self.assertEqual((result.resumed, result.sent), (4 * CHUNK, 2 * CHUNK))
        self.assertEqual(sorted(self.puts()), ["put 4 at chunk-1", "put 5 at chunk-1"])
        self.assertEqual(self.stored(), DATA)
        self.assertEqual(self.metadata.of(m.CreateUpload), [])

    def test_killed_at_any_step(self) -> None:
        """Killed at any moment, the next run stores every byte exactly once under one name (S40)."""
        for step in range(1, 160, 7):
            self.setUp()
            self.abandoned = self.begin(DATA, parallel=2)
            for _ in range(step):
                self.cluster.world.clock.step()
            self.cluster.host.restart()
            self.cluster.context = self.cluster.new_context()
            result = self.upload()
            self.assertEqual(self.stored(), DATA)
            self.assertEqual(result.sent + result.resumed, len(DATA))

    def test_resumed_upload_keeps_its_chunk_size(self) -> None:
        """A resumed upload is cut as it was begun, whatever is asked for now."""
        self.die_after(3)
        result = self.upload(chunk_size=2 * CHUNK)
        self.assertEqual((result.chunks, self.stored()), (6, DATA))

    def test_finished_again_is_success(self) -> None:
        """The same file finished again is a success that sends nothing."""
        first = self.upload(DATA)
        again = self.upload()
        self.assertEqual((again.sent, again.resumed, again.digest), (0, len(DATA), first.digest))
        self.assertEqual(again.file_id, first.file_id)

    def test_died_between_commit_and_manifest(self) -> None:
        """Also when the process died before it noted that the file is committed (S40)."""
        self.die_after(5)
        fault = self.cluster.host.disk.inject("rename", STATE, ReadOnly)
        self.assertEqual(self.upload().sent, CHUNK)  # committed, and the manifest could not be marked
        self.cluster.host.disk.recover(fault)
        again = self.upload()
        self.assertEqual((again.sent, again.resumed), (0, len(DATA)))

    def test_lost_commit_answer(self) -> None:
        """A CommitFile whose answer was lost for good is found done by the next run (S26)."""
        self.metadata.faults[m.CommitFile] = [Unavailable("no leader")]
        self.assertRaises(Unavailable, self.upload, DATA)
        self.assertEqual(self.upload().resumed, len(DATA))
        self.assertEqual(self.stored(), DATA)

    def test_changed_chunk_is_noticed(self) -> None:
        """A file changed behind an unchanged size and time is noticed by its hash, and nothing is committed (S40)."""
        self.die_after(4)
        self.cluster.host.disk.flip_bits(PATH, CHUNK + 5)
        error = self.assertRaises(LocalFileChanged, self.upload)
        self.assertIn("chunk 1", error.message)
        self.assertEqual(self.metadata.of(m.CommitFile), [])

    def test_changed_finished_file_is_noticed(self) -> None:
        """Finishing again compares the bytes too (S40)."""
        self.upload(DATA)
        self.cluster.host.disk.flip_bits(PATH, 5 * CHUNK)
        self.assertRaises(LocalFileChanged, self.upload)

    def test_changed_file_begins_anew(self) -> None:
        """A file of another size or time never mixes with old chunks (S40)."""
        self.die_after(4)
        changed = sample(6 * CHUNK, 9)
        self.cluster.world.run(1.0)
        result = self.upload(changed)
        self.assertEqual((result.resumed, self.stored()), (0, changed))

    def test_deleted_upload_begins_anew(self) -> None:
        """An upload that has expired is begun again; so is one whose file was deleted since (S36)."""
        self.die_after(4)
        self.metadata.files.clear()
        self.assertEqual(self.upload().resumed, 0)
        self.cluster.run(self.cluster.client.delete("name"))
        self.assertEqual(self.upload().resumed, 0)
        self.assertEqual(self.stored(), DATA)

    def test_no_resume(self) -> None:
        """`resume=False` neither reads nor keeps a manifest, and forgets the one that is there."""
        self.die_after(4)
        self.assertEqual(self.upload(resume=False).resumed, 0)
        self.assertEqual(self.cluster.host.disk.list_folder(STATE), [])

    def test_refused_without_resuming(self) -> None:
        """An upload without resuming that is refused loses nothing: finishing the former one is still a success."""
        self.upload(DATA)
        self.assertRaises(FileExists, self.upload, resume=False)
        self.assertEqual(self.upload().sent, 0)

    def test_no_place_for_a_manifest(self) -> None:
        """Without a place for its manifest an upload is not begun and leaves nothing; without resuming it is."""
        self.cluster.host.disk.make_folders(STATE)
        self.cluster.host.disk.inject("rename", STATE, ReadOnly)
        error = self.assertRaises(LocalFileError, self.upload, DATA)
        self.assertIn("--no-resume", error.hint)
        self.assertEqual((self.metadata.files, self.puts()), ({}, []))
        self.assertEqual(self.upload(resume=False).sent, len(DATA))


MANIFEST = Manifest("c" * 32, "name", PATH, 7, 12.5, 1, CHUNK, "open")


class ManifestTests(UploadCase):
    """The files in the state folder."""

    def setUp(self) -> None:
        super().setUp()
        self.disk = self.cluster.host.disk
        self.folder = ManifestFolder(self.disk, self.cluster.host.runtime.threads, STATE)
        self.path = f"{STATE}/{MANIFEST.key()}.json"

    def test_round_trip(self) -> None:
        """What is saved is loaded, also after the machine lost power."""
        self.cluster.run(self.folder.save(MANIFEST))
        self.cluster.host.crash()
        self.cluster.host.restart()
        folder = ManifestFolder(self.disk, self.cluster.host.runtime.threads, STATE)
        self.assertEqual(self.cluster.run(folder.load(MANIFEST.key())), MANIFEST)

    def test_damaged_is_none(self) -> None:
        """A manifest that is damaged, of another version or another upload's is none: the upload begins anew."""
        self.cluster.run(self.folder.save(MANIFEST))
        document = json.loads(self.cluster.read_file(self.path) or b"")
        damaged = [b"", b"{", b"[]", b"\xff"]
        changes = ({"version": 2}, {"file_id": "1"}, {"state": "?"}, {"size": 8}, {"more": 1}, {"file_id": -1})
        for data in damaged + [json.dumps({**document, **change}).encode() for change in changes]:
            self.cluster.write_file(self.path, data)
            self.assertIsNone(self.cluster.run(self.folder.load(MANIFEST.key())), data)

    def test_only_ours_are_forgotten(self) -> None:
        """The oldest manifests beyond the bound are removed, and nothing else of a folder that others use too."""
        self.disk.make_folders(STATE)
        for number in range(KEPT + 3):
            self.cluster.write_file(f"{STATE}/{number:064x}.json", b"{}")
            self.cluster.world.run(0.01)
        others = ["notes.json", "a" * 63 + ".json", "b" * 64 + ".txt"]
        for name in others:
            self.cluster.write_file(f"{STATE}/{name}", b"mine")
        self.cluster.run(self.folder.save(MANIFEST))
        names = self.disk.list_folder(STATE)
        self.assertEqual(len(names), KEPT + len(others))
        self.assertTrue(set(others) < set(names))
        self.assertNotIn(f"{0:064x}.json", names)
        self.assertIn(f"{MANIFEST.key()}.json", names)
