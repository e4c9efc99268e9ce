"""Who belongs to the metadata cluster, from outside: look, let one in, promote, remove, hand leadership over.

Every change is one step that the leader makes through consensus, and may be asked for again where its answer was lost.
To let a member in is three: it becomes a learner, it catches up while it neither votes nor counts, it is promoted.
"""

from __future__ import annotations

from collections.abc import Callable

from dfs.client.concurrency import cancellable, pause
from dfs.client.context import Context
from dfs.client.errors import BadRequest, DFSError, Unavailable
from dfs.protocol.messages import ChangeMember, Done, GetMembers, MemberChange, MemberInfo, Members, TransferLeadership

POLL = 0.2
"""Seconds between looks at a learner that catches up."""

A_MOMENT = 2.0
"""Seconds for which a leader is looked for before anybody's word will do."""


class NoSuchMember(DFSError):
    """No metadata member has this name."""

    exit_code = 3


class MemberExists(DFSError):
    """Another address is known for the name."""

    exit_code = 4


Watch = Callable[[MemberInfo, int], None]


class Membership:
    """The operations, as ``client.membership``."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def members(self) -> Members:
        """As the leader knows them; during an election what any member knows.  Raises Unavailable."""
        try:
            return await self._of_leader(A_MOMENT)
        except Unavailable:
            return await self._context.ask(GetMembers(False), Members)

    async def let_in(self, name: str, address: str) -> Members:
        """Make it a learner, or find it a member already.  Raises MemberExists, BadRequest, Unavailable."""
        known = _named(await self._of_leader(), name)
        if known is not None and known.address != address:
            raise MemberExists(
                f"{name} is a member at {known.address} already",
                "names of members are used once: give the new one another",
            )
        return await self._change(MemberChange.ADD, name, address)

    async def caught_up(self, name: str, watch: Watch = lambda member, last_index: None) -> None:
        """Wait until a learner holds what the others hold.

        :param watch: called with what the leader knows of it and the end of the log, whenever that was asked.
        :raises Unavailable: it got no further for as long as the client's patience lasts.
        :raises NoSuchMember: somebody removed it meanwhile.
        """
        reactor, patience = self._context.runtime.reactor, self._context.patience
        match, since = -1, reactor.seconds()
        while True:
            found = await self._of_leader()
            member = self._must_name(found, name)
            watch(member, found.last_index)
            if member.voter or (member.alive and member.caught_up):
                return
            if member.match > match:
                match, since = member.match, reactor.seconds()
            elif reactor.seconds() - since > patience:
                raise _stuck(member, found.last_index, patience)
            await pause(reactor, POLL)

    async def promote(self, name: str) -> Members:
        """Let a learner vote.  Raises NoSuchMember, Unavailable while it has not caught up."""
        self._must_name(await self._of_leader(), name)
        return await self._change(MemberChange.PROMOTE, name)

    async def remove(self, name: str) -> Members:
        """Take a member out, for ever; one that was taken out before stays so.

        :raises NoSuchMember: there never was one of this name.
        :raises BadRequest: too few would be left alive.
        """
        found = await self._of_leader()
        if _named(found, name) is None:
            return await self._removed_before(found, name)
        if len(found.members) == 1:
            raise BadRequest(f"{name} is the only member", "let another one in first: `dfs meta add`")
        return await self._change(MemberChange.REMOVE, name)

    async def transfer(self, to: str | None = None) -> str:
        """Hand leadership to ``to``, or to the voter that has caught up furthest; who leads now.
        Raises NoSuchMember, Unavailable."""
        found = await self._of_leader()
        if to is None:
            others = [member for member in found.members if member.voter and member.name != found.leader]
            if not others:
                raise BadRequest(f"{found.leader} is the only voter", "let another one in first: `dfs meta add`")
            to = max(others, key=lambda member: (member.alive, member.caught_up, member.match)).name
        elif not self._must_name(found, to).voter:
            raise BadRequest(f"{to} is a learner and cannot lead", f"`dfs meta promote --name {to}` makes it a voter")
        await self._context.ask(TransferLeadership(to), Done)
        return to

    async def _removed_before(self, found: Members, name: str) -> Members:
        """Consensus remembers the names that were removed, and refuses one that it never knew."""
        try:
            return await self._change(MemberChange.REMOVE, name)
        except BadRequest:
            self._must_name(found, name)
            raise

    async def _of_leader(self, patience: float | None = None) -> Members:
        context = self._context
        found = await cancellable(context.caller.call(GetMembers(True), patience=patience or context.patience))
        assert isinstance(found, Members)  # nothing else answers this request
        return found

    async def _change(self, change: MemberChange, name: str, address: str = "") -> Members:
        return await self._context.ask(ChangeMember(change, name, address), Members)

    def _must_name(self, found: Members, name: str) -> MemberInfo:
        member = _named(found, name)
        if member is None:
            known = ", ".join(each.name for each in found.members)
            raise NoSuchMember(f"{name} is no metadata member", f"the members are {known}")
        return member


def _named(found: Members, name: str) -> MemberInfo | None:
    return next((member for member in found.members if member.name == name), None)


def _stuck(member: MemberInfo, last_index: int, patience: float) -> Unavailable:
    where = f"holds {member.match} of {last_index} entries" if member.alive else f"does not answer at {member.address}"
    return Unavailable(
        f"{member.name} is a learner, but {where} and got no further for {patience:g} s",
        f"start it with `twistd dfs-meta --join`, then `dfs meta promote --name {member.name}`; "
        f"or take it back: `dfs meta remove --name {member.name}`",
    )
