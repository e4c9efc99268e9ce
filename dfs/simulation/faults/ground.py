"""What every kind of fault needs: the cluster, the dice, the books, and an end that comes later.

Each fault is a numbered decision that draws from a generator of its own, what follows from it later too.  So a run
can leave decisions out without changing what the others draw: that is how a failing run is made smaller (a shrinker's
work).  A kind of fault draws from ``ground.dice``, ends by :meth:`Ground.later`, tells what it does by
:meth:`Ground.note`, and need not care.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from attrs import frozen

from dfs.simulation.cluster import SimulatedCluster
from dfs.simulation.dice import Dice
from dfs.simulation.nodes import SimulatedNode


@frozen
class Decision:
    """Something that a fault did: ``number`` is the decision's, ``time`` the world's in seconds."""

    number: int
    time: float
    what: str

    def __str__(self) -> str:
        return f"{self.number}: {self.time:.3f} {self.what}"


class Ground:
    """:ivar counts: how often each class of fault came.
    :ivar schedule: what was done, in order; a decision may do several things, or nothing.
    :ivar dice: those of the decision that is being carried out.
    :ivar active: faults come; False once everything is being healed.
    :ivar broken: names of servers whose machine must be started anew before they run again.
    :ivar excused: names of servers that a fault may have made end by themselves.
    :ivar highest: version of the protocol that the servers were upgraded to last.
    :ivar retired: names of servers whose disk is lost for good: they never run again.
    :ivar violations: sentences about promises that were seen to be broken.
    """

    def __init__(self, cluster: SimulatedCluster) -> None:
        self.cluster = cluster
        self.world = cluster.world
        self.dice = self.dice_of(0)
        self.counts: Counter[str] = Counter()
        self.schedule: list[Decision] = []
        self.active = False
        self.broken: dict[str, None] = {}
        self.excused: dict[str, None] = {}
        self.highest = 1
        self.retired: dict[str, None] = {}
        self.violations: list[str] = []
        self._number = 0

    def dice_of(self, number: int) -> Dice:
        """The dice of one decision."""
        return Dice(self.world.random(f"fault {number}"))

    def deciding(self, number: int, dice: Dice, act: Callable[[], object]) -> None:
        """Do something that follows from a decision, with its dice."""
        self._number, self.dice = number, dice
        act()

    def note(self, kind: str, what: str) -> None:
        """Count a fault and trace it."""
        self.counts[kind] += 1
        self.schedule.append(Decision(self._number, self.world.clock.now, f"{kind} {what}"))
        self.world.note(f"fault {kind} {what}")

    def violated(self, sentence: str) -> None:
        """Remember what should not be."""
        self.violations.append(sentence)
        self.world.note(f"VIOLATION {sentence}")

    def later(self, low: float, high: float, end: Callable[[], object]) -> None:
        """End a fault so many seconds later, unless everything is healed before."""
        self.world.clock.callLater(self.dice.between(low, high), self.bound(end))

    def bound(self, act: Callable[[], object]) -> Callable[[], None]:
        """What does it in the name of the present decision, as long as faults come."""
        number, dice = self._number, self.dice

        def do() -> None:
            if self.active:
                self.deciding(number, dice, act)

        return do

    def start(self, node: SimulatedNode) -> None:
        """Start it, unless its disk is broken: then that comes first; or it was taken out."""
        away = node.name in self.broken or node.name in self.retired
        if not away and node.name in self.cluster.nodes:
            node.start()

    def any_node(self) -> SimulatedNode:
        """One server."""
        return self.dice.pick(list(self.cluster.nodes.values()))

    def pair(self) -> tuple[str, str]:
        """Two machines."""
        names = list(self.world.hosts)
        one = self.dice.pick(names)
        return one, self.dice.pick([name for name in names if name != one])

    def ip(self, name: str) -> str:
        """A machine's address."""
        return self.world.hosts[name].ip
