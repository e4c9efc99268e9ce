"""`dfs store replicas` on a real folder."""

from __future__ import annotations

import json
import os
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from dfs.chunkserver.test.fakes import fake_runtime, put
from dfs.chunkserver.test.packed import bytes_of, open_packed, ref
from dfs.cli import store
from dfs.cli.errors import CommandFailed
from dfs.cli.options import parse
from dfs.cli.store import replicas
from dfs.disk.real import RealDisk


class ReplicasTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.root = os.path.abspath(self.mktemp())
        os.mkdir(self.root)
        opened, _ = self.successResultOf(Deferred.fromCoroutine(open_packed(RealDisk(), root=self.root)))
        for file_id in (1, 2):
            self.successResultOf(Deferred.fromCoroutine(put(opened, ref(file_id), bytes_of(file_id))))

    def run_command(self, *words: str) -> tuple[int, list[str]]:
        """Exit code and lines."""
        said: list[str] = []
        options = parse(["store", "replicas", "--data", self.root, *words])
        return self.successResultOf(Deferred.fromCoroutine(replicas(options, fake_runtime(), said.append))), said

    def test_lines(self) -> None:
        """A line for each replica says where its bytes are; of a flipped bit --verify tells, and ends with 1 (S11)."""
        code, said = self.run_command()
        self.assertEqual((code, len(said)), (0, 2))
        path = os.path.join(self.root, "segments", "00000001.seg")
        self.assertIn(f" file 1 chunk 0 generation 1 1000 bytes at {4096 + 128} of {path}", said[0])
        with open(path, "r+b") as file:
            file.seek(4096 + 128)
            file.write(bytes([bytes_of(1)[0] ^ 1]))
        self.assertEqual(self.run_command()[0], 0)
        code, said = self.run_command("--verify")
        self.assertEqual((code, [": " in line for line in said]), (1, [True, False]))
        self.assertEqual(self.run_command("--verify", "--chunk", said[1][:16]), (0, [said[1]]))

    def test_json(self) -> None:
        """--json gives one document a replica."""
        printed: list[dict[str, Any]] = []
        self.patch(store, "print_json", printed.append)
        self.assertEqual(self.run_command("--json"), (0, []))
        self.assertEqual(json.loads(json.dumps(printed)), printed)
        self.assertEqual([(each["file_id"], each["length"], each["packed"]) for each in printed],
                         [(1, 1000, True), (2, 1000, True)])  # fmt: skip

    def test_other_folder(self) -> None:
        """A folder that is none of a chunk server ends with a sentence."""
        self.root = os.path.dirname(self.root)
        options = parse(["store", "replicas", "--data", self.root])
        doing = Deferred.fromCoroutine(replicas(options, fake_runtime(), self.fail))
        self.assertIn("identity", str(self.failureResultOf(doing, CommandFailed).value))
