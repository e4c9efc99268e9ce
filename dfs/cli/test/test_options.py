"""The words of the command line."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Sequence
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from dfs.cli.errors import UsageError
from dfs.cli.main import main
from dfs.cli.options import ALIASES, flag, parse
from dfs.runtime.options import CHUNK_SIZE, REPLICATION


class ParseTests(SynchronousTestCase):
    """What is meant by what was typed."""

    def test_options_stand_anywhere(self) -> None:
        """Shared options stand before or after the subcommand, and after the action of `cluster`."""
        for words in (
            ["--json", "--dir", "d", "--meta", "h:1", "list"],
            ["list", "--json", "--dir", "d", "--meta", "h:1"],
            ["--json", "list", "--meta", "h:1", "--dir", "d"],
            ["cluster", "--json", "up", "--dir", "d", "--meta", "h:1"],
            ["--dir", "d", "cluster", "--meta", "h:1", "up", "--json"],
        ):
            options = parse(words)
            self.assertEqual((options.json, options.dir, options.meta), (True, "d", "h:1"), words)
        self.assertEqual((parse(["list"]).json, parse(["list"]).dir, parse(["list"]).meta), (False, None, None))

    def test_aliases(self) -> None:
        """put, get, ls and rm are upload, download, list and delete."""
        rest = {"put": ["--file", "f"], "get": ["--name", "n"], "ls": [], "rm": ["--name", "n"]}
        for alias, command in ALIASES.items():
            self.assertEqual(parse([alias, *rest[alias]]).command, command)

    def test_dashes(self) -> None:
        """A name that begins with a dash is given as `--name=-dash` (S44)."""
        self.assertEqual(parse(["delete", "--name=-dash"]).name, "-dash")
        self.assertEqual(parse(["upload", "--file=-", "--name=--json"]).name, "--json")
        self.assertFalse(parse(["upload", "--file=-", "--name=--json"]).json)

    def test_mistakes(self) -> None:
        """What cannot be meant is a UsageError that points to the help of its own subcommand."""
        for words in (
            [],
            ["nope"],
            ["upload"],
            ["list", "--limit", "-1"],
            ["list", "--pre", "x"],
            ["upload", "--file", "f", "--replication", "0"],
            ["upload", "--file", "f", "--parallel", "²"],
            ["upload", "--file", "f", "--chunk-size", "big"],
            ["delete"],
            ["delete", "--name", "n", "--id", "1"],
            ["delete", "--id", str(1 << 64)],
            ["list", "--prefix", "\udcff"],
            ["list", "--prefix", "x" * 4097],
            ["cluster", "up", "-m", "2"],
            ["cluster", "kill"],
            ["init"],
        ):
            error = self.assertRaises(UsageError, parse, words)
            self.assertIn("--help", error.hint, words)

    def test_defaults_come_from_settings(self) -> None:
        """A flag that is not given leaves the word to environment and file; one that is, is passed on as text."""
        options = parse(["upload", "--file", "f", "--chunk-size", "1MiB"])
        self.assertEqual((flag(options, CHUNK_SIZE), flag(options, REPLICATION)), (str(1 << 20), None))
        self.assertTrue(options.resume)
        self.assertFalse(parse(["put", "--file", "f", "--no-resume"]).resume)


class MainTests(SynchronousTestCase):
    """Mistakes that are seen before anything runs."""

    def run_main(self, words: Sequence[str], environment: dict[str, str] | None = None) -> tuple[Any, str, str]:
        """Exit code, stdout, stderr."""
        out, err = io.StringIO(), io.StringIO()
        self.patch(sys, "stdout", out)
        self.patch(sys, "stderr", err)
        for name, value in (environment or {}).items():
            self.patch_environment(name, value)
        return main(words), out.getvalue(), err.getvalue()

    def patch_environment(self, name: str, value: str) -> None:
        import os

        before = os.environ.get(name)
        os.environ[name] = value
        self.addCleanup(lambda: os.environ.pop(name) if before is None else os.environ.update({name: before}))

    def test_usage(self) -> None:
        """A mistake is exit code 2, a sentence and a hint on stderr, nothing on stdout."""
        code, out, err = self.run_main(["upload"])
        self.assertEqual((code, out), (2, ""))
        self.assertEqual(err, "dfs: the following arguments are required: --file\n     see dfs upload --help\n")

    def test_usage_as_document(self) -> None:
        """With --json it is one document on stderr."""
        code, out, err = self.run_main(["upload", "--json"])
        document = {
            "code": 2,
            "message": "the following arguments are required: --file",
            "hint": "see dfs upload --help",
        }
        self.assertEqual((code, out, json.loads(err)), (2, "", {"error": document}))

    def test_settings(self) -> None:
        """A setting that cannot be used is exit code 2 and names its place, from the environment or a file."""
        code, _, err = self.run_main(["list"], {"DFS_PATIENCE": "soon"})
        self.assertEqual(code, 2)
        self.assertIn("DFS_PATIENCE", err)
        path = self.mktemp()
        with open(path, "w", encoding="utf-8") as file:
            file.write('patiense = "1"\n')
        code, _, err = self.run_main(["list", "--config", path], {"DFS_PATIENCE": "1"})
        self.assertEqual(code, 2)
        self.assertIn("did you mean patience?", err)
        code, _, err = self.run_main(["list", "--config", path + "x"])
        self.assertEqual(code, 1)
        self.assertIn("cannot read", err)
