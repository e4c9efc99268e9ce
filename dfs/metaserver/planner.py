"""Re-replication: which chunk to copy next, from where, to where.

Leader-local, incremental and pure.  Work follows what changed: a node's death makes a scan of *its* replicas, an event
makes one look at *its* chunk; nobody walks all chunks.  The shell turns a wheel::

    request() --> scanning.answer(store, request), on the store's lane --> receive(reply) --> plan() --> copies
         ^                                                                                                 |
         +--------------------------------------- result(job, ...) <---------------------------------------+

Rules, and what they are for:

- strict priority: the chunk with fewest live copies goes first (S13); among equals, the one that waited longest; but a
  chunk whose every source is busy stands in nobody's way (see dfs.metaserver.backlog);
- what cannot be placed is *set aside* with its reason and stands in nobody's way (S13); when capacity changes it is
  looked at again (S14), and now and then anyway;
- a chunk is looked at in the tables before it is planned, and again after each result: nothing is planned for a file
  that has ended (S15), and a deficit of two with one candidate becomes one copy now and one when a node joins (S14);
- each job in flight has a deadline, each failure a back-off: an entry is in exactly one of backlog, flight, waiting,
  aside, and leaves each of them by a clock or an event; nothing is blocked for ever by what was forgotten (S12);
- streams a node are bounded, as source and target together;
- memory is bounded: the backlog holds MAX_BACKLOG chunks; when it is full, chunks with more copies make way for those
  with fewer, and the scans are made again once there is room.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from heapq import heappop, heappush

from attrs import define, evolve, field, frozen

from dfs.metaserver import placement
from dfs.metaserver.backlog import Backlog, Tally
from dfs.metaserver.queries import ChunkCopies
from dfs.metaserver.scanning import PAGE, SHORT_SCAN, Key, Reply, Request
from dfs.protocol.values import NodeState

MAX_BACKLOG = 100_000
MAX_LOOKS = 10_000
STREAMS_PER_NODE = 2
JOB_SECONDS = 30.0  # a job's deadline, plus a second for each SLOWEST bytes
SLOWEST = 1 << 20
BACK_OFF = (1.0, 60.0)  # the first one, doubled by each failure, and the longest
MAX_CANDIDATES = 1_000  # chunks looked at by one call of plan
MAX_COMPARED = 20_000  # nodes compared by one call of plan: about 10 ms
ASIDE_SECONDS = 60.0  # what was set aside is looked at again after that without any event


@frozen
class Copy:
    """Order ``source`` to copy the chunk to ``target``."""

    job: int
    source: int
    target: int
    chunk: ChunkCopies


@define
class _Flight:
    copy: Copy
    deadline: float


@frozen
class Debt:
    """What the planner knows to be missing.  ``single`` chunks have one live copy, ``lost`` none."""

    chunks: int
    bytes: int
    single: int
    lost: int
    aside: int
    scanning: bool


@define
class _Waiting:
    """Keys that come back at a time; a key counts while the dict has that very time for it."""

    times: dict[Key, float] = field(factory=dict)
    heap: list[tuple[float, Key]] = field(factory=list)

    def put(self, key: Key, when: float) -> None:
        self.times[key] = when
        heappush(self.heap, (when, key))

    def due(self, now: float) -> Iterator[Key]:
        while self.heap and self.heap[0][0] <= now:
            when, key = heappop(self.heap)
            if self.times.get(key) == when:
                del self.times[key]
                yield key


class Planner:
    """For one leadership.

    :param draw: numbers in [0, 1), for placement.
    :param first_job: above every job number of former leaderships (the term in the upper half).
    """

    def __init__(
        self,
        draw: Callable[[], float],
        first_job: int,
        streams: int = STREAMS_PER_NODE,
        max_backlog: int = MAX_BACKLOG,
        max_looks: int = MAX_LOOKS,
    ) -> None:
        self._draw = draw
        self._next_job = first_job
        self._streams = streams
        self._max_backlog = max_backlog
        self._max_looks = max_looks
        self._nodes: dict[int, placement.NodeView] = {}
        self._scans: OrderedDict[int, bytes] = OrderedDict()
        self._looks: OrderedDict[Key, None] = OrderedDict()
        self._backlog = Backlog(max_backlog)
        self._flights: dict[int, _Flight] = {}
        self._flying: dict[Key, int] = {}
        self._busy: dict[int, int] = {}
        self._failures: dict[Key, int] = {}
        self._waiting = _Waiting()
        self._aside: OrderedDict[Key, tuple[str, ChunkCopies, int]] = OrderedDict()
        self._aside_tally = Tally()
        self._aside_since = 0.0
        self._scan_again = False
        self._pending: Request | None = None

    # ---- what happened

    def start(self, nodes: tuple[placement.NodeView, ...]) -> None:
        """A leadership begins, or events were missed: everything that may be short is scanned."""
        self._scans.setdefault(SHORT_SCAN, b"")
        for node in nodes:
            self._nodes[node.number] = node
            if node.state is NodeState.DEAD:
                self._scans.setdefault(node.number, b"")

    def node(self, view: placement.NodeView) -> None:
        """A node as it is now: said at each change of state and at heartbeats."""
        former = self._nodes.get(view.number)
        self._nodes[view.number] = view
        was_dead = former is not None and former.state is NodeState.DEAD
        if view.state is NodeState.DEAD and not was_dead:
            self._scans[view.number] = b""
            self._node_died(view.number)
        if view.state is NodeState.ALIVE and (former is None or former.state is not NodeState.ALIVE):
            self._scans.pop(view.number, None)
            self._retry_aside()
        elif former is not None and former.free < placement.RESERVE * 2 <= view.free:
            self._retry_aside()

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

    def result(self, job: int, succeeded: bool, now: float) -> None:
        """A job ended (and its replica, if any, was recorded).  Unknown jobs are of a former time: nothing to do."""
        flight = self._flights.get(job)
        if flight is None:
            return
        self._land(flight)
        key = (flight.copy.chunk.file_id, flight.copy.chunk.index)
        if succeeded:
            self._failures.pop(key, None)
            self._looks[key] = None
        else:
            self._back_off(key, now)

    def _back_off(self, key: Key, now: float) -> None:
        failures = self._failures.get(key, 0)
        if len(self._failures) >= self._max_backlog:
            self._failures.clear()  # they begin with the shortest back-off again
        self._failures[key] = min(failures + 1, 16)
        self._waiting.put(key, now + min(BACK_OFF[0] * 2**failures, BACK_OFF[1]))

    def _land(self, flight: _Flight) -> None:
        copy = flight.copy
        del self._flights[copy.job]
        del self._flying[copy.chunk.file_id, copy.chunk.index]
        for node in (copy.source, copy.target):
            self._busy[node] -= 1

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
        if scan is not None and self._scans.get(scan) == reply.request.after:
            del self._scans[scan]
            if reply.after is not None:
                self._scans[scan] = reply.after  # at the end of the queue: scans take turns
        for key, copies in reply.found:
            self._judge(key, copies, now)

    def _live(self, copies: ChunkCopies) -> list[int]:
        nodes = self._nodes
        return [n for n in copies.nodes if n in nodes and nodes[n].state is not NodeState.DEAD]

    def _judge(self, key: Key, copies: ChunkCopies | None, now: float) -> None:
        """Where a chunk belongs, after a look at it."""
        self._forget(key)
        if key in self._flying:
            return
        live = len(self._live(copies)) if copies is not None else 0
        if copies is None or live >= copies.wanted:
            self._failures.pop(key, None)
            return
        if live == 0:
            self._set_aside(key, copies, "no live replica", now)
        elif key not in self._waiting.times:
            self._scan_again |= not self._backlog.put(key, copies, live)

    def _forget(self, key: Key) -> None:
        self._backlog.drop(key)
        if key in self._aside:
            _, copies, live = self._aside.pop(key)
            self._aside_tally.count(copies, live, -1)

    def _set_aside(self, key: Key, copies: ChunkCopies, reason: str, now: float) -> None:
        if not self._aside:
            self._aside_since = now
        live = len(self._live(copies))
        self._aside[key] = (reason, copies, live)
        self._aside_tally.count(copies, live)
        if len(self._aside) > self._max_backlog:
            self._forget(next(iter(self._aside)))
            self._scan_again = True

    def _retry_aside(self) -> None:
        """Capacity changed.  Those of too long a list come back by the scans."""
        for key in self._aside:
            self._looks[key] = None
        self._aside.clear()
        self._aside_tally = Tally()

    # ---- planning

    def plan(self, now: float, limit: int = 64) -> list[Copy]:
        """At most ``limit`` new jobs, most urgent first."""
        for flight in [each for each in self._flights.values() if each.deadline <= now]:
            self.result(flight.copy.job, False, now)
        for key in self._waiting.due(now):
            self._looks[key] = None
        if self._aside and now >= self._aside_since + ASIDE_SECONDS:
            self._retry_aside()
        return self._begin(now, limit)

    def _begin(self, now: float, limit: int) -> list[Copy]:
        board = self._board()
        idle = {number for number in board if self._spare(number)}
        copies: list[Copy] = []
        if len(idle) < 2:  # without two nodes with a stream to spare no copy can begin
            return copies
        tries = max(8, MAX_COMPARED // len(board))
        for key, chunk, counted in self._backlog.candidates(idle, max(4, MAX_CANDIDATES // len(idle))):
            if len(copies) >= limit or len(idle) < 2 or not tries:
                break
            if idle.isdisjoint(chunk.nodes) or not self._is_short(key, chunk, counted, now):
                continue
            tries -= 1
            copy = self._try(key, chunk, board, idle, now)
            if copy is not None:
                copies.append(copy)
                for node in (copy.source, copy.target):
                    board[node] = evolve(board[node], streams=board[node].streams + 1)
                    if not self._spare(node):
                        idle.discard(node)
        return copies

    def _board(self) -> dict[int, placement.NodeView]:
        """The nodes that are not dead, by number, with the streams that were begun."""
        nodes, busy = self._nodes, self._busy
        return {
            number: evolve(nodes[number], streams=nodes[number].streams + busy[number])
            if busy.get(number) else nodes[number]
            for number in sorted(nodes)
            if nodes[number].state is not NodeState.DEAD
        }  # fmt: skip

    def _spare(self, node: int) -> bool:
        return self._busy.get(node, 0) < self._streams

    def _is_short(self, key: Key, chunk: ChunkCopies, counted: int, now: float) -> bool:
        """Whether the chunk is to be tried now: nodes went and came since it was looked at."""
        live = len(self._live(chunk))
        if live == counted:
            return True
        self._judge(key, chunk, now)
        return False

    def _try(
        self, key: Key, chunk: ChunkCopies, board: dict[int, placement.NodeView], idle: set[int], now: float
    ) -> Copy | None:
        """A copy of the chunk, None where it must wait; set aside where no node could take it even if idle."""
        live = self._live(chunk)
        ideal = self._place(chunk, live, list(board.values()), _first)
        if ideal is None:
            self._forget(key)
            self._set_aside(key, chunk, "no node without a replica has room", now)
            return None
        target = self._place(chunk, live, [board[number] for number in sorted(idle)], self._draw)
        if target is None or self._merit(target, live) > self._merit(ideal, live):
            return None  # better to wait for a stream than to put two into one rack (S20)
        sources = [node for node in live if node in idle and node != target]
        if not sources:
            return None
        source = min(sources, key=lambda node: (self._nodes[node].state, self._busy.get(node, 0), node))
        return self._fly(key, Copy(self._next_job, source, target, chunk), now)

    def _place(
        self, chunk: ChunkCopies, live: list[int], views: list[placement.NodeView], draw: Callable[[], float]
    ) -> int | None:
        racks = [self._nodes[node].rack for node in live]
        found = placement.place(placement.VERSION, views, 1, chunk.nodes, draw, racks, chunk.length)
        return found[0] if found else None

    def _merit(self, target: int, live: list[int]) -> tuple[bool, bool]:
        """How far a target is from the best: suspect, in a rack that has a replica."""
        view = self._nodes[target]
        return view.state is not NodeState.ALIVE, view.rack in {self._nodes[node].rack for node in live}

    def _fly(self, key: Key, copy: Copy, now: float) -> Copy:
        self._forget(key)
        self._next_job += 1
        self._flights[copy.job] = _Flight(copy, now + JOB_SECONDS + copy.chunk.length / SLOWEST)
        self._flying[key] = copy.job
        for node in (copy.source, copy.target):
            self._busy[node] = self._busy.get(node, 0) + 1
        return copy

    # ---- for status

    def debt(self) -> Debt:
        """What is short: backlog, flights, set aside; each chunk as it was when it was last looked at.  Chunks of scans
        that still run are not counted yet."""
        flying = Tally()
        for flight in self._flights.values():
            flying.count(flight.copy.chunk, len(self._live(flight.copy.chunk)))
        tallies = (self._backlog.tally, flying, self._aside_tally)
        return Debt(
            chunks=sum(tally.chunks for tally in tallies),
            bytes=sum(tally.bytes for tally in tallies),
            single=sum(tally.single for tally in tallies),
            lost=sum(tally.lost for tally in tallies),
            aside=len(self._aside),
            scanning=bool(self._scans or self._looks),
        )

    def reason(self, file_id: int, index: int) -> str | None:
        """Why a chunk is set aside; None where it is not."""
        entry = self._aside.get((file_id, index))
        return entry[0] if entry is not None else None


def _first() -> float:
    """A draw that spends no chance: to ask only whether there is a place."""
    return 0.0
