"""Whole folders: what is found in them, what is told of each file, which code it ends with."""

from __future__ import annotations

import io
import json
import os
import sys
from typing import Any, cast

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from dfs.cli.errors import UsageError
from dfs.cli.files import download, upload
from dfs.cli.options import flag, parse
from dfs.cli.output import Bar
from dfs.cli.trees import PAGE, Skipped, Tally, Walk, at_once, download_tree, give_modes
from dfs.client.api import Client
from dfs.client.errors import ChunkUnreadable, FileExists, Unavailable
from dfs.client.many import Ended
from dfs.runtime.interfaces import IThreads
from dfs.runtime.options import PARALLEL, SHARED
from dfs.runtime.settings import resolve


class WalkTests(SynchronousTestCase):
    """Folders on the real disk."""

    def test_every_file_once(self) -> None:
        """Every regular file is found once, whatever the pages; links and pipes are named and not followed."""
        root = self.mktemp()
        os.makedirs(os.path.join(root, "a", "b"))
        wanted = {os.path.join(root, "a", f"{number}") for number in range(2 * PAGE + 3)} | {
            os.path.join(root, "a", "b", "x")
        }
        for path in wanted:
            with open(path, "wb"):
                pass
        os.symlink("/etc", os.path.join(root, "a", "etc"))
        os.symlink(os.path.join(root, "a", "1"), os.path.join(root, "one"))
        os.mkfifo(os.path.join(root, "pipe"))
        passed: list[Skipped] = []
        walk = Walk(root, passed.append)
        found: list[str] = []
        while page := walk.page():
            self.assertLessEqual(len(page), PAGE)
            found += page
        self.assertEqual((len(found), set(found)), (len(wanted), wanted))
        self.assertEqual(
            sorted((os.path.basename(each.path), each.why, each.failed) for each in passed),
            [
                ("etc", "is a link and is not followed", False),
                ("one", "is a link and is not followed", False),
                ("pipe", "is no regular file", False),
            ],
        )

    def test_folder_that_cannot_be_read(self) -> None:
        """A folder that is gone, or not readable, is named; it is a failure, and the others are walked."""
        root = self.mktemp()
        for folder in ("a", "b"):
            os.makedirs(os.path.join(root, folder))
            with open(os.path.join(root, folder, "file"), "wb"):
                pass
        scandir = os.scandir

        def scan(path: str) -> Any:
            if path.endswith("a"):
                raise PermissionError(13, "Permission denied")
            return scandir(path)

        self.patch(os, "scandir", scan)
        skipped: list[Skipped] = []
        walk = Walk(root, skipped.append)
        self.assertEqual(walk.page(), [os.path.join(root, "b", "file")])
        self.assertEqual(skipped, [Skipped(os.path.join(root, "a"), "cannot be read: Permission denied", True)])

    def test_modes(self) -> None:
        """Files that were fetched get the permissions that new files get; one that is gone by then is nobody's loss."""
        path = self.mktemp()
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
        mask = os.umask(0o022)
        self.addCleanup(os.umask, mask)
        give_modes([f"{path}-gone", path])
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o644)


class Threads:
    """Runs what belongs on a thread at once."""

    def run(self, work: Any, *arguments: Any) -> Any:
        return succeed(work(*arguments))


class Interrupted:
    """The trees of a client whose download ends after one file."""

    def __init__(self, path: str, error: Exception) -> None:
        self.trees = self
        self._path, self._error = path, error

    async def download(self, name: str, out: str, told: Any, **options: Any) -> None:
        os.close(os.open(self._path, os.O_CREAT | os.O_WRONLY, 0o600))
        told(Ended("t/a", self._path, 0, False, None))
        raise self._error


class DownloadTests(SynchronousTestCase):
    def fetch(self, path: str, error: Exception) -> Deferred[int]:
        """`dfs download --recursive` of one file, then the error."""
        options = parse(["download", "--recursive", "--name", "t", "--out", os.path.dirname(path)])
        client, threads = cast(Client, Interrupted(path, error)), cast(IThreads, Threads())
        bar = Bar("", io.StringIO(), False)
        return Deferred.fromCoroutine(download_tree(client, options, resolve(SHARED, {}, {}), bar, threads))

    def test_interrupted(self) -> None:
        """What was fetched before an interruption has its permissions: the same command again passes over it (S48)."""
        path = self.mktemp()
        mask = os.umask(0o022)
        self.addCleanup(os.umask, mask)
        self.failureResultOf(self.fetch(path, CancelledError()), CancelledError)
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o644)

    def test_cluster_is_gone(self) -> None:
        """Where the cluster does not answer any more the user is told how to go on, beside what else there is to do."""
        failure = self.failureResultOf(self.fetch(self.mktemp(), Unavailable("no progress", "check it")), Unavailable)
        hint = cast(Unavailable, failure.value).hint
        self.assertTrue(hint.startswith("check it; "))
        self.assertIn("--skip-same", hint)


class SingleTests(SynchronousTestCase):
    def test_words_of_trees(self) -> None:
        """What only means something for whole folders is refused for one file, not passed over in silence."""
        for words in (["upload", "--file", "x", "--skip-same"], ["download", "--name", "x", "--skip-same"]):
            options = parse(words)
            command = upload if options.command == "upload" else download
            bar, nobody = Bar("", io.StringIO(), False), cast(Client, None)
            work = command(nobody, options, resolve(SHARED, {}, {}), bar, cast(IThreads, Threads()))
            self.failureResultOf(Deferred.fromCoroutine(work), UsageError)


class TallyTests(SynchronousTestCase):
    """What is printed."""

    def setUp(self) -> None:
        self.out, self.err = io.StringIO(), io.StringIO()
        self.patch(sys, "stdout", self.out)
        self.patch(sys, "stderr", self.err)

    def tally(self, as_json: bool, *ends: Ended) -> int:
        tally = Tally(as_json, Bar("", self.err, False))
        for end in ends:
            tally.ended(end)
        tally.skipped(Skipped("link", "is a link and is not followed"))
        return tally.finish("a to b")

    def test_all_well(self) -> None:
        """Without a failure the code is 0, and the sums tell what was there already."""
        code = self.tally(False, Ended("a", "/a", 5, False, None), Ended("b", "/b", 7, True, None))
        self.assertEqual(code, 0)
        self.assertIn("a to b: 1 files, 12 B", self.out.getvalue())
        self.assertIn("1 were there already", self.out.getvalue())
        self.assertIn("link is a link and is not followed", self.err.getvalue())

    def test_failures(self) -> None:
        """Each failure is told with its file; one code if all have it, else 1 (S42)."""
        taken = Ended("a", "/a", 0, False, FileExists("taken", "another"))
        bad = Ended("b", "/b", 0, False, ChunkUnreadable("bad"))
        self.assertEqual(self.tally(True, taken, Ended("c", "/c", 3, False, None)), FileExists.exit_code)
        document = json.loads(self.out.getvalue())
        self.assertEqual([document[key] for key in ("files", "failed", "passed_over", "bytes")], [1, 1, 1, 3])
        told = [json.loads(line)["error"]["message"] for line in self.err.getvalue().splitlines()]
        self.assertEqual(told, ["a: taken", "link is a link and is not followed"])
        self.assertEqual(self.tally(True, taken, bad), 1)

    def test_folder_that_cannot_be_read(self) -> None:
        """Where a folder could not be read files are missing: the code says so, and what to do is told."""
        tally = Tally(False, Bar("", self.err, False))
        tally.ended(Ended("a", "/a", 5, False, None))
        tally.skipped(Skipped("closed", "cannot be read: Permission denied", True))
        self.assertEqual(tally.finish("a to b"), 1)
        self.assertIn("1 failed", self.out.getvalue())
        self.assertIn("--skip-same", self.err.getvalue())

    def test_parallel(self) -> None:
        """Sixteen files at once, unless a flag or the setting says more, or the flag less."""
        words = ["upload", "--file", "x", "--recursive"]
        for more, environment, wanted in (([], {}, 16), (["--parallel", "2"], {}, 2), ([], {"DFS_PARALLEL": "32"}, 32)):
            options = parse([*words, *more])
            flags = {PARALLEL.name: flag(options, PARALLEL)}
            settings = resolve(SHARED, flags, environment)
            self.assertEqual(at_once(options, settings), wanted)
