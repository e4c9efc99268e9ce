"""Linearizable reads: one confirmation of leadership for all reads of a turn, then the tables' lane.

A read that arrives in this turn of the reactor is answered from a state that holds everything acknowledged before it
arrived, for the quorum round that confirms this node's leadership begins after the turn (R47, S25).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Generic, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from dfs.kv.errors import StoreError
from dfs.kv.interfaces import IKeyValueStore
from dfs.metaserver.machine import MetadataMachine
from dfs.metaserver.translating import translate
from dfs.protocol.errors import Busy
from dfs.raft.errors import RaftError

MAX_WAITING = 10_000

Result = TypeVar("Result")


class RaftReads(Protocol):
    """What is asked of dfs.raft.node.RaftNode."""

    @property
    def applied_index(self) -> int: ...

    def read_index(self) -> Deferred[int]: ...

    def query(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]: ...


class Reader:
    """Used on the reactor thread; the questions run on the tables' lane.

    :param store_failed: told when the tables cannot be read, which ends the node.
    """

    def __init__(
        self,
        raft: RaftReads,
        machine: MetadataMachine,
        clock: IReactorTime,
        peers: Mapping[str, str],
        store_failed: Callable[[Failure], None],
    ) -> None:
        self._raft = raft
        self._machine = machine
        self._clock = clock
        self._peers = peers
        self._store_failed = store_failed
        self._turn: list[Deferred[None]] = []
        self._waiting = 0

    async def read(self, question: Callable[..., Result], *arguments: Any) -> Result:
        """``question(store, *arguments)`` on a state as new as this call.  Raises DFSError (NotLeader, Busy, ...)."""
        if self._waiting >= MAX_WAITING:
            raise Busy(f"{MAX_WAITING} reads are waiting; nothing was done")
        self._waiting += 1
        try:
            await self._confirmed()
            return await self.look(question, *arguments)
        except RaftError as error:
            raise translate(error, self._peers) from error
        finally:
            self._waiting -= 1

    @property
    def applied(self) -> int:
        """The last entry applied here of which this thread knows: while it stays, so do the tables."""
        return self._raft.applied_index

    async def look(self, question: Callable[..., Result], *arguments: Any) -> Result:
        """The same on whatever is applied here now: for the leader's own duties, whose findings are proposed and
        judged anew when they are applied.  Raises RaftError."""
        try:
            found: Result = await self._raft.query(self._ask, question, arguments)
        except StoreError:
            self._store_failed(Failure())
            raise
        return found

    def _ask(self, question: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        store: IKeyValueStore = self._machine.store  # another one after a snapshot was installed
        return question(store, *arguments)

    def _confirmed(self) -> Deferred[None]:
        waiter: Deferred[None] = Deferred()
        if not self._turn:
            self._clock.callLater(0, self._ask_quorum)
        self._turn.append(waiter)
        return waiter

    def _ask_quorum(self) -> None:
        waiting, self._turn = self._turn, []

        def confirmed(_: int) -> None:
            for waiter in waiting:
                if not waiter.called:
                    waiter.callback(None)

        def failed(failure: Any) -> None:
            for waiter in waiting:
                if not waiter.called:
                    waiter.errback(failure)

        self._raft.read_index().addCallbacks(confirmed, failed)  # type: ignore[unused-awaitable]


class Known(Generic[Result]):
    """What the tables answer to one question of a duty: asked anew only when something was applied since, so that a
    cluster at rest costs its threads nothing."""

    def __init__(self, reader: Reader, question: Callable[[IKeyValueStore], Result]) -> None:
        self._reader, self._question = reader, question
        self._as_of = -1
        self._found: Result

    async def look(self) -> Result:
        """See :meth:`Reader.look`."""
        applied = self._reader.applied  # before the look: what is applied meanwhile is looked at the next time
        if applied != self._as_of:
            self._found = await self._reader.look(self._question)
            self._as_of = applied
        return self._found
