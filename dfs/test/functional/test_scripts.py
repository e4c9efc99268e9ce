"""The scripts of doc/operations.md are carried out as they are written."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

from dfs.test.functional.cluster import TIMEOUT, RealClusterCase

MIB = 1 << 20
OPERATIONS = Path(__file__).parents[3] / "doc" / "operations.md"


def script(name: str) -> str:
    """As the page has it."""
    mark = f"<!-- script: {name} -->\n```\n"
    return OPERATIONS.read_text("utf-8").partition(mark)[2].partition("```")[0]


class ScriptTests(RealClusterCase):
    """On one cluster of six chunk servers in three racks, one after the other."""

    def carry_out(self, name: str) -> str:
        """Run the script in a shell that ends with the first command that fails; what it printed."""
        lines = script(name)
        self.assertTrue(lines, f"the page has no script {name!r}")
        dfs = f'dfs() {{ {shlex.quote(sys.executable)} -m dfs.cli.main "$@"; }}'
        done = subprocess.run(
            ["bash", "-e", "-c", f"{dfs}\n{lines}"],
            env={**self.environment, "DIR": self.dir},
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=2 * TIMEOUT,
        )
        self.assertEqual(done.returncode, 0, f"{name}: {done.stdout[-1500:]} {done.stderr[-2000:]}")
        return done.stdout

    def test_scripts(self) -> None:
        """S18, S20: a rack is lost, a disk replaced, a node drained and removed, by the commands of the page; every
        file is whole and intact after each."""
        self.environment["DFS_SETTLE_AFTER"] = "1s"
        self.dfs("cluster", "up", "-m", "1", "-s", "6", "--racks", "3")
        racks = {each["name"]: each["rack"] for each in self.document("status")["chunk_servers"]}
        self.assertEqual((racks["chunk-3"], racks["chunk-6"], racks["chunk-1"]), ("rack-3", "rack-3", "rack-1"))
        paths = {f"f/{number}": self.local(f"f{number}", 2 * MIB + number) for number in range(3)}
        for name, path in paths.items():
            self.upload(path, name, "--chunk-size", "256KiB")
        self.assertIn("files lost      0", self.carry_out("lose a rack"))
        self.assert_all_same(paths)
        self.assertIn("all whole", self.carry_out("replace a disk"))
        self.assert_all_same(paths)
        self.assertEqual(self.states()["chunk-2"], "alive")
        self.assertIn("all whole", self.carry_out("drain a node"))
        self.assertNotIn("chunk-1", self.states())
        self.assert_all_same(paths)
