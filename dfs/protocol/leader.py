"""Asks whichever metadata node leads, for as long as there is hope.

Requests to metadata are exactly-once or idempotent, so a lost answer is asked
for again.  Where an error's advice is to retry or to go elsewhere this does so, along the
hints of NotLeader, with a short seeded back-off, until ``patience`` seconds have passed.
Then one sentence names what was tried.

The members of the metadata cluster may change while the caller lives: now and then the leader is asked who they are, so
that the caller finds them when those that it was given are gone.
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.python.failure import Failure

from dfs.protocol.controls import ControlConnections
from dfs.protocol.errors import (
    Advice,
    BadRequest,
    Cancelled,
    DeadlinePassed,
    DFSError,
    Disconnected,
    Forbidden,
    NotLeader,
    Unavailable,
    VersionMismatch,
    WrongCluster,
)
from dfs.protocol.interfaces import IConnection, Identity, IService
from dfs.protocol.messages import GetMembers, GetStatus, Members, Status
from dfs.runtime.backoff import Backoff, full_jitter
from dfs.runtime.interfaces import Runtime

FIRST_DELAY = 0.05
MAX_DELAY = 0.4
CONNECT_TIMEOUT = 2.0
MAX_HINTS = 16  # addresses learned from hints
MAX_REDIRECTS = 3  # hints followed at once, one after the other; then with a delay
LEARN_INTERVAL = 5.0  # between questions who the members are, while there is something else to ask

_REFUSALS = (Forbidden, WrongCluster, VersionMismatch, BadRequest)
_LEAVE = (Disconnected, DeadlinePassed, Unavailable)


class Route:
    """Where to ask next.  Pure.

    :ivar leader: the address that is taken for the leader's, "" when there is no reason to prefer one.
    """

    def __init__(self, addresses: Sequence[str], first: int) -> None:
        self.leader = ""
        self._addresses = tuple(addresses)
        self._members: tuple[str, ...] = ()
        self._hinted: tuple[str, ...] = ()
        self._turn = first
        self._reader = ""
        self._reader_failed = False

    def next_address(self) -> str:
        """The leader's, else the next in turn."""
        if self.leader:
            return self.leader
        known = tuple(dict.fromkeys(self._members + self._addresses + self._hinted))
        if not known:
            raise BadRequest("no address of a metadata node was given", hint="name one with --meta or DFS_META")
        self._turn += 1
        return known[self._turn % len(known)]

    def any_address(self) -> str:
        """Of whatever member: the one that answered last; at first one that is not taken for the leader, which has
        enough to do; after a failure the next in turn."""
        if not self._reader:
            first = not self._reader_failed
            leader, self.leader = self.leader, ""
            self._reader = self.next_address()
            if first and self._reader == leader:
                self._reader = self.next_address()
            self.leader = leader
        return self._reader

    def learn(self, members: Sequence[str]) -> None:
        """The leader says that these are all the members."""
        self._members = tuple(members)[:MAX_HINTS]

    def leave(self, address: str) -> None:
        """This one does not lead, as far as we know."""
        if self.leader == address:
            self.leader = ""
        if self._reader == address:
            self._reader, self._reader_failed = "", True

    def follow(self, hint: str) -> None:
        """This one may lead."""
        self.leader = hint
        if hint not in self._addresses and hint not in self._hinted:
            self._hinted = (*self._hinted, hint)[-MAX_HINTS:]


class Attempts:
    """What one call has tried, and what follows from it.  Pure."""

    def __init__(self, route: Route, addresses: Sequence[str]) -> None:
        self._route = route
        self._addresses = tuple(addresses)
        self._errors: dict[str, DFSError] = {}
        self._refused: set[str] = set()
        self._redirects = 0

    def not_connected(self, address: str, error: DFSError) -> None:
        """``address`` was not reached.  Raises the error when every address that was given refuses us."""
        self._errors[address] = error
        self._route.leave(address)
        if isinstance(error, _REFUSALS):
            self._refused.add(address)
            if self._refused.issuperset(self._addresses):
                raise error
        else:
            self._refused.discard(address)

    def failed(self, address: str, error: DFSError) -> bool:
        """``address`` answered with an error, or not at all: whether to go on at once.  Raises what is final."""
        self._errors[address] = error
        if isinstance(error, NotLeader):
            self._route.leave(address)
            if not error.leader or error.leader == address:
                return False
            self._route.follow(error.leader)
            self._redirects += 1
            return self._redirects <= MAX_REDIRECTS
        if error.advice is Advice.FAIL:
            raise error
        if error.advice is Advice.ELSEWHERE or isinstance(error, _LEAVE):
            self._route.leave(address)
        return False

    def give_up(self, patience: float) -> Unavailable:
        """The error that names what was tried."""
        tried = "; ".join(
            error.message if error.message.startswith(address) else f"{address}: {error.message}"
            for address, error in self._errors.items()
        )
        return Unavailable(
            f"no metadata node did it within {patience:g} s ({tried or 'none was reached'})",
            hint="check `dfs status`, that a majority of the metadata nodes run, and the addresses given",
            nodes=tuple(self._errors),
        )


def _not_learnt(failure: Failure) -> None:
    """It leads no more, is of an older version, or nobody waits: those that are known must do."""
    failure.trap(DFSError, CancelledError)


class LeaderCaller:
    """Calls to the leader of the metadata nodes at ``addresses``."""

    def __init__(
        self, runtime: Runtime, identity: Identity, addresses: Sequence[str], service: IService | None = None
    ) -> None:
        self._runtime = runtime
        self._addresses = tuple(addresses)
        self._route = Route(addresses, int(runtime.random.random() * max(1, len(addresses))))
        self._connections = ControlConnections(runtime, identity, service)
        self._running: dict[Deferred[object], None] = {}  # a dict for its order: a set's differs from run to run
        self._stopped = False
        self._learnt_at: float = runtime.reactor.seconds()
        self._learning: Deferred[None] | None = None

    @property
    def cluster(self) -> bytes:
        """The cluster id that was learned, b"" before."""
        return self._connections.cluster

    @property
    def leader(self) -> str:
        """The address that is taken for the leader's, "" when there is no reason to prefer one."""
        return self._route.leader

    @property
    def identity(self) -> Identity:
        """What we say of ourselves on connections made from now on."""
        return self._connections.identity

    @identity.setter
    def identity(self, identity: Identity) -> None:
        self._connections.identity = identity

    def cluster_time_ms(self) -> int:
        """Cluster time by the latest Hello and our own monotonic clock since; 0 before the first."""
        return self._connections.cluster_time_ms()

    def call(
        self, request: object, timeout: float = 5.0, patience: float = 30.0, anyone: bool = False
    ) -> Deferred[object]:
        """Ask the leader, or with ``anyone`` whatever member; each try has ``timeout`` seconds.  Fails with the error
        of the answer when its advice is to fail, else with Unavailable after ``patience`` seconds.  Cancelling gives up
        (Cancelled)."""
        if self._stopped:
            return fail(Disconnected("the caller of the metadata servers was stopped"))
        running = Deferred.fromCoroutine(self._call(request, timeout, patience, anyone))
        if not running.called:
            self._running[running] = None
        return running.addBoth(self._ended, running)

    def _ended(self, result: object, running: Deferred[object]) -> object:
        self._running.pop(running, None)
        if isinstance(result, Failure) and result.check(CancelledError):
            return Failure(Cancelled("the caller gave up"))
        return result

    def stop(self) -> Deferred[None]:
        """Give every call up and close all connections; fires when they are closed."""
        self._stopped = True
        if self._learning is not None:
            self._learning.cancel()
        for running in list(self._running):
            running.cancel()
        return self._connections.stop()

    async def _call(self, request: object, timeout: float, patience: float, anyone: bool) -> object:
        seconds = self._runtime.reactor.seconds
        deadline = seconds() + patience
        backoff = Backoff(full_jitter(self._runtime.random, FIRST_DELAY, MAX_DELAY))
        attempts = Attempts(self._route, self._addresses)
        while True:
            address = self._route.any_address() if anyone else self._route.next_address()
            each = min(timeout, max(deadline - seconds(), 0.1))
            at_once = False
            try:
                connection = await self._connections.get(address, min(each, CONNECT_TIMEOUT))
            except DFSError as error:
                attempts.not_connected(address, error)
            else:
                try:
                    answer = await connection.call(request, each)
                except DFSError as error:
                    if isinstance(error, Disconnected):
                        self._connections.drop(connection, address)
                    at_once = attempts.failed(address, error)
                else:
                    if not anyone:
                        self._answered(request, answer, connection, address)
                    return answer
            delay = 0.0 if at_once else backoff.next_delay()
            if seconds() + delay >= deadline:
                raise attempts.give_up(patience)
            if delay:
                await self._sleep(delay)

    def _answered(self, request: object, answer: object, connection: IConnection, address: str) -> None:
        """It leads, unless any node answers such a request."""
        if isinstance(answer, Members) and answer.leader == answer.node:
            self._learnt(answer)
        elif isinstance(answer, Status):
            self._route.learn([member.address for member in answer.members if member.address])
        if isinstance(request, GetStatus) or (isinstance(request, GetMembers) and not request.of_leader):
            return
        self._route.follow(address)
        if self._learning is None and self._runtime.reactor.seconds() - self._learnt_at >= LEARN_INTERVAL:
            self._learnt_at = self._runtime.reactor.seconds()
            learning = connection.call(GetMembers(True), CONNECT_TIMEOUT).addCallbacks(self._learnt, _not_learnt)
            self._learning = learning
            learning.addBoth(self._learning_ended)  # type: ignore[unused-awaitable]

    def _learnt(self, answer: Members) -> None:
        self._learnt_at = self._runtime.reactor.seconds()
        self._route.learn([member.address for member in answer.members if member.address])

    def _learning_ended(self, _: object) -> None:
        self._learning = None

    async def _sleep(self, delay: float) -> None:
        pause: Deferred[None] = Deferred()
        timer = self._runtime.reactor.callLater(delay, pause.callback, None)
        try:
            await pause
        finally:
            if timer.active():
                timer.cancel()
