"""Whole groups of cores under random faults, every invariant checked after every step."""

from __future__ import annotations

import os
import random

from twisted.trial.unittest import SynchronousTestCase

from dfs.raft.core import Config, Role
from dfs.raft.test.cluster import Cluster

SEEDS = int(os.environ.get("DFS_RAFT_SEEDS", "120"))
STEPS = 1200


class Chaos:
    """One run: its parameters are drawn from the seed too (swarm testing), so that each run is lopsided."""

    def __init__(self, seed: int) -> None:
        self.random = draw = random.Random(seed)
        members = draw.choice(["abc", "abc", "abc", "abcde", "a"])
        election = draw.choice([3, 5, 10])
        self.cluster = Cluster(
            members,
            draw,
            config=Config(
                "?",
                election_ticks=election,
                heartbeat_ticks=1 if election == 3 else 2,
                message_bytes=draw.choice([1, 100, 256 << 10]),
                window_messages=draw.choice([1, 2, 8]),
                cache_bytes=draw.choice([1, 200, 16 << 20]),
                apply_bytes=draw.choice([1, 1 << 20]),
                uncommitted_bytes=draw.choice([40, 64 << 20]),
            ),
        )
        self.cluster.tail = draw.choice([0, 1, 1000])
        self.weights = {
            "deliver": 60,
            "sync": draw.choice([5, 30]),
            "tick": draw.choice([8, 40]),
            "drop": draw.choice([0, 3, 15]),
            "double": draw.choice([0, 5]),
            "propose": draw.choice([3, 10]),
            "read": draw.choice([0, 3]),
            "crash": draw.choice([0, 0.5, 2]),
            "restart": 3,
            "compact": draw.choice([0, 3, 10]),
            "sync_state": draw.choice([2, 10]),
            "cut": draw.choice([0, 0.5]),
            "isolate": draw.choice([0, 0.5, 1.5]),
            "heal": 1,
            "trouble": draw.choice([0, 1]),
            "rebel": draw.choice([0, 1, 3]),
        }
        self.in_order = draw.random() < 0.5
        self.cut: set[tuple[str, str]] = set()
        self.proposed = 0

    def run(self, steps: int) -> None:
        """Random steps."""
        names, weights = list(self.weights), list(self.weights.values())
        for name in self.random.choices(names, weights, k=steps):
            getattr(self, f"_{name}")()

    def heal(self) -> None:
        """Everyone up, everything connected."""
        self.cut.clear()
        for name, node in self.cluster.nodes.items():
            if node.core is None:
                self.cluster.restart(name)
            self.cluster.do(name, "disk_slow", False)
        for name in self.cluster.nodes:
            for member in self.cluster.nodes:
                self.cluster.do(name, "snapshot_failed", member)  # transfers that were lost run out of time

    def _somebody(self) -> str | None:
        alive = self.cluster.alive()
        return self.random.choice(alive) if alive else None

    def _packet(self) -> int | None:
        network = self.cluster.network
        if not network:
            return None
        position = 0 if self.in_order else self.random.randrange(len(network))
        if (network[position].sender, network[position].to) in self.cut:
            del network[position]
            return None
        return position

    def _deliver(self) -> None:
        if (position := self._packet()) is not None:
            self.cluster.deliver(position)

    def _double(self) -> None:
        if (position := self._packet()) is not None:
            self.cluster.hand_over(self.cluster.network[position])

    def _drop(self) -> None:
        if (position := self._packet()) is not None:
            del self.cluster.network[position]

    def _sync(self) -> None:
        if (name := self._somebody()) is not None:
            self.cluster.sync(name, self.random.choice([1, None]))

    def _tick(self) -> None:
        if (name := self._somebody()) is not None:
            self.cluster.tick(name)

    def _propose(self) -> None:
        name = self._somebody() if self.random.random() < 0.2 else self.cluster.leader()
        if name is not None:
            self.proposed += 1
            count = self.random.choice([1, 1, 3])
            self.cluster.do(name, "propose", [b"%d" % self.proposed] * count)

    def _read(self) -> None:
        if (name := self.cluster.leader()) is not None:
            self.cluster.read(name)

    def _crash(self) -> None:
        if (name := self._somebody()) is not None:
            self.cluster.crash(name)

    def _restart(self) -> None:
        down = [name for name, node in self.cluster.nodes.items() if node.core is None]
        if down:
            self.cluster.restart(self.random.choice(down))

    def _compact(self) -> None:
        if (name := self._somebody()) is not None and self.cluster.nodes[name].durable:
            self.cluster.compact(name, self.random.randint(1, self.cluster.nodes[name].durable))

    def _sync_state(self) -> None:
        if (name := self._somebody()) is not None:
            self.cluster.sync_state(name)

    def _cut(self) -> None:
        names = list(self.cluster.nodes)
        self.cut.add((self.random.choice(names), self.random.choice(names)))

    def _isolate(self) -> None:
        leader = self.cluster.leader()
        for name in self.cluster.nodes:
            if leader is not None and name != leader:
                self.cut |= {(leader, name), (name, leader)}

    def _rebel(self) -> None:
        """Everyone stops insisting on the leader, and somebody campaigns."""
        for member in self.cluster.alive():
            self.cluster.do(member, "stalled", self.cluster.config.election_ticks)
        if (name := self._somebody()) is not None:
            self.cluster.do(name, "campaign")

    def _heal(self) -> None:
        self.cut.clear()

    def _trouble(self) -> None:
        if (name := self._somebody()) is not None:
            action, *arguments = self.random.choice(
                [
                    ("stalled", self.random.randint(1, 30)),
                    ("disk_slow", self.random.random() < 0.5),
                    ("member_refused", self.random.choice(list(self.cluster.nodes))),
                    ("campaign",),
                    ("snapshot_failed", self.random.choice(list(self.cluster.nodes))),
                ]
            )
            self.cluster.do(name, str(action), *arguments)


class RandomTests(SynchronousTestCase):
    """Safety under anything, then liveness once all is well."""

    def test_safe_under_chaos_and_live_after_it(self) -> None:
        """Loss, doubling, overtaking, cuts and crashes that lose unsynced writes never break an invariant, and
        within five election time-outs of healing one leader commits fresh writes on everyone (R09, R24)."""
        for seed in range(SEEDS):
            try:
                self._chaos_then_calm(seed)
            except AssertionError as failure:
                raise AssertionError(f"seed {seed}: {failure}") from failure

    def _chaos_then_calm(self, seed: int) -> None:
        chaos = Chaos(seed)
        cluster = chaos.cluster
        chaos.run(STEPS)
        chaos.heal()
        cluster.settle(limit=200_000)
        cluster.run(5 * 2 * cluster.config.election_ticks)
        leader = cluster.leader()
        self.assertIsNotNone(leader, f"seed {seed}: nobody leads after healing")
        assert leader is not None
        self.assertEqual(cluster.do(leader, "propose", [b"fresh"]).accepted, 1)
        number = cluster.read(leader)
        cluster.settle()
        cluster.run(2 * cluster.config.heartbeat_ticks)
        applied = {tuple(node.applied) for node in cluster.nodes.values()}
        self.assertEqual(len(applied), 1, f"seed {seed}: replicas differ")
        self.assertEqual(cluster.nodes[leader].applied[-1].payload, b"fresh")
        self.assertEqual([e.id for e in cluster.nodes[leader].events if getattr(e, "id", 0) == number], [number])
        for name in cluster.nodes:
            self.assertEqual(cluster.core(name).role is Role.LEADER, name == leader)
