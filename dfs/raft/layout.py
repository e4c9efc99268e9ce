"""The layouts of :mod:`dfs.raft.codec`, declared: the reference that a property test holds the fast path to.

Checksums are declared as plain numbers; their coverage is in the codec's tables.  Nothing on a data path
imports this.
"""

from __future__ import annotations

from construct import (
    Byte,
    Bytes,
    Const,
    FlagsEnum,
    GreedyBytes,
    Int8ub,
    Int16ub,
    Int32ub,
    Int64ub,
    PascalString,
    PrefixedArray,
    Struct,
    Switch,
    Terminated,
    this,
)

ENTRY = Struct(
    "version" / Const(1, Int8ub),
    "kind" / Int8ub,
    "index" / Int64ub,
    "term" / Int64ub,
    "previous" / Int32ub,
    "length" / Int32ub,
    "checksum" / Int32ub,
    "payload" / Bytes(this.length),
)

VOTE_REQUEST = Struct(
    "last_index" / Int64ub, "last_term" / Int64ub, "flags" / FlagsEnum(Int8ub, pre=1, transfer=2), Terminated
)
VOTE_REPLY = Struct("flags" / FlagsEnum(Int8ub, granted=1, pre=2), Terminated)
APPEND_REQUEST = Struct(
    "previous_index" / Int64ub,
    "previous_term" / Int64ub,
    "commit" / Int64ub,
    "round" / Int64ub,
    "entries" / PrefixedArray(Int32ub, ENTRY),
    Terminated,
)
APPEND_REPLY = Struct(
    "flags" / FlagsEnum(Int8ub, accepted=1, wants_snapshot=2),
    "round" / Int64ub,
    "index" / Int64ub,
    "hint_index" / Int64ub,
    "hint_term" / Int64ub,
    Terminated,
)
SNAPSHOT_PIECE = Struct(
    "index" / Int64ub,
    "mark_term" / Int64ub,
    "offset" / Int64ub,
    "flags" / FlagsEnum(Int8ub, last=1),
    "configuration_length" / Int32ub,
    "data_length" / Int32ub,
    "configuration" / Bytes(this.configuration_length),
    "data" / Bytes(this.data_length),
    Terminated,
)
SNAPSHOT_REPLY = Struct("index" / Int64ub, "offset" / Int64ub, "progress" / Int8ub, Terminated)

TERM_ONLY = Struct(Terminated)
READ_REQUEST = Struct("epoch" / Int64ub, "number" / Int64ub, Terminated)
READ_REPLY = Struct("epoch" / Int64ub, "number" / Int64ub, "index" / Int64ub, Terminated)

BODY = Struct(
    "kind" / Int8ub,
    "term" / Int64ub,
    "fields"
    / Switch(
        this.kind,
        {
            1: VOTE_REQUEST,
            2: VOTE_REPLY,
            3: APPEND_REQUEST,
            4: APPEND_REPLY,
            5: SNAPSHOT_PIECE,
            6: SNAPSHOT_REPLY,
            7: TERM_ONLY,
            8: READ_REQUEST,
            9: READ_REPLY,
            10: TERM_ONLY,
        },
    ),
)
MESSAGE = Struct("version" / Const(1, Int8ub), "checksum" / Int32ub, "body" / GreedyBytes)

MEMBERS = PrefixedArray(Byte, PascalString(Byte, "utf8"))
FOUNDERS = Struct(
    "version" / Const(1, Int8ub),
    "cluster" / Bytes(16),
    "level" / Int16ub,
    "voters" / MEMBERS,
    "learners" / MEMBERS,
    Terminated,
)
NAME = PascalString(Byte, "utf8")
CONFIGURATION = Struct(
    "version" / Const(2, Int8ub),
    "cluster" / Bytes(16),
    "level" / Int16ub,
    "members" / PrefixedArray(Byte, Struct("learner" / Int8ub, "name" / NAME, "contact" / NAME)),
    "removed" / PrefixedArray(Int16ub, NAME),
    Terminated,
)
