"""Declarations of the messages of :mod:`dfs.protocol.messages_members` (see :mod:`dfs.protocol.layout`)."""

from __future__ import annotations

from dfs.protocol import messages as m
from dfs.protocol.layout import U64, Choice, Flag, Items, Maybe, Raw, Record, Text
from dfs.protocol.limits import MAX_ADDRESS, MAX_CHECKPOINTS, MAX_META_MEMBERS, MAX_NODE_NAME

CHECKPOINT = Record(m.Checkpoint, index=U64, state_hash=Raw(32))
GET_CHECKPOINTS = Record(m.GetCheckpoints)
CHECKPOINTS = Record(m.Checkpoints, checkpoints=Items(CHECKPOINT, MAX_CHECKPOINTS))

MEMBER_INFO = Record(
    m.MemberInfo,
    name=Text(MAX_NODE_NAME),
    address=Text(MAX_ADDRESS),
    voter=Flag(),
    match=U64,
    alive=Flag(),
    caught_up=Flag(),
)
GET_MEMBERS = Record(m.GetMembers, of_leader=Flag())
MEMBERS = Record(
    m.Members,
    node=Text(MAX_NODE_NAME),
    leader=Maybe(Text(MAX_NODE_NAME)),
    term=U64,
    last_index=U64,
    members=Items(MEMBER_INFO, MAX_META_MEMBERS),
)
CHANGE_MEMBER = Record(
    m.ChangeMember, change=Choice(m.MemberChange), name=Text(MAX_NODE_NAME), address=Text(MAX_ADDRESS)
)
TRANSFER_LEADERSHIP = Record(m.TransferLeadership, to=Text(MAX_NODE_NAME))
