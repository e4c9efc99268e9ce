"""What a client or chunk server hears of Raft's and the stores' errors: the one table."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from dfs.metaserver.packing import Malformed
from dfs.protocol.errors import BadRequest, Busy, DFSError, NotLeader, Unavailable
from dfs.raft import errors as raft


def not_leader(leader: str | None, peers: Mapping[str, str]) -> NotLeader:
    """``leader`` is a member's name; the hint that travels is its address."""
    if leader is None or leader not in peers:
        return NotLeader("this metadata node does not lead, and no leader is known at the moment")
    return NotLeader(f"this metadata node does not lead; {leader} does", leader=peers[leader])


def _not_leader(error: Exception, peers: Mapping[str, str]) -> DFSError:
    return not_leader(error.leader if isinstance(error, raft.NotLeader) else None, peers)


def _busy(error: Exception, peers: Mapping[str, str]) -> DFSError:
    return Busy("the metadata node has too much in progress; nothing was done")


def _unknown(error: Exception, peers: Mapping[str, str]) -> DFSError:
    return Unavailable(
        "leadership moved before the outcome was known", hint="ask again: an operation takes effect only once"
    )


def _stopped(error: Exception, peers: Mapping[str, str]) -> DFSError:
    return Unavailable("this metadata node is starting or stopping")


def _malformed(error: Exception, peers: Mapping[str, str]) -> DFSError:
    return BadRequest(f"the request breaks a limit: {error}")


def _refused(error: Exception, peers: Mapping[str, str]) -> DFSError:
    return BadRequest(str(error), hint="`dfs meta list` shows the members")


def _soon(error: Exception, peers: Mapping[str, str]) -> DFSError:
    return Unavailable(str(error), hint="`dfs meta list` shows the members; try again")


#: First match wins.
TABLE: tuple[tuple[type[Exception], Callable[[Exception, Mapping[str, str]], DFSError]], ...] = (
    (raft.NotLeader, _not_leader),
    (raft.Busy, _busy),
    (raft.OutcomeUnknown, _unknown),
    (raft.ChangeInProgress, _soon),
    (raft.NotCaughtUp, _soon),
    (raft.UnknownMember, _refused),
    (raft.ChangeRefused, _refused),
    (raft.TransferFailed, _soon),
    (raft.RaftError, _stopped),
    (Malformed, _malformed),
)


def translate(error: Exception, peers: Mapping[str, str]) -> DFSError:
    """The wire's error for one of the table; any other one is raised as it is, for it was not foreseen."""
    for cls, make in TABLE:
        if isinstance(error, cls):
            return make(error, peers)
    raise error
