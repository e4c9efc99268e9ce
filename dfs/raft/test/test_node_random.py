"""The whole shell under random crashes, kills, cuts and losses, with snapshots every few entries."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from dfs.raft.membership import AddLearner, Change, Configuration, Promote, Remove
from dfs.raft.node import RaftNode
from dfs.raft.test.shells import Cluster, Member, node_of, outcome

SEEDS = 12
PATIENCE = 10.0
"""Virtual seconds after which everything that was asked must have ended."""
STEPS = 60


class Chaos:
    """One seed's run: what was proposed, what was acknowledged."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.cluster = Cluster(
            seed,
            self.random.choice([1, 3, 3, 3, 5]),
            trailing_entries=self.random.choice([1, 5, 10_000]),
            sync_interval=self.random.choice([0.05, 0.5, 5.0]),
            piece_length=self.random.choice([32, 1 << 10]),
            segment_length=self.random.choice([1 << 10, 1 << 14]),
        )
        self.answers: dict[bytes, list[Any]] = {}

    def somebody(self) -> str:
        return self.random.choice(list(self.cluster.members))

    def run(self) -> None:
        steps = [self.propose] * 8 + [self.crash, self.kill, self.start, self.start, self.cut, self.heal, self.lose]
        for _ in range(STEPS):
            self.random.choice(steps)()
            self.cluster.world.run(self.random.choice([0.001, 0.01, 0.1, 0.7]))
            fatal = [failure for member in self.cluster.members.values() for failure in member.fatal]
            assert not fatal, fatal

    def propose(self) -> None:
        for member in self.cluster.members.values():
            if member.serving and member.node is not None:
                for _ in range(self.random.choice([1, 3, 10])):
                    payload = b"%s %d" % (member.name.encode(), len(self.answers))
                    self.answers[payload] = outcome(member.node.propose(payload))

    def crash(self) -> None:
        self.cluster.crash(self.somebody())

    def kill(self) -> None:
        self.cluster.kill(self.somebody())

    def start(self) -> None:
        for name, member in self.cluster.members.items():
            if member.node is None:
                self.cluster.start(name)

    def cut(self) -> None:
        self.cluster.cut.add((self.somebody(), self.somebody()))

    def heal(self) -> None:
        self.cluster.cut.clear()
        self.cluster.drop_share = 0.0

    def lose(self) -> None:
        self.cluster.drop_share = self.random.choice([0.05, 0.3])


class ChangingChaos(Chaos):
    """The same while members come and go, leadership is handed over and everyone reads."""

    NEWCOMERS = "fghijk"

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.changed: list[Change] = []
        self.asked: list[tuple[RaftNode, object, list[Any]]] = []
        self.reads: list[tuple[int, str, list[Any]]] = []

    def run(self) -> None:
        steps: list[Callable[[], None]] = [*[self.propose] * 6, self.crash, self.kill, *[self.start] * 3, self.cut]
        steps += [self.heal, self.heal, self.lose, *[self.change] * 6, self.transfer, self.read, self.read]
        for _ in range(3 * STEPS):
            self.random.choice(steps)()
            self.cluster.world.run(self.random.choice([0.001, 0.01, 0.1, 0.7]))
            fatal = [failure for member in self.cluster.members.values() for failure in member.fatal]
            assert not fatal, fatal

    def change(self) -> None:
        members = self.cluster.members
        fresh = [name for name in self.NEWCOMERS if name not in members]
        name = self.somebody()
        choices: list[Change] = [*[Promote(name)] * 3, Remove(name)]
        if fresh:
            choices += [AddLearner(fresh[0], f"{fresh[0]}:1")] * 2
        wanted = self.random.choice(choices)
        if isinstance(wanted, AddLearner):
            self.cluster.join(wanted.name)
        for member in members.values():
            if member.serving and member.node is not None and member.node.status().role == "leader":
                found = outcome(member.node.change(wanted))
                self.asked.append((member.node, wanted, found))
                self.cluster.world.run(0.02)
                if found and isinstance(found[0], Configuration):
                    self.changed.append(wanted)

    def transfer(self) -> None:
        for member in self.cluster.members.values():
            if member.serving and member.node is not None:
                to = self.random.choice([None, self.somebody()])
                self.asked.append((member.node, f"transfer to {to}", outcome(member.node.transfer(to))))

    def unanswered(self) -> list[str]:
        """Changes and transfers that have not ended, at nodes that run on since they were asked."""
        running = [member.node for member in self.cluster.members.values() if member.serving]
        return [f"{asked} at {node.config.node}" for node, asked, found in self.asked if node in running and not found]

    def read(self) -> None:
        """Each answer has to reflect what was acknowledged before the question."""
        done = sum(bool(found) and isinstance(found[0], bytes) for found in self.answers.values())
        for member in self.cluster.members.values():
            if member.serving and member.node is not None:
                found: list[Any] = []
                self.reads.append((done, member.name, found))
                asked = member.node.read_index()
                asked.addBoth(_noted, member, found)  # type: ignore[unused-awaitable]


def _noted(result: Any, member: Member, found: list[Any]) -> None:
    """What a read ended with, and how many entries the member had applied then."""
    found.append((result, len(member.store.now[1])))


class RandomTests(SynchronousTestCase):
    """Safe while it lasts, live after it."""

    def test_chaos_then_calm(self) -> None:
        """S27 S32 R62: every acknowledged entry is applied once on every member, in one order, refused ones never;
        each Deferred fires at most once; after the chaos a fresh entry is taken within 10 election time-outs."""
        acknowledged = refused = 0
        for seed in range(SEEDS):
            chaos = Chaos(seed)
            chaos.run()
            chaos.heal()
            chaos.start()
            chaos.cluster.propose(b"fresh", timeout=10.0)
            state = chaos.cluster.settle(timeout=30.0)
            self.assertEqual(len(set(state)), len(state), f"seed {seed}")
            for payload, results in chaos.answers.items():
                self.assertLessEqual(len(results), 1, f"seed {seed}")
                if results and isinstance(results[0], bytes):
                    acknowledged += 1
                    self.assertEqual(state.index(payload) + 1, int(results[0]), f"seed {seed}")
                elif results and type(results[0]).__name__ in ("NotLeader", "Busy", "Stopped"):
                    refused += 1
                    self.assertNotIn(payload, state, f"seed {seed}")
        self.assertGreater(acknowledged, 20 * SEEDS)
        self.assertGreater(refused, SEEDS)

    def test_members_come_and_go(self) -> None:
        """R51 to R58, R47, S27, S32: with members let in, promoted and removed, leadership handed over, crashes, cuts
        and snapshots every few entries, nothing acknowledged is lost or doubled, each read reflects what was
        acknowledged before it, and after the chaos the last configuration's members agree and take a fresh entry.  R62:
        whoever asked for a change or a transfer is answered, once, unless the node was killed."""
        changes = answered = ended = 0
        for seed in range(SEEDS):
            chaos = ChangingChaos(seed)
            chaos.run()
            chaos.heal()
            chaos.start()
            chaos.cluster.propose(b"fresh", timeout=20.0)
            chaos.cluster.world.run(3.0)
            configuration = node_of(chaos.cluster.leader()).configuration()
            state = chaos.cluster.settle(configuration.members, timeout=60.0)
            self.assertEqual(len(set(state)), len(state), f"seed {seed}")
            for payload, results in chaos.answers.items():
                if results and isinstance(results[0], bytes):
                    self.assertEqual(state.index(payload) + 1, int(results[0]), f"seed {seed}")
            for known, name, found in chaos.reads:
                if found and isinstance(found[0][0], int):
                    answered += 1
                    self.assertGreaterEqual(found[0][1], known, f"seed {seed}: {name}")
            chaos.cluster.world.run(PATIENCE)
            self.assertEqual(chaos.unanswered(), [], f"seed {seed}")
            self.assertEqual([asked for _, asked, found in chaos.asked if len(found) > 1], [], f"seed {seed}")
            ended += sum(bool(found) for _, _, found in chaos.asked)
            for name in chaos.cluster.members:
                node = node_of(chaos.cluster.members[name])
                self.assertFalse(node.status().removed and name in configuration.members, f"seed {seed}: {name}")
            for change in chaos.changed:
                if isinstance(change, Remove):
                    self.assertIn(change.name, configuration.removed, f"seed {seed}")
            changes += len(chaos.changed)
        self.assertGreater(changes, 3 * SEEDS)
        self.assertGreater(ended, 10 * SEEDS)
        self.assertGreater(answered, 10 * SEEDS)
