"""What metadata servers ask of one another, and what is asked about them.  See :mod:`dfs.protocol.messages`."""

from __future__ import annotations

from attrs import frozen


@frozen
class GetCheckpoints:
    """The leader compares the states of the members (S38)."""


@frozen
class Checkpoint:
    """The hash of the tables after entry ``index``."""

    index: int
    state_hash: bytes


@frozen
class Checkpoints:
    """The newest of this member, ascending."""

    checkpoints: tuple[Checkpoint, ...]
