"""The incarnations of metadata members, pinned at their first contact (R35, S28).

A member's folder was made once, with a random incarnation.  A member that comes back with another one has lost its
term, vote and log: were it to vote again, a committed entry could be lost.  So the first incarnation seen of each
member is recorded by a command, and messages of any other one are not listened to.

The cluster's own founding (which founders log entry 1 names) is recorded in the same way, under a name that no node can
have.  It tells two clusters of one key apart: in Hello, nodes of different ones refuse each other.  A founder knows it
from its own log; a member that joined later learns it from the tables.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from hashlib import sha256
from typing import TYPE_CHECKING

from dfs.kv.interfaces import IKeyValueStore, prefix_end
from dfs.metaserver import tables
from dfs.metaserver.answers import MemberPinned
from dfs.metaserver.commands import PinMember
from dfs.metaserver.records import member_codec
from dfs.protocol.errors import DFSError

if TYPE_CHECKING:
    from dfs.metaserver.leading import LeaderTerm

FOUNDING = "/founding"
MAX_PINS = 1024
"""More than all the names that a configuration has room for, former members' among them."""


def founding_of(first_entry: bytes) -> bytes:
    """16 bytes that tell a cluster from another one of the same key, from the payload of log entry 1; b"" of b""."""
    return sha256(first_entry).digest()[:16] if first_entry else b""


def members(store: IKeyValueStore) -> dict[str, bytes]:
    """Every pinned member's incarnation."""
    pairs = store.scan(tables.MEMBERS, prefix_end(tables.MEMBERS), MAX_PINS)
    return {key[1:].decode(): member_codec.decode(value).incarnation for key, value in pairs}


class Pinning:
    """What this node knows of pins: those of its tables, and who has shown up without one.

    :param members: those whose incarnations are to be pinned.
    :param learnt: called with the founding when the tables told it first.
    """

    def __init__(self, members: Container[str], learnt: Callable[[bytes], None] = lambda founding: None) -> None:
        self._members = members
        self._pinned: dict[str, bytes] = {}
        self._seen: dict[str, bytes] = {}
        self._learnt = learnt

    @property
    def founding(self) -> bytes:
        """Of the cluster, b"" while it is not known."""
        return self._pinned.get(FOUNDING, b"")

    def read(self, pinned: dict[str, bytes]) -> None:
        """The tables have these."""
        known = self.founding
        self._pinned.update(pinned)
        if self.founding != known:
            self._learnt(self.founding)

    def founded(self, founding: bytes) -> bool:
        """This node's own log says so (b"": it does not know); False where the tables know another one."""
        if founding and not self.founding:
            self._seen[FOUNDING] = founding
            return True
        return not founding or founding == self.founding

    def admits(self, member: str, incarnation: bytes) -> bool:
        """Whether this incarnation of a member may speak: the pinned one, and until then the first that spoke here."""
        pinned = self._pinned.get(member)
        if pinned is None and member in self._members:
            pinned = self._seen.setdefault(member, incarnation)
        return pinned is None or pinned == incarnation

    async def round(self, term: LeaderTerm) -> bool:
        """A leader's duty: pin who has shown up.  Raises DFSError where one could not be pinned; the others are."""
        failed: DFSError | None = None
        for member, incarnation in list(self._seen.items()):
            try:
                answer = await term.seams.proposer.propose(PinMember(member, incarnation), MemberPinned)
            except DFSError as error:
                failed = error
                continue
            self._pinned[member] = answer.incarnation
            self._seen.pop(member, None)
        if failed is not None:
            raise failed
        return False
