"""All metadata of real processes is killed and its folders deleted; the script of doc/operations.md restores it."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
from pathlib import Path

from dfs.test.functional.cluster import TIMEOUT, RealClusterCase

MIB = 1 << 20
OPERATIONS = Path(__file__).parents[3] / "doc" / "operations.md"
MARK = "<!-- script: restore from chunks -->\n```\n"


def script() -> list[str]:
    """The lines of the script as the page has them."""
    return OPERATIONS.read_text("utf-8").partition(MARK)[2].partition("```")[0].splitlines()


class RebuildTests(RealClusterCase):
    """S16, S28."""

    def carry_out(self, line: str, *codes: int) -> str:
        """Run a line of the script in a shell; what it printed."""
        dfs = f'dfs() {{ {shlex.quote(sys.executable)} -m dfs.cli.main "$@"; }}'
        done = subprocess.run(
            ["bash", "-c", f"{dfs}\n{line}"],
            env={**self.environment, "DIR": self.dir},
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT,
        )
        self.assertIn(done.returncode, codes or (0,), f"{line}: {done.stdout[-1000:]} {done.stderr[-2000:]}")
        return done.stdout

    def store(self) -> dict[str, str]:
        """Files of one and of many chunks, in folders, from a stream, and one in place of a deleted one; their local
        paths by name."""
        paths = {}
        for name, size in (("small", 1), ("a/many", 3 * MIB + 17), ("a/b/full", MIB), ("again", 300_000)):
            paths[name] = self.local(name.replace("/", "-"), size)
            self.upload(paths[name], name, "--chunk-size", "256KiB")
        self.dfs("delete", "--name", "again")
        self.upload(paths["again"], "again", "--chunk-size", "128KiB", "--replication", "2")
        paths["stream"] = self.local("stream", 2 * MIB)
        with open(paths["stream"], "rb") as file:
            self.dfs("upload", "--file", "-", "--name", "stream", "--chunk-size", "256KiB", data=file.read())
        return paths

    def replicas(self) -> list[str]:
        """Paths of all replicas on disk."""
        return [path for node in ("chunk-1", "chunk-2", "chunk-3", "chunk-4") for path in self.chunk_files(node)]

    def test_restore_from_chunks(self) -> None:
        """All metadata nodes are killed (kill -9) and lose their folders: the script of the page, as it is written,
        brings every file back byte for byte, no replica is deleted, and the cluster goes on (S16, S28)."""
        self.up(meta=3, chunks=4, DFS_SEGMENTS="on")
        paths = self.store()
        self.kill("meta-1", "meta-2", "meta-3")
        steps = script()
        self.assertEqual(len(steps), 4)
        for line in steps[:2]:
            self.carry_out(line)
        self.assertEqual(self.dfs("list"), "")
        look = self.carry_out(steps[2], 0, 1)  # 1: of the deleted file bytes may be left
        self.assertIn("nothing was changed", look)
        self.assertEqual(self.dfs("list"), "")
        replicas = self.replicas()
        self.carry_out(steps[3], 0, 1)
        self.until(lambda: self.run_dfs("fsck", "--dir", self.dir).returncode == 0, "a whole cluster")
        self.assert_all_same(paths)
        listed = [json.loads(line)["name"] for line in self.dfs("list", "--json").splitlines()]
        self.assertEqual([name for name in listed if not name.startswith("lost+found/")], sorted(paths))
        self.assertEqual(self.replicas(), replicas)  # none was deleted, set aside, or copied in vain
        self.upload(paths["small"], "new")
        self.signal("chunk-4", signal.SIGKILL)
        self.until(lambda: min(self.live_copies("a/many")) == 3, "healing")
