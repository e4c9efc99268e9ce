"""Elections: the thesis's sentences, and liveness in every directed connectivity graph of three nodes (R09)."""

from __future__ import annotations

import itertools
import random

from twisted.trial.unittest import SynchronousTestCase

from dfs.raft.codec import encode_entry
from dfs.raft.core import Config, Configuration, CoreHalted, HardState, LogView, RaftCore, SnapshotMark
from dfs.raft.messages import AppendRequest, Entry, EntryKind, VoteReply, VoteRequest
from dfs.raft.test.cluster import Cluster
from dfs.raft.test.script import SteadyChance

Link = tuple[str, str]


def well_connected(members: str, links: frozenset[Link]) -> list[str]:
    """Those who can talk with a majority, themselves included, in both directions."""
    return [
        a
        for a in members
        if 1 + sum((a, b) in links and (b, a) in links for b in members if b != a) > len(members) // 2
    ]


class GraphTests(SynchronousTestCase):
    """R09."""

    def _check(self, members: str, links: frozenset[Link], seed: int, led: bool) -> None:
        cluster = Cluster(members, random.Random(seed))
        if led:
            cluster.elect(members[0])
            cluster.run(2)
        time_out = 2 * cluster.config.election_ticks
        cluster.run(5 * time_out, lambda sender, to: (sender, to) in links)
        leader = cluster.leader()
        connected = well_connected(members, links)
        self.assertIn(leader, connected[:1] if led and members[0] in connected else connected, sorted(links))
        assert leader is not None
        index = cluster.do(leader, "propose", [b"x"]).first_index
        terms = {name: cluster.core(name).term for name in members}
        cluster.run(5 * time_out, lambda sender, to: (sender, to) in links)
        self.assertEqual(cluster.leader(), leader, f"the leader changed with {sorted(links)}")
        self.assertEqual({name: cluster.core(name).term for name in members}, terms, f"terms grow with {sorted(links)}")
        self.assertGreaterEqual(cluster.core(leader).commit_index, index, f"nothing commits with {sorted(links)}")

    def test_every_graph_of_three(self) -> None:
        """R09: wherever some node has a two-way majority a stable leader comes within five time-outs and terms stop
        growing, from the founding as well as from a cut under a leader."""
        pairs = list(itertools.permutations("abc", 2))
        graphs = 0
        for size in range(len(pairs) + 1):
            for chosen in itertools.combinations(pairs, size):
                links = frozenset(chosen)
                if well_connected("abc", links):
                    graphs += 1
                    self._check("abc", links, graphs, led=False)
                    self._check("abc", links, graphs, led=True)
        self.assertEqual(graphs, 37)

    def test_random_graphs_of_five(self) -> None:
        """R09: the same for graphs of five nodes, drawn at random."""
        draw = random.Random(5)
        pairs = list(itertools.permutations("abcde", 2))
        done = 0
        while done < 15:
            links = frozenset(pair for pair in pairs if draw.random() < 0.75)
            if well_connected("abcde", links):
                done += 1
                self._check("abcde", links, done, led=bool(done % 2))


class ElectionTests(SynchronousTestCase):
    """One member at a time."""

    def _core(self, **config: int) -> RaftCore:
        return RaftCore(
            Config("a", **config), HardState(), LogView(), SteadyChance(), configuration=Configuration(("a", "b", "c"))
        )

    def test_timeouts_are_drawn_anew_from_one_to_two(self) -> None:
        """R11, thesis 3.4: every timer lies in 10 to 20 ticks and consecutive ones differ."""
        core = RaftCore(
            Config("a"), HardState(), LogView(), random.Random(3), configuration=Configuration(("a", "b", "c"))
        )
        drawn = []
        for _ in range(200):
            core.state.draw_timeout()
            drawn.append(core.state.timeout)
        self.assertEqual((min(drawn), max(drawn)), (10, 20))
        self.assertEqual(len(set(drawn)), 11)

    def test_messages_of_an_unknown_member_are_no_votes(self) -> None:
        """R06, R53: grants from outside the configuration do not count; its requests are answered."""
        core = self._core()
        core.campaign()
        core.step("x", VoteReply(1, True, True))
        core.step("y", VoteReply(1, True, True))
        self.assertEqual(core.role, "pre-candidate")
        core.step("x", VoteRequest(9, 5, 5, pre=False))
        self.assertEqual(core.term, 9)

    def test_restart_remembers_the_vote(self) -> None:
        """R03: a member started from its hard state refuses another candidate of that term."""
        core = RaftCore(
            Config("a"), HardState(7, "b"), LogView(), SteadyChance(), configuration=Configuration(("a", "b", "c"))
        )
        core.step("c", VoteRequest(7, 99, 7, pre=False))
        core.step("b", VoteRequest(7, 99, 7, pre=False))
        ready = core.take_ready()
        assert ready is not None
        replies = [(item.to, item.message) for item in ready.messages_now]
        self.assertEqual(replies, [("c", VoteReply(7, False, False)), ("b", VoteReply(7, True, False))])
        self.assertIsNone(ready.hard_state)

    def test_a_log_beyond_the_stored_term_halts(self) -> None:
        """R03: a term record that went back is found at start."""
        view = LogView(last_index=1, runs=((1, 5),))
        with self.assertRaises(CoreHalted):
            RaftCore(Config("a"), HardState(4), view, SteadyChance(), configuration=Configuration(("a",)))

    def test_a_halted_core_stays_halted(self) -> None:
        """R14: after a broken invariant no input is taken any more."""
        core = self._core()
        with self.assertRaises(CoreHalted):
            core.applied(5)
        with self.assertRaises(CoreHalted):
            core.tick()

    def test_state_beyond_the_log_begins_it_anew(self) -> None:
        """R37: after a crash between installing a snapshot and beginning the log anew, the first Ready does it."""
        core = RaftCore(
            Config("a"),
            HardState(3),
            LogView(last_index=4, runs=((1, 1),)),
            SteadyChance(),
            configuration=Configuration(("a", "b", "c")),
            applied=SnapshotMark(9, 2),
        )
        ready = core.take_ready()
        assert ready is not None
        self.assertEqual((ready.reset_to, core.last_index, core.commit_index), (SnapshotMark(9, 2), 9, 9))

    def test_a_stored_commit_beyond_the_log_is_clamped(self) -> None:
        """R36: a commit hint that outlived its entries is cut to the log."""
        view = LogView(last_index=4, runs=((1, 1),))
        core = RaftCore(
            Config("a"), HardState(1), view, SteadyChance(), configuration=Configuration(("a", "b", "c")), commit=9
        )
        self.assertEqual(core.commit_index, 4)

    def test_nonsense_from_a_peer_is_ignored(self) -> None:
        """R24: appends with holes, terms out of order or beyond the message's leave the log alone."""

        def entry(index: int, term: int) -> Entry:
            return encode_entry(index, term, EntryKind.COMMAND, b"x", 0)

        for entries in [(entry(2, 1),), (entry(1, 1), entry(3, 1)), (entry(1, 2), entry(2, 1)), (entry(1, 9),)]:
            core = self._core()
            core.step("b", AppendRequest(2, 0, 0, 9, 0, entries))
            self.assertEqual((core.last_index, core.commit_index), (0, 0))
