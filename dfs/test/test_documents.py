"""The documents tell what is there: links, settings, the table of failures, planted bugs."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.python.reflect import ObjectNotFound, namedAny
from twisted.trial.unittest import SynchronousTestCase

from dfs.chunkserver import child, commit, get, jobs, put
from dfs.chunkserver import service as chunk_service
from dfs.client import manifest, receiving
from dfs.metaserver import collector, orders, planner, reading, records, sessions
from dfs.protocol import limits
from dfs.protocol.values import BLOCK
from dfs.runtime import options
from dfs.runtime.settings import Setting
from dfs.test.citations import LINES, listed, render, tests_of_tree
from dfs.test.pieces import ROOT
from dfs.test.planting import BEGIN, patches_of_tree, render_planted

LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
MIB, KIB = 1 << 20, 1 << 10
BOUNDS = {
    "frame; block": (limits.MAX_BODY // MIB, BLOCK // MIB),
    "connections of a listener": (limits.MAX_CONNECTIONS,),
    "requests in progress for one peer; waiting for one peer": (limits.MAX_INCOMING, limits.MAX_OUTGOING),
    "unsent bytes before a peer that does not read is cut off": (limits.MAX_UNSENT // MIB,),
    "receive buffer and high-water mark, BULK; others": (limits.BULK_BUFFER // MIB, limits.CONTROL_BUFFER // KIB),
    "one chunk being received by a client": (receiving.HIGH_WATER // MIB,),
    "puts at one chunk server; bytes waiting for its disk, each": (chunk_service.MOST_PUTS, put.HIGH // MIB),
    "bytes kept for a child that is not connected yet": (child.PENDING_HIGH // MIB,),
    "reads at one chunk server": (get.MOST_GETS,),
    "commits waiting; in one request": (commit.WAITING, commit.MOST),
    "jobs known to a chunk server; orders waiting for a node": (jobs.MOST_JOBS, orders.MAX_WAITING),
    "reads waiting for the tables": (reading.MAX_WAITING,),
    "sessions remembered; answers of one": (sessions.MAX_SESSIONS, records.MAX_ANSWERS),
    "backlog of repair; garbage files known to wait": (planner.MAX_BACKLOG, collector.MAX_WAITING),
    "chunk servers; nodes that one chunk was tried at": (limits.MAX_CHUNK_SERVERS, records.MAX_NODES_OF_A_CHUNK),
    "manifests of a client": (manifest.KEPT,),
}
DOTTED = re.compile(r"`(dfs\.[a-z]\w*(?:\.\w+)*)`")
FAILURES = ROOT / "doc" / "failures.md"


def anchors(text: str) -> set[str]:
    """The anchors of a document's headings, as the common renderers make them."""
    titles = re.findall(r"^#+ (.+)$", FENCED.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def broken_links(path: Path) -> list[str]:
    """The relative links of a document that lead nowhere, or to a heading that is not there."""
    broken = []
    for link in LINK.findall(FENCED.sub("", path.read_text(encoding="utf-8"))):
        if re.match(r"[a-z][a-z0-9+.-]*:", link):
            continue
        place, _, anchor = link.partition("#")
        target = path.parent / place if place else path
        if not target.exists() or (anchor and anchor not in anchors(target.read_text(encoding="utf-8"))):
            broken.append(link)
    return broken


class LinkTests(SynchronousTestCase):
    """README.md and everything under doc/."""

    def test_links_resolve(self) -> None:
        """Each relative link leads to a file, and to a heading in it where it names one."""
        documents = [ROOT / "README.md", *sorted((ROOT / "doc").rglob("*.md"))]
        self.assertEqual([f"{path.name}: {link}" for path in documents for link in broken_links(path)], [])

    def test_broken_links_are_seen(self) -> None:
        """A link to a missing file or heading is reported; a web address and a code block are not."""
        folder = Path(self.mktemp())
        folder.mkdir()
        page = folder / "page.md"
        page.write_text(
            "# A title: yes\n[a](#a-title-yes) [b](no.md) [c](#no) [d](https://x.example)\n```\n[e](no)\n```\n"
        )
        self.assertEqual(broken_links(page), ["no.md", "#no"])


class SettingsTests(SynchronousTestCase):
    """doc/configuration.md."""

    def test_every_setting_is_documented(self) -> None:
        """Each declared setting stands in the document with its default."""
        text = (ROOT / "doc" / "configuration.md").read_text(encoding="utf-8")
        settings = [value for value in vars(options).values() if isinstance(value, Setting)]
        self.assertTrue(settings)
        missing = [setting.name for setting in settings if f"`{setting.name}`" not in text]
        self.assertEqual(missing, [])


class FailuresTests(SynchronousTestCase):
    """doc/failures.md."""

    def test_every_line_is_listed(self) -> None:
        """Each situation and each rule has one row, in order."""
        self.assertEqual(tuple(listed(FAILURES.read_text(encoding="utf-8"))), LINES)

    def test_tests_are_up_to_date(self) -> None:
        """The last column names exactly the tests that cite each line (`make docs` writes it)."""
        document = FAILURES.read_text(encoding="utf-8")
        self.assertEqual(document, render(document, tests_of_tree(ROOT)))

    def test_tests_cite_lines_that_exist(self) -> None:
        """No test claims a line that the table does not have."""
        unknown = [test.name for test in tests_of_tree(ROOT) if not test.lines <= set(LINES)]
        self.assertEqual(unknown, [])

    def test_named_tests_exist(self) -> None:
        """Each test that the table names can be imported by its name."""
        for name in re.findall(r"`(dfs\.[\w.]+)`", FAILURES.read_text(encoding="utf-8")):
            self.assertTrue(callable(namedAny(name)), name)


class NameTests(SynchronousTestCase):
    """README.md and everything under doc/."""

    def test_names_exist(self) -> None:
        """Each dotted name in backticks that begins with ``dfs.`` can be imported."""
        missing = []
        for path in [ROOT / "README.md", *sorted((ROOT / "doc").rglob("*.md"))]:
            for name in sorted(set(DOTTED.findall(path.read_text(encoding="utf-8")))):
                try:
                    namedAny(name)
                except (AttributeError, ImportError, ObjectNotFound):
                    missing.append(f"{path.name}: {name}")
        self.assertEqual(missing, [])


class BoundsTests(SynchronousTestCase):
    """The table of bounds in doc/architecture.md."""

    def test_bounds_are_those_of_the_code(self) -> None:
        """Each row says the values of the constants that it stands for."""
        text = (ROOT / "doc" / "architecture.md").read_text(encoding="utf-8")
        limits_told = dict(re.findall(r"^\| ([^|]+) \| ([^|]+) \|", text.partition("## Bounds")[2], re.MULTILINE))
        for what, values in BOUNDS.items():
            told = [int(number.replace(",", "")) for number in re.findall(r"\d[\d,]*", limits_told[what])]
            self.assertEqual(told[: len(values)], list(values), what)


class PlantedTests(SynchronousTestCase):
    """planted/*.patch, and their table in doc/testing.md."""

    def test_table_is_up_to_date(self) -> None:
        """doc/testing.md lists each planted bug with its guard and its test (`make docs` writes the table)."""
        document = (ROOT / "doc" / "testing.md").read_text(encoding="utf-8")
        self.assertIn(BEGIN, document)
        self.assertEqual(document, render_planted(document, patches_of_tree(ROOT)))

    def test_planted_bugs_name_their_tests(self) -> None:
        """Each planted bug says which guard it breaks and which existing test sees it."""
        for path in sorted((ROOT / "planted").glob("*.patch")):
            head = path.read_text(encoding="utf-8").split("\n", 2)
            self.assertTrue(head[0].startswith("# guard: "), path.name)
            self.assertTrue(head[1].startswith("# red: dfs."), path.name)
            self.assertTrue(callable(namedAny(head[1].removeprefix("# red: ").strip())), path.name)
