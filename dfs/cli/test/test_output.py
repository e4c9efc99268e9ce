"""What is printed, to the letter."""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
from collections.abc import AsyncIterator, Coroutine
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.trial.unittest import SynchronousTestCase

from dfs.cli import files, status
from dfs.cli.errors import CommandFailed, UsageError
from dfs.cli.options import flag, parse
from dfs.cli.output import Bar, describe, print_error, printable, show_time, table
from dfs.cli.running import exit_code_of
from dfs.client.download import DownloadResult
from dfs.client.errors import ChunkUnreadable, FileExists, FileNotFound, LocalFileError, Unavailable
from dfs.client.progress import Progress
from dfs.client.upload import UploadResult
from dfs.protocol import messages as m
from dfs.protocol.values import FileId, Generation, NodeState
from dfs.runtime.errors import SettingError
from dfs.runtime.options import SHARED
from dfs.runtime.settings import resolve

INFO = m.FileInfo("a\nб", FileId(7), 5, bytes(32), 3, 4 << 20, 1, 1_700_000_000_999)
DIGEST = "dfs1:" + "00" * 32


class Terminal(io.StringIO):
    """A stream that is one."""

    def isatty(self) -> bool:
        return True


class FakeClient:
    """A client whose answers are known."""

    async def upload(self, source: Any, name: str, **options: Any) -> UploadResult:
        self.source = source
        self.options = options
        return UploadResult(name, 7, 5, DIGEST, 1, True, 3, 2, 0.5)

    async def download(self, name: str, out: Any, **options: Any) -> DownloadResult:
        if callable(out):
            await out(bytearray(b"bytes"))
            return DownloadResult(name, 5, DIGEST, 0.5, "-")
        with open(out, "wb") as file:
            file.write(b"bytes")
        os.chmod(out, 0o600)
        return DownloadResult(name, 5, DIGEST, 0.5, out)

    async def list(self, prefix: str, limit: int | None) -> AsyncIterator[m.FileInfo]:
        yield INFO

    async def delete(self, name: str | None, file_id: int | None) -> m.FileInfo:
        return INFO

    async def stat(self, name: str) -> m.FileInfo:
        return INFO

    async def chunks(self, info: m.FileInfo) -> AsyncIterator[m.ChunkInfo]:
        replicas = (m.Replica("chunk-1", "h:1", NodeState.ALIVE), m.Replica("chunk-2", "h:2", NodeState.DEAD))
        yield m.ChunkInfo(0, b"\xab" * 32, Generation(1), 5, b"\xcd" * 32, replicas)


class InlineThreads:
    """Calls at once."""

    def run(self, function: Any, *arguments: Any) -> Deferred[Any]:
        return maybeDeferred(function, *arguments)


class FilesTests(SynchronousTestCase):
    """The JSON documents are a contract: fields may be added, none renamed."""

    def setUp(self) -> None:
        self.client: Any = FakeClient()
        self.threads: Any = InlineThreads()
        self.out = io.StringIO()
        self.patch(sys, "stdout", self.out)
        self.bar = Bar("", io.StringIO(), False)

    def run_command(self, command: Coroutine[Any, Any, int]) -> str:
        self.assertEqual(self.successResultOf(Deferred.fromCoroutine(command)), 0)
        return self.out.getvalue()

    def options(self, *words: str) -> tuple[argparse.Namespace, Any]:
        options = parse(words)
        return options, resolve(SHARED, {setting.name: flag(options, setting) for setting in SHARED}, {}, "", "")

    def upload(self, *words: str) -> str:
        options, settings = self.options("upload", *words)
        return self.run_command(files.upload(self.client, options, settings, self.bar, self.threads))

    def download(self, *words: str) -> str:
        options, settings = self.options("download", *words)
        return self.run_command(files.download(self.client, options, settings, self.bar, self.threads))

    def test_upload(self) -> None:
        """upload --json is one document with the promised fields."""
        path = self.mktemp()
        with open(path, "wb") as file:
            file.write(b"bytes")
        document = json.loads(self.upload("--file", path, "--json", "--replication", "2"))
        expected = {"file_id": 7, "size": 5, "digest": DIGEST, "chunks": 1, "degraded": True, "sent": 3, "resumed": 2}
        self.assertEqual(document, {"name": os.path.basename(path), "seconds": 0.5, **expected})
        self.assertEqual((self.client.source, self.client.options["replication"]), (path, 2))

    def test_upload_for_people(self) -> None:
        """Without --json it says what was not sent again, and that copies are missing."""
        path = self.mktemp()
        with open(path, "wb"):
            pass
        said = self.upload("--file", path, "--name", "a\x1b[2J")
        self.assertIn("a\\x1b[2J: 5 B in 1 chunks", said)
        self.assertIn("2 B of it were durable already", said)
        self.assertIn("degraded", said)

    def test_upload_of_streams(self) -> None:
        """stdin needs a name; a pipe is a stream, for its length tells nothing; a missing file is a sentence."""
        options, settings = self.options("upload", "--file", "-")
        command = files.upload(self.client, options, settings, self.bar, self.threads)
        self.failureResultOf(Deferred.fromCoroutine(command), UsageError)
        read, write = os.pipe()
        os.close(write)
        self.addCleanup(os.close, read)
        source = files.open_source(f"/proc/self/fd/{read}")
        assert not isinstance(source, str)
        self.assertEqual(source.read(), b"")
        source.close()
        self.assertRaises(LocalFileError, files.open_source, self.mktemp())

    def test_download(self) -> None:
        """download --json has the promised fields; the file gets the usual permissions."""
        path = self.mktemp()
        document = json.loads(self.download("--name", "n", "--out", path, "--json"))
        self.assertEqual(document, {"name": "n", "size": 5, "digest": DIGEST, "seconds": 0.5})
        mask = os.umask(0)
        os.umask(mask)
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o666 & ~mask)

    def test_download_to_stdout(self) -> None:
        """With --out - there is nothing on stdout but the file's bytes."""
        out = io.TextIOWrapper(io.BytesIO())
        self.patch(sys, "stdout", out)
        options, settings = self.options("download", "--name", "n", "--out", "-", "--json")
        command = files.download(self.client, options, settings, self.bar, self.threads)
        self.assertEqual(self.successResultOf(Deferred.fromCoroutine(command)), 0)
        self.assertEqual(out.buffer.getvalue(), b"bytes")

    def test_list(self) -> None:
        """list --json is one document a line; `created` is RFC 3339; text escapes line ends (S44)."""
        options, _ = self.options("list", "--json")
        lines = self.run_command(files.list_files(self.client, options)).splitlines()
        expected = {"name": "a\nб", "file_id": 7, "size": 5, "created": "2023-11-14T22:13:20Z"}
        self.assertEqual([json.loads(line) for line in lines], [expected])
        self.assertTrue(lines[0].isascii())
        self.out.truncate(0)
        self.out.seek(0)
        options, _ = self.options("list")
        self.assertEqual(self.run_command(files.list_files(self.client, options)), "a\\nб\n")

    def test_delete(self) -> None:
        """delete --json names what is gone."""
        options, _ = self.options("delete", "--id", "7", "--json")
        self.assertEqual(
            json.loads(self.run_command(files.delete(self.client, options))), {"name": "a\nб", "file_id": 7}
        )

    def test_stat(self) -> None:
        """stat --json tells where each replica is and how its node fares."""
        options, _ = self.options("stat", "--name", "n", "--json")
        document = json.loads(self.run_command(files.stat(self.client, options)))
        replicas = [{"node": "chunk-1", "state": "alive"}, {"node": "chunk-2", "state": "dead"}]
        chunk = {"index": 0, "id": "ab" * 32, "length": 5, "sha256": "cd" * 32, "replicas": replicas}
        for field, value in {"name": "a\nб", "file_id": 7, "size": 5, "digest": DIGEST, "replication": 3}.items():
            self.assertEqual(document[field], value)
        self.assertEqual(document["chunks"], [chunk])


def view(node: str, role: str, term: int, leader: str | None = None, applied: int = 1) -> m.Status:
    members = tuple(m.MetaMember(f"meta-{n}", f"h:{n}") for n in (1, 2, 3))
    server = m.ChunkServerInfo("chunk-1", "h:9", NodeState.SUSPECT, "r", 1, 2, 3, 4, 5, 6, 7)
    return m.Status(bytes(16), node, role, leader, term, applied, b"", members, (server,), 5, 6, 7, 8, 9, ("look",))


class StatusTests(SynchronousTestCase):
    """Views of several nodes as one document."""

    def test_document(self) -> None:
        """status --json has the promised fields."""
        views = [view("meta-2", "follower", 4, "meta-1", 10), view("meta-1", "leader", 4, "meta-1", 11)]
        document = status.merge(views)
        self.assertEqual((document["leader"], document["term"]), ("meta-1", 4))
        self.assertEqual(
            [(member["name"], member["role"], member["applied"]) for member in document["meta"]],
            [("meta-1", "leader", 11), ("meta-2", "follower", 10), ("meta-3", "unreachable", None)],
        )
        server = {"name": "chunk-1", "address": "h:9", "state": "suspect", "rack": "r", "used": 1, "free": 2}
        more = {"quarantined_bytes": 5, "scrub": {"done": 6, "total": 7}}
        self.assertEqual(document["chunk_servers"], [{**server, "chunks": 3, "quarantined": 4, **more}])
        self.assertEqual((document["files"], document["bytes"]), (5, 6))
        self.assertEqual(document["debt"], {"chunks": 7, "bytes": 8, "single_copy": 9})
        self.assertIn("ALARM   look", status.show(document))

    def test_debt(self) -> None:
        """The debt is one line: how much, how urgent, how fast, how long, what limits it; no time is made up."""
        document = status.merge([view("meta-1", "leader", 4, "meta-1", 11)])
        self.assertEqual(status.owed(document), "7 chunks (8 B) short of copies, 9 with one copy")
        found = m.Redundancy(2, 8 << 20, 1, 0, 0, False, 2, 4 << 20, 0, 0, "DFS_MOVE_RATE", 2000, ("rebalancing",))
        shown = status.show(status.with_redundancy(document, found))
        line = "healing 4.0 MiB/s, about 2.0 s to go; limited by: DFS_MOVE_RATE"
        self.assertIn(f"2 chunks (8.0 MiB) short of copies, 1 with one copy; {line}", shown)
        self.assertIn("paused  rebalancing", shown)
        found = m.Redundancy(2, 8 << 20, 1, 1, 2, False, 0, 0, 0, 0, "no room", None, ())
        line = status.owed(status.with_redundancy(document, found))
        self.assertIn("1 WITHOUT ANY, 2 without a place; healing 0 B/s, time to go unknown", line)
        found = m.Redundancy(0, 0, 0, 0, 0, True, 0, 0, 0, 0, "", None, ())
        self.assertIn("still counting", status.owed(status.with_redundancy(document, found)))

    def test_order(self) -> None:
        """Nodes are listed as one counts."""
        names = ["chunk-10", "chunk-2", "a", "chunk-1"]
        self.assertEqual(sorted(names, key=status.in_order), ["a", "chunk-1", "chunk-2", "chunk-10"])

    def test_election(self) -> None:
        """During an election `leader` is null, also where a follower still names the dead one (S25)."""
        views = [view("meta-2", "follower", 4, "meta-1"), view("meta-3", "candidate", 5)]
        self.assertIsNone(status.merge(views)["leader"])
        self.assertIn("none (election)", status.show(status.merge(views)))

    def test_leader_of_old(self) -> None:
        """A node that still believes to lead in an older term is not the leader (S25)."""
        views = [view("meta-1", "leader", 4, "meta-1", 99), view("meta-2", "follower", 5)]
        document = status.merge(views)
        self.assertEqual((document["leader"], document["term"]), (None, 5))


class ErrorTests(SynchronousTestCase):
    """Exit codes and sentences."""

    def setUp(self) -> None:
        self.err = io.StringIO()
        self.patch(sys, "stderr", self.err)

    def test_exit_codes(self) -> None:
        """Each kind of failure has its exit code."""
        for error, code in (
            (LocalFileError("x"), 1),
            (CommandFailed("x"), 1),
            (UsageError("x"), 2),
            (SettingError("x"), 2),
            (FileNotFound("x"), 3),
            (FileExists("x"), 4),
            (Unavailable("x"), 5),
            (ChunkUnreadable("x"), 6),
            (KeyboardInterrupt(), 130),
            (ValueError("x"), 1),
        ):
            self.assertEqual(exit_code_of(error, False), code, error)

    def test_error_document(self) -> None:
        """With --json an error is one document on stderr."""
        exit_code_of(FileNotFound("there is none", "list them"), True)
        self.assertEqual(
            json.loads(self.err.getvalue()), {"error": {"code": 3, "message": "there is none", "hint": "list them"}}
        )

    def test_error_for_people(self) -> None:
        """Else a sentence and what to do next; what a name holds is never an instruction to the terminal (S44)."""
        print_error(3, "no file 'a\x1b[2J\nb'", "look", False)
        self.assertEqual(self.err.getvalue(), "dfs: no file 'a\\x1b[2J\\nb'\n     look\n")


class TextTests(SynchronousTestCase):
    """Small things."""

    def test_printable(self) -> None:
        """Control characters, line ends and marks that turn the text around are escaped; scripts are not (S44)."""
        self.assertEqual(printable("a\r\n\x00\u202eб"), "a\\r\\n\\x00\\u202eб")

    def test_time_and_table(self) -> None:
        """Times are UTC; columns are as wide as they must be."""
        self.assertEqual(show_time(0), "1970-01-01T00:00:00Z")
        self.assertEqual(table([("a", "b"), ("long", "")]), "a     b\nlong")
        self.assertEqual(table([]), "")

    def test_bar_only_on_a_terminal(self) -> None:
        """A terminal gets a line that is redrawn and ended; a pipe gets nothing (S48)."""
        for stream, wanted in ((Terminal(), True), (io.StringIO(), True), (Terminal(), False)):
            bar = Bar("sending", stream, wanted)
            bar(Progress(50, 100, 10.0, 5.0))
            bar.end()
            bar.end()
            shown = stream.getvalue()
            if isinstance(stream, Terminal) and wanted:
                self.assertEqual((shown[0], shown.count("\n"), shown[-1]), ("\r", 1, "\n"))
                self.assertIn(" 50%", shown)
            else:
                self.assertEqual(shown, "")

    def test_describe(self) -> None:
        """Nothing is divided by zero: empty files are done, unknown lengths have no percent."""
        self.assertIn("100%", describe(Progress(0, 0, 0.0, None)))
        self.assertNotIn("%", describe(Progress(5, None, 0.0, None)))
