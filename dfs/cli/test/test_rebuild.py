"""`dfs rebuild`: what it says, to people and to scripts."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from dfs.cli.errors import CommandFailed
from dfs.cli.options import parse
from dfs.cli.rebuild import chunk_addresses, closing, document, lines, summary
from dfs.client.rebuilding import Report
from dfs.client.recovery import Finding, Verdict
from dfs.protocol.values import FileId


def finding(verdict: Verdict, sentence: str = "", *contradictions: str) -> Finding:
    return Finding(verdict, FileId(7), "a\nb", 5, sentence, contradictions)


def report(*verdicts: Verdict) -> Report:
    found = Report(servers=["chunk-1", "chunk-2"])
    found.verdicts.update(verdicts)
    return found


class TextTests(SynchronousTestCase):
    """Formatting."""

    def test_lines(self) -> None:
        """What is simply recovered is not told of; all else is, with its reason, and no name is an order (S44)."""
        for verdict in (Verdict.RECOVERED, Verdict.KNOWN):
            self.assertEqual(lines(finding(verdict)), [])
        self.assertEqual(lines(finding(Verdict.INCOMPLETE, "chunk 3 missing")), ["incomplete: a\\nb: chunk 3 missing"])
        told = lines(finding(Verdict.RECOVERED, "", "chunk 0 has 2 contents"))
        self.assertEqual(told, ["contradiction: a\\nb: chunk 0 has 2 contents"])

    def test_document(self) -> None:
        """For scripts every file is one document."""
        shown = document(finding(Verdict.LOST_AND_FOUND, "why"))
        self.assertEqual((shown["verdict"], shown["name"], shown["message"]), ("lost+found", "a\nb", "why"))
        self.assertIsNone(document(finding(Verdict.RECOVERED))["message"])

    def test_exit_codes(self) -> None:
        """0: all under their names; 1: something to look at; 6: a file is not whole."""
        self.assertEqual(report(Verdict.RECOVERED, Verdict.KNOWN).exit_code, 0)
        self.assertEqual(report(Verdict.RECOVERED, Verdict.LOST_AND_FOUND).exit_code, 1)
        self.assertEqual(report(Verdict.LOST_AND_FOUND, Verdict.INCOMPLETE).exit_code, 6)
        self.assertEqual(report(Verdict.REFUSED).exit_code, 6)
        for change in ("contradictions", "unreadable"):
            doubtful = report(Verdict.RECOVERED)
            setattr(doubtful, change, 1)
            self.assertEqual(doubtful.exit_code, 1)
        doubtful = report(Verdict.RECOVERED)
        doubtful.absent.append("h:1")
        self.assertEqual(doubtful.exit_code, 1)

    def test_closing(self) -> None:
        """The last lines count, and name the next step."""
        found = report(Verdict.RECOVERED, Verdict.RECOVERED, Verdict.INCOMPLETE)
        found.adopted, found.absent, found.unreadable = ["chunk-1"], ["h:1"], 3
        text = closing(found, dry_run=False)
        for words in ("2 recovered, 1 incomplete", "2 chunk servers asked, 1 absent", "3 replicas", "start these"):
            self.assertIn(words, text)
        self.assertIn("nothing was changed", closing(found, dry_run=True))
        self.assertEqual(summary(found, dry_run=False)["files"]["recovered"], 2)


class WordsTests(SynchronousTestCase):
    """The words of the command."""

    def test_chunk_servers_are_named(self) -> None:
        """Nobody but the operator knows them: without them, and without a local cluster, it is a mistake of use."""
        options = parse(["rebuild", "--chunk-servers", "h:1,g:2", "--dir", self.mktemp()])
        self.assertEqual(chunk_addresses(options), ("h:1", "g:2"))
        error = self.assertRaises(CommandFailed, chunk_addresses, parse(["rebuild", "--dir", self.mktemp()]))
        self.assertEqual(error.exit_code, 2)
