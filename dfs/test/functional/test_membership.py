"""The metadata cluster of real processes grows, shrinks and replaces a member, under uploads."""

from __future__ import annotations

import subprocess
from typing import Any

from dfs.test.functional.cluster import RealClusterCase

MIB = 1 << 20


class MembershipTests(RealClusterCase):
    """No command fails, nothing is lost."""

    def begin_uploads(self, prefix: str) -> tuple[dict[str, str], list[subprocess.Popen[bytes]]]:
        """Upload files of many small chunks; their paths by name, and the commands."""
        paths = {f"{prefix}/{number}": self.local(f"{prefix}{number}", 8 * MIB + number) for number in range(2)}
        return paths, [
            self.begin("upload", "--file", path, "--name", name, "--chunk-size", "64KiB", "--parallel", "1")
            for name, path in paths.items()
        ]

    def end_uploads(self, running: list[subprocess.Popen[bytes]]) -> None:
        """Each must have succeeded."""
        for process in running:
            self.ends(process)

    def members(self) -> dict[str, dict[str, Any]]:
        """By name, as `dfs meta list` tells."""
        return {member["name"]: member for member in self.document("meta", "list")["members"]}

    def roles(self) -> list[str]:
        """Of all members."""
        return sorted(member["role"] for member in self.members().values())

    def test_grow_shrink_replace(self) -> None:
        """S24, R54, R55, R58: during uploads the cluster grows from one metadata node to three, hands leadership over,
        loses its leader by a removal, and has a killed member replaced; each upload succeeds, all files are intact, the
        removed member stops by itself, its name cannot come back, and everything is there after a restart of all."""
        self.up(meta=1, chunks=3)
        stored, running = self.begin_uploads("grow")
        self.assertEqual(self.document("cluster", "add", "meta")["node"], "meta-2")
        self.dfs("cluster", "add", "meta")
        self.assertEqual(self.roles(), ["leader", "voter", "voter"])
        self.end_uploads(running)
        paths, running = self.begin_uploads("remove")
        stored |= paths
        self.assertEqual(self.document("meta", "transfer-leader", "--to", "meta-2")["leader"], "meta-2")
        self.dfs("cluster", "remove", "meta-2")
        self.assertEqual(sorted(self.members()), ["meta-1", "meta-3"])
        self.refusals()
        self.dfs("cluster", "add", "meta")
        self.end_uploads(running)
        paths, running = self.begin_uploads("replace")
        stored |= paths
        self.kill("meta-3")
        self.dfs("cluster", "remove", "meta-3")
        self.dfs("cluster", "add", "meta")
        self.assertEqual(sorted(self.members()), ["meta-1", "meta-4", "meta-5"])
        self.end_uploads(running)
        self.kill(*self.pids())
        self.heal()
        self.assertEqual(self.roles(), ["leader", "voter", "voter"])
        self.assert_all_same(stored)

    def refusals(self) -> None:
        """What cannot be is refused with a sentence and the code that says what kind it is."""
        self.assertIn("meta-2 is removed", self.dfs("meta", "remove", "--name", "meta-2"))  # it is so already
        self.assertIn("is no metadata member", self.dfs("meta", "remove", "--name", "nobody", code=3))
        said = self.dfs("meta", "add", "--name", "meta-2", "--address", "127.0.0.1:1", "--learner", code=1)
        self.assertIn("meta-2", said)
        self.assertIn("meta-3", self.dfs("meta", "add", "--name", "meta-3", "--address", "127.0.0.1:1", code=4))
        self.assertIn("is no metadata member", self.dfs("meta", "transfer-leader", "--to", "nobody", code=3))
