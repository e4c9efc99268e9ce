"""The text scripts come out as written: ``golden/`` tells the main stories, ``scripts/`` shows one rule each."""

from __future__ import annotations

import difflib
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from dfs.raft.test.script import render

HERE = Path(__file__).parent
MEMBERSHIP = ("r41", "r48", *(f"r{number}" for number in range(51, 59)))


def scripts(folder: str) -> list[Path]:
    """The scripts of one folder."""
    return sorted((HERE / folder).glob("*.txt"))


class ScriptTests(SynchronousTestCase):
    """``python -m dfs.raft.test.test_core_scripts`` writes the output of all of them anew, to be read before it is
    committed."""

    def come_out_as_written(self, paths: list[Path]) -> None:
        for path in paths:
            expected = path.read_text()
            found = render(expected)
            difference = "\n".join(difflib.unified_diff(expected.splitlines(), found.splitlines(), lineterm="", n=5))
            self.assertEqual(found, expected, f"{path.name}:\n{difference}")

    def test_each_script_comes_out_as_written(self) -> None:
        """R01, R02, R05 to R22 (R08 among them), R24, R25, R47 and R50 do as their scripts show, packet by packet."""
        paths = [path for path in scripts("scripts") if not path.name.startswith(MEMBERSHIP)]
        self.assertGreaterEqual(len(paths), 20)
        self.come_out_as_written(paths)

    def test_membership(self) -> None:
        """R41, R48, R51, R52, R53, R54, R55, R56, R57 and R58 do as their scripts show, packet by packet."""
        paths = [path for path in scripts("scripts") if path.name.startswith(MEMBERSHIP)]
        self.assertGreaterEqual(len(paths), 12)
        self.come_out_as_written(paths)

    def test_stories(self) -> None:
        """R17, R20, R51, R54, R55, R58: the main stories (an election, figure 8, a conflict, a snapshot, growing from
        one to five and back, a removed leader, a transfer) are told packet by packet."""
        paths = scripts("golden")
        self.assertGreaterEqual(len(paths), 7)
        self.come_out_as_written(paths)


def main() -> None:
    """Write every script's output anew."""
    for path in scripts("scripts") + scripts("golden"):
        text = path.read_text()
        found = render(text)
        if found != text:
            path.write_text(found)
            sys.stdout.write(f"{path.name} changed\n")


if __name__ == "__main__":
    main()
