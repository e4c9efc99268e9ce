"""Reporting to every metadata node: registration, beats, job results, inventories.

One :class:`Reporter` for each address: it keeps a connection, registers first on each, then
beats at the interval that metadata told, and at once when a job ended.  Only the answers of a node
that leads carry jobs and take results; until then results are sent again.

A registration that is refused for good (another process serves this folder, S19) ends the node; whatever else fails
is tried again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from dfs.chunkserver.clustertime import ClusterClock
from dfs.chunkserver.founding import Founding
from dfs.chunkserver.jobs import Jobs
from dfs.chunkserver.listing import Listing
from dfs.chunkserver.scrubbing import Scrubber
from dfs.chunkserver.store import ChunkStore
from dfs.protocol.errors import Advice, DeadlinePassed, DFSError, Disconnected, NotLeader, UnknownRequest
from dfs.protocol.interfaces import IConnection
from dfs.protocol.messages import (
    ChunkCommit,
    DurableReplica,
    Heartbeat,
    HeartbeatAnswer,
    HeldReplica,
    Register,
    Registered,
    ReportHealth,
)
from dfs.protocol.values import NodeNumber
from dfs.runtime.interfaces import Runtime

_log = Logger()

RESULTS = 256
"""Job results in one beat."""

FIRST_INTERVAL = 1.0
"""Seconds between beats until metadata told another interval."""

CALL_TIMEOUT = 10.0

HEALTH_INTERVAL = 30.0
"""Seconds between two words of progress."""


class Connector(Protocol):
    """What is used of dfs.protocol.link.Link."""

    def when_connected(self) -> Deferred[IConnection]: ...


@frozen
class Self:
    """What registration says of this node.  ``incarnation`` is the folder's, ``boot`` this process's, 16 bytes each."""

    name: str
    address: str
    incarnation: bytes
    boot: bytes
    rack: str


class Standing:
    """What metadata told us, and what we tell: shared by all reporters.

    :ivar number: our node number, 0 while it is not known.
    :ivar term: the highest of the leaders that were heard.
    :ivar streams: counts the transfers in progress.
    :ivar clients: at a moment, how many of them are clients', and the bytes/s of these.
    """

    def __init__(
        self,
        runtime: Runtime,
        who: Self,
        store: ChunkStore,
        jobs: Jobs,
        clock: ClusterClock,
        streams: Callable[[], int],
        founding: Founding,
    ) -> None:
        self.number = NodeNumber(0)
        self.clients: Callable[[float], tuple[int, int]] = lambda now: (0, 0)
        self.term = 0
        self.heard: float | None = None
        """When a metadata node answered a beat last, seconds of the reactor."""
        self.scrubber: Scrubber | None = None
        self.interval = FIRST_INTERVAL
        self.runtime, self.who, self.store, self.jobs, self.clock = runtime, who, store, jobs, clock
        self.streams = streams
        self.founding = founding

    async def register(self) -> Register:
        """The registration to send now."""
        who, space = self.who, await self.store.space()
        return Register(
            who.name, who.address, who.incarnation, who.boot, who.rack, space.total, space.free, self.store.number
        )

    async def beat(self) -> Heartbeat:
        """The heartbeat to send now."""
        store, space = self.store, await self.store.space()
        return Heartbeat(
            self.number,
            self.who.incarnation,
            self.who.boot,
            space.total,
            space.free,
            store.index.bytes,
            len(store.index),
            store.quarantined,
            self.streams(),
            store.number,
            self.jobs.running,
            self.jobs.results(RESULTS),
            *self.clients(self.runtime.reactor.seconds()),
        )

    def health(self) -> ReportHealth:
        """How the disk does."""
        doubts = self.store.doubts
        done, total = self.scrubber.progress if self.scrubber is not None else (0, 0)
        return ReportHealth(
            self.number,
            self.who.incarnation,
            doubts.trouble,
            doubts.unreadable,
            doubts.rotten,
            done,
            total,
            self.store.quarantine.bytes,
        )

    def durable(self, held: HeldReplica) -> ChunkCommit:
        """What metadata is told of a replica that is durable here."""
        here = (DurableReplica(self.number, held.number),)
        return ChunkCommit(held.file_id, held.index, held.generation, held.length, held.sha256, here)

    def registered(self, answer: Registered) -> None:
        """Metadata knows us."""
        self.number = answer.node
        if answer.heartbeat_ms:
            self.interval = answer.heartbeat_ms / 1000
        self.clock.observe(answer.cluster_time_ms, self.runtime.reactor.seconds(), leads=True)


class RegistrationRefused(Exception):
    """Metadata will not have this node; the sentence tells why."""


class Reporter:
    """Reports to one metadata address until stopped.

    :param refused: called with a sentence when metadata will not have this node, and will not change its mind.
    """

    def __init__(self, standing: Standing, link: Connector, refused: Callable[[str], None]) -> None:
        self._standing, self._link, self._refused = standing, link, refused
        self._clock = standing.runtime.reactor
        self._stopped = False
        self._kicked = False
        self._sleep: Deferred[None] | None = None
        self._timer: IDelayedCall | None = None
        self._waiting: Deferred[IConnection] | None = None
        self._registered = False
        self._listing = False
        self.leads = False
        """Whether whom we report to led when it answered last."""
        self._told: ReportHealth | None = None  # on this connection
        self._tell_next = 0.0
        self._inventory: Deferred[None] | None = None
        self.task: Deferred[None] | None = None

    def start(self) -> None:
        """Begin; ``task`` fires once stopped."""
        self.task = Deferred.fromCoroutine(self._run())

    def stop(self) -> None:
        """No beat begins after this."""
        self._stopped = True
        self.kick()
        if self._waiting is not None:
            self._waiting.cancel()

    def kick(self) -> None:
        """Beat at once, or right after the one that is on its way."""
        self._kicked = True
        sleep, self._sleep = self._sleep, None
        if sleep is not None:
            sleep.callback(None)

    async def _run(self) -> None:
        while not self._stopped:
            try:
                self._waiting = self._link.when_connected()
                connection = await self._waiting
                self._waiting = None
                self._registered = self.leads = False
                while not self._stopped:
                    await self._report(connection)
                    await self._pause(self._standing.interval)
            except (Disconnected, DeadlinePassed):
                self.leads = False
                await self._pause(FIRST_INTERVAL / 4)
            except RegistrationRefused as error:
                self._stopped = True
                self._refused(str(error))
            except DFSError as error:
                _log.warn("a report to metadata failed: {error}", error=error)
                await self._pause(self._standing.interval)
            except Exception:  # noqa: BLE001 - reporting goes on whatever happens to one report
                if not self._stopped:
                    _log.failure("a report to metadata failed")
                    await self._pause(self._standing.interval)

    async def _pause(self, seconds: float) -> None:
        """Wait, or less when kicked."""
        if not self._kicked and not self._stopped:
            self._sleep = Deferred()
            timer = self._clock.callLater(seconds, self.kick)
            await self._sleep
            if timer.active():
                timer.cancel()
        self._kicked = False

    async def _report(self, connection: IConnection) -> None:
        """Register if that is due, else beat."""
        if not self._registered:
            await self._register(connection)
            if not self._registered:
                return
        standing = self._standing
        beat = await standing.beat()
        answer = await connection.call(beat, CALL_TIMEOUT)
        if not isinstance(answer, HeartbeatAnswer):
            raise Disconnected(f"metadata answered a beat with {type(answer).__name__}")
        standing.clock.observe(answer.cluster_time_ms, self._clock.seconds(), answer.leads)
        standing.heard = self._clock.seconds()
        self.leads = answer.leads
        if answer.register:
            self._registered = False
            self._kicked = True
            return
        if answer.leads:
            if answer.next_ms:
                standing.interval = answer.next_ms / 1000
            standing.term = max(standing.term, answer.term)
            standing.jobs.taken(beat.results)
            standing.jobs.accept(answer.jobs)
        if answer.inventory:
            self._begin_inventory(connection)
        await self._report_health(connection)

    async def _report_health(self, connection: IConnection) -> None:
        """At once when the disk is in trouble, or no more; else now and then, where there is anything new to tell."""
        health, told = self._standing.health(), self._told
        now = self._clock.seconds()
        if told is not None and (health == told or (health.trouble == told.trouble and now < self._tell_next)):
            return
        self._told, self._tell_next = health, now + HEALTH_INTERVAL
        try:
            await connection.call(health, CALL_TIMEOUT)
        except UnknownRequest:
            _log.debug("an older metadata node does not want to hear of disks")

    async def _register(self, connection: IConnection) -> None:
        """Register; a node that does not lead may not be able to, and is asked again with the next beat."""
        self._standing.founding.check(connection)
        try:
            answer = await connection.call(await self._standing.register(), CALL_TIMEOUT)
        except NotLeader:
            self._registered = self._standing.number != 0
            return
        except DFSError as error:
            if error.advice is Advice.FAIL:
                raise RegistrationRefused(f"{error.message}; {error.hint}" if error.hint else error.message) from error
            raise
        if not isinstance(answer, Registered):
            raise Disconnected(f"metadata answered a registration with {type(answer).__name__}")
        await self._standing.founding.registered(connection)
        self._standing.registered(answer)
        self._registered = True
        self._told = None
        if answer.inventory:
            self._begin_inventory(connection)

    def _begin_inventory(self, connection: IConnection) -> None:
        """Send an inventory beside the beats, which go on meanwhile; one at a time."""
        if not self._listing:
            self._listing = True
            standing = self._standing
            incarnation = standing.who.incarnation
            listing = Listing(connection, standing.store, standing.number, incarnation, lambda: not self._stopped)
            inventory = Deferred.fromCoroutine(listing.send())
            self._inventory = inventory.addErrback(self._inventory_failed).addCallback(self._inventory_ended)

    def _inventory_failed(self, failure: Failure) -> None:
        """Register again with the next beat: metadata asks anew, if it wants one."""
        self._registered = False
        if failure.check(DFSError):
            _log.warn("an inventory was cut short: {error}", error=failure.value)
        else:
            _log.failure("an inventory was cut short", failure)

    def _inventory_ended(self, _: None) -> None:
        self._listing = False
