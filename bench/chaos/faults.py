"""What is done to the cluster, drawn from a seed: never so much at once that it could not go on.

Less than half of the metadata nodes and at most two chunk servers are in trouble at a time, but for the fault that
kills all of them at once.  Bits flip in one copy of a chunk only.
"""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from random import Random

from bench.chaos.cluster import Cluster, Node
from bench.chaos.disks import flip_bit

CHUNK_SERVERS = 2
ROLLING_PAUSE = 2.0
Undo = Callable[[], None]


class Faults:
    """``counts`` by class; ``ended`` names nodes that ended without being told to."""

    def __init__(self, cluster: Cluster, chance: Random, say: Callable[[str], None]) -> None:
        self.counts: Counter[str] = Counter()
        self.ended: list[str] = []
        self._cluster = cluster
        self._chance = chance
        self._say = say
        self._trouble: dict[str, tuple[float, Undo]] = {}
        self._flipped: set[str] = set()
        self._pace = threading.Event()
        single: list[tuple[str, float, Callable[[Node], Undo]]] = [
            ("kill -9", 4, self._kill),
            ("SIGSTOP", 3, self._pause),
            ("full disk", 2, self._fill),
        ]
        if cluster.places.cuts:
            single += [("isolation", 3, self._isolate), ("one-way partition", 2, self._deafen)]
        self._single = single

    def step(self) -> None:
        """Undo what is over, and now and then begin something."""
        self._watch()
        now = time.monotonic()
        for name in [name for name, (until, _) in self._trouble.items() if until <= now]:
            self._trouble.pop(name)[1]()
        kind = self._chance.random()
        if kind < 0.05:
            self._flip()
        elif kind < 0.06:
            self._kill_all()
        elif kind < 0.07:
            self._roll()
        elif kind < 0.25:
            self._begin()

    def heal(self) -> None:
        """Undo everything; every node runs."""
        for _, undo in self._trouble.values():
            undo()
        self._trouble.clear()
        self._cluster.start_all()

    def _watch(self) -> None:
        """A node that is in no trouble of ours runs, or something is wrong with it."""
        for node in self._cluster.nodes.values():
            if node.name not in self._trouble and not node.running:
                self.ended.append(node.name)
                self._say(f"{node.name} ended by itself")
                self._cluster.start(node)

    def _count(self, kind: str, what: str) -> None:
        self.counts[kind] += 1
        self._say(f"{kind}: {what}")

    def _begin(self) -> None:
        name, _, fault = self._chance.choices(self._single, [weight for _, weight, _ in self._single])[0]
        victims = [node for node in self._cluster.nodes.values() if self._may(node, name)]
        if victims:
            node = self._chance.choice(victims)
            until = time.monotonic() + self._chance.uniform(0.5, 10.0)
            self._count(name, node.name)
            self._trouble[node.name] = (until, fault(node))

    def _may(self, node: Node, fault: str) -> bool:
        kind = self._cluster.of_kind(node.kind)
        troubled = sum(each.name in self._trouble for each in kind)
        most = (len(kind) - 1) // 2 if node.kind == "meta" else CHUNK_SERVERS
        return node.name not in self._trouble and troubled < most and (fault != "full disk" or node.disk is not None)

    # ---- one node -------------------------------------------------------------------------------

    def _kill(self, node: Node) -> Undo:
        self._cluster.kill(node)
        return lambda: self._cluster.start(node)

    def _pause(self, node: Node) -> Undo:
        node.signal(signal.SIGSTOP)
        return lambda: node.signal(signal.SIGCONT)

    def _fill(self, node: Node) -> Undo:
        assert node.disk is not None
        node.disk.fill()
        return node.disk.relieve

    def _isolate(self, node: Node) -> Undo:
        self._cluster.places.isolate(node.name, True)
        return lambda: self._cluster.places.isolate(node.name, False)

    def _deafen(self, node: Node) -> Undo:
        """Some of the others hear it no more; it still hears them."""
        others = [each.name for each in self._cluster.nodes.values() if each is not node]
        deaf = self._chance.sample(others, self._chance.randint(1, len(others)))
        for other in deaf:
            self._cluster.places.deafen(node.name, other, True)

        def undo() -> None:
            for other in deaf:
                self._cluster.places.deafen(node.name, other, False)

        return undo

    # ---- the whole ------------------------------------------------------------------------------

    def _flip(self) -> None:
        node = self._chance.choice(self._cluster.of_kind("chunk"))
        replica = flip_bit(node.folder, self._chance, self._flipped)
        if replica:
            self._flipped.add(replica)
            self._count("flipped bit", f"{node.name}, {replica[:12]}")

    def _kill_all(self) -> None:
        self.heal()
        self._count("kill -9 of all", "every node at once")
        for node in self._cluster.nodes.values():
            self._cluster.kill(node)
        self._cluster.start_all()

    def _roll(self) -> None:
        self.heal()
        self._count("rolling restart", "one node after the other")
        for node in self._cluster.nodes.values():
            self._cluster.stop(node)
            self._cluster.start(node)
            self._pace.wait(ROLLING_PAUSE)
