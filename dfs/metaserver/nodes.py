"""The rules of nodes: who is who, who is dead.

A node number belongs to one folder (incarnation) for ever.  Death and return are one record each: which replicas are
live follows from their node's standing, nothing is evicted chunk by chunk because a node is silent (S01, S03).
"""

from __future__ import annotations

from attrs import evolve

from dfs.metaserver.answers import Changed, MemberPinned, NodeRegistered
from dfs.metaserver.commands import NodeDied, NodeReturned, PinMember, RaiseIncarnation, RegisterNode
from dfs.metaserver.eventlog import note
from dfs.metaserver.records import MemberRecord, NodeRecord, Standing
from dfs.metaserver.records_moving import Wish
from dfs.metaserver.transaction import NodeChanged, Transaction
from dfs.protocol.errors import BadRequest, Forbidden, Unavailable
from dfs.protocol.messages import EventKind

OF_LATE_MS = 3_600_000
MOST_RETURNS = 16


def register(state: Transaction, command: RegisterNode) -> NodeRegistered:
    if not command.name or len(command.incarnation) != 16:
        raise BadRequest("a chunk server needs a name and an incarnation of 16 bytes")
    number = state.node_of_incarnation(command.incarnation)
    holder = state.node_of_name(command.name)
    if holder is not None and holder != number:
        _take_name(state, command.name, holder)
    if number is None:
        return _join(state, command)
    record = state.node(number)
    if record is None:
        raise Forbidden(
            f"the folder of {command.name!r} belongs to a node that was removed",
            hint="stop it; to use the machine again, start it with an empty folder",
        )
    if record.name != command.name:
        raise Forbidden(
            f"this folder belongs to {record.name!r}, not {command.name!r}",
            hint=f"start it with --node-id {record.name}, or give {command.name!r} a folder of its own",
        )
    returned = record.standing == Standing.DEAD
    after = evolve(record, address=command.address, rack=command.rack)
    if after != record or holder != number or returned:
        state.put_node(number, after)
        state.name_node(command.name, number)
        state.tell(NodeChanged(number))
    if record.rack != command.rack:
        note(state, EventKind.RELABELLED, number, f"from rack {record.rack!r} to {command.rack!r}")
    if returned:
        _return(state, number)
    return NodeRegistered(number, joined=False, returned=returned)


def _take_name(state: Transaction, name: str, holder: int) -> None:
    """Another folder has the name: it is taken over only from the dead (S19)."""
    record = state.node(holder)
    if record is not None and record.standing != Standing.DEAD:
        raise Unavailable(
            f"{name!r} is alive with another folder",
            hint="if that folder is gone, wait until the node is declared dead; else choose another --node-id",
        )


def _join(state: Transaction, command: RegisterNode) -> NodeRegistered:
    state.head.node += 1
    number = state.head.node
    record = NodeRecord(
        name=command.name,
        address=command.address,
        rack=command.rack,
        incarnation=command.incarnation,
        standing=int(Standing.ALIVE),
        chunks=0,
        bytes=0,
        since=state.index,
        highest=0,
    )
    state.put_node(number, record)
    state.name_node(command.name, number)
    state.pin_node(command.incarnation, number)
    note(state, EventKind.JOINED, number, f"at {command.address}, rack {command.rack!r}")
    state.tell(NodeChanged(number))
    return NodeRegistered(number, joined=True, returned=False)


def _stand(state: Transaction, node: int, standing: Standing, kind: EventKind) -> Changed:
    record = state.node(node)
    if record is None:
        raise BadRequest(f"there is no node {node}")
    if record.standing == standing:
        return Changed(0)
    state.put_node(node, evolve(record, standing=int(standing), since=state.index))
    note(state, kind, node)
    state.tell(NodeChanged(node))
    return Changed(1)


def died(state: Transaction, command: NodeDied) -> Changed:
    """One whose silence was announced is not dead before its time."""
    record = state.node(command.node)
    is_away = record is not None and record.standing == Standing.MAINTENANCE
    if is_away and state.life(command.node).until_ms > state.head.time_ms:
        return Changed(0)
    state.put_care(evolve(state.care(), loss=state.index))
    return _stand(state, command.node, Standing.DEAD, EventKind.DEAD)


def _return(state: Transaction, node: int) -> Changed:
    """Back from the dead, to what was wished of it.  Whoever comes back often of late is relied on later."""
    life, now = state.life(node), state.head.time_ms
    returns = min(life.returns + 1, MOST_RETURNS) if now - life.returned_ms < OF_LATE_MS else 1
    state.put_life(node, evolve(life, returned_ms=now, returns=returns, until_ms=0))
    standing = Standing.ALIVE if life.wish == Wish.STAY else Standing.DRAINING
    return _stand(state, node, standing, EventKind.RETURNED)


def returned(state: Transaction, command: NodeReturned) -> Changed:
    """Its name may have gone to another folder meanwhile: then it must register, and be refused, first."""
    record = state.node(command.node)
    if record is not None and state.node_of_name(record.name) != command.node:
        raise Forbidden(f"the name {record.name!r} belongs to another folder now")
    if record is not None and record.standing != Standing.DEAD:
        return Changed(0)
    return _return(state, command.node)


def pin(state: Transaction, command: PinMember) -> MemberPinned:
    """The first incarnation stays; the answer tells which it is (S28, R35)."""
    if len(command.incarnation) != 16 or not command.name:
        raise BadRequest("a member needs a name and an incarnation of 16 bytes")
    pinned = state.member(command.name)
    if pinned is None:
        pinned = MemberRecord(command.incarnation)
        state.put_member(command.name, pinned)
    return MemberPinned(pinned.incarnation)


def raise_incarnation(state: Transaction, command: RaiseIncarnation) -> Changed:
    """File ids of an older history never return."""
    if command.incarnation <= state.head.incarnation:
        return Changed(0)
    state.head.incarnation = command.incarnation
    state.head.file_counter = 0
    return Changed(1)
