"""One leadership: everything that a leader holds in memory, and the duties that it does.

It begins when Raft says that this node leads *and has applied the no-op of its own term* (S29), loads what it needs
from the tables, serves, and ends at the first doubt.  Nothing of it outlives the term: the next leader knows only the
tables, gives each node and each upload a full time-out (S02), and finds what is short by scanning.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from dfs.metaserver import founding, queries
from dfs.metaserver.answers import Changed
from dfs.metaserver.caring import Caring
from dfs.metaserver.clustertime import ClusterClock
from dfs.metaserver.collecting import Collecting
from dfs.metaserver.comparing import INTERVAL as COMPARING_INTERVAL
from dfs.metaserver.comparing import Comparing
from dfs.metaserver.duty import Duty
from dfs.metaserver.expiring import Expiring
from dfs.metaserver.following import Following
from dfs.metaserver.granting import Granter
from dfs.metaserver.inventorying import Inventorying
from dfs.metaserver.judging import Judging
from dfs.metaserver.leases import LeaseTable
from dfs.metaserver.liveness import Liveness
from dfs.metaserver.orders import Orders
from dfs.metaserver.pinning import Pinning
from dfs.metaserver.placement import NodeView
from dfs.metaserver.records_moving import LifeRecord
from dfs.metaserver.repair import Repair
from dfs.metaserver.seams import Seams
from dfs.metaserver.tales import Tales
from dfs.metaserver.timekeeping import Timekeeping
from dfs.metaserver.trims import Trims
from dfs.metaserver.worrying import INTERVAL as WORRYING_INTERVAL
from dfs.metaserver.worrying import Worrying
from dfs.protocol.errors import DFSError, Unavailable
from dfs.protocol.messages import Job, JobKind
from dfs.protocol.values import NodeState
from dfs.raft.errors import RaftError

_log = Logger()

JOB_SHIFT = 32  # a job's number: the term, two bits for its kind, a count
KIND_SHIFT = 30
MOST_DOUBLINGS = 4
LOAD_AGAIN = 0.2  # seconds after a try to load that failed


class LeaderTerm:
    """:param pinned: the members' incarnations as this node knows them (see dfs.metaserver.pinning)."""

    def __init__(self, seams: Seams, term: int, pinning: Pinning) -> None:
        self.seams, self.term = seams, term
        self.active = True
        self.loaded = False
        config, now = seams.config, seams.seconds()
        self.clock = ClusterClock(0, now)
        self.granter = Granter(seams.keys, self.now_ms)
        self.liveness = Liveness(config.suspect_after, config.dead_after)
        self.leases = LeaseTable(int(config.upload_ttl * 1000), int(config.lease * 1000))
        self.orders = Orders(self._order_expired)
        self.tales = Tales()
        self.repair = Repair(self)
        self.trims = Trims(self)
        self.repair.planner.on_surplus = self.trims.trimmer.offer
        self.collecting = Collecting(self)
        judging_interval = min(0.5, config.dead_after / 10)
        self.judging = Judging(self, judging_interval)
        self.inventorying = Inventorying(self)
        self.following = Following(self)
        self.caring = Caring(self)
        self.worrying = Worrying(self)
        expiring, timekeeping = Expiring(self), Timekeeping(self)
        clock = seams.runtime.reactor
        self.repair_duty = Duty(clock, "repair", 0.2, self.repair.round)
        self.collecting_duty = Duty(clock, "collecting garbage", 0.5, self.collecting.round)
        self.trims_duty = Duty(clock, "trimming", 0.5, self.trims.round)
        self._duties = (
            Duty(clock, "following the tables", 0.2, self.following.round),
            Duty(clock, "judging silence", judging_interval, self.judging.round),
            self.repair_duty,
            self.collecting_duty,
            self.trims_duty,
            Duty(clock, "looking after nodes", 0.5, self.caring.round),
            Duty(clock, "telling of trouble", WORRYING_INTERVAL, self.worrying.round),
            Duty(clock, "telling events", 2.0, lambda: self.tales.round(self)),
            Duty(clock, "expiring uploads", 1.0, expiring.round),
            Duty(clock, "keeping cluster time", 1.0, timekeeping.round),
            Duty(clock, "pinning members", 2.0, lambda: pinning.round(self)),
            Duty(clock, "comparing states", COMPARING_INTERVAL, Comparing(self).round),
        )
        self._loading: Deferred[None] | None = None

    # ---- life

    def start(self) -> None:
        """Load, then serve and do the duties."""
        loading = Deferred.fromCoroutine(self._load_until_done())
        self._loading = loading.addErrback(self._not_loaded)

    def stop(self) -> None:
        """Leadership is lost: nothing is decided, ordered or answered in its name after this."""
        self.active = self.loaded = False
        for duty in self._duties:
            duty.stop()
        self.worrying.stop()
        if self._loading is not None:
            self._loading.cancel()

    async def _load_until_done(self) -> None:
        """A failed try is followed by another: a leader that leads and never serves would hold the cluster up (S12)."""
        while self.active and not self.loaded:
            try:
                await self._load()
            except (DFSError, RaftError) as error:
                _log.warn("the new leader could not load what it needs ({error}); it tries again", error=error)
            except Exception:  # noqa: BLE001 - a defect must not leave a leadership that serves nothing in silence
                _log.failure("the new leader could not load what it needs; it tries again")
            if not self.loaded:
                await deferLater(self.seams.runtime.reactor, LOAD_AGAIN)

    async def _load(self) -> None:
        look = self.seams.reader.look
        await look(self._forget_events)
        head = await look(queries.head)
        self.clock = ClusterClock(head.time_ms if head is not None else 0, self.seams.seconds())
        if not await look(founding.is_begun):
            await self.seams.proposer.propose(founding.draw(self.seams.runtime.entropy), Changed)
        await self.following.load_nodes()
        await self.following.load_uploads()
        self.repair.planner.start(self.repair.views())
        if self.active:
            self.loaded = True
            _log.info("{node} leads in term {term}", node=self.seams.config.node, term=self.term)
            for duty in self._duties:
                duty.start()

    def _forget_events(self, _store: object) -> None:
        """On the lane: what happened before is in the tables, which are read next."""
        self.seams.machine.take_events()

    def _not_loaded(self, failure: Any) -> None:
        if not failure.check(CancelledError):
            _log.failure("loading for a new leadership ended", failure)

    # ---- what handlers and duties ask

    def now_ms(self) -> int:
        """Cluster time."""
        return self.clock.now_ms(self.seams.seconds())

    def state(self, number: int) -> NodeState:
        """This leader's opinion of a chunk server."""
        return self.seams.roster.shown(number, self.liveness.state(number, self.seams.seconds()))

    def view(self, number: int) -> NodeView:
        """A chunk server as placement and the mover see it.  Whoever came back from the dead is settled a while later,
        twice as long with each time of late."""
        entry = self.seams.roster.entry(number)
        life = entry.life if entry is not None else LifeRecord()
        settle_ms = int(self.seams.config.settle_after * 1000) << min(max(life.returns - 1, 0), MOST_DOUBLINGS)
        settled = not life.returned_ms or self.now_ms() - life.returned_ms >= settle_ms
        return self.seams.roster.view(number, self.state(number), settled)

    def forget(self, number: int) -> None:
        """The node was removed."""
        self.orders.dropped(number)
        self.repair.planner.forget(number)
        self.liveness.forget(number)
        self.repair.pairs.forget(number)
        self.trims.stale.forget(number)
        self.judging.forget(number)
        self.seams.roster.forget(number)

    def states(self) -> dict[int, NodeState]:
        """Of all of them."""
        return {number: self.state(number) for number in self.seams.roster.numbers()}

    def check(self) -> None:
        """After an await: raises Unavailable where the leadership went away meanwhile."""
        if not self.active:
            raise Unavailable("leadership moved while the request was served", hint="ask again")

    def first_job(self, kind: JobKind) -> int:
        """Above every number of former leaderships, and apart from those of other kinds."""
        return (self.term << JOB_SHIFT) | (int(kind) % 4 << KIND_SHIFT)

    def _order_expired(self, job: Job) -> None:
        handlers: dict[JobKind, Callable[[int], None]] = {
            JobKind.COPY: self.repair.failed,
            JobKind.RESTORE: self.repair.failed,
            JobKind.DELETE: self.collecting.failed,
            JobKind.VERIFY: self.trims.failed,
            JobKind.TRIM: self.trims.failed,
        }
        handler = handlers.get(job.kind)
        if handler is not None:
            handler(job.job)
