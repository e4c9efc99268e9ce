"""Bring the tests named in doc/failures.md up to date; with --check, only say whether they are."""

from __future__ import annotations

import sys
from pathlib import Path

from dfs.test.citations import NOT_YET, render, tests_of_tree

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    document = ROOT / "doc" / "failures.md"
    old = document.read_text(encoding="utf-8")
    new = render(old, tests_of_tree(ROOT))
    print(f"doc/failures.md: {new.count(f'| {NOT_YET} |')} lines have no test yet")
    if new == old:
        return 0
    if "--check" in sys.argv[1:]:
        print("doc/failures.md is out of date; run: make docs")
        return 1
    document.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
