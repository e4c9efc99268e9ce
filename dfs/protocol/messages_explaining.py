"""Why a chunk lies where it lies, and why it is not healed yet.  See :mod:`dfs.protocol.messages`."""

from __future__ import annotations

import enum

from attrs import frozen

from dfs.protocol.values import FileId, NodeState


@frozen
class Explain:
    """What the leader thinks of one chunk of a committed file."""

    file_id: FileId
    index: int


class Healing(enum.IntEnum):
    """What the mover is at with a chunk."""

    NOTHING = 1  # it lacks nothing, or nobody has looked since it does
    LOOKING = 2  # it is about to be looked at
    WAITING = 3  # it waits for a free stream of a source and of a target
    COPYING = 4
    BACKING_OFF = 5  # copies failed; the next try has a time
    ASIDE = 6  # there is no place for it


@frozen
class Verdict:
    """One node: whether it holds the chunk, and why it does, or does not get it."""

    node: str
    state: NodeState
    rack: str
    holds: bool
    sentence: str


@frozen
class Explanation:
    """``next_ms`` is how long until the mover acts again by the clock, 0 where an event decides.  ``verdicts`` are of
    those that hold the chunk and of the others that are best; ``others`` counts those that are left out."""

    name: str
    file_id: FileId
    index: int
    chunk_id: bytes
    generation: int
    length: int
    wanted: int
    counting: int
    need: str
    healing: Healing
    sentence: str
    next_ms: int
    verdicts: tuple[Verdict, ...]
    others: int
