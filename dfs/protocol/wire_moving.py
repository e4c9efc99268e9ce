"""Declarations of what operators ask about nodes, moves and events (see :mod:`dfs.protocol.layout` for the kinds)."""

from __future__ import annotations

from dfs.protocol import messages as m
from dfs.protocol.layout import U16, U32, U64, Choice, Flag, Items, Maybe, Record, Text
from dfs.protocol.limits import MAX_CHUNK_SERVERS, MAX_NODES, MAX_PAGE, MAX_PAUSED, MAX_SENTENCE
from dfs.protocol.values import NodeState
from dfs.protocol.wire_metadata import ADDRESS, NODE_NAME

NODE_INFO = Record(
    m.NodeInfo,
    node=U32,
    name=NODE_NAME,
    address=ADDRESS,
    rack=NODE_NAME,
    state=Choice(NodeState),
    removing=Flag(),
    total=U64,
    free=U64,
    used=U64,
    chunks=U64,
    bytes=U64,
    streams=U32,
    client_rate=U64,
    until_ms=U64,
    left_chunks=U64,
    left_bytes=U64,
    rate=U64,
)
LIST_NODES = Record(m.ListNodes, after=U32, limit=U16)
NODE_PAGE = Record(m.NodePage, nodes=Items(NODE_INFO, MAX_PAGE), after=Maybe(U32), cluster_time_ms=U64)
CHANGE_NODE = Record(m.ChangeNode, name=NODE_NAME, change=Choice(m.NodeChange), duration_ms=U64, dry_run=Flag())
NODE_ANSWER = Record(m.NodeAnswer, node=NODE_INFO, sentences=Items(Text(MAX_SENTENCE), MAX_NODES))
REBALANCE = Record(m.Rebalance, action=Choice(m.RebalanceAction), threshold=U16, dry_run=Flag())
NODE_FILL = Record(m.NodeFill, name=NODE_NAME, permille=U16, surplus=U64, lack=U64)
REBALANCED = Record(
    m.Rebalanced,
    running=Flag(),
    paused=Flag(),
    threshold=U16,
    chunks=U64,
    bytes=U64,
    left_bytes=U64,
    rate=U64,
    nodes=Items(NODE_FILL, MAX_CHUNK_SERVERS),
)
EVENT = Record(
    m.Event,
    sequence=U64,
    index=U64,
    at_ms=U64,
    kind=Choice(m.EventKind),
    node=NODE_NAME,
    count=U64,
    bytes=U64,
    detail=Text(MAX_SENTENCE),
)
LIST_EVENTS = Record(m.ListEvents, after=U64, limit=U16)
EVENT_PAGE = Record(m.EventPage, events=Items(EVENT, MAX_PAGE), oldest=U64)
GET_REDUNDANCY = Record(m.GetRedundancy)
REDUNDANCY = Record(
    m.Redundancy,
    chunks=U64,
    bytes=U64,
    single=U64,
    lost=U64,
    aside=U64,
    counting=Flag(),
    moving=U32,
    rate=U64,
    usual=U64,
    allowed=U64,
    limit=Text(MAX_SENTENCE),
    left_ms=Maybe(U64),
    paused=Items(Text(MAX_SENTENCE), MAX_PAUSED),
)
