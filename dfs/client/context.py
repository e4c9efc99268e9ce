"""What every operation of a client shares, and how it asks metadata."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from attrs import Factory, field, frozen

from dfs.client.concurrency import cancellable
from dfs.client.reads import AnyMember
from dfs.client.reporting import Reports
from dfs.client.session import Session
from dfs.client.together import Together
from dfs.disk.interfaces import IDisk
from dfs.protocol.errors import InternalError, SessionExpired
from dfs.protocol.leader import LeaderCaller
from dfs.protocol.messages import Operation
from dfs.protocol.pool import BulkPool
from dfs.runtime.interfaces import Runtime

A = TypeVar("A")


@frozen
class Context:
    """``patience``: seconds without any progress after which an operation gives up.
    ``idle_timeout``: seconds without progress after which one transfer is given up and another replica tried.
    ``any_member``: whom reads of names and chunk lists go to instead of the leader.
    ``together``: the requests that small files share.
    ``hedge_after``: seconds without an answer after which a second replica is asked beside the first."""

    runtime: Runtime
    disk: IDisk
    caller: LeaderCaller
    pool: BulkPool
    session: Session
    reports: Reports
    state_folder: str
    patience: float = 30.0
    idle_timeout: float = 10.0
    hedge_after: float = 1.0
    any_member: AnyMember | None = None
    together: Together = field(init=False, default=Factory(Together, takes_self=True))

    async def read(self, request: object, answer: type[A]) -> A:
        """As :meth:`ask`, for GetFile, ListChunks and ListFiles: of any member where the client was made so."""
        if self.any_member is None:
            return await self.ask(request, answer)
        found = await self.any_member.ask(request, self.patience)
        assert isinstance(found, answer)
        return found

    async def ask(self, request: object, answer: type[A]) -> A:
        """Metadata's answer, which is of this class.  Raises what metadata says, Unavailable after ``patience``."""
        found = await cancellable(self.caller.call(request, patience=self.patience))
        if not isinstance(found, answer):
            raise InternalError(f"metadata answered with {type(found).__name__} where {answer.__name__} belongs")
        return found

    async def mutate(self, make: Callable[[Operation], object], answer: type[A], repeatable: bool = True) -> A:
        """Ask for a change, exactly once; ``make`` puts the operation into the request.

        :param repeatable: doing it twice does no harm, so a session that was forgotten meanwhile is no reason to fail.
        """
        try:
            with self.session.operation() as operation:
                return await self.ask(make(operation), answer)
        except SessionExpired:
            self.session.expire()
            if not repeatable:
                raise
        with self.session.operation() as operation:
            return await self.ask(make(operation), answer)
