"""Bring the tables that follow from the tests up to date: doc/failures.md, and the planted bugs of doc/testing.md.

dfs.test.test_documents checks that they are.
"""

from __future__ import annotations

from pathlib import Path

from dfs.test.citations import NOT_YET, render, tests_of_tree
from dfs.test.planting import patches_of_tree, render_planted

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    document = ROOT / "doc" / "failures.md"
    text = render(document.read_text(encoding="utf-8"), tests_of_tree(ROOT))
    document.write_text(text, encoding="utf-8")
    print(f"doc/failures.md: {text.count(f'| {NOT_YET} |')} lines have no test yet")
    document, bugs = ROOT / "doc" / "testing.md", patches_of_tree(ROOT)
    document.write_text(render_planted(document.read_text(encoding="utf-8"), bugs), encoding="utf-8")
    print(f"doc/testing.md: {len(bugs)} planted bugs")


if __name__ == "__main__":
    main()
