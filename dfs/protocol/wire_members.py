"""Declarations of the messages of :mod:`dfs.protocol.messages_members` (see :mod:`dfs.protocol.layout`)."""

from __future__ import annotations

from dfs.protocol import messages as m
from dfs.protocol.layout import U64, Items, Raw, Record
from dfs.protocol.limits import MAX_CHECKPOINTS

CHECKPOINT = Record(m.Checkpoint, index=U64, state_hash=Raw(32))
GET_CHECKPOINTS = Record(m.GetCheckpoints)
CHECKPOINTS = Record(m.Checkpoints, checkpoints=Items(CHECKPOINT, MAX_CHECKPOINTS))
