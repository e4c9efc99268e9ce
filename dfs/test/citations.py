"""Which tests cover which line of doc/failures.md: read from the docstrings of the tests, written into the table.

A test covers a line by naming it (``S07``, ``R13``) in its docstring.  Pure: text in, text out, but for
:func:`tests_of_tree`, which reads the tree; tools/failures.py writes the file, test_documents checks it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen

LINES = (*(f"S{number:02}" for number in range(1, 49)), *(f"R{number:02}" for number in range(1, 65)))
CITATION = re.compile(r"\b[SR]\d{2}\b")
ROW = re.compile(r"^\| ([SR]\d{2}) \| (.+) \| (.*) \|$")
NOT_YET = "not yet"


@frozen
class TestMethod:
    """A test: its dotted name, and what its docstring says ("" without one)."""

    __test__ = False

    name: str
    docstring: str

    @property
    def lines(self) -> frozenset[str]:
        return frozenset(CITATION.findall(self.docstring))


def tests_of_source(module: str, source: str) -> Iterator[TestMethod]:
    """The test methods of one module, those of contracts that other modules inherit among them."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef):
            for item in node.body:
                if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef) and item.name.startswith("test_"):
                    yield TestMethod(f"{module}.{node.name}.{item.name}", ast.get_docstring(item) or "")


def tests_of_tree(root: Path) -> list[TestMethod]:
    """The test methods of every test package below ``root/dfs``, by name."""
    found: list[TestMethod] = []
    for path in root.glob("dfs/**/test/**/*.py"):
        module = ".".join(path.relative_to(root).with_suffix("").parts)
        found += tests_of_source(module, path.read_text(encoding="utf-8"))
    return sorted(found, key=lambda test: test.name)


def covered(tests: list[TestMethod]) -> dict[str, list[str]]:
    """For each line that is cited at all, the names of the tests that cite it."""
    table: dict[str, list[str]] = {}
    for test in tests:
        for line in sorted(test.lines):
            table.setdefault(line, []).append(test.name)
    return table


def render(document: str, tests: list[TestMethod]) -> str:
    """The document with the last column of its tables brought up to date."""
    table = covered(tests)
    rows = []
    for text in document.split("\n"):
        match = ROW.match(text)
        if match:
            names = "<br>".join(f"`{name}`" for name in table.get(match[1], ()))
            text = f"| {match[1]} | {match[2]} | {names or NOT_YET} |"
        rows.append(text)
    return "\n".join(rows)


def listed(document: str) -> list[str]:
    """The lines that the document has rows for, in its order."""
    return [match[1] for match in map(ROW.match, document.split("\n")) if match]
