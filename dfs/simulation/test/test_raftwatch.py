"""What the watch over Raft calls a violation: each property, kept and broken."""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from dfs.raft.codec import encode_entry
from dfs.raft.core import RaftCore
from dfs.raft.core.types import Config, Configuration, HardState, LogView, Role
from dfs.raft.messages import Entry, EntryKind
from dfs.simulation.raftwatch import RaftWatch


def core(*terms: int, term: int = 1, vote: str | None = None, salt: int = 0) -> RaftCore:
    """A member that starts with entries of these terms; ``salt`` makes them other entries of the same terms."""
    entries: list[Entry] = []
    for index, of in enumerate(terms, 1):
        previous = entries[-1].checksum if entries else 0
        entries.append(encode_entry(index, of, EntryKind.COMMAND, b"%d" % salt, previous))
    view = LogView(
        last_index=len(terms),
        runs=tuple((index, of) for index, of in enumerate(terms, 1) if index == 1 or terms[index - 2] != of),
        last_checksum=entries[-1].checksum if entries else 0,
        tail=tuple(entries),
    )
    return RaftCore(Config("a"), HardState(term, vote), view, Random(1), configuration=Configuration(("a", "b", "c")))


def leading(member: RaftCore) -> RaftCore:
    """It takes itself for the leader."""
    member.state.role = Role.LEADER
    return member


def committed(member: RaftCore, index: int) -> RaftCore:
    """It has committed so far."""
    member.state.commit = index
    return member


class RaftWatchTests(SynchronousTestCase):
    """Members with made-up states."""

    def setUp(self) -> None:
        self.violations: list[str] = []
        self.watch = RaftWatch(self.violations.append)

    def found(self, word: str) -> None:
        self.assertEqual(len(self.violations), 1, self.violations)
        self.assertIn(word, self.violations[0])

    def test_all_is_well(self) -> None:
        """Leaders of different terms with the same committed prefix are as they should be."""
        self.watch.look("a", committed(leading(core(1, 1)), 2))
        self.watch.look("b", committed(core(1, 1), 1))
        self.watch.look("b", leading(core(1, 1, 2, term=2)))
        self.assertEqual(self.violations, [])

    def test_two_leaders(self) -> None:
        """Two leaders of one term are a violation."""
        self.watch.look("a", leading(core()))
        self.watch.look("b", leading(core()))
        self.found("election safety")

    def test_vote_changes(self) -> None:
        """R01: a vote that was on the disk changes in its term, over a restart."""
        self.watch.look("a", core(vote="b"))
        self.watch.gone("a")
        self.watch.look("a", core(vote="c"))
        self.found("one vote")

    def test_term_goes_back(self) -> None:
        """R03: a term that was on the disk goes back."""
        self.watch.look("a", core(term=2))
        self.watch.look("a", core(term=1))
        self.found("one vote")

    def test_logs_differ(self) -> None:
        """Entries of one index and term with other bytes before them are a violation."""
        self.watch.look("a", core(1, 1))
        self.watch.look("b", core(1, 1, salt=1))
        self.found("log matching")

    def test_leader_lacks_an_entry(self) -> None:
        """A leader of a later term without what was committed is a violation."""
        self.watch.look("a", committed(core(1, 1), 2))
        self.watch.look("b", leading(core(1, term=2)))
        self.found("leader completeness")

    def test_committed_twice(self) -> None:
        """An index that is committed with entries of two terms is a violation."""
        self.watch.look("a", committed(core(1, 1), 2))
        self.watch.look("b", committed(core(1, 2, term=2), 2))
        self.found("has committed entry 2 of term 2, not 1")

    def test_commit_goes_back(self) -> None:
        """R18: the commit index of one process goes back."""
        member = core(1, 1)
        self.watch.look("a", committed(member, 2))
        self.watch.look("a", committed(member, 1))
        self.found("had committed entry 2")
