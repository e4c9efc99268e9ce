"""Many files with one call: each is told of, what fails is alone, what is there is passed over."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from dfs.client.download import partial_path
from dfs.client.errors import DFSError, LocalFileChanged, LocalFileError
from dfs.client.many import Ended, Pair
from dfs.client.places import relative_path, under
from dfs.client.test.fakes import CHUNK, FakeCluster, sample
from dfs.protocol import messages as m
from dfs.protocol.errors import FileExists, Unavailable
from dfs.protocol.limits import MAX_SMALL

FILES = {"a": b"1", "b/c": b"", "b/d": sample(MAX_SMALL), "big": sample(3 * CHUNK + 1), **{
    f"many/{number}": sample(100, number) for number in range(100)
}}  # fmt: skip


class ManyCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.cluster = FakeCluster()
        self.metadata = self.cluster.metadata
        self.ended: list[Ended] = []
        for name, data in FILES.items():
            self.cluster.host.disk.make_folders(f"/src/{name}".rpartition("/")[0])
            self.cluster.write_file(f"/src/{name}", data)

    def upload(self, names: Iterable[str] = FILES, skip_same: bool = False) -> dict[str, Ended]:
        async def pairs() -> AsyncIterator[Pair]:
            for name in names:
                yield Pair(f"/src/{name}", f"tree/{name}")

        self.ended = []
        trees = self.cluster.client.trees
        self.cluster.run(trees.upload(pairs(), self.ended.append, chunk_size=CHUNK, skip_same=skip_same))
        return {end.name.removeprefix("tree/"): end for end in self.ended}

    def download(
        self, out: str = "/out", skip_same: bool = False, force: bool = False, real: dict[str, str] | None = None
    ) -> dict[str, Ended]:
        self.ended = []
        links = real or {}
        work = self.cluster.client.trees.download(
            "tree",
            out,
            self.ended.append,
            skip_same=skip_same,
            force=force,
            real_path=lambda path: links.get(path, path),
        )
        self.cluster.run(work)
        return {end.name.removeprefix("tree/"): end for end in self.ended}

    def differing(self) -> list[str]:
        """Files that did not come back as they were."""
        return [name for name, data in FILES.items() if self.cluster.read_file(f"/out/{name}") != data]

    def errors(self, ended: dict[str, Ended]) -> dict[str, DFSError]:
        return {name: end.error for name, end in ended.items() if end.error is not None}


class UploadManyTests(ManyCase):
    def test_all(self) -> None:
        """Files small, empty and large are stored and told of once; the small ones share their requests (S45)."""
        ended = self.upload()
        self.assertEqual(
            {name: (end.size, end.skipped, end.error) for name, end in ended.items()},
            {name: (len(data), False, None) for name, data in FILES.items()},
        )
        self.assertEqual(len(self.ended), len(FILES))
        self.assertLess(len(self.metadata.of(m.CreateUploads)), len(FILES) / 4)
        self.assertEqual(self.errors(self.download()), {})
        self.assertEqual(self.differing(), [])

    def test_failures_are_alone(self) -> None:
        """A name that is taken and a file that cannot be read fail alone; the rest is stored, and what a large file's
        manifest remembers is found (S46, S40)."""
        self.upload(["a", "big"])
        ended = self.upload([*FILES, "missing"])
        errors = self.errors(ended)
        self.assertEqual({name: type(error) for name, error in errors.items()}, {
            "a": FileExists, "missing": LocalFileError,
        })  # fmt: skip
        self.assertEqual(len(ended), len(FILES) + 1)

    def test_a_file_that_changes(self) -> None:
        """A small file that is written to while it is read fails alone, and no half of it is stored (S40)."""
        disk = self.cluster.host.disk
        opened = disk.open

        def open_late(path: str, *arguments: bool, **options: bool) -> Any:
            if path == "/src/many/7" and not options.get("writable", True):
                self.cluster.write_file(path, b"half")
            return opened(path, *arguments, **options)

        self.patch(disk, "open", open_late)
        errors = self.errors(self.upload())
        self.assertEqual({name: type(error) for name, error in errors.items()}, {"many/7": LocalFileChanged})
        created = [part.name for request in self.metadata.of(m.CreateUploads) for part in request.uploads]
        self.assertNotIn("tree/many/7", created)

    def test_again(self) -> None:
        """A run that is repeated sends what is missing and passes over what is there with the same bytes (S40); other
        bytes under a name are an error, never replaced."""
        self.upload(["a", "big", "many/3"])
        self.cluster.write_file("/src/many/3", sample(100, 99))
        self.metadata.asked.clear()
        ended = self.upload(skip_same=True)
        self.assertEqual({name for name, end in ended.items() if end.skipped}, {"a", "big"})
        self.assertEqual(list(self.errors(ended)), ["many/3"])
        created = [part.name for request in self.metadata.of(m.CreateUploads) for part in request.uploads]
        self.assertNotIn("tree/a", created)

    def test_cluster_is_gone(self) -> None:
        """When the cluster does not answer any more the run ends, not each file after its own patience."""
        self.metadata.faults = {m.CreateUploads: [Unavailable("nobody leads")] * 1000}
        self.assertRaises(Unavailable, self.upload)
        self.assertLess(len(self.ended), len(FILES))


class DownloadManyTests(ManyCase):
    def setUp(self) -> None:
        super().setUp()
        self.upload()

    def test_again(self) -> None:
        """What is there is an error, or with the same bytes passed over, or overwritten where that is asked for."""
        self.download()
        self.assertEqual({type(error) for error in self.errors(self.download()).values()}, {self.exists()})
        self.cluster.write_file("/out/a", b"other")
        self.cluster.host.disk.unlink("/out/big")
        ended = self.download(skip_same=True)
        self.assertEqual(list(self.errors(ended)), ["a"])
        self.assertEqual([name for name, end in ended.items() if not end.skipped and end.error is None], ["big"])
        self.assertEqual(self.errors(self.download(force=True)), {})
        self.assertEqual(self.differing(), [])

    def exists(self) -> type[DFSError]:
        from dfs.client.errors import OutputExists

        return OutputExists

    def test_bad_replica(self) -> None:
        """A replica with other bytes is not believed: the file comes from another one, and the bad one is reported
        (S11)."""
        self.cluster.servers["chunk-1"].served = lambda data: bytes(len(data))
        self.assertEqual(self.errors(self.download()), {})
        self.assertEqual(self.differing(), [])
        self.assertEqual({report.node for report in self.metadata.of(m.ReportCorrupt)}, {"chunk-1"})

    def test_replica_without_an_end(self) -> None:
        """A server that announces and sends more than was committed is stopped at the first block beyond it, and not
        believed until memory is full (S11, S43)."""
        self.cluster.servers["chunk-1"].served = lambda data: data + bytes(4 << 20)
        self.assertEqual(self.errors(self.download()), {})
        self.assertEqual(self.differing(), [])
        batches = [event for event in self.cluster.events if event.endswith("together at chunk-1")]
        stopped = [event for event in self.cluster.events if event == "refuse chunk-1"]
        self.assertGreaterEqual(len(stopped), len(batches))
        self.assertGreater(len(batches), 0)

    def test_left_over_part(self) -> None:
        """What a download that was killed left under its temporary name is no hindrance, and nothing is half (S41)."""
        info = self.metadata.file("tree/a").info
        assert info is not None
        self.cluster.host.disk.make_folders("/out")
        self.cluster.write_file(partial_path("/out/a", info.file_id), b"???")
        self.assertEqual(self.errors(self.download()), {})
        self.assertEqual(self.cluster.read_file("/out/a"), b"1")
        self.assertFalse([name for name in self.cluster.host.disk.list_folder("/out") if "part" in name])

    def test_names_that_lead_out(self) -> None:
        """A name with .., an empty part or a link on its way has no place in the folder; the others come (S44)."""
        for name in ("../up", "x/../../up", "x//y", ".", "x/./y"):
            self.cluster.store(f"tree/{name}", b"evil")
        self.cluster.store("tree/link/x", b"evil")
        errors = self.errors(self.download(real={"/out/link": "/etc"}))
        self.assertEqual(sorted(errors), sorted(["../up", "x/../../up", "x//y", ".", "x/./y", "link/x"]))
        self.assertTrue(all(isinstance(error, LocalFileError) for error in errors.values()))
        self.assertFalse(self.cluster.host.disk.exists("/up"))
        self.assertEqual(self.cluster.read_file("/out/a"), b"1")

    def test_relative_paths(self) -> None:
        """The prefix ends at a slash: a tree has no part in names that only begin alike."""
        self.assertEqual((under("a"), under("a/"), under("")), ("a/", "a/", ""))
        self.assertEqual(relative_path("a/b/c", "a"), "b/c")
        self.assertRaises(LocalFileError, relative_path, "/etc/passwd", "")
