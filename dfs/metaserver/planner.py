"""The mover's first half: which chunk to copy next, from where, to where.

Leader-local, incremental and pure.  Work follows what changed: a node's death makes a scan of *its* replicas, an event
makes one look at *its* chunk; nobody walks all chunks.  The shell turns a wheel::

    request() --> scanning.answer(store, request), on the store's lane --> receive(reply) --> plan() --> copies
         ^                                                                                                 |
         +--------------------------------------- result(job, ...) <---------------------------------------+

Rules, and what they are for:

- strict priority: the chunk with fewest live copies goes first (S13), then what is on a node that is drained, then what
  lies too close together, then what is on too full a node (dfs.metaserver.mover); among equals, the one that waited
  longest; but a chunk whose every source is busy stands in nobody's way (see dfs.metaserver.backlog);
- what cannot be placed is *set aside* with its reason and stands in nobody's way (S13); when capacity changes it is
  looked at again (S14), and now and then anyway;
- a chunk is looked at in the tables before it is planned, and again after each result: nothing is planned for a file
  that has ended (S15), and a deficit of two with one candidate becomes one copy now and one when a node joins (S14);
- each job in flight has a deadline, each failure a back-off: an entry is in exactly one of backlog, flight, waiting,
  aside, and leaves each of them by a clock or an event; nothing is blocked for ever by what was forgotten (S12);
- streams and bytes/s of a node are bounded, as source and target together, and fewer where clients want it;
- memory is bounded: the backlog holds MAX_BACKLOG chunks; when it is full, chunks with more copies make way for those
  with fewer, and the scans are made again once there is room.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from attrs import evolve

from dfs.metaserver import placement
from dfs.metaserver.backlog import Backlog, Tally
from dfs.metaserver.balancing import Balance
from dfs.metaserver.deciding import Chooser
from dfs.metaserver.draining import Drains
from dfs.metaserver.mover import LEAVING, Need, counting, may_have_surplus, need, room_of, staying, surplus
from dfs.metaserver.moves import ASIDE_SECONDS, Aside, Copy, Debt, Flight, Sweep, Waiting, Work, debt_of
from dfs.metaserver.pacing import Pace
from dfs.metaserver.queries import ChunkCopies
from dfs.metaserver.scanning import PAGE, SHORT_SCAN, SWEEP, Key, Reply, Request
from dfs.metaserver.streams import Streams
from dfs.metaserver.whereabouts import Whereabouts, of_entry, of_queue
from dfs.protocol.values import NodeState

MAX_BACKLOG = 100_000
MAX_LOOKS = 10_000
STREAMS_PER_NODE = 2
AHEAD = 4  # orders for each stream of a node: an order waits for a beat of its source, and the stream had better not
JOB_SECONDS = 30.0  # a job's deadline, plus a second for each SLOWEST bytes
SLOWEST = 1 << 20
MAX_CANDIDATES = 1_000  # chunks looked at by one call of plan
MAX_COMPARED = 20_000  # nodes compared by one call of plan: about 10 ms
MAX_PLANNED = 128  # copies that one call of plan begins


class Planner:
    """For one leadership.

    :param draw: numbers in [0, 1), for placement.
    :param first_job: above every job number of former leaderships (the term in the upper half).
    :param pace: how fast replicas may move.
    :ivar on_surplus: told of each chunk of which more replicas are sound than wanted.
    :ivar on_aside: told once of each chunk for which there is no place, and why.
    :ivar balance: what is to be evened out; None: nothing.
    """

    def __init__(
        self,
        draw: Callable[[], float],
        first_job: int,
        streams: int = STREAMS_PER_NODE,
        max_backlog: int = MAX_BACKLOG,
        max_looks: int = MAX_LOOKS,
        pace: Pace | None = None,
    ) -> None:
        self._draw = draw
        self._next_job = first_job
        self._streams = Streams(streams, pace if pace is not None else Pace())
        self._max_backlog = max_backlog
        self._max_looks = max_looks
        self._nodes: dict[int, placement.NodeView] = {}
        self._racks: placement.Racks | None = None
        self._scans: OrderedDict[int, bytes] = OrderedDict()
        self._looks: OrderedDict[Key, None] = OrderedDict()
        self._backlog = Backlog(max_backlog)
        self._flights: dict[int, Flight] = {}
        self._flying: dict[Key, int] = {}
        self._waiting = Waiting()
        self._aside = Aside()
        self._scan_again = False
        self._pending: Request | None = None
        self._sweep = Sweep()
        self.drains = Drains()
        self.balance: Balance | None = None
        self.on_surplus: Callable[[Key], None] = lambda key: None
        self.on_aside: Callable[[ChunkCopies, str], None] = lambda chunk, reason: None

    # ---- what happened

    def start(self, nodes: tuple[placement.NodeView, ...]) -> None:
        """A leadership begins, or events were missed: everything that may be short is scanned."""
        self._scans.setdefault(SHORT_SCAN, b"")
        for node in nodes:
            self._nodes[node.number] = node
            self._streams.changed(node.number)
            if node.state in LEAVING:
                self.drains.begin(node.number)
            if node.state is NodeState.DEAD or node.state in LEAVING:
                self._scans.setdefault(node.number, b"")
        self._racks = None

    def node(self, view: placement.NodeView) -> None:
        """A node as it is now: said at each change of state and at heartbeats."""
        former = self._nodes.get(view.number)
        self._nodes[view.number] = view
        self._streams.changed(view.number)
        self._note_rack(former, view)
        was_dead = former is not None and former.state is NodeState.DEAD
        was_leaving = former is not None and former.state in LEAVING
        if view.state is NodeState.DEAD and not was_dead:
            self._scans[view.number] = b""
            self._node_died(view.number)
        if view.state in LEAVING:
            self.drains.begin(view.number)
            if not was_leaving:
                self._scans[view.number] = b""
        elif was_leaving:
            self.drains.end(view.number)
        if view.state is NodeState.ALIVE and (former is None or former.state is not NodeState.ALIVE):
            self._scans.pop(view.number, None)
            self._retry_aside()
        elif former is not None and former.free < placement.RESERVE * 2 <= view.free:
            self._retry_aside()
        if former is not None and may_have_surplus(former, view):
            self._scans.setdefault(view.number, b"")

    def _note_rack(self, former: placement.NodeView | None, view: placement.NodeView) -> None:
        """What could lie better is another set now: a label changed, or a rack appeared that nobody could use."""
        if former is not None and room_of(former) == room_of(view):
            return
        if self._racks is not None and not self._racks.has(view.rack) and view.state is NodeState.ALIVE:
            self._sweep.hurry()
        self._racks = None
        if former is not None and former.rack != view.rack:
            self._scans.setdefault(view.number, b"")

    def forget(self, number: int) -> None:
        """The node is removed."""
        self._nodes.pop(number, None)
        self._streams.changed(number)
        self._scans.pop(number, None)
        self.drains.end(number)
        self._racks = None

    def _node_died(self, number: int) -> None:
        for flight in list(self._flights.values()):
            if number in (flight.copy.source, flight.copy.target):
                self._land(flight)
                self.short(flight.copy.chunk.file_id, flight.copy.chunk.index)

    def short(self, file_id: int, index: int) -> None:
        """A chunk may be short: look at it."""
        key = (file_id, index)
        if key in self._flying:
            return
        self._looks[key] = None
        if len(self._looks) > self._max_looks:
            self._looks.popitem(last=False)
            self._scan_again = True

    def result(self, job: int, succeeded: bool, now: float) -> Copy | None:
        """A job ended (and its replica, if any, was recorded); what it was.  Unknown jobs are of a former time."""
        flight = self._flights.get(job)
        if flight is None:
            return None
        self._land(flight)
        copy = flight.copy
        key = (copy.chunk.file_id, copy.chunk.index)
        if succeeded:
            self._waiting.forgive(key)
            self._streams.succeeded(copy)
            self._looks[key] = None
            for node in copy.chunk.nodes:
                self.drains.copied(node, copy.chunk.length)
        else:
            self._streams.failed(copy, now)
            self._waiting.failed(key, now, self._max_backlog)
        return copy

    def _land(self, flight: Flight) -> None:
        del self._flights[flight.copy.job]
        del self._flying[flight.copy.chunk.file_id, flight.copy.chunk.index]
        self._streams.end(flight.copy)

    # ---- reading

    def request(self) -> Request | None:
        """What to read next; None when nothing is due.  Until its reply comes, asking again gives the same."""
        if self._pending is not None:
            return self._pending
        chunks = tuple(self._looks)[:PAGE]
        for key in chunks:
            del self._looks[key]
        if self._scan_again and not self._scans and len(self._backlog) < self._max_backlog // 2:
            self._scan_again = False
            self.start(tuple(self._nodes.values()))
        scan = next(iter(self._scans), None)
        if scan is not None:
            self._pending = Request(scan, self._scans[scan], chunks)
        elif chunks:
            self._pending = Request(None, b"", chunks)
        return self._pending

    def receive(self, reply: Reply, now: float) -> None:
        """The reply to the last request."""
        self._pending = None
        scan = reply.request.scan
        is_current = scan is not None and self._scans.get(scan) == reply.request.after
        if scan is not None and is_current:
            del self._scans[scan]
            if scan == SWEEP:
                self._sweep.read(reply.after, now)
            elif reply.after is not None:
                self._scans[scan] = reply.after  # at the end of the queue: scans take turns
        for key, copies in reply.found:
            self._judge(key, copies, now)
        if scan is not None and scan in self.drains and is_current:
            self._note_walk(scan, reply, now)

    def _note_walk(self, scan: int, reply: Reply, now: float) -> None:
        left = [
            copies.length
            for key, copies in reply.found
            if key in reply.listed and copies is not None and len(staying(copies.nodes, self._nodes)) < copies.wanted
        ]
        self.drains.walked(scan, reply.at, reply.request.after == b"", left, reply.after is None, now)

    def _judge(self, key: Key, copies: ChunkCopies | None, now: float) -> None:
        """Where a chunk belongs, after a look at it."""
        self._forget(key)
        if key in self._flying:
            return
        urgency = self._urgency(key, copies)
        if copies is None or urgency == Need.NOTHING:
            self._waiting.forgive(key)
            self._aside.forgive(key)
            return
        live = len(counting(copies.nodes, self._nodes))
        if live == 0 and not counting(copies.retired, self._nodes):
            self._set_aside(key, copies, "no live replica", now)
        elif key not in self._waiting.times:
            self._scan_again |= not self._backlog.put(key, copies, live, urgency)

    def _urgency(self, key: Key, copies: ChunkCopies | None) -> int:
        """See dfs.metaserver.mover; also passes on what is surplus."""
        if copies is None:
            return Need.NOTHING
        if self._racks is None:
            self._racks = placement.Racks(self._nodes.values())
        urgency = need(copies.nodes, copies.wanted, self._nodes, self._racks)
        if urgency == Need.NOTHING and surplus(copies.nodes, copies.wanted, self._nodes) is not None:
            self.on_surplus(key)
        elif urgency == Need.NOTHING and self.balance is not None and self.balance.wants(key, copies, self._nodes):
            return Need.BALANCE
        return urgency

    def _forget(self, key: Key) -> None:
        self._backlog.drop(key)
        self._aside.drop(key)

    def _set_aside(self, key: Key, copies: ChunkCopies, reason: str, now: float) -> None:
        if self._aside.put(key, copies, len(counting(copies.nodes, self._nodes)), reason, now):
            self.on_aside(copies, reason)
        if len(self._aside.entries) > self._max_backlog:
            self._forget(next(iter(self._aside.entries)))
            self._scan_again = True

    def _retry_aside(self) -> None:
        """Capacity changed.  Those of too long a list come back by the scans."""
        for key in self._aside.take_all():
            self._looks[key] = None

    # ---- planning

    def plan(self, now: float, limit: int = MAX_PLANNED) -> list[Copy]:
        """At most ``limit`` new jobs, most urgent first."""
        for job in [job for job, flight in self._flights.items() if flight.deadline <= now]:
            self.result(job, False, now)
        for key in self._waiting.due(now):
            self._looks[key] = None
        if self._aside.entries and now >= self._aside.since + ASIDE_SECONDS:
            self._retry_aside()
        for node in self.drains.due(now, not (self._backlog or self._flights or self._waiting.times)):
            self._scans.setdefault(node, b"")
        after = self._sweep.due(now, not self._scans)
        if after is not None:
            self._scans[SWEEP] = after
        return self._begin(now, limit)

    def _begin(self, now: float, limit: int) -> list[Copy]:
        streams = self._streams
        board = streams.board(self._nodes)
        idle = {number for number, view in board.items() if streams.spare(view, now)}
        copies: list[Copy] = []
        if not idle:
            return copies
        budget, order = MAX_COMPARED, sorted(idle)
        for key, chunk, counted in self._backlog.candidates(idle, max(1, MAX_CANDIDATES // len(idle))):
            if len(copies) >= limit or not idle or budget <= 0:
                break
            if idle.isdisjoint(chunk.nodes + chunk.retired) or not self._is_as_counted(key, chunk, counted, now):
                continue
            chooser = Chooser(chunk, counted, board, self.balance)
            copy = self._try(key, chunk, counted, chooser, order, idle, now)
            budget -= max(1, chooser.compared)
            if copy is not None:
                copies.append(copy)
                for node in {copy.source, copy.target}:
                    board[node] = evolve(board[node], streams=board[node].streams + 1)
                    if not streams.spare(self._nodes[node], now):
                        idle.discard(node)
        return copies

    def _is_as_counted(self, key: Key, chunk: ChunkCopies, counted: int, now: float) -> bool:
        """Whether the chunk is to be tried now: nodes went and came since it was looked at."""
        if self._urgency(key, chunk) == counted:
            return True
        self._judge(key, chunk, now)
        return False

    def _try(
        self, key: Key, chunk: ChunkCopies, urgency: int, chooser: Chooser, order: list[int], idle: set[int], now: float
    ) -> Copy | None:
        """A copy of the chunk, None where it must wait; set aside where no node could take it even if idle."""
        restored = chooser.restorable(idle) if not self._waiting.failures.get(key) else None
        if restored is not None:
            return self._fly(key, Copy(self._next_job, restored, restored, chunk, urgency), now)
        target, reason = chooser.choose(order, idle, self._draw)
        if reason:
            self._forget(key)
            if urgency <= Need.LEAVING:
                self._set_aside(key, chunk, reason, now)
        if target is None:
            return None
        source = chooser.source(target, idle, self._streams.failed_pairs(now), self._streams.busy)
        if source is None:
            return None
        return self._fly(key, Copy(self._next_job, source, target, chunk, urgency), now)

    def _fly(self, key: Key, copy: Copy, now: float) -> Copy:
        self._forget(key)
        self._next_job += 1
        self._flights[copy.job] = Flight(copy, now + JOB_SECONDS + copy.chunk.length / SLOWEST)
        self._flying[key] = copy.job
        self._streams.begin(copy, now)
        return copy

    def even_out(self) -> None:
        """Walk over what is on nodes that are too full, while nothing else waits."""
        if self.balance is not None and not (self._scans or self._backlog or self._flights):
            for node in self.balance.fat:
                self._scans[node] = b""

    # ---- for status

    def is_busy(self) -> bool:
        """Whether anything is to be copied now, or is being copied."""
        return bool(self._backlog or self._flights)

    def is_short(self) -> bool:
        """Whether some chunk that lacks copies could be given one: nothing less urgent is begun meanwhile."""
        waits = self._backlog.most_urgent()
        return waits is not None and waits < Need.LEAVING

    def debt(self) -> Debt:
        """What is short: backlog, flights, set aside; each chunk as it was when it was last looked at.  Chunks of scans
        that still run are not counted yet."""
        flying = Tally()
        for copy in (flight.copy for flight in self._flights.values()):
            flying.count(copy.chunk, len(counting(copy.chunk.nodes, self._nodes)))
        tallies = (self._backlog.tally, flying, self._aside.tally)
        return debt_of(tallies, len(self._aside.entries), bool(self._scans or self._looks))

    def work(self) -> Work:
        """What is at hand."""
        return Work(len(self._backlog), len(self._flights), len(self._waiting.times), *self._aside.summary())

    def whereabouts(self, key: Key, now: float) -> Whereabouts:
        """What is done about a chunk."""
        flight = self._flights.get(self._flying.get(key, 0))
        if flight is not None or key in self._waiting.times or key in self._aside.entries:
            return of_entry(key, now, flight, self._waiting, self._aside)
        return of_queue(key in self._backlog, key in self._looks, bool(self._scans))
