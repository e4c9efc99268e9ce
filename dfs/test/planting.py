"""The table of planted bugs in doc/testing.md, read from the headers of planted/*.patch.

Pure but for :func:`patches_of_tree`; tools/failures.py writes the file, test_documents checks it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from attrs import frozen

BEGIN, END = "<!-- planted: begin -->", "<!-- planted: end -->"
SECTION = re.compile(re.escape(BEGIN) + ".*?" + re.escape(END), re.DOTALL)


@frozen
class PlantedBug:
    """``guard``: what the patch breaks; ``red``: the dotted name of the test that sees it."""

    name: str
    guard: str
    red: str


def patches_of_tree(root: Path) -> list[PlantedBug]:
    """Every planted bug, by name.  One without its two header lines has "" there."""
    bugs = []
    for path in sorted((root / "planted").glob("*.patch")):
        guard, red, *_ = [*path.read_text(encoding="utf-8").split("\n", 2), "", ""]
        bugs.append(PlantedBug(path.stem, guard.removeprefix("# guard: "), red.removeprefix("# red: ").strip()))
    return bugs


def render_planted(document: str, bugs: Iterable[PlantedBug]) -> str:
    """The document with its table between the two markers brought up to date."""
    rows = [f"| {bug.name} | {bug.guard} | `{bug.red}` |" for bug in bugs]
    head = ["| patch | the guard that it breaks | the test that goes red |", "|---|---|---|"]
    table = "\n".join([BEGIN, "", *head, *rows, "", END])
    return SECTION.sub(lambda _: table, document)
