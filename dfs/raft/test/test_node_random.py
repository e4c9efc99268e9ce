"""The whole shell under random crashes, kills, cuts and losses, with snapshots every few entries."""

from __future__ import annotations

import random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from dfs.raft.test.shells import Cluster, outcome

SEEDS = 12
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
