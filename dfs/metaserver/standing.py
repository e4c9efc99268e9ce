"""The rules of nodes' states: draining, maintenance, removal.  One command is one change and one event.

A wish (to drain, to remove) outlives the node's death and return.  A drain ends only where nothing was recorded at the
node, and nothing lost elsewhere, since somebody looked at all its chunks and found each whole without it (S18).
"""

from __future__ import annotations

from attrs import evolve

from dfs.metaserver.answers import Changed
from dfs.metaserver.chunks import wanted
from dfs.metaserver.commands_moving import (
    BeginMaintenance,
    DrainNode,
    EndMaintenance,
    ForgetNode,
    ForgetReplicas,
    NodeDrained,
    RemoveNode,
    SetBalancing,
    UndrainNode,
)
from dfs.metaserver.eventlog import note
from dfs.metaserver.garbage import free
from dfs.metaserver.records import NodeRecord, Standing
from dfs.metaserver.records_moving import Balancing, Wish
from dfs.metaserver.retiring import stays
from dfs.metaserver.transaction import NodeChanged, Transaction
from dfs.protocol.errors import BadRequest
from dfs.protocol.messages import EventKind

MAX_MAINTENANCE_MS = 7 * 24 * 3600 * 1000
PAGE = 256  # records of a node that is forgotten, at a time


def _node(state: Transaction, number: int) -> NodeRecord:
    record = state.node(number)
    if record is None:
        raise BadRequest(f"there is no node {number}")
    return record


def _stand(state: Transaction, number: int, standing: Standing, kind: EventKind, detail: str = "") -> Changed:
    record = _node(state, number)
    if record.standing != standing:
        state.put_node(number, evolve(record, standing=int(standing), since=state.index))
    note(state, kind, number, detail)
    state.tell(NodeChanged(number))
    return Changed(1)


def drain(state: Transaction, command: DrainNode) -> Changed:
    record, life = _node(state, command.node), state.life(command.node)
    if life.wish != Wish.STAY:
        return Changed(0)
    state.put_life(command.node, evolve(life, wish=int(Wish.DRAIN), until_ms=0))
    state.put_care(evolve(state.care(), loss=state.index))
    standing = Standing.DEAD if record.standing == Standing.DEAD else Standing.DRAINING
    return _stand(state, command.node, standing, EventKind.DRAINING)


def undrain(state: Transaction, command: UndrainNode) -> Changed:
    record, life = _node(state, command.node), state.life(command.node)
    if life.wish == Wish.STAY:
        return Changed(0)
    state.put_life(command.node, evolve(life, wish=int(Wish.STAY)))
    standing = Standing.DEAD if record.standing == Standing.DEAD else Standing.ALIVE
    return _stand(state, command.node, standing, EventKind.UNDRAINED)


def drained(state: Transaction, command: NodeDrained) -> Changed:
    """Judged anew: since the look began nothing may have been recorded here, nor lost elsewhere."""
    record, life = _node(state, command.node), state.life(command.node)
    if record.standing != Standing.DRAINING:
        return Changed(0)
    if max(life.disturbed, state.care().loss, record.since) > command.since:
        return Changed(0)
    return _stand(state, command.node, Standing.DRAINED, EventKind.DRAINED)


def begin_maintenance(state: Transaction, command: BeginMaintenance) -> Changed:
    record, life = _node(state, command.node), state.life(command.node)
    if record.standing not in (Standing.ALIVE, Standing.MAINTENANCE):
        raise BadRequest(f"{record.name!r} is {Standing(record.standing).name.lower()}: only what is alive can be away")
    if not state.head.time_ms < command.until_ms <= state.head.time_ms + MAX_MAINTENANCE_MS:
        raise BadRequest(f"maintenance may last up to {MAX_MAINTENANCE_MS // 3_600_000} hours")
    state.put_life(command.node, evolve(life, until_ms=command.until_ms))
    seconds = (command.until_ms - state.head.time_ms) // 1000
    return _stand(state, command.node, Standing.MAINTENANCE, EventKind.MAINTENANCE, f"for {seconds} s")


def end_maintenance(state: Transaction, command: EndMaintenance) -> Changed:
    record, life = _node(state, command.node), state.life(command.node)
    if record.standing != Standing.MAINTENANCE or (command.lapsed and life.until_ms > state.head.time_ms):
        return Changed(0)
    state.put_life(command.node, evolve(life, until_ms=0))
    return _stand(state, command.node, Standing.ALIVE, EventKind.MAINTENANCE_ENDED, "lapsed" if command.lapsed else "")


def remove(state: Transaction, command: RemoveNode) -> Changed:
    record, life = _node(state, command.node), state.life(command.node)
    if record.standing not in (Standing.DRAINED, Standing.DEAD):
        raise BadRequest(
            f"{record.name!r} is {Standing(record.standing).name.lower()}: only a drained or dead node is removed",
            hint="drain it first",
        )
    if life.wish == Wish.REMOVE:
        return Changed(0)
    state.put_life(command.node, evolve(life, wish=int(Wish.REMOVE)))
    state.put_care(evolve(state.care(), loss=state.index))
    return _stand(state, command.node, Standing(record.standing), EventKind.REMOVING)


def forget_replicas(state: Transaction, command: ForgetReplicas) -> Changed:
    """Each is judged alone: as many others as wanted stay, or the file has ended."""
    _check_removing(state, command.node)
    count = 0
    for place in command.places:
        chunk = state.chunk(place.file_id, place.index)
        replication = wanted(state, place.file_id)
        if chunk is None or not replication:
            free(state, place.file_id, place.index, command.node)
            count += 1
            continue
        others = tuple(node for node in chunk.nodes if node != command.node)
        if sum(stays(state, node) for node in others) < replication:
            continue
        state.remove_replica(command.node, place.file_id, place.index)
        state.put_chunk(place.file_id, place.index, evolve(chunk, nodes=others))
        state.put_short(place.file_id, place.index, len(others), replication)
        state.disturb(others)
        count += 1
    return Changed(count)


def _check_removing(state: Transaction, number: int) -> NodeRecord:
    record = _node(state, number)
    is_out = record.standing in (Standing.DRAINED, Standing.DEAD)
    if state.life(number).wish != Wish.REMOVE or not is_out:
        raise BadRequest(f"{record.name!r} is not being removed")
    return record


def forget(state: Transaction, command: ForgetNode) -> Changed:
    """Changed(0): orders to it that were never carried out are forgotten first, a page at a time; ask again."""
    record = _check_removing(state, command.node)
    if record.chunks:
        raise BadRequest(f"{record.chunks} replicas are recorded at {record.name!r}")
    for _ in range(PAGE):
        place = state.first_retired(command.node)
        if place is None:
            break
        state.put_retired(command.node, *place, None)
    else:
        return Changed(0)
    note(state, EventKind.REMOVED, command.node)
    state.remove_node(command.node, record)
    state.tell(NodeChanged(command.node))
    return Changed(1)


def set_balancing(state: Transaction, command: SetBalancing) -> Changed:
    care = state.care()
    wished = Balancing(command.balancing) if command.balancing in tuple(Balancing) else Balancing.OFF
    if (care.balancing, care.threshold) == (wished, command.threshold):
        return Changed(0)
    state.put_care(evolve(care, balancing=int(wished), threshold=command.threshold))
    note(state, EventKind.REBALANCE, detail=f"{wished.name.lower()}, threshold {command.threshold} per mille")
    return Changed(1)
