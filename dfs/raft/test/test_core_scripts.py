"""The text scripts come out as written."""

from __future__ import annotations

import difflib
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from dfs.raft.test.script import render

SCRIPTS = Path(__file__).parent / "scripts"


class ScriptTests(SynchronousTestCase):
    """Each ``scripts/*.txt`` shows a rule; ``python -m dfs.raft.test.test_core_scripts`` writes their output anew,
    to be read before it is committed."""

    def test_each_script_comes_out_as_written(self) -> None:
        """R01, R02, R05 to R22 (R08 among them), R24, R25, R47 and R50 do as their scripts show, packet by packet."""
        paths = sorted(SCRIPTS.glob("*.txt"))
        self.assertGreaterEqual(len(paths), 20)
        for path in paths:
            expected = path.read_text()
            found = render(expected)
            difference = "\n".join(difflib.unified_diff(expected.splitlines(), found.splitlines(), lineterm="", n=5))
            self.assertEqual(found, expected, f"{path.name}:\n{difference}")


def main() -> None:
    """Write every script's output anew."""
    for path in sorted(SCRIPTS.glob("*.txt")):
        text = path.read_text()
        found = render(text)
        if found != text:
            path.write_text(found)
            sys.stdout.write(f"{path.name} changed\n")


if __name__ == "__main__":
    main()
