"""The records of moves and nodes' lives, packed.  See dfs.metaserver.records."""

from __future__ import annotations

import enum

from attrs import frozen

from dfs.metaserver.packing import U8, U16, U64, Codec, Text
from dfs.metaserver.records import short_text
from dfs.protocol.limits import MAX_SENTENCE


class Wish(enum.IntEnum):
    """What an operator wants of a node; it outlives a death and a return."""

    STAY = 0
    DRAIN = 1
    REMOVE = 2


class Balancing(enum.IntEnum):
    OFF = 0
    ON = 1
    PAUSED = 2


@frozen
class LifeRecord:
    """What a node went through.  ``until_ms``: when its maintenance ends; ``returned_ms``: when it last came back from
    the dead, for the ``returns``-th time of late (both cluster time); ``disturbed``: the last log index that recorded a
    replica here, or struck another replica of one of its chunks off, while it was being drained."""

    wish: int = 0
    until_ms: int = 0
    returned_ms: int = 0
    returns: int = 0
    disturbed: int = 0


@frozen
class RetiredRecord:
    """A replica that was struck off as surplus and that its node was, or will be, ordered to give up.  ``evidence`` is
    the log index that struck it off.  No add of this ``number`` or a lower one is recorded while the record is there.
    It outlives ``gone_ms`` (cluster time, 0 before), when the node reported that it had obeyed, for a page of an older
    inventory may still be on its way."""

    generation: int
    number: int
    evidence: int
    gone_ms: int = 0


@frozen
class EventRecord:
    """See dfs.protocol.messages.Event; its sequence is in the key."""

    index: int
    at_ms: int
    kind: int
    node: str
    count: int
    bytes: int
    detail: str


@frozen
class CareRecord:
    """One record.  ``first`` and ``next`` are sequences of events; ``loss`` is the last log index at which a node died
    or began to leave; then what is to be done about balance, and above which difference in per mille."""

    first: int = 1
    next: int = 1
    loss: int = 0
    balancing: int = 0
    threshold: int = 0


life_codec = Codec(
    LifeRecord, 1, ("wish", U8), ("until_ms", U64), ("returned_ms", U64), ("returns", U8), ("disturbed", U64)
)
retired_codec = Codec(
    RetiredRecord, 1, ("generation", U64), ("number", U64), ("evidence", U64), ("gone_ms", U64)
)
event_codec = Codec(
    EventRecord,
    1,
    ("index", U64),
    ("at_ms", U64),
    ("kind", U8),
    ("node", short_text),
    ("count", U64),
    ("bytes", U64),
    ("detail", Text(MAX_SENTENCE)),
)
care_codec = Codec(
    CareRecord, 1, ("first", U64), ("next", U64), ("loss", U64), ("balancing", U8), ("threshold", U16)
)

CODECS: tuple[Codec[object], ...] = (life_codec, retired_codec, event_codec, care_codec)  # type: ignore[assignment]  # as there
