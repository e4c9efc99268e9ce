"""The mover's rules for one chunk: what it needs, which copy is surplus, and when that one may be struck off.

Pure: the planner and the trimmer ask it on the leader, the state machine asks it again when the entry is applied, and
the model check in dfs.metaserver.test explores it.  One mover serves repair, drain, rack correction, rebalance and
trim, for all of them are the same two halves: a copy where one is needed, and a trim where one is too many.

A replica *counts* on a node that is not dead; it *stays* where the node is not being drained or forgotten either; it is
*settled* where the node did not come back from the dead only a moment ago.  A chunk is whole with as many staying
replicas as wanted.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping, Sequence

from attrs import frozen

from dfs.metaserver import placement
from dfs.metaserver.placement import NodeView
from dfs.metaserver.racks import closeness
from dfs.protocol.messages import DurableReplica
from dfs.protocol.values import MAX_CHUNK_SIZE, NodeState

LEAVING = (NodeState.DRAINING, NodeState.DRAINED)


class Need(enum.IntEnum):
    """How urgent a copy is; below LEAVING, the number of replicas that count."""

    LEAVING = 100  # enough of them, but not enough that stay
    RACK = 200  # enough, but too close to one another
    BALANCE = 300  # enough, but on a node that is too full
    NOTHING = 1000


def counting(nodes: Sequence[int], views: Mapping[int, NodeView]) -> list[int]:
    """Nodes whose replicas count."""
    return [node for node in nodes if node in views and views[node].state is not NodeState.DEAD]


def staying(nodes: Sequence[int], views: Mapping[int, NodeView]) -> list[int]:
    """Nodes whose replicas count and that do not leave."""
    return [node for node in counting(nodes, views) if views[node].state not in LEAVING]


def need(nodes: Sequence[int], wanted: int, views: Mapping[int, NodeView], racks: placement.Racks) -> int:
    """How urgently a chunk recorded at ``nodes`` needs a copy: a Need or the number of replicas that count."""
    counts = counting(nodes, views)
    if len(counts) < wanted:
        return len(counts)
    stay = staying(nodes, views)
    if len(stay) < wanted:
        return Need.LEAVING
    if len(stay) == wanted and racks.could_be_better([views[node].rack for node in stay]):
        return Need.RACK
    return Need.NOTHING


def surplus(nodes: Sequence[int], wanted: int, views: Mapping[int, NodeView]) -> tuple[int, tuple[int, ...]] | None:
    """(the node whose replica is to go, those that stay), None where nothing is surplus.

    Nodes that are down, leave, or came back only a moment ago neither lose their replica nor count as a reason to take
    another one's: a node that flaps costs no second copy (S03).  The one goes that stands closest to the others; among
    equals the fullest node's.
    """
    sound = [node for node in staying(nodes, views) if views[node].state is NodeState.ALIVE and views[node].settled]
    if len(sound) <= wanted or wanted < 1:
        return None
    goes = max(sound, key=lambda node: (_closeness(node, sound, views), _fullness(views[node]), node))
    return goes, tuple(node for node in sound if node != goes)


def _closeness(node: int, among: Sequence[int], views: Mapping[int, NodeView]) -> tuple[int, ...]:
    others = [views[other].rack for other in among if other != node]
    return closeness(views[node].rack, others)


def _fullness(view: NodeView) -> int:
    return 1000 - view.free * 1000 // max(view.total, 1)


def room_of(view: NodeView) -> tuple[str, NodeState, bool]:
    """What of a node decides which chunks could lie better: its rack, its state, whether any chunk fits."""
    return view.rack, view.state, view.free > MAX_CHUNK_SIZE + placement.RESERVE


def may_have_surplus(former: NodeView, view: NodeView) -> bool:
    """Whether a node stays again, or can be relied on again: then its chunks may have more replicas than wanted."""
    if view.state is not NodeState.ALIVE or not view.settled:
        return False
    return not former.settled or former.state in LEAVING or former.state is NodeState.DEAD


@frozen
class Stand:
    """A recorded replica as the state machine sees it: ``sound`` where its node is neither dead nor leaving."""

    number: int
    sound: bool


def retirement_refusal(
    node: int,
    number: int,
    survivors: Collection[DurableReplica],
    recorded: Mapping[int, Stand],
    wanted: int,
) -> str:
    """Why the replica of ``number`` at ``node`` may not be struck off as surplus; "" if it may.

    ``survivors`` were read and compared with the committed SHA-256; each must still be recorded under the very number
    that was read, on a node that stays, and there must be as many as wanted without this one.
    """
    mine = recorded.get(node)
    if mine is None or mine.number != number:
        return "it is not recorded under this number (any more)"
    good: set[int] = set()
    for survivor in survivors:
        stand = recorded.get(survivor.node)
        if survivor.node != node and stand is not None and stand.number == survivor.number and stand.sound:
            good.add(survivor.node)
    if not good or len(good) < wanted:
        return f"{len(good)} of its survivors are recorded as they were read and stay, {wanted} are wanted"
    return ""
