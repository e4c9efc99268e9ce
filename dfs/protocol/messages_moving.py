"""What operators ask about nodes, moves and events.  See :mod:`dfs.protocol.messages`."""

from __future__ import annotations

import enum

from attrs import frozen

from dfs.protocol.values import NodeNumber, NodeState


@frozen
class ListNodes:
    """Chunk servers by number, above ``after``, at most ``limit`` (1 to 1,000)."""

    after: int
    limit: int


@frozen
class NodeInfo:
    """One chunk server.  ``chunks`` and ``bytes`` are its recorded replicas; ``left_chunks`` and ``left_bytes`` those
    that a drain or removal still has to find another place for, as last counted, and ``rate`` the bytes/s at which that
    goes.  ``until_ms`` is when maintenance ends (cluster time, 0: none is announced)."""

    node: NodeNumber
    name: str
    address: str
    rack: str
    state: NodeState
    removing: bool
    total: int
    free: int
    used: int
    chunks: int
    bytes: int
    streams: int
    client_rate: int
    until_ms: int
    left_chunks: int
    left_bytes: int
    rate: int


@frozen
class NodePage:
    """``after`` is where the next page begins, None at the end."""

    nodes: tuple[NodeInfo, ...]
    after: int | None
    cluster_time_ms: int


class NodeChange(enum.IntEnum):
    """What an operator wants of a chunk server."""

    DRAIN = 1
    UNDRAIN = 2
    MAINTENANCE = 3
    END_MAINTENANCE = 4
    REMOVE = 5


@frozen
class ChangeNode:
    """By name.  ``duration_ms`` for MAINTENANCE.  ``dry_run``: say what would happen and change nothing."""

    name: str
    change: NodeChange
    duration_ms: int
    dry_run: bool


@frozen
class NodeAnswer:
    """The node as it is (or would be) and what that means, a sentence each."""

    node: NodeInfo
    sentences: tuple[str, ...]


class RebalanceAction(enum.IntEnum):
    LOOK = 1
    START = 2
    PAUSE = 3
    RESUME = 4
    STOP = 5


@frozen
class Rebalance:
    """``threshold``: in per mille of a node's space, how far from the mean it may be filled.  With ``dry_run`` START
    plans and changes nothing."""

    action: RebalanceAction
    threshold: int
    dry_run: bool


@frozen
class NodeFill:
    """A node's filling in per mille, and the bytes that are to leave it (``surplus``) or to reach it (``lack``)."""

    name: str
    permille: int
    surplus: int
    lack: int


@frozen
class Rebalanced:
    """The state of rebalancing.  ``chunks`` and ``bytes`` are moved so far, ``left_bytes`` to go."""

    running: bool
    paused: bool
    threshold: int
    chunks: int
    bytes: int
    left_bytes: int
    rate: int
    nodes: tuple[NodeFill, ...]


class EventKind(enum.IntEnum):
    """What the replicated log of events tells of."""

    JOINED = 1
    DEAD = 2
    RETURNED = 3
    DRAINING = 4
    UNDRAINED = 5
    DRAINED = 6
    MAINTENANCE = 7
    MAINTENANCE_ENDED = 8
    REMOVING = 9
    REMOVED = 10
    RELABELLED = 11
    COPIED = 12
    TRIMMED = 13
    RESTORED = 14
    SET_ASIDE = 15
    REPLICA_LOST = 16
    REBALANCE = 17


@frozen
class Event:
    """``sequence`` counts events from 1; ``at_ms`` is cluster time, ``index`` the log entry.  ``count`` and ``bytes``
    sum up what one event stands for; ``node`` is a name, "" for none."""

    sequence: int
    index: int
    at_ms: int
    kind: EventKind
    node: str
    count: int
    bytes: int
    detail: str


@frozen
class ListEvents:
    """Events above ``after``, oldest first, at most ``limit`` (1 to 1,000); with ``after`` 0 the newest ones."""

    after: int
    limit: int


@frozen
class EventPage:
    """``oldest`` is the first one that is still kept."""

    events: tuple[Event, ...]
    oldest: int


@frozen
class GetRedundancy:
    """What lacks copies, and how healing goes; the leader knows."""


@frozen
class Redundancy:
    """``chunks`` lack ``bytes`` of copies: ``single`` of them have one live copy, ``lost`` none, ``aside`` no place for
    another.  ``counting``: scans still run, there may be more.  ``moving`` copies are on their way.  ``rate`` is B/s
    now, ``usual`` what it was when last at work (0: not in this leadership), ``allowed`` what limits leave all nodes
    together (0: no limit).  ``limit`` says what holds healing up, "" where nothing is short; ``left_ms`` how long it
    takes, None where nobody can tell; ``paused`` what waits for an operator or for time."""

    chunks: int
    bytes: int
    single: int
    lost: int
    aside: int
    counting: bool
    moving: int
    rate: int
    usual: int
    allowed: int
    limit: str
    left_ms: int | None
    paused: tuple[str, ...]
