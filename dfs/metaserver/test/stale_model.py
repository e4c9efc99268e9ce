"""Orders for given-up generations, small enough to be explored to the last interleaving.

The world: one chunk whose write may be placed anew once, two nodes, and leaders that look at the tables at any time and
give their orders at any later time.  Commits and orders are in flight for ever or arrive more than once.

The rules that are asked are those of production: dfs.metaserver.stale.may_go when an order is given,
dfs.protocol.removal.refusal when it arrives.  Two of them guard the same door, and only with both taken away the search
finds the hole: ``committed`` (an order is given of chunks that are committed, whose generation never changes) and
``older`` (by leader and node: only what is older than the committed generation goes).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from attrs import frozen

from dfs.metaserver.placement import NodeView
from dfs.metaserver.queries import ChunkCopies
from dfs.metaserver.stale import Stale, may_go
from dfs.metaserver.test import exploring
from dfs.metaserver.test.exploring import Explored
from dfs.protocol.removal import Removal, RemovalKind, refusal
from dfs.protocol.values import FileId, Generation, NodeNumber, NodeState

NODES = (1, 2)
VIEWS = {node: NodeView(node, "", NodeState.ALIVE, 1, 1, 0) for node in NODES}


@frozen
class Rules:
    """See above."""

    committed: bool = True
    older: bool = True


class World(NamedTuple):
    """``held``: (node, generation) in place; ``flying``: commits and orders; ``seen``: what a leader last read of the
    chunk: (issued, committed, recorded)."""

    issued: int = 1
    committed: int = 0
    recorded: frozenset[int] = frozenset()
    held: frozenset[tuple[int, int]] = frozenset()
    flying: frozenset[tuple[object, ...]] = frozenset()
    seen: tuple[int, int, frozenset[int]] | None = None


Step = tuple[str, World]


def _writes(world: World) -> Iterator[Step]:
    """A primary makes bytes durable and says so; the client has the chunk placed anew."""
    for generation in range(1, world.issued + 1):
        for node in NODES:
            if (node, generation) not in world.held and world.committed in (0, generation):
                held = world.held | {(node, generation)}
                yield f"node {node} stores {generation}", world._replace(held=held)
        nodes = frozenset(node for node, each in world.held if each == generation)
        if len(nodes) == len(NODES):
            yield f"commit of {generation} is sent", _sends(world, "commit", generation, nodes)
    if world.issued == 1 and not world.committed:
        yield "placed anew", world._replace(issued=2)


def _sends(world: World, *message: object) -> World:
    return world._replace(flying=world.flying | {message})


def _leaders(world: World, rules: Rules) -> Iterator[Step]:
    seen = (world.issued, world.committed, world.recorded)
    if seen != world.seen:
        yield "a leader reads", world._replace(seen=seen)
    if world.seen is None:
        return
    issued, committed, recorded = world.seen
    if rules.committed and not committed:
        return
    counts = committed or issued
    copies = ChunkCopies(1, 0, Generation(counts), 1, bytes(32), tuple(sorted(recorded)), len(recorded), ())
    for node, generation in world.held:
        stale = Stale(node, 1, 0, generation, 1, 1)
        if may_go(stale, copies, VIEWS) or (not rules.older and generation != counts):
            yield f"order to node {node}", _sends(world, "order", node, generation, counts)


def _arrivals(world: World, rules: Rules) -> Iterator[Step]:
    for kind, *rest in world.flying:
        if kind == "commit" and not world.committed and world.issued == rest[0]:
            generation, nodes = rest
            assert isinstance(generation, int) and isinstance(nodes, frozenset)
            yield "commit arrives", world._replace(committed=generation, recorded=nodes)
        elif kind == "order":
            node, generation, committed = (int(str(each)) for each in rest)
            if (node, generation) in world.held and not _refused(rules, node, generation, committed):
                yield "order arrives", world._replace(held=world.held - {(node, generation)})


def _refused(rules: Rules, node: int, generation: int, committed: int) -> bool:
    ours = NodeNumber(node)
    removal = Removal(
        RemovalKind.STALE, FileId(1), 0, Generation(generation), ours, 1, Generation(committed), (), 1, 0, 0, b""
    )
    return rules.older and bool(refusal(removal, ours, held=1, highest_term=0))


def broken(world: World) -> str:
    """Which promise this state breaks; "" for none."""
    for node in world.recorded:
        if (node, world.committed) not in world.held:
            return f"node {node} is recorded with {world.committed} and does not hold it"
    return ""


def explore(rules: Rules = Rules()) -> Explored:
    """Through every state; the shortest counterexample, if there is one."""

    def steps(world: World) -> Iterator[Step]:
        yield from _writes(world)
        yield from _leaders(world, rules)
        yield from _arrivals(world, rules)

    return exploring.explore(World(), steps, broken)
