"""The tree of errors that cross the wire, one class a code.

Each class says what its receiver had better do (:class:`Advice`) and which exit
code the command line gives it.  Codes are never reused.  A sentence for the user
is the first argument; ``hint`` says what to do next; ``nodes`` names the nodes
concerned and ``leader`` the address to go to, where there is one.
"""

from __future__ import annotations

import enum
from typing import ClassVar


class Advice(enum.Enum):
    """What a caller does with an error."""

    FAIL = "fail"  # the same request will fail again
    RETRY = "retry"  # the same request, a little later
    ELSEWHERE = "elsewhere"  # the same request to another node


class DFSError(Exception):
    """The root.  Only its subclasses travel; each has a code of its own."""

    code: ClassVar[int] = 0
    advice: ClassVar[Advice] = Advice.FAIL
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, hint: str = "", nodes: tuple[str, ...] = (), leader: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.nodes = nodes
        self.leader = leader


class InternalError(DFSError):
    """The peer failed in a way it did not foresee; its log has the traceback."""

    code = 1
    advice = Advice.RETRY


class BadRequest(DFSError):
    """The request breaks a rule of the protocol or a limit; the sentence names it."""

    code = 2


class FileNotFound(DFSError):
    """There is no file of this name or id."""

    code = 3
    exit_code = 3


class FileExists(DFSError):
    """A committed file of this name is there already."""

    code = 4
    exit_code = 4


class NotLeader(DFSError):
    """This metadata node does not lead; ``leader`` is the address of the one that may."""

    code = 5
    advice = Advice.ELSEWHERE
    exit_code = 5


class Unavailable(DFSError):
    """Too few nodes to serve the request now (no leader, no quorum, too few chunk servers)."""

    code = 6
    advice = Advice.RETRY
    exit_code = 5


class Busy(DFSError):
    """A limit of work in flight is reached; nothing was done."""

    code = 7
    advice = Advice.RETRY
    exit_code = 5


class NoSpace(DFSError):
    """The disk is full."""

    code = 8
    advice = Advice.ELSEWHERE
    exit_code = 5


class ReplicaCorrupt(DFSError):
    """The bytes at this node, or sent to it, do not match their checksum."""

    code = 9
    advice = Advice.ELSEWHERE
    exit_code = 6


class StaleGeneration(DFSError):
    """The chunk has another generation than the one named."""

    code = 10


class StaleEpoch(DFSError):
    """Another writer resumed this upload; this one is fenced off."""

    code = 11


class Forbidden(DFSError):
    """The key, MAC or grant is wrong, or this role may not ask for this."""

    code = 12


class WrongCluster(DFSError):
    """The peer belongs to another cluster, or is not the node that it was taken for."""

    code = 13


class VersionMismatch(DFSError):
    """The peer speaks no version of the protocol that this one understands."""

    code = 14


class DeadlinePassed(DFSError):
    """No answer in time; whether it took effect is unknown."""

    code = 15
    advice = Advice.RETRY
    exit_code = 5


class Disconnected(DFSError):
    """The connection ended before the answer; whether the request took effect is unknown."""

    code = 16
    advice = Advice.RETRY
    exit_code = 5


class QuorumFailed(DFSError):
    """Fewer replicas than the write quorum became durable; ``nodes`` names those that failed."""

    code = 17
    advice = Advice.RETRY
    exit_code = 5


class SessionExpired(DFSError):
    """The client's session is beyond the window of remembered answers: never executed again (R44)."""

    code = 18


class UploadGone(DFSError):
    """The upload was deleted, aborted or has expired (S36)."""

    code = 19


class ReplicaNotFound(DFSError):
    """This chunk server does not hold that replica."""

    code = 20
    advice = Advice.ELSEWHERE
    exit_code = 6


class Cancelled(DFSError):
    """The caller gave the request up."""

    code = 21


class DiskFailed(DFSError):
    """The node's disk reported an error other than lack of space."""

    code = 22
    advice = Advice.ELSEWHERE
    exit_code = 5


class UnknownRequest(DFSError):
    """The peer does not know this kind of request (an older version during an upgrade, S39)."""

    code = 23


#: The literal table: code -> class.
BY_CODE: dict[int, type[DFSError]] = {
    1: InternalError,
    2: BadRequest,
    3: FileNotFound,
    4: FileExists,
    5: NotLeader,
    6: Unavailable,
    7: Busy,
    8: NoSpace,
    9: ReplicaCorrupt,
    10: StaleGeneration,
    11: StaleEpoch,
    12: Forbidden,
    13: WrongCluster,
    14: VersionMismatch,
    15: DeadlinePassed,
    16: Disconnected,
    17: QuorumFailed,
    18: SessionExpired,
    19: UploadGone,
    20: ReplicaNotFound,
    21: Cancelled,
    22: DiskFailed,
    23: UnknownRequest,
}
