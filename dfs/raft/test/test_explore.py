"""Exhaustive search of small scopes over the real core, de-duplicated by state.

From a start, every order of time-outs, deliveries, syncs, proposals, heartbeats and crashes within a scope is
tried, and every invariant is checked at each step.  Elections skip the pre-vote and nobody insists on a leader:
that only adds behaviours.  By default a search ends early where its scope has
more than some thousands of states; ``DFS_RAFT_EXPLORE=n`` allows n times as many (100 exhausts most of them).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial

from attrs import evolve, frozen
from twisted.trial.unittest import SynchronousTestCase

from dfs.raft.codec import encode_entry
from dfs.raft.core import Config, HardState, election
from dfs.raft.core.types import Role
from dfs.raft.messages import Entry, EntryKind
from dfs.raft.test.cluster import Cluster
from dfs.raft.test.script import SteadyChance, describe

DEPTH = int(os.environ.get("DFS_RAFT_EXPLORE", "1"))


@frozen
class Scope:
    """How far the search goes.

    :ivar terms: nobody campaigns beyond this term.
    :ivar entries: nobody proposes beyond this index.
    :ivar messages: in flight; of more the oldest is lost.
    :ivar crashes: in all.
    :ivar instant_disks: every write is synced at once.
    :ivar candidates: who campaigns.
    """

    terms: int
    entries: int
    messages: int
    crashes: int
    instant_disks: bool
    candidates: str = "abc"
    rounds: int = 0
    states: int = 8_000


@frozen
class Position:
    """A cluster, what is left of the scope, and how it came about."""

    cluster: Cluster
    crashes: int
    path: tuple[str, ...]


class Explorer:
    """One search; ``states`` counts what was seen."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.seen: set[int] = set()
        self.complete = False

    def search(self, start: Cluster) -> None:
        """Breadth first, so that the shortest way to a violation is found; AssertionError tells the way."""
        frontier = [Position(start, self.scope.crashes, ())]
        while frontier and len(self.seen) < self.scope.states * DEPTH:
            following = []
            for position in frontier:
                for successor in self._successors(position):
                    key = self._key(successor)
                    if key not in self.seen:
                        self.seen.add(key)
                        following.append(successor)
            frontier = following
        self.complete = not frontier

    def _key(self, position: Position) -> int:
        for node in position.cluster.nodes.values():
            if node.key is None:
                core = node.core.fingerprint() if node.core else None
                node.key = hash((core, node.disk.hard, tuple(node.disk.entries), len(node.pending)))
        nodes = tuple(node.key for node in position.cluster.nodes.values())
        return hash((nodes, frozenset(position.cluster.network), position.crashes))

    def _successors(self, position: Position) -> Iterator[Position]:
        for name, touched, action in self._actions(position):
            cluster = position.cluster.copy(touched)
            path = (*position.path, name)
            try:
                action(cluster)
                if self.scope.instant_disks:
                    cluster.sync(touched)
            except Exception as failure:
                raise AssertionError("\n".join([*path, str(failure)])) from failure
            # Packets are a set: a copy of one that is under way adds nothing new.
            cluster.network = list(dict.fromkeys(cluster.network))[-self.scope.messages :]
            crashes = position.crashes - name.startswith("crash")
            yield evolve(position, cluster=cluster, crashes=crashes, path=path)

    def _actions(self, position: Position) -> Iterator[tuple[str, str, Callable[[Cluster], None]]]:
        cluster, scope = position.cluster, self.scope
        for place, packet in enumerate(cluster.network):
            yield f"deliver {describe(packet)}", packet.to, partial(Cluster.deliver, position=place)
        for name in cluster.alive():
            core = cluster.core(name)
            if cluster.nodes[name].pending:
                yield f"sync {name}", name, partial(Cluster.sync, name=name, count=1)
            if position.crashes:
                yield f"crash {name}", name, partial(_crash, name=name)
            if name in scope.candidates and core.role is not Role.LEADER and core.term < scope.terms:
                yield f"time-out {name}", name, partial(_time_out, name=name)
            if core.role is Role.LEADER and core.last_index < scope.entries:
                yield f"propose {name}", name, partial(_propose, name=name)
            if core.role is Role.LEADER and core.state.round < scope.rounds:
                yield f"heartbeat {name}", name, partial(Cluster.tick, name=name)


def _propose(cluster: Cluster, name: str) -> None:
    cluster.do(name, "propose", [b"x"])


def _crash(cluster: Cluster, name: str) -> None:
    cluster.crash(name)
    cluster.restart(name)


def _time_out(cluster: Cluster, name: str) -> None:
    core = cluster.core(name)
    core.state.role = Role.FOLLOWER
    election.elect(core.state)
    cluster.turn(name)


def _cluster(**config: int) -> Cluster:
    # With no election time-out nobody is ever "heard of late": votes are never refused for stickiness.
    return Cluster("abc", SteadyChance(), config=Config("?", election_ticks=0, heartbeat_ticks=1, **config))


def _log(*terms: int) -> list[Entry]:
    entries: list[Entry] = []
    for index, term in enumerate(terms, 1):
        previous = entries[-1].checksum if entries else 0
        entries.append(encode_entry(index, term, EntryKind.COMMAND, b"%d" % term, previous))
    return entries


def _with_logs(term: int, logs: dict[str, tuple[int, ...]]) -> Cluster:
    cluster = _cluster(message_bytes=1)
    for name, terms in logs.items():
        disk = cluster.nodes[name].disk
        disk.entries, disk.hard = _log(*terms), HardState(term)
        cluster.invariants.entries.update({(entry.index, entry.term): entry for entry in disk.entries})
        cluster.crash(name)
        cluster.restart(name)
    return cluster


class ExploreTests(SynchronousTestCase):
    """No path within a scope breaks an invariant."""

    def _search(self, scope: Scope, start: Cluster) -> None:
        explorer = Explorer(scope)
        explorer.search(start)
        self.assertGreater(len(explorer.seen), 1000)

    def test_votes_with_a_crash(self) -> None:
        """R01 to R03, R06, R07: three candidates, slow disks and a crash never give one term two leaders."""
        self._search(Scope(terms=2, entries=0, messages=4, crashes=1, instant_disks=False), _cluster())

    def test_replication_with_slow_disks(self) -> None:
        """R13 to R18, R21 to R23: two leaders, proposals and slow disks never lose a committed entry."""
        scope = Scope(terms=2, entries=2, messages=3, crashes=1, instant_disks=False, candidates="ab")
        self._search(scope, _cluster())

    def test_replication_with_a_crash(self) -> None:
        """R13 to R18: the same with instant disks goes further: leaders change while entries are under way."""
        scope = Scope(terms=2, entries=3, messages=3, crashes=1, instant_disks=True, candidates="ab")
        self._search(scope, _cluster())

    def test_figure_8_in_three_nodes(self) -> None:
        """R17: from the divergent logs of figure 8 no order of events commits an old term's entry and loses it."""
        scope = Scope(terms=4, entries=4, messages=3, crashes=0, instant_disks=True, candidates="ac")
        self._search(scope, _with_logs(2, {"a": (1, 1), "b": (1,), "c": (1, 2)}))

    def test_stale_tail(self) -> None:
        """R13, R15, R16: a follower whose tail is longer and stale neither keeps nor acknowledges nor commits it."""
        scope = Scope(terms=3, entries=3, messages=3, crashes=0, instant_disks=True, candidates="b", rounds=2)
        self._search(scope, _with_logs(2, {"a": (1, 1, 1), "b": (1, 2), "c": (1,)}))
