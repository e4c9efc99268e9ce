"""The incarnations of metadata members, pinned at their first contact (R35, S28).

A member's folder was made once, with a random incarnation.  A member that comes back with another one has lost its
term, vote and log: were it to vote again, a committed entry could be lost.  So the first incarnation seen of each
member is recorded by a command, and messages of any other one are not listened to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dfs.kv.interfaces import IKeyValueStore, prefix_end
from dfs.metaserver import tables
from dfs.metaserver.answers import MemberPinned
from dfs.metaserver.commands import PinMember
from dfs.metaserver.records import member_codec
from dfs.protocol.limits import MAX_META_MEMBERS

if TYPE_CHECKING:
    from dfs.metaserver.leading import LeaderTerm


def members(store: IKeyValueStore) -> dict[str, bytes]:
    """Every pinned member's incarnation."""
    pairs = store.scan(tables.MEMBERS, prefix_end(tables.MEMBERS), MAX_META_MEMBERS)
    return {key[1:].decode(): member_codec.decode(value).incarnation for key, value in pairs}


class Pinning:
    """What this node knows of pins: those of its tables, and who has shown up without one."""

    def __init__(self) -> None:
        self._pinned: dict[str, bytes] = {}
        self._seen: dict[str, bytes] = {}

    def read(self, pinned: dict[str, bytes]) -> None:
        """The tables have these."""
        self._pinned.update(pinned)

    def admits(self, member: str, incarnation: bytes) -> bool:
        """Whether this incarnation of a member may speak."""
        pinned = self._pinned.get(member)
        if pinned is None:
            self._seen.setdefault(member, incarnation)
            return True
        return pinned == incarnation

    async def round(self, term: LeaderTerm) -> bool:
        """A leader's duty: pin who has shown up."""
        for member, incarnation in list(self._seen.items()):
            answer = await term.seams.proposer.propose(PinMember(member, incarnation), MemberPinned)
            self._pinned[member] = answer.incarnation
            del self._seen[member]
        return False
