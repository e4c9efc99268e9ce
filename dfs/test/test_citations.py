"""Tests of what fills the table of doc/failures.md."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from dfs.test import citations

SOURCE = '''
class Some(Base):
    def test_one(self):
        """A promise (S07, R13)."""

    async def test_two(self):
        pass

    def helper(self):
        """S08 is not a test's."""
'''


class CitationsTests(SynchronousTestCase):
    """Docstrings in, table rows out."""

    def test_methods(self) -> None:
        """Each test method of a class is found with its docstring, and nothing else is."""
        found = list(citations.tests_of_source("a.b", SOURCE))
        self.assertEqual([test.name for test in found], ["a.b.Some.test_one", "a.b.Some.test_two"])
        self.assertEqual([sorted(test.lines) for test in found], [["R13", "S07"], []])

    def test_render(self) -> None:
        """Only the last column changes: the tests that cite the line, or "not yet"."""
        document = "# T\n| S07 | what `a | b` it is | old |\n| S08 | other | `gone` |\n"
        rendered = citations.render(document, list(citations.tests_of_source("a.b", SOURCE)))
        self.assertEqual(
            rendered, "# T\n| S07 | what `a | b` it is | `a.b.Some.test_one` |\n| S08 | other | not yet |\n"
        )

    def test_listed(self) -> None:
        """The document's rows are listed in its order, its other lines are not."""
        self.assertEqual(citations.listed("| line | what | tests |\n| S02 | x | y |\n| S01 | x | y |"), ["S02", "S01"])
