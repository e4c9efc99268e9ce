"""doc/protocol.md says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from dfs.protocol import frames, hello
from dfs.protocol.test import tables
from dfs.protocol.values import BLOCK, CHUNK_SIZE, MAX_CHUNK_SIZE, MAX_NAME, PIECE

DOCUMENT = Path(__file__).parents[3] / "doc" / "protocol.md"


class DocumentTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.text = DOCUMENT.read_text("utf-8")

    def section(self, name: str) -> str:
        """The table under the marker of this name."""
        found = re.search(rf"<!-- table: {name} -->\n\n(.*?)\n\n", self.text + "\n\n", re.DOTALL)
        assert found is not None, f"doc/protocol.md has no table {name!r}"
        return found.group(1)

    def test_tables(self) -> None:
        """Every table of the specification is the one in the code: types, messages, errors, limits."""
        for name, render in tables.ALL.items():
            self.assertEqual(self.section(name), render(), f"table {name!r}; it should read:\n{render()}")

    def test_no_other_table(self) -> None:
        """No marked table is left that nothing compares."""
        self.assertEqual(set(re.findall(r"<!-- table: (.*?) -->", self.text)), set(tables.ALL))

    def offsets(self, title: str) -> list[tuple[int, int]]:
        """The (offset, size) rows of a layout block under a heading."""
        part = self.text.split(f"### {title}\n", 1)[1].split("###", 1)[0]
        return [(int(at), int(size)) for at, size in re.findall(r"^ +(\d+) +(\d+) +\w", part, re.MULTILINE)]

    def test_header(self) -> None:
        """The header's offsets follow one another up to its length."""
        rows = self.offsets("Header")
        self.assertEqual(rows, [(0, 4), (4, 4), (8, 1), (9, 1), (10, 2), (12, 4)])
        self.assertEqual(sum(size for _, size in rows), frames.HEADER_LENGTH)

    def test_hello_offsets(self) -> None:
        """The offsets of Hello's fixed part are where the codec puts them."""
        position = 0
        kinds = list(hello.HELLO.kinds.values())
        for (offset, size), kind in zip(self.offsets("Hello body"), kinds, strict=False):
            self.assertEqual((offset, size), (position, kind.sizeof() if hasattr(kind, "fmtstr") else _size(kind)))
            position += size
        self.assertEqual(position, 81)

    def test_numbers(self) -> None:
        """The sizes named in prose are those of the code."""
        for number in (PIECE, BLOCK, CHUNK_SIZE, MAX_CHUNK_SIZE, MAX_NAME):
            self.assertIn(f"{number:,}", self.text)


def _size(kind: object) -> int:
    return int(getattr(kind, "length", 1))
