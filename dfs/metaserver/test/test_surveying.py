"""Pages of the survey: every file and chunk once, whatever the page's size."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from dfs.metaserver import commands
from dfs.metaserver.surveying import survey
from dfs.metaserver.test.bench import Bench
from dfs.protocol.errors import BadRequest
from dfs.protocol.limits import MAX_BODY
from dfs.protocol.messages import SurveyPage
from dfs.protocol.values import NodeState
from dfs.protocol.wire import encode


class SurveyTests(SynchronousTestCase):
    """What fsck and whatif see."""

    def setUp(self) -> None:
        self.bench = Bench()
        self.bench.nodes(3)
        self.store = self.bench.machine.store

    def pages(self, limit: int) -> list[SurveyPage]:
        pages, after = [], b""
        while True:
            page = survey(self.store, after, limit, {})
            pages.append(page)
            after = page.next
            if not after:
                return pages

    def rows(self, limit: int) -> list[tuple[str, int | None]]:
        found: list[tuple[str, int | None]] = []
        for page in self.pages(limit):
            for file in page.files:
                found += [(file.info.name, chunk.index) for chunk in file.chunks] or [(file.info.name, None)]
        return found

    def test_every_row_once(self) -> None:
        """Whatever the page's size, every chunk of every file appears once, and an empty file as itself."""
        self.bench.store_file("two", 2)
        granted = self.bench.create("empty", 0)
        self.bench.finish(granted.file_id, 1, 0)
        self.bench.store_file("five", 5)
        self.bench.store_file("one", 1)
        expected: list[tuple[str, int | None]] = [("two", 0), ("two", 1), ("empty", None)]
        expected += [("five", index) for index in range(5)] + [("one", 0)]
        for limit in range(1, 12):
            self.assertEqual(self.rows(limit), expected, limit)

    def test_a_page_is_short(self) -> None:
        """No page has more rows than were asked for."""
        self.bench.store_file("five", 5)
        self.assertEqual([sum(len(file.chunks) for file in page.files) for page in self.pages(2)], [2, 2, 1])

    def test_file_that_goes_meanwhile(self) -> None:
        """A file deleted between two pages ends where it was; the next files are shown."""
        file_id = self.bench.store_file("five", 5).file_id
        self.bench.store_file("one", 1)
        page = survey(self.store, b"", 2, {})
        self.bench.do(commands.DeleteFile(self.bench.operation(), None, file_id))
        rest = survey(self.store, page.next, 10, {})
        self.assertEqual([(file.info.name, len(file.chunks)) for file in rest.files], [("one", 1)])
        self.assertEqual(rest.next, b"")

    def test_nodes_are_named(self) -> None:
        """Each node of the page is named once, with its state as the leader sees it."""
        self.bench.store_file("two", 2)
        page = survey(self.store, b"", 10, {1: NodeState.SUSPECT})
        self.assertEqual(
            sorted((node.number, node.state) for node in page.nodes),
            [(1, NodeState.SUSPECT), (2, NodeState.ALIVE), (3, NodeState.ALIVE)],
        )

    def test_fits_a_frame(self) -> None:
        """A page of the longest names can be sent (S44)."""
        for number in range(400):
            granted = self.bench.create(f"{number:04}" + "n" * 4092, 0)
            self.bench.finish(granted.file_id, 1, 0)
        pages = self.pages(1000)
        self.assertEqual(sum(len(page.files) for page in pages), 400)
        self.assertGreater(len(pages), 1)
        for page in pages:
            self.assertLess(len(encode(page)), MAX_BODY)

    def test_bad_asks(self) -> None:
        """A limit or a place that cannot be is refused."""
        for after, limit in ((b"", 0), (b"", 1001), (b"abc", 10)):
            with self.assertRaises(BadRequest):
                survey(self.store, after, limit, {})
