"""What a proposal or a read can end with, and what stops a node.

*Refused* errors (NotLeader, Busy, Stopped) mean that nothing was appended: the
caller may try again elsewhere.  OutcomeUnknown means that the entry may yet be
committed (R46): the caller retries under the same client id and sequence number.
"""

from __future__ import annotations


class RaftError(Exception):
    """The root."""


class NotLeader(RaftError):
    """This node does not lead.  ``leader`` is the member believed to lead in this term, or None."""

    def __init__(self, leader: str | None) -> None:
        super().__init__(f"not the leader; try {leader}" if leader else "not the leader, and none is known")
        self.leader = leader


class Busy(RaftError):
    """The limit of uncommitted bytes or waiting reads is reached (R25): nothing was appended."""


class Stopped(RaftError):
    """The node is shutting down or has failed: nothing was appended."""


class OutcomeUnknown(RaftError):
    """The entry was appended but leadership, or the node, went away before the outcome was known."""


class ChangeRefused(RaftError):
    """A change of the membership was not begun; nothing was appended.  The text is a sentence for an operator."""


class ChangeInProgress(ChangeRefused):
    """An earlier change, the leader's first entry of its term, or a transfer of leadership is not finished (R51):
    try again soon."""


class NotCaughtUp(ChangeRefused):
    """The learner does not hold what the others hold yet (R54): try again later."""


class WouldLoseQuorum(ChangeRefused):
    """Fewer voters would be alive than a majority needs (R56)."""


class UnknownMember(ChangeRefused):
    """No member has this name."""


class NameUsedBefore(ChangeRefused):
    """The name is, or was, another member's; names never come back (R35)."""


class TooManyMembers(ChangeRefused):
    """The configuration has no room for another name."""


class TransferFailed(RaftError):
    """Leadership did not go to the member asked for (R58); this node, or another one, leads."""


class StorageFailed(RaftError):
    """A write or sync of the log failed: the node stops and never retries it (R27)."""


class StorageCorrupt(RaftError):
    """The log or the term-and-vote record fails its checks where nothing torn can explain it (R04, R29)."""


class WrongCluster(RaftError):
    """State on disk belongs to another cluster, member or incarnation than the flags say (S28, R35)."""
