"""Bring the tests named in doc/failures.md up to date; dfs.test.test_documents checks that they are."""

from __future__ import annotations

from pathlib import Path

from dfs.test.citations import NOT_YET, render, tests_of_tree

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    document = ROOT / "doc" / "failures.md"
    text = render(document.read_text(encoding="utf-8"), tests_of_tree(ROOT))
    document.write_text(text, encoding="utf-8")
    print(f"doc/failures.md: {text.count(f'| {NOT_YET} |')} lines have no test yet")


if __name__ == "__main__":
    main()
