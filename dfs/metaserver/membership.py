"""What operators ask about the metadata cluster itself: who belongs, let one in, promote, remove, hand leadership over.

Consensus refuses what is unsafe (dfs.raft: one change at a time, a learner before a voter, never below a quorum); here
names and addresses are checked, and its answers become the protocol's.  A change that is so already is answered like
one that was just made, so a command whose answer was lost may be given again.
"""

from __future__ import annotations

from collections.abc import Callable

from dfs.metaserver.pinning import members as pinned
from dfs.metaserver.seams import Seams
from dfs.metaserver.translating import not_leader
from dfs.protocol.errors import BadRequest, Unavailable
from dfs.protocol.messages import (
    ChangeMember,
    Done,
    GetMembers,
    MemberChange,
    MemberInfo,
    Members,
    TransferLeadership,
)
from dfs.raft.interfaces import IRaft, RaftStatus
from dfs.raft.membership import AddLearner, Change, Promote, Remove
from dfs.runtime.daemon import check_node_name
from dfs.runtime.dial import parse_address
from dfs.runtime.errors import SettingError

CHANGES: dict[MemberChange, Callable[[str, str], Change]] = {
    MemberChange.ADD: AddLearner,
    MemberChange.PROMOTE: lambda name, address: Promote(name),
    MemberChange.REMOVE: lambda name, address: Remove(name),
}


def role_of(status: RaftStatus) -> str:
    """The word of `dfs status` for a member."""
    if status.removed:
        return "removed"
    return "learner" if status.node in status.learners else status.role


class Membership:
    """The requests, on any member; what changes something is for the leader."""

    def __init__(self, seams: Seams, raft: IRaft) -> None:
        self._seams, self._raft = seams, raft

    async def members(self, request: GetMembers) -> Members:
        """See GetMembers.  Raises NotLeader."""
        if request.of_leader:
            self._check_leads()
        return self._members()

    async def change(self, request: ChangeMember) -> Members:
        """See ChangeMember.  Raises DFSError, RaftError."""
        self._check_leads()
        try:
            check_node_name(request.name)
            address = str(parse_address(request.address)) if request.change is MemberChange.ADD else ""
        except SettingError as error:
            raise BadRequest(str(error)) from None
        if request.change is MemberChange.ADD:
            self._check_address(request.name, address)
        elif request.change is MemberChange.PROMOTE:
            await self._check_pinned(request.name)
        await self._raft.change(CHANGES[request.change](request.name, address))
        return self._members()

    async def transfer(self, request: TransferLeadership) -> Done:
        """See TransferLeadership.  Raises DFSError, RaftError."""
        if request.to != self._seams.config.node or self._raft.status().role != "leader":
            self._check_leads()
            await self._raft.transfer(request.to)
        return Done()

    def _check_leads(self) -> None:
        status = self._raft.status()
        if status.role != "leader":
            raise not_leader(status.leader, self._seams.members)

    async def _check_pinned(self, name: str) -> None:
        """A voter's incarnation is on record before it votes: wiped within that moment, it could vote twice (R35).
        Raises Unavailable."""
        if self._seams.members.get(name) is not None and name not in await self._seams.reader.look(pinned):
            raise Unavailable(f"{name} has not spoken long enough to be known again", hint="ask again in a few seconds")

    def _check_address(self, name: str, address: str) -> None:
        holder = next((each for each, at in self._seams.members.items() if at == address and each != name), None)
        if holder is not None:
            raise BadRequest(f"{holder} is at {address}", hint=f"give {name} an address of its own")

    def _members(self) -> Members:
        status, configuration = self._raft.status(), self._raft.configuration()
        known = {each.name: each for each in status.progress}
        found = []
        for name in sorted(configuration.members):
            progress = known.get(name)
            here = name == status.node and status.role == "leader"
            found.append(
                MemberInfo(
                    name,
                    self._seams.members.get(name, configuration.contact(name)),
                    voter=name in configuration.voters,
                    match=progress.match if progress is not None else status.last_index if here else 0,
                    alive=here or (progress is not None and progress.alive),
                    caught_up=here or (progress is not None and progress.caught_up),
                )
            )
        return Members(status.node, status.leader, status.term, status.last_index, tuple(found))
