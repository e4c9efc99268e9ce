"""The moves of one chunk, small enough to be explored to the last interleaving.

The world: metadata (one committed chunk, two replicas wanted), three chunk servers that all hold it, two movers (the
leader of term 1, which has lost its office without noticing, and that of term 2) and whatever is in flight.  A mover
may crash after each of its steps: it forgets what it was about.  A message may be delayed for ever or arrive more than
once; a replica may have rotted before the first step, a disk may be lost in the middle, an operator may remove a node,
a trimmed replica may be served again from quarantine.

The rules that are asked are those of production: dfs.metaserver.mover.retirement_refusal when a retirement is applied,
dfs.protocol.removal.refusal when an order arrives at its node.

The promise (:func:`broken`): as many good replicas lie in place as are wanted, or as the loss of a disk left on the
record; whatever is recorded is in place; and no move makes the chunk short.  With any one of the
:class:`Rules` taken away the search finds a hole:

- ``survivors_read``: a replica that rotted unseen is counted on, and the good one is trimmed;
- ``struck_off_first``: two movers that each order another replica away leave one of three;
- ``rechecked_in_apply``: the same, through Raft: both retirements were judged on the same picture;
- ``survivors_counted``: a mover that saw three finds two when its turn comes, and takes one of them;
- ``retired_stays_retired``: the inventory of a node that has not had its order yet puts the replica back on the record;
  it is counted on, and then the order arrives;
- ``retired_is_kept``: the inventory comes even later, when the node has carried its order out and reported it: what is
  on the record then is nowhere;
- ``number_in_order``: the order comes late, to a replica that was made anew since;
- ``leaving_not_counted``: a replica on a node that is to be removed is counted on;
- ``removal_judged``: a node is forgotten by a picture in which another disk had not been lost yet.

A replica that is served again has a new number, else it would stay off the record for ever.  That an order of a former
term is refused is not among the rules: what is struck off is struck off whoever leads.  It stays a rule of the chunk
server, for the day on which something above is broken.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from attrs import frozen

from dfs.metaserver.mover import Stand, retirement_refusal
from dfs.metaserver.test import exploring
from dfs.metaserver.test.exploring import Explored
from dfs.protocol.messages import DurableReplica, Removal, RemovalKind, Survivor
from dfs.protocol.removal import refusal
from dfs.protocol.values import FileId, Generation, NodeNumber

NODES = (0, 1, 2)
WANTED = 2
GENERATION = Generation(1)
GONE, GOOD, ROTTEN = range(3)

Message = tuple[object, ...]
Pairs = tuple[tuple[int, int], ...]  # (node, number) each


@frozen
class Rules:
    """The rules of moves, each of which can be taken away."""

    survivors_read: bool = True
    struck_off_first: bool = True
    rechecked_in_apply: bool = True
    survivors_counted: bool = True
    retired_stays_retired: bool = True
    retired_is_kept: bool = True
    number_in_order: bool = True
    leaving_not_counted: bool = True
    removal_judged: bool = True


class Plan(NamedTuple):
    """What a mover is about: the replica to go, those to stay as they were recorded, and how many of them it read."""

    goes: int
    number: int
    survivors: Pairs
    read: int = 0


class World(NamedTuple):
    """All there is.  ``places`` and ``aside``: what lies in place and in quarantine on each node; ``numbers``: of the
    replica in place (or aside); ``recorded`` and ``retired``: numbers by node, 0 for none; ``reported``: the order for
    the retired one was carried out.  The rest are budgets of rare events, and ``floor``: the good replicas that the
    promise asks for."""

    places: tuple[int, ...] = (GOOD, GOOD, GOOD)
    aside: tuple[int, ...] = (GONE, GONE, GONE)
    numbers: tuple[int, ...] = (1, 1, 1)
    recorded: tuple[int, ...] = (1, 1, 1)
    retired: tuple[int, ...] = (0, 0, 0)
    reported: tuple[bool, ...] = (False, False, False)
    leaving: tuple[bool, ...] = (False, False, False)
    movers: tuple[Plan | None, ...] = (None, None)
    flying: frozenset[Message] = frozenset()
    floor: int = WANTED
    made_short: bool = False
    losses: int = 0
    inventories: int = 0
    copies: int = 0
    drains: int = 0
    removals: int = 0


#: Small scopes that together cover every rule.
TRIMMING = World(inventories=1)
ROTTEN_BEFORE = World(places=(ROTTEN, GOOD, GOOD))
LOSING = World(losses=1, copies=1)
DRAINING = World(drains=1, removals=1)
REMOVING = World(leaving=(True, False, False), removals=1, losses=1)
SCOPES = (TRIMMING, ROTTEN_BEFORE, LOSING, DRAINING, REMOVING)

Step = tuple[str, World]


def _set(values: tuple[int, ...], node: int, value: int) -> tuple[int, ...]:
    return tuple(value if each == node else old for each, old in enumerate(values))


def _sends(world: World, *message: object) -> World:
    return world._replace(flying=world.flying | {message})


def _plans(world: World, mover: int, plan: Plan | None) -> World:
    movers = [plan if each == mover else old for each, old in enumerate(world.movers)]
    return world._replace(movers=tuple(sorted(movers, key=lambda each: each or ())))  # who is who makes no difference


def _pending(world: World, node: int) -> int:
    """The number that is retired and not reported; 0 for none."""
    return 0 if world.reported[node] else world.retired[node]


def _flag(values: tuple[bool, ...], node: int, value: bool) -> tuple[bool, ...]:
    return tuple(value if each == node else old for each, old in enumerate(values))


def _staying(world: World, rules: Rules) -> list[int]:
    return [
        node for node in NODES if world.recorded[node] and not (rules.leaving_not_counted and world.leaving[node])
    ]


def _movers(world: World, rules: Rules) -> Iterator[Step]:
    """Pick, read each survivor, propose; or crash."""
    for mover, plan in enumerate(world.movers):
        if plan is None:
            yield from _picks(world, rules, mover)
            continue
        yield f"mover {mover} crashes", _plans(world, mover, None)
        if plan.read < len(plan.survivors):
            node = plan.survivors[plan.read][0]
            if world.places[node] == GOOD or not rules.survivors_read:
                yield f"mover {mover} reads node {node}", _plans(world, mover, plan._replace(read=plan.read + 1))
            continue
        idle = _plans(world, mover, None)
        if _pending(world, plan.goes) == plan.number or not rules.struck_off_first:
            yield f"mover {mover} orders", _sends(idle, "order", plan.goes, plan.number)
        else:
            yield f"mover {mover} proposes", _sends(idle, "retire", plan.goes, plan.number, plan.survivors)


def _picks(world: World, rules: Rules, mover: int) -> Iterator[Step]:
    stay = _staying(world, rules)
    for goes in stay if len(stay) > WANTED else ():
        survivors = tuple((node, world.recorded[node]) for node in stay if node != goes)
        yield f"mover {mover} picks node {goes}", _plans(world, mover, Plan(goes, world.recorded[goes], survivors))
    for goes in NODES if len(stay) >= WANTED else ():
        if _pending(world, goes):
            survivors = tuple((node, world.recorded[node]) for node in stay)
            plan = Plan(goes, world.retired[goes], survivors)
            yield f"mover {mover} finds node {goes} retired", _plans(world, mover, plan)


def _others(world: World, rules: Rules) -> Iterator[Step]:
    """What happens of itself: inventories, losses, copies and restores of what is short, removals, quarantine's end."""
    for node in NODES:
        if world.inventories and world.places[node]:
            told = world._replace(inventories=world.inventories - 1)
            yield f"node {node} inventory", _sends(told, "add", node, world.numbers[node])
        if world.aside[node]:
            yield f"node {node} empties its quarantine", world._replace(aside=_set(world.aside, node, GONE))
        if world.losses and world.places[node]:
            lost = world._replace(
                places=_set(world.places, node, GONE),
                aside=_set(world.aside, node, GONE),
                recorded=_set(world.recorded, node, 0),
                losses=world.losses - 1,
            )
            left = sum(bool(lost.recorded[n]) and lost.places[n] == GOOD for n in NODES)
            yield f"node {node} loses its disk", lost._replace(floor=min(world.floor, left))
        if world.drains and world.recorded[node]:
            leaving = tuple(each == node for each in NODES)
            yield f"node {node} is drained", world._replace(drains=world.drains - 1, leaving=leaving)
        if world.removals and world.leaving[node] and sum(map(bool, world.recorded)) > WANTED:
            yield f"removal of node {node} is proposed", _sends(
                world._replace(removals=world.removals - 1), "forget", node
            )
    if world.copies and 0 < sum(map(bool, world.recorded)) < WANTED:
        yield from _heals(world)


def _heals(world: World) -> Iterator[Step]:
    healing = world._replace(copies=world.copies - 1)
    for node in NODES:
        fresh = world.numbers[node] + 1
        has_source = any(world.places[n] == GOOD and world.recorded[n] for n in NODES if n != node)
        if has_source and not world.places[node] and not _pending(world, node):
            made = healing._replace(places=_set(world.places, node, GOOD), numbers=_set(world.numbers, node, fresh))
            yield f"copy to node {node}", _sends(made, "add", node, fresh)
        if GOOD in (world.aside[node], world.places[node]) and not world.recorded[node]:
            back = healing._replace(
                places=_set(world.places, node, GOOD),
                aside=_set(world.aside, node, GONE),
                numbers=_set(world.numbers, node, fresh),
            )
            yield f"node {node} serves it again", _sends(back, "add", node, fresh)


def _retired(world: World, rules: Rules, goes: int, number: int, survivors: Pairs) -> World:
    """RetireReplicas of one replica, as apply judges it; then the order of the one who proposed it."""
    recorded = {
        node: Stand(world.recorded[node], not (rules.leaving_not_counted and world.leaving[node]))
        for node in NODES
        if world.recorded[node]
    }
    durable = tuple(DurableReplica(NodeNumber(node), each) for node, each in survivors)
    if not rules.rechecked_in_apply:
        recorded = {node: Stand(each, True) for node, each in (*survivors, (goes, number))}
    if retirement_refusal(goes, number, durable, recorded, WANTED if rules.survivors_counted else 0):
        return world
    after = world._replace(
        recorded=_set(world.recorded, goes, 0),
        retired=_set(world.retired, goes, number),
        reported=_flag(world.reported, goes, False),
    )
    stay = sum(bool(after.recorded[node]) and not world.leaving[node] for node in NODES)
    ordered = _sends(after, "order", goes, number)
    return ordered._replace(made_short=world.made_short or stay < WANTED)


def _ordered(world: World, rules: Rules, goes: int, number: int) -> World:
    """An order arrives at its node, which sets the replica aside, or refuses."""
    if not world.places[goes]:
        return _sends(world, "report", goes, number)
    removal = Removal(
        kind=RemovalKind.SURPLUS,
        file_id=FileId(1),
        index=0,
        generation=GENERATION,
        node=NodeNumber(goes),
        number=number,
        committed=GENERATION,
        survivors=(Survivor(NodeNumber((goes + 1) % len(NODES)), 1),),
        term=1,
        evidence=1,
        expires_ms=0,
        mac=b"",
    )
    held = world.numbers[goes] if rules.number_in_order else number
    if refusal(removal, NodeNumber(goes), held, highest_term=0):
        return world
    moved = world._replace(
        aside=_set(world.aside, goes, world.places[goes]), places=_set(world.places, goes, GONE)
    )
    return _sends(moved, "report", goes, number)


def _added(world: World, rules: Rules, node: int, number: int) -> World:
    """AddReplicas of one replica."""
    if world.recorded[node] >= number or (rules.retired_stays_retired and number <= world.retired[node]):
        return world
    return world._replace(
        recorded=_set(world.recorded, node, number),
        retired=_set(world.retired, node, 0),
        reported=_flag(world.reported, node, False),
    )


def _forgotten(world: World, rules: Rules, node: int) -> World:
    """ForgetReplicas, and then the operator takes the machine away."""
    others = sum(bool(world.recorded[other]) for other in NODES if other != node)
    if rules.removal_judged and others < WANTED:
        return world
    return world._replace(
        recorded=_set(world.recorded, node, 0), places=_set(world.places, node, GONE)
    )


def _arrivals(world: World, rules: Rules) -> Iterator[Step]:
    """Anything in flight may arrive, orders and reports more than once."""
    for message in world.flying:
        kind, *rest = message
        label = f"{kind} {rest[0]} arrives"
        without = world._replace(flying=world.flying - {message})
        if kind == "retire":
            yield label, _retired(without, rules, *rest)  # type: ignore[arg-type]  # as it was sent
        elif kind == "order":
            yield label, _ordered(world, rules, *rest)  # type: ignore[arg-type]  # as it was sent
        elif kind == "add":
            yield label, _added(without, rules, *rest)  # type: ignore[arg-type]  # as it was sent
        elif kind == "forget":
            yield label, _forgotten(without, rules, *rest)  # type: ignore[arg-type]  # as it was sent
        elif kind == "report" and world.retired[int(str(rest[0]))] == rest[1]:
            yield label, _reported(world, rules, int(str(rest[0])))


def _reported(world: World, rules: Rules, node: int) -> World:
    """TrimmedReplicas of one replica."""
    if rules.retired_is_kept:
        return world._replace(reported=_flag(world.reported, node, True))
    return world._replace(retired=_set(world.retired, node, 0))


def broken(world: World) -> str:
    """Which promise this state breaks; "" for none."""
    if world.made_short:
        return "a trim made the chunk short"
    for node in NODES:
        if world.recorded[node] and not world.places[node]:
            return f"node {node} is recorded and holds nothing"
    good = sum(place == GOOD for place in world.places)
    if good < world.floor:
        return f"{good} good replicas are left in place"
    return ""


def steps(world: World, rules: Rules) -> Iterator[Step]:
    """Every next state."""
    yield from _movers(world, rules)
    yield from _others(world, rules)
    yield from _arrivals(world, rules)


def explore(start: World, rules: Rules = Rules()) -> Explored:
    """Through every state; the shortest counterexample, if there is one."""
    return exploring.explore(start, lambda world: steps(world, rules), broken)
