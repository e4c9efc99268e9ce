"""The replicated commands of nodes' states, of moves and of their events.  See dfs.metaserver.commands."""

from __future__ import annotations

from typing import Any

from attrs import frozen

from dfs.metaserver.packing import FLAG, U8, U16, U32, U64, Codec, Fields, Many, Text
from dfs.protocol.limits import MAX_SENTENCE
from dfs.protocol.messages import DurableReplica

MAX_MOVES = 256  # of RetireReplicas, TrimmedReplicas, ForgetReplicas


@frozen
class DrainNode:
    """Its replicas count for nothing but as sources from now on; nothing new goes there."""

    node: int


@frozen
class UndrainNode:
    """It stays, whatever was wished before."""

    node: int


@frozen
class NodeDrained:
    """Whoever looked at the tables from log index ``since`` on found every chunk of the node whole elsewhere.  Refused
    where something was recorded or lost meanwhile: then it is looked at again."""

    node: int
    since: int


@frozen
class BeginMaintenance:
    """It may be silent until ``until_ms`` (cluster time) and is not taken for dead."""

    node: int
    until_ms: int


@frozen
class EndMaintenance:
    """``lapsed``: only if its time is over."""

    node: int
    lapsed: bool


@frozen
class RemoveNode:
    """A drained or dead node is to be forgotten, once nothing that is needed is recorded at it."""

    node: int


@frozen
class Place:
    file_id: int
    index: int


@frozen
class ForgetReplicas:
    """Strike off, of a node that is to be forgotten, what is whole without it."""

    node: int
    places: tuple[Place, ...]


@frozen
class ForgetNode:
    """Of a node that holds nothing any more there is no record."""

    node: int


@frozen
class Retirement:
    """The replica of ``number`` at ``node`` is surplus; ``survivors`` were read whole and are the committed bytes."""

    file_id: int
    index: int
    generation: int
    node: int
    number: int
    survivors: tuple[DurableReplica, ...]


@frozen
class RetireReplicas:
    """Each is judged alone; answered with Retired."""

    retirements: tuple[Retirement, ...]


@frozen
class Trimmed:
    """The node does not serve its retired replica of ``number`` any more."""

    node: int
    file_id: int
    index: int
    number: int


@frozen
class TrimmedReplicas:
    trimmed: tuple[Trimmed, ...]


@frozen
class NoteEvent:
    """For the log of events: what a leader did, summed up.  ``node`` 0: none."""

    kind: int
    node: int
    count: int
    bytes: int
    detail: str


@frozen
class SetBalancing:
    """Whether replicas are moved to even out the nodes' filling, and above which difference in per mille."""

    balancing: int
    threshold: int


MovingCommand = (
    DrainNode
    | UndrainNode
    | NodeDrained
    | BeginMaintenance
    | EndMaintenance
    | RemoveNode
    | ForgetReplicas
    | ForgetNode
    | RetireReplicas
    | TrimmedReplicas
    | NoteEvent
    | SetBalancing
)

survivor_fields = Fields(DurableReplica, ("node", U32), ("number", U64))
place_fields = Fields(Place, ("file_id", U64), ("index", U32))
retirement_fields = Fields(
    Retirement,
    ("file_id", U64),
    ("index", U32),
    ("generation", U64),
    ("node", U32),
    ("number", U64),
    ("survivors", Many(survivor_fields, 64)),
)
trimmed_fields = Fields(Trimmed, ("node", U32), ("file_id", U64), ("index", U32), ("number", U64))

#: Part of the literal table of dfs.metaserver.commands.
BY_CODE: dict[int, Codec[Any]] = {
    30: Codec(DrainNode, 1, ("node", U32)),
    31: Codec(UndrainNode, 1, ("node", U32)),
    32: Codec(NodeDrained, 1, ("node", U32), ("since", U64)),
    33: Codec(BeginMaintenance, 1, ("node", U32), ("until_ms", U64)),
    34: Codec(EndMaintenance, 1, ("node", U32), ("lapsed", FLAG)),
    35: Codec(RemoveNode, 1, ("node", U32)),
    36: Codec(ForgetReplicas, 1, ("node", U32), ("places", Many(place_fields, MAX_MOVES))),
    37: Codec(ForgetNode, 1, ("node", U32)),
    38: Codec(RetireReplicas, 1, ("retirements", Many(retirement_fields, MAX_MOVES))),
    39: Codec(TrimmedReplicas, 1, ("trimmed", Many(trimmed_fields, MAX_MOVES))),
    40: Codec(
        NoteEvent, 1, ("kind", U8), ("node", U32), ("count", U64), ("bytes", U64), ("detail", Text(MAX_SENTENCE))
    ),
    41: Codec(SetBalancing, 1, ("balancing", U8), ("threshold", U16)),
}
