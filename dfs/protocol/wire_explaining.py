"""Declarations of explanations (see :mod:`dfs.protocol.layout` for the kinds)."""

from __future__ import annotations

from dfs.protocol import messages as m
from dfs.protocol.layout import U8, U32, U64, Choice, Flag, Items, Raw, Record, Text
from dfs.protocol.limits import MAX_SENTENCE, MAX_VERDICTS
from dfs.protocol.values import NodeState
from dfs.protocol.wire_metadata import NAME, NODE_NAME

EXPLAIN = Record(m.Explain, file_id=U64, index=U32)
VERDICT = Record(
    m.Verdict, node=NODE_NAME, state=Choice(NodeState), rack=NODE_NAME, holds=Flag(), sentence=Text(MAX_SENTENCE)
)
EXPLANATION = Record(
    m.Explanation,
    name=NAME,
    file_id=U64,
    index=U32,
    chunk_id=Raw(32),
    generation=U64,
    length=U32,
    wanted=U8,
    counting=U8,
    need=Text(MAX_SENTENCE),
    healing=Choice(m.Healing),
    sentence=Text(MAX_SENTENCE),
    next_ms=U32,
    verdicts=Items(VERDICT, MAX_VERDICTS),
    others=U32,
)
