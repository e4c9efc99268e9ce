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
  with fewer, and walks are gone over again once there is room (see dfs.metaserver.walking);
- a call of plan ends when its time is over (``is_over``), for it holds up the reactor, and the next one goes on.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from itertools import islice

from dfs.metaserver import placement
from dfs.metaserver.backlog import Backlog, Waits
from dfs.metaserver.balancing import Balance
from dfs.metaserver.deciding import Chooser
from dfs.metaserver.draining import Drains, left_behind
from dfs.metaserver.flights import Flights
from dfs.metaserver.idle import IdleNodes
from dfs.metaserver.mover import LEAVING, Need, counting, may_have_surplus, need, room_of, surplus
from dfs.metaserver.moves import ASIDE_SECONDS, Aside, Copy, Debt, Sweep, Waiting, Work, debt_of
from dfs.metaserver.pacing import Pace
from dfs.metaserver.queries import ChunkCopies
from dfs.metaserver.records import MAX_NODES_OF_A_CHUNK
from dfs.metaserver.scanning import PAGE, SHORT_SCAN, SWEEP, Key, Reply, Request
from dfs.metaserver.streams import Streams
from dfs.metaserver.walking import Walks
from dfs.metaserver.whereabouts import Whereabouts, of_entry, of_queue
from dfs.protocol.values import NodeState

MAX_BACKLOG = 32_768
MAX_LOOKS = 10_000
STREAMS_PER_NODE = 2
AHEAD = 4  # orders for each stream of a node: an order waits for a beat of its source, and the stream had better not
MAX_CANDIDATES = 1_000  # chunks of one urgency looked at by one call of plan
MAX_COMPARED = 20_000  # nodes compared one by one by one call of plan: about 10 ms


class Planner:
    """For one leadership.

    :param draw: numbers in [0, 1), for placement.
    :param first_job: above every job number of former leaderships (the term in the upper half).
    :param pace: how fast replicas may move.
    :ivar on_surplus: told of each chunk of which more replicas are sound than wanted.
    :ivar on_aside: told once of each chunk for which there is no place, and why.
    :ivar balance: what is to be evened out; None: nothing.
    :ivar has_more: the last call of plan ended before it had tried everything.
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
        self._idle, self._walks = IdleNodes(self._streams), Walks(max_backlog)
        self._scans = self._walks.first
        self._looks: OrderedDict[Key, None] = OrderedDict()
        self._backlog = Backlog(max_backlog)
        self._flights = Flights()
        self._waiting = Waiting()
        self._aside = Aside()
        self._scan_again = False
        self._pending: Request | None = None
        self._sweep = Sweep()
        self.drains = Drains()
        self.balance: Balance | None = None
        self.has_more = False
        self.on_surplus: Callable[[Key], None] = lambda key: None
        self.on_aside: Callable[[ChunkCopies, str], None] = lambda chunk, reason: None

    # ---- what happened

    def start(self, nodes: tuple[placement.NodeView, ...]) -> None:
        """A leadership begins, or events were missed: everything that may be short is scanned."""
        self._scans.setdefault(SHORT_SCAN, b"")
        for node in nodes:
            self._nodes[node.number] = node
            self._idle.changed(node.number, node)
            if node.state in LEAVING:
                self.drains.begin(node.number)
            if node.state is NodeState.DEAD or node.state in LEAVING:
                self._scans.setdefault(node.number, b"")
        self._racks = None

    def node(self, view: placement.NodeView) -> None:
        """A node as it is now: said at each change of state and at heartbeats."""
        former = self._nodes.get(view.number)
        self._nodes[view.number] = view
        self._idle.changed(view.number, view)
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
            self._walks.ended(view.number)
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
        self._idle.changed(number, None)
        for copy in self._flights.at(number):
            self._flights.doubt((copy.chunk.file_id, copy.chunk.index))
        self._walks.ended(number)
        self.drains.end(number)
        self._racks = None

    def _node_died(self, number: int) -> None:
        for copy in self._flights.at(number):
            self._flights.end(copy.job)
            self._streams.end(copy)
            self.short(copy.chunk.file_id, copy.chunk.index)

    def short(self, file_id: int, index: int) -> None:
        """A chunk may be short: look at it."""
        key = (file_id, index)
        if self._flights.doubt(key):
            return
        self._looks[key] = None
        if len(self._looks) > self._max_looks:
            self._looks.popitem(last=False)
            self._scan_again = True

    def result(self, job: int, succeeded: bool, now: float, is_recorded: bool = False) -> Copy | None:
        """A job ended; what it was.  Unknown jobs are of a former time.

        :param is_recorded: the tables have its replica now, without doubt: else the chunk is looked at.
        """
        flight = self._flights.end(job)
        if flight is None:
            return None
        copy = flight.copy
        self._streams.end(copy)
        key = (copy.chunk.file_id, copy.chunk.index)
        if succeeded:
            self._waiting.forgive(key)
            self._streams.succeeded(copy)
            if not is_recorded or flight.is_doubtful or not self._is_whole_with(copy):
                self._looks[key] = None
            for node in copy.chunk.nodes:
                self.drains.copied(node, copy.chunk.length)
        else:
            self._streams.failed(copy, now)
            self._waiting.failed(key, now, self._max_backlog)
        return copy

    def _is_whole_with(self, copy: Copy) -> bool:
        """Whether nothing is left to do for its chunk: a copy more, or one less."""
        nodes, wanted = (*copy.chunk.nodes, copy.target), copy.chunk.wanted
        if copy.is_restore or len(nodes) > MAX_NODES_OF_A_CHUNK or self.balance is not None or self._racks is None:
            return False
        is_whole = need(nodes, wanted, self._nodes, self._racks) == Need.NOTHING
        return is_whole and surplus(nodes, wanted, self._nodes) is None

    # ---- reading

    def request(self) -> Request | None:
        """What to read next; None when nothing is due.  Until its reply comes, asking again gives the same."""
        if self._pending is not None:
            return self._pending
        chunks = tuple(islice(self._looks, PAGE))
        for key in chunks:
            del self._looks[key]
        if self._scan_again and not self._scans and len(self._backlog) < self._max_backlog // 2:
            self._scan_again = False
            self.start(tuple(self._nodes.values()))
        self._pending = self._walks.next(chunks, self._backlog.room if self._goes_again() is not None else None)
        return self._pending

    def _goes_again(self) -> int | None:
        """The urgency for whose sake walks are gone over again; None where none is, or so much has no place that it
        would be in vain."""
        return self._walks.again() if len(self._aside.entries) < self._max_backlog // 2 else None

    def receive(self, reply: Reply, now: float) -> None:
        """The reply to the last request."""
        self._pending = None
        request, scan = reply.request, reply.request.scan
        is_current = self._walks.turned(request, reply.after if scan != SWEEP else None)
        if scan == SWEEP and is_current:
            self._sweep.read(reply.after, now)
        for key, copies in reply.found:
            self._judge(key, copies, now, request.again is not None and key in reply.listed)
        if scan is not None and scan in self.drains and is_current and request.again is None:
            left = left_behind(reply, self._nodes)
            self.drains.walked(scan, reply.at, request.after == b"", left, reply.after is None, now)

    def _judge(self, key: Key, copies: ChunkCopies | None, now: float, is_again: bool = False) -> None:
        """Where a chunk belongs, after a look at it.

        :param is_again: by a walk for what had found no room.
        """
        if self._flights.doubt(key):
            return
        is_known = self._forget(key) or key in self._waiting.times
        urgency = self._urgency(key, copies)
        if copies is None or urgency == Need.NOTHING:
            self._waiting.forgive(key)
            self._aside.forgive(key)
            return
        live = len(counting(copies.nodes, self._nodes))
        if is_again and not is_known:
            self._walks.found(urgency, copies, live)
        if live == 0 and not counting(copies.retired, self._nodes):
            self._set_aside(key, copies, "no live replica", now)
        elif key not in self._waiting.times:
            missed = self._backlog.put(key, copies, live, urgency)
            if missed is not None:
                self._walks.missed(missed, self._nodes)

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

    def _forget(self, key: Key) -> bool:
        """Whether it waited, or was set aside."""
        return self._backlog.drop(key) | self._aside.drop(key)

    def _set_aside(self, key: Key, copies: ChunkCopies, reason: str, now: float) -> None:
        if self._aside.put(key, copies, len(counting(copies.nodes, self._nodes)), reason, now):
            self.on_aside(copies, reason)
        if len(self._aside.entries) > self._max_backlog:
            _, chunk, live = self._aside.drop_first()
            self._walks.missed(Waits(chunk, live, live), self._nodes)

    def _retry_aside(self) -> None:
        """Capacity changed.  Those of too long a list come back by the walks."""
        for key, (_, chunk, live) in self._aside.take_all():
            if len(self._looks) < self._max_looks:
                self._looks[key] = None
            else:
                self._walks.missed(Waits(chunk, live, live), self._nodes)

    # ---- planning

    def plan(self, now: float, is_over: Callable[[], bool] = lambda: False) -> list[Copy]:
        """New jobs, most urgent first, until ``is_over`` says that the time for it has passed."""
        for job in self._flights.late(now):
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
        return self._begin(now, is_over)

    def _begin(self, now: float, is_over: Callable[[], bool]) -> list[Copy]:
        idle, copies = self._idle, list[Copy]()
        idle.refresh(now)
        self.has_more = False
        budget = MAX_COMPARED
        upto = self._goes_again()  # what is so urgent is not all in memory yet: nothing goes before it
        for key, chunk, counted in self._backlog.candidates(idle.nodes, self._draw, MAX_CANDIDATES, upto):
            self.has_more = is_over()
            if self.has_more or budget <= 0 or not self._streams.is_open(now):
                break
            if not self._is_as_counted(key, chunk, counted, now):
                continue
            chooser = Chooser(chunk, counted, idle, self.balance)
            copy = self._try(key, chunk, counted, chooser, now)
            budget -= chooser.compared
            if copy is None:
                self._backlog.postpone(key)
            else:
                copies.append(copy)
                idle.refresh(now)
        return copies

    def _is_as_counted(self, key: Key, chunk: ChunkCopies, counted: int, now: float) -> bool:
        """Whether the chunk is to be tried now: nodes went and came since it was looked at."""
        if self._urgency(key, chunk) == counted:
            return True
        self._judge(key, chunk, now)
        return False

    def _try(self, key: Key, chunk: ChunkCopies, urgency: int, chooser: Chooser, now: float) -> Copy | None:
        """A copy of the chunk, None where it must wait; set aside where no node could take it even if idle."""
        restored = chooser.restorable() if chunk.retired and not self._waiting.failures.get(key) else None
        if restored is not None:
            return self._fly(key, Copy(self._next_job, restored, restored, chunk, urgency), now)
        target, reason = chooser.choose(self._draw)
        if reason:
            self._forget(key)
            if urgency <= Need.LEAVING:
                self._set_aside(key, chunk, reason, now)
        if target is None:
            return None
        source = chooser.source(target, self._streams.failed_pairs(now), self._streams.busy)
        if source is None:
            return None
        return self._fly(key, Copy(self._next_job, source, target, chunk, urgency), now)

    def _fly(self, key: Key, copy: Copy, now: float) -> Copy:
        self._forget(key)
        self._next_job += 1
        self._flights.begin(key, copy, now)
        self._streams.begin(copy, now)
        return copy

    def even_out(self) -> None:
        """Walk over what is on nodes that are too full, while nothing else waits."""
        if self.balance is not None and self._walks.is_over() and not (self._backlog or self._flights):
            for node in self.balance.fat:
                self._scans[node] = b""

    # ---- for status

    def is_busy(self) -> bool:
        """Whether anything is to be copied now, or is being copied."""
        return bool(self._backlog or self._flights)

    def is_short(self) -> bool:
        """Whether some chunk that lacks copies could be given one: nothing less urgent is begun meanwhile."""
        known = (self._backlog.most_urgent(), self._goes_again())
        return min((urgency for urgency in known if urgency is not None), default=Need.NOTHING) < Need.LEAVING

    def debt(self) -> Debt:
        """What is short: waiting, in flight, set aside, without room; each chunk as it was when it was last looked at.
        Chunks of scans that still run are not counted yet."""
        tallies = (self._backlog.tally, self._flights.tally(self._nodes), self._aside.tally, *self._walks.beyond())
        return debt_of(tallies, len(self._aside.entries), bool(self._scans or self._looks))

    def work(self) -> Work:
        """What is at hand."""
        return Work(len(self._backlog), len(self._flights), len(self._waiting.times), *self._aside.summary())

    def whereabouts(self, key: Key, now: float) -> Whereabouts:
        """What is done about a chunk."""
        flight = self._flights.of(key)
        if flight is not None or key in self._waiting.times or key in self._aside.entries:
            return of_entry(key, now, flight, self._waiting, self._aside)
        return of_queue(key in self._backlog, key in self._looks, not self._walks.is_over())
