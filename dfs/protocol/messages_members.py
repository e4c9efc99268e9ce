"""What metadata servers ask of one another, and what is asked about them.  See :mod:`dfs.protocol.messages`."""

from __future__ import annotations

import enum

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


@frozen
class GetMembers:
    """Who belongs to the metadata cluster.  With ``of_leader`` only the leader answers; else any member says what it
    knows, also during an election."""

    of_leader: bool


@frozen
class MemberInfo:
    """A metadata member.  What the leader alone knows is zero elsewhere.

    :ivar voter: it votes; else it is a learner.
    :ivar match: the last entry that it is known to hold durably.
    :ivar alive: the leader heard it within an election time-out.
    :ivar caught_up: a learner that may be promoted.
    """

    name: str
    address: str
    voter: bool
    match: int
    alive: bool
    caught_up: bool


@frozen
class Members:
    """As ``node`` knows them in ``term``; ``leader`` is a name or None, ``last_index`` the end of its log."""

    node: str
    leader: str | None
    term: int
    last_index: int
    members: tuple[MemberInfo, ...]


class MemberChange(enum.IntEnum):
    """What an operator wants of the membership."""

    ADD = 1
    PROMOTE = 2
    REMOVE = 3


@frozen
class ChangeMember:
    """Change the membership by one member; one that is so already is answered all the same.  ``address`` is for ADD,
    which lets a member in as a learner."""

    change: MemberChange
    name: str
    address: str


@frozen
class TransferLeadership:
    """Hand leadership to a voter; answered when it leads."""

    to: str
