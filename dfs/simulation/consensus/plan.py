"""What a seed draws: the group, its limits, its surroundings and its troubles (swarm testing).

Every run is lopsided on purpose.  Batches of one, windows of one, caches that hold nothing, snapshots every few
entries and tiny time-outs meet in ever new ways; a run with everything at its production value meets nothing.
"""

from __future__ import annotations

from random import Random

from attrs import field, frozen

from dfs.raft.core import Config
from dfs.simulation.dice import Dice

NAMES = ("a", "b", "c", "d", "e", "f", "g")


@frozen
class Wires:
    """The network.  Times are milliseconds, shares lie between 0 and 1.

    :ivar least: the shortest delay; ``spread`` is added evenly, and ``late`` to one message in fifty.
    :ivar in_order: messages of one direction do not overtake one another.
    :ivar encoded: messages travel as bytes.
    """

    least: int = 1
    spread: int = 4
    late: int = 0
    loss: float = 0.0
    double: float = 0.0
    in_order: bool = True
    encoded: bool = False


@frozen
class Store:
    """Disk and state machine of each member.  Times are milliseconds.

    :ivar least: the shortest sync; ``spread`` is added evenly.
    :ivar batch: Readys that one sync covers at most.
    :ivar applying: how long a batch is under way to the state machine.
    :ivar compact_every: entries applied between two compactions, 0 for none at all.
    :ivar trailing: entries kept behind what is durable in the state machine.
    :ivar tail: entries given to the cache at a restart.
    :ivar piece: bytes of a piece of a snapshot.
    """

    least: int = 1
    spread: int = 4
    batch: int = 1000
    applying: int = 0
    compact_every: int = 10
    trailing: int = 0
    tail: int = 1000
    piece: int = 1000


@frozen
class Load:
    """The clients.  Times are milliseconds.

    :ivar think: the mean pause between two operations of one client.
    :ivar patience: how long a client waits for one member.
    :ivar reads: share of reads.
    :ivar burst: commands that an impatient program proposes at once every now and then, 0 for none.
    """

    clients: int = 2
    think: int = 400
    patience: int = 1000
    reads: float = 0.3
    burst: int = 0
    padding: int = 0


@frozen
class Plan:
    """A run.

    :ivar seconds: virtual, with faults.
    :ivar gap: mean milliseconds between two faults.
    :ivar faults: how often each kind is chosen, by the name of its method in :mod:`dfs.simulation.consensus.faults`.
    :ivar drift: each member's ticks are up to so many milliseconds too short or too long.
    """

    members: int = 3
    seconds: float = 20.0
    config: Config = field(factory=lambda: Config("?"))
    wires: Wires = field(factory=Wires)
    store: Store = field(factory=Store)
    load: Load = field(factory=Load)
    gap: int = 2000
    faults: tuple[tuple[str, float], ...] = ()
    drift: int = 0

    @property
    def time_out(self) -> int:
        """The longest election time-out that is drawn, in ticks."""
        return 2 * self.config.election_ticks


def plan_of(seed: int) -> Plan:
    """The run that a seed draws."""
    dice = Dice(Random(f"plan {seed}"))
    election = dice.pick([3, 5, 10, 10])
    config = Config(
        "?",
        election_ticks=election,
        heartbeat_ticks=1 if election == 3 else 2,
        message_bytes=dice.pick([1, 100, 256 << 10]),
        window_messages=dice.pick([1, 2, 8]),
        window_bytes=dice.pick([1, 4 << 20]),
        uncommitted_bytes=dice.pick([40, 1000, 64 << 20]),
        cache_bytes=dice.pick([1, 200, 16 << 20]),
        apply_bytes=dice.pick([1, 1 << 20]),
        apply_batches=dice.pick([1, 2]),
    )
    return Plan(
        members=dice.weighted([(1, 0.5), (2, 0.5), (3, 6.0), (4, 0.5), (5, 2.0)]),
        config=config,
        wires=_wires(dice),
        store=_store(dice),
        load=_load(dice),
        gap=dice.pick([300, 1000, 3000]),
        faults=tuple((name, dice.pick([0.0, 1.0, 1.0, 4.0])) for name in FAULTS) + _changes(dice),
        drift=dice.pick([0, 0, 5]),
    )


FAULTS = ("crash", "crash_all", "isolate", "cut", "split", "join", "pause", "slow", "campaign", "refuse", "lossy")
"""Kinds of trouble that a plan weighs."""

CHANGES = ("transfer", "grow", "promote", "shrink")
"""What operators do while there is trouble."""


def _changes(dice: Dice) -> tuple[tuple[str, float], ...]:
    """In half of the runs nobody changes the membership, so that what does not need it stays in reach."""
    often = dice.pick([0.0, 0.0, 1.0, 3.0])
    return tuple((name, often * dice.pick([1.0, 1.0, 2.0])) for name in CHANGES)


def _wires(dice: Dice) -> Wires:
    return Wires(
        least=dice.pick([0, 1, 10]),
        spread=dice.pick([1, 10, 40]),
        late=dice.pick([0, 0, 300, 5000]),
        loss=dice.pick([0.0, 0.0, 0.02, 0.1]),
        double=dice.pick([0.0, 0.0, 0.05]),
        in_order=dice.chance(0.5),
        encoded=dice.chance(0.1),
    )


def _store(dice: Dice) -> Store:
    return Store(
        least=dice.pick([0, 1, 5]),
        spread=dice.pick([1, 10, 60]),
        batch=dice.pick([1, 3, 1000]),
        applying=dice.pick([0, 0, 5, 100]),
        compact_every=dice.pick([0, 1, 3, 10, 50]),
        trailing=dice.pick([0, 1, 5]),
        tail=dice.pick([0, 1, 1000]),
        piece=dice.pick([20, 1000]),
    )


def _load(dice: Dice) -> Load:
    return Load(
        clients=1 + dice.below(4),
        think=dice.pick([50, 200, 1000]),
        patience=dice.pick([200, 1000, 3000]),
        reads=dice.pick([0.0, 0.3, 0.7]),
        burst=dice.pick([0, 0, 5, 30]),
        padding=dice.pick([0, 0, 300]),
    )
