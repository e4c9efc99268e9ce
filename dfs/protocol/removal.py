"""Leave to take one healthy replica away, and what a chunk server asks of it before it obeys.

There are three kinds of order that make a replica go, and no fourth: *garbage* (a Grant that names what ended the
file), *surplus* and *stale generation*, which a :class:`Removal` names.  Surplus names the replicas that stay: metadata
had each of them read and compared with the committed SHA-256 first, and struck this one off its record before it gave
the order.  Stale generation names the committed one.  Either way one replica goes, that of one number: what was made
anew since then stays, and so does everything that a former leader ordered (S16, S17).
"""

from __future__ import annotations

import enum

from attrs import frozen

from dfs.protocol.values import HISTORY_SHIFT, FileId, Generation, NodeNumber


class RemovalKind(enum.IntEnum):
    SURPLUS = 1
    STALE = 2


@frozen
class Survivor:
    """A replica that stays: it was read whole and is the committed one, under the number of its durable add."""

    node: NodeNumber
    number: int


@frozen
class Removal:
    """Signed by metadata (``mac``, see dfs.protocol.trust) until ``expires_ms`` of cluster time.  ``generation`` and
    ``number`` are those of the replica that goes, ``committed`` is the generation that counts, ``term`` that of the
    leader, ``evidence`` the log index of the entry that struck the replica off (SURPLUS; else 0)."""

    kind: RemovalKind
    file_id: FileId
    index: int
    generation: Generation
    node: NodeNumber
    number: int
    committed: Generation
    survivors: tuple[Survivor, ...]
    term: int
    evidence: int
    expires_ms: int
    mac: bytes


def refusal(removal: Removal, me: NodeNumber, held: int, highest_term: int) -> str:
    """Why the node must not obey, "" if it may.  Pure; the signature and its time are checked apart.

    :param held: the number of the replica of that generation which is held.
    :param highest_term: of the leaders that the node has heard.
    """
    if removal.node != me:
        return "the order is for another node"
    if removal.term < highest_term:
        return f"the order is of a former leader, of term {removal.term} where {highest_term} was heard"
    if removal.number != held:
        return f"the order is for the replica of number {removal.number}; this one, {held}, was made after it"
    if removal.kind is RemovalKind.SURPLUS:
        return _surplus(removal)
    return _stale(removal)


def _surplus(removal: Removal) -> str:
    if removal.generation != removal.committed:
        return "a surplus replica is one of the committed generation"
    if removal.evidence == 0:
        return "the order does not name the entry that struck the replica off"
    if not any(survivor.node != removal.node for survivor in removal.survivors):
        return "the order names no replica that stays"
    return ""


def _stale(removal: Removal) -> str:
    same_history = removal.generation >> HISTORY_SHIFT == removal.committed >> HISTORY_SHIFT
    if not same_history or removal.generation >= removal.committed:
        return "the replica is not of an older generation than the committed one"
    return ""
