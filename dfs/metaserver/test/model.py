"""One chunk's life, small enough to be explored to the last interleaving.

The world: metadata (one upload, one chunk), two chunk servers, two writers (the second one *resumes* the first
one's upload), and whatever is in flight between them.  A message may be delayed for ever or arrive more than once,
a replica may rot, a node may restart.  :func:`explore` walks every reachable state, breadth first, and returns the
shortest road to a broken promise, or None.

The promise (:func:`broken`): as long as the file lives, each node that metadata records for a committed chunk holds
the committed bytes, unless its own disk lost them; a writer that was given a generation is not committed over by
the one that it fenced off; what was ended stays ended.

Each :class:`Rules` field is a rule of the state machine; with any one of them taken away the search finds a hole.
What it found, and so why the rules are there:

- ``generation_checked``: re-place, then the first try's late commit names nodes that do not hold the second try's
  bytes' generation: the record points at a generation that readers never find.
- ``epoch_checked``: a commit names no epoch, so it is not enough that AllocateChunks checks it: the allocation itself
  has to remember its epoch, and a resumed writer must get a *new* generation for what is not committed, or the one who
  slept commits his bytes under her grant.
- ``add_checked``: a straggler of an abandoned generation that becomes durable late was recorded as a replica.
- ``numbers_compared``: an inventory taken before a write and read after its commit evicts what was just stored (S06).
- ``rechecked_in_apply``: comparing the inventory at the leader is not enough: between the judgement and the command's
  turn in the log (or its repetition) the replica was made anew by a copy, and the command strikes the new record off.
- ``number_kept_over_restart``: a counter that starts again at 0 makes an old inventory look newer than a new write.
- ``delete_needs_ended_file``: "metadata does not know it, so it is garbage" deletes a replica whose commit is
  on its way.
- ``ids_never_return``: an order to delete that was delayed destroys the next chunk of the same id.
- ``ended_stays_ended``: CommitFile after DeleteFile resurrects a file whose chunks are being deleted (S36).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from attrs import frozen

from dfs.metaserver.test import exploring
from dfs.metaserver.test.exploring import Explored

NONE, OPEN, COMMITTED, ENDED, COLLECTED = range(5)
NODES = (0, 1)

Message = tuple[int | str, ...]
Held = tuple[int, int, int]  # generation, whose bytes, number of the add


@frozen
class Rules:
    """The rules of the state machine, each of which can be taken away."""

    generation_checked: bool = True
    epoch_checked: bool = True
    add_checked: bool = True
    numbers_compared: bool = True
    rechecked_in_apply: bool = True
    number_kept_over_restart: bool = True
    delete_needs_ended_file: bool = True
    ids_never_return: bool = True
    ended_stays_ended: bool = True


class World(NamedTuple):
    """All there is.  ``recorded`` has, a node, the number under which its replica is recorded (0: none);
    ``excused`` the (node, generation) that a disk lost; ``steps`` the rare events that may still happen."""

    phase: int = NONE
    epoch: int = 0
    issued: int = 0
    allocated: int = 0
    allocated_epoch: int = 0
    committed: tuple[int, int] | None = None
    recorded: tuple[int, ...] = (0, 0)
    disks: tuple[frozenset[Held], ...] = (frozenset(), frozenset())
    numbers: tuple[int, ...] = (0, 0)
    excused: frozenset[tuple[int, int]] = frozenset()
    flying: frozenset[Message] = frozenset()
    was_ended: bool = False
    evicted: bool = False  # a record was removed though the node held the replica
    lives: int = 0
    generations: int = 2
    resumes: int = 0
    deletes: int = 0
    rots: int = 0
    restarts: int = 0
    inventories: int = 0


#: Small scopes that together cover every rule; all of it at once would be millions of states.
WRITING = World(resumes=1)
ENDING = World(generations=1, deletes=1)
TAKING_STOCK = World(rots=1, inventories=1, generations=1)
RESTARTING = World(restarts=1, inventories=1)
SCOPES = (WRITING, ENDING, TAKING_STOCK, RESTARTING)

Step = tuple[str, World]


def _set(values: tuple[int, ...], node: int, value: int) -> tuple[int, ...]:
    return tuple(value if each == node else old for each, old in enumerate(values))


def _held(world: World, node: int, generation: int) -> Held | None:
    return next((held for held in world.disks[node] if held[0] == generation), None)


def _store(world: World, node: int, generation: int, owner: int) -> World:
    """The node makes the replica durable, gives the add its number, and (as a primary or a target) says so."""
    number = world.numbers[node] + 1
    disks = tuple(
        disk | {(generation, owner, number)} if each == node else disk for each, disk in enumerate(world.disks)
    )
    return world._replace(
        disks=disks, numbers=_set(world.numbers, node, number), excused=world.excused - {(node, generation)}
    )


def _drop(world: World, node: int, dropped: frozenset[Held]) -> World:
    disks = tuple(disk - dropped if each == node else disk for each, disk in enumerate(world.disks))
    return world._replace(disks=disks)


def _allocate(world: World) -> World:
    """A new generation for the writer of the current epoch, with a grant to write it anywhere."""
    generation = world.issued + 1
    grants: set[Message] = {("put", node, generation, world.epoch) for node in NODES}
    return world._replace(
        issued=generation,
        allocated=generation,
        allocated_epoch=world.epoch,
        flying=world.flying | grants,
    )


def _writers(world: World, rules: Rules) -> Iterator[Step]:
    """What clients ask for: create, allocate, re-place, resume, commit the file, delete it."""
    if world.phase == NONE or (world.phase == COLLECTED and not rules.ids_never_return and world.lives < 2):
        again = world._replace(issued=0, allocated=0, allocated_epoch=0, was_ended=False, excused=frozenset())
        yield "create", again._replace(phase=OPEN, epoch=1, lives=world.lives + 1)
    if world.phase == OPEN:
        room = world.issued < world.generations and world.committed is None
        stale = rules.epoch_checked and world.allocated_epoch != world.epoch
        if room and (world.allocated == 0 or stale):
            yield "allocate", _allocate(world)
        elif (
            not rules.epoch_checked
            and world.allocated_epoch < world.epoch
            and world.allocated
            and world.committed is None
        ):
            grants: set[Message] = {("put", node, world.allocated, world.epoch) for node in NODES}
            yield "allocate again", world._replace(allocated_epoch=world.epoch, flying=world.flying | grants)
        if room and world.allocated:
            yield "re-place", _allocate(world)
        if world.resumes:
            yield "resume", world._replace(epoch=2, resumes=0)
        if world.committed is not None:
            yield "commit file", world._replace(phase=COMMITTED)
    if world.phase in (OPEN, COMMITTED) and world.deletes:
        yield "delete", world._replace(phase=ENDED, was_ended=True, deletes=0)
    if world.phase == ENDED and world.committed is not None and not rules.ended_stays_ended:
        yield "commit file", world._replace(phase=COMMITTED)


def _nodes(world: World, rules: Rules) -> Iterator[Step]:
    """What chunk servers do of themselves: commit, tell late, take stock, lose a replica, restart."""
    for generation in range(1, world.issued + 1):
        for owner in (1, 2):
            durable = tuple(
                (node, held[2]) for node in NODES if (held := _held(world, node, generation)) and held[1] == owner
            )
            for node, number in durable:  # the quorum of the model is 1: the hardest case
                commit: Message = ("commit", generation, owner, node, number)
                if commit not in world.flying and not any(other[:3] == commit[:3] for other in world.flying):
                    yield f"node {node} sends commit", world._replace(flying=world.flying | {commit})
                late: Message = ("add", generation, owner, node, number)
                if late not in world.flying and world.committed is not None and not world.recorded[node]:
                    yield f"node {node} sends add", world._replace(flying=world.flying | {late})
    for node in NODES:
        if world.inventories:
            taken: Message = ("inventory", node, world.numbers[node], *sorted(held[0] for held in world.disks[node]))
            yield (
                f"node {node} inventory",
                world._replace(flying=world.flying | {taken}, inventories=world.inventories - 1),
            )
        if world.rots and world.disks[node]:
            lost = {(node, held[0]) for held in world.disks[node]}
            after = _drop(world, node, world.disks[node])
            yield f"node {node} rots", after._replace(excused=world.excused | lost, rots=world.rots - 1)
        if world.restarts and not rules.number_kept_over_restart:
            yield (
                f"node {node} restarts",
                world._replace(numbers=_set(world.numbers, node, 0), restarts=world.restarts - 1),
            )


def _leader(world: World, rules: Rules) -> Iterator[Step]:
    """What the leader does: copy, order deletions, collect."""
    if world.phase in (OPEN, COMMITTED) and world.committed is not None:
        for node in NODES:
            source = 1 - node
            copy: Message = ("put", node, *world.committed)
            if not world.recorded[node] and _held(world, source, world.committed[0]) and copy not in world.flying:
                yield f"copy to {node}", world._replace(flying=world.flying | {copy})
    for node in NODES:
        order: Message = ("delete", node)
        unknown = not rules.delete_needs_ended_file and not world.recorded[node] and bool(world.disks[node])
        if (world.phase == ENDED or unknown) and order not in world.flying:
            yield f"order delete at {node}", world._replace(flying=world.flying | {order})
    if world.phase == ENDED and not any(world.disks):
        yield "collect", world._replace(phase=COLLECTED, committed=None, recorded=(0, 0))


def _committed(world: World, rules: Rules, generation: int, owner: int, node: int, number: int) -> World:
    """CommitChunks of one replica (quorum 1), as apply judges it."""
    if world.phase not in (OPEN, COMMITTED) or world.committed is not None:
        return world
    if rules.generation_checked and generation != world.allocated:
        return world
    if rules.epoch_checked and world.allocated_epoch != world.epoch:
        return world
    return world._replace(committed=(generation, owner), recorded=_set(world.recorded, node, number))


def _added(world: World, rules: Rules, generation: int, owner: int, node: int, number: int) -> World:
    """AddReplicas of one replica."""
    if world.phase not in (OPEN, COMMITTED) or world.committed is None:
        return world
    if rules.add_checked and world.committed != (generation, owner):
        return world
    return world._replace(recorded=_set(world.recorded, node, max(number, world.recorded[node])))


def _judged(world: World, rules: Rules, message: Message) -> World:
    """The leader compares an inventory with the tables and proposes to remove what is missing."""
    node, as_of, held = int(message[1]), int(message[2]), message[3:]
    recorded = world.recorded[node]
    if world.committed is None or not recorded or world.committed[0] in held:
        return world
    if rules.numbers_compared and recorded > as_of:
        return world
    return world._replace(flying=world.flying | {("remove", node, recorded)})


def _removed(world: World, rules: Rules, node: int, recorded: int) -> World:
    """RemoveReplicas of one replica, which may be applied long after it was proposed, and twice."""
    if world.committed is None or not world.recorded[node]:
        return world
    if rules.rechecked_in_apply and world.recorded[node] != recorded:
        return world
    held = _held(world, node, world.committed[0])
    evicted = held is not None and held[2] == world.recorded[node]
    return world._replace(recorded=_set(world.recorded, node, 0), evicted=world.evicted or evicted)


def _arrivals(world: World, rules: Rules) -> Iterator[Step]:
    """Anything in flight may arrive; puts and deletes at their node, the rest at the state machine."""
    for message in world.flying:
        kind, *rest = message
        label = " ".join(map(str, message))
        numbers = [int(value) for value in rest]
        if kind == "put":
            node, generation, owner = numbers
            if _held(world, node, generation) is None and world.numbers[node] < 3:
                yield label, _store(world, node, generation, owner)._replace(flying=world.flying - {message})
        elif kind == "delete":
            yield label, _drop(world, numbers[0], world.disks[numbers[0]])._replace(flying=world.flying - {message})
        elif kind == "commit":
            yield label, _committed(world, rules, *numbers)
        elif kind == "add":
            yield label, _added(world, rules, *numbers)._replace(flying=world.flying - {message})
        elif kind == "inventory":
            yield label, _judged(world._replace(flying=world.flying - {message}), rules, message)
        elif kind == "remove":
            node, recorded = numbers
            yield label, _removed(world, rules, node, recorded)


def broken(world: World) -> str:
    """Which promise this state breaks; "" for none."""
    if world.evicted:
        return "a replica that a node holds was struck off the record"
    if world.phase in (OPEN, COMMITTED):
        if world.was_ended:
            return "what was ended lives again"
        if world.committed is not None:
            if world.allocated_epoch == 2 and world.committed[1] == 1:
                return "a writer that was fenced off committed over the one who was given the chunk"
            for node in NODES:
                if not world.recorded[node] or (node, world.committed[0]) in world.excused:
                    continue
                held = _held(world, node, world.committed[0])
                if held is None or held[1] != world.committed[1]:
                    return f"node {node} is recorded and does not hold the committed bytes"
    return ""


def steps(world: World, rules: Rules) -> Iterator[Step]:
    """Every next state."""
    yield from _writers(world, rules)
    yield from _nodes(world, rules)
    yield from _leader(world, rules)
    yield from _arrivals(world, rules)


def explore(start: World, rules: Rules = Rules()) -> Explored:
    """Through every state; the shortest counterexample, if there is one."""
    return exploring.explore(start, lambda world: steps(world, rules), broken)
