"""The mover's second half: taking surplus replicas away.  Pure, leader-local; the same wheel as the planner's.

For each chunk one thing after the other, none of which harms if it is the last that happens (S17)::

    verify the survivors --> retire (through Raft) --> order the node --> its report --> trimmed (through Raft)

- every survivor is read whole on its node and compared with the committed SHA-256, in this leadership;
- the state machine strikes the replica off only while the survivors are recorded under the numbers that were read, so
  of two movers that picked different replicas one is refused (S16);
- only what was struck off is ordered away; the order names number, survivors, term and log entry;
- what is retired and not reported is found again by a walk over the retired ones, by this leader or the next; then the
  survivors are read again first.

Each step has a deadline; whatever fails is dropped here and found again.  MAX_WORK chunks are worked on at a time, and
MAX_WAITING are known to wait; others are found by the planner's walks.
"""

from __future__ import annotations

import enum
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping

from attrs import define, field, frozen

from dfs.kv.interfaces import IKeyValueStore
from dfs.metaserver import queries
from dfs.metaserver.commands_moving import MAX_MOVES, Retirement, Trimmed
from dfs.metaserver.mover import staying, surplus
from dfs.metaserver.placement import NodeView
from dfs.metaserver.queries import ChunkCopies
from dfs.metaserver.records_moving import RetiredRecord
from dfs.metaserver.retiring import KEEP_MS
from dfs.metaserver.scanning import Key
from dfs.protocol.messages import DurableReplica
from dfs.protocol.values import NodeNumber, NodeState

MAX_WORK = 64
MAX_WAITING = 10_000
PAGE = 64  # retired replicas read at once
STEP_SECONDS = 120.0
WALK_SECONDS = 60.0  # between two walks over the retired ones


@frozen
class Request:
    """Chunks to read, and the retired ones after ``after`` (16 bytes: node, file id, index; None: not now)."""

    chunks: tuple[Key, ...]
    after: bytes | None


@frozen
class Row:
    """A chunk, the numbers of its recorded replicas by node, and what is retired of it."""

    key: Key
    copies: ChunkCopies | None
    numbers: Mapping[int, int]
    retired: Mapping[int, RetiredRecord]


@frozen
class Reply:
    request: Request
    rows: tuple[Row, ...]
    orphans: tuple[Trimmed, ...]  # retired, of chunks that are gone; and reported long ago
    after: bytes | None


def answer(store: IKeyValueStore, request: Request) -> Reply:
    """Read for the trimmer, on the store's lane."""
    keys = list(request.chunks)
    page: list[tuple[int, Key, RetiredRecord]] = []
    if request.after is not None:
        page = queries.retired_page(store, request.after, PAGE)
        keys += [key for _, key, record in page if not record.gone_ms]
    rows = tuple(_row(store, key) for key in dict.fromkeys(keys))
    living = {row.key for row in rows if row.copies is not None}
    head = queries.head(store)
    now_ms = head.time_ms if head is not None else 0
    orphans = tuple(
        Trimmed(node, *key, record.number)
        for node, key, record in page
        if (now_ms - record.gone_ms >= KEEP_MS if record.gone_ms else key not in living)
    )
    after = queries.retired_place(page[-1][0], page[-1][1]) if len(page) == PAGE else None
    return Reply(request, rows, orphans, after)


def _row(store: IKeyValueStore, key: Key) -> Row:
    copies = queries.copies(store, *key)
    if copies is None:
        return Row(key, None, {}, {})
    numbers = {node: queries.replica(store, node, *key) for node in copies.nodes}
    retired = {node: queries.retired(store, node, *key) for node in copies.retired}
    return Row(
        key,
        copies,
        {node: record.number for node, record in numbers.items() if record is not None},
        {node: record for node, record in retired.items() if record is not None},
    )


class Step(enum.Enum):
    VERIFYING = "verifying"
    RETIRING = "retiring"
    ORDERED = "ordered"


@define
class Trim:
    """One chunk on its way.  ``evidence`` is 0 until the replica of ``number`` at ``goes`` is retired."""

    copies: ChunkCopies
    goes: int
    number: int
    survivors: tuple[DurableReplica, ...]
    evidence: int
    deadline: float
    step: Step = Step.VERIFYING
    jobs: dict[int, int] = field(factory=dict)  # job -> node
    read: set[int] = field(factory=set)

    @property
    def key(self) -> Key:
        return self.copies.file_id, self.copies.index


@frozen
class Verify:
    """Have ``node`` read its replica and compare it."""

    job: int
    node: int
    copies: ChunkCopies


@frozen
class Order:
    """Have the node of ``trim`` give its replica up."""

    job: int
    trim: Trim


class Trimmer:
    """For one leadership.

    :param first_job: above every job number of former leaderships, and apart from those of other kinds.
    """

    def __init__(self, first_job: int) -> None:
        self._next_job = first_job
        self._waiting: OrderedDict[Key, None] = OrderedDict()
        self._work: dict[Key, Trim] = {}
        self._jobs: dict[int, Key] = {}
        self._trimmed: list[Trimmed] = []
        self._walk: bytes | None = b""
        self._next_walk = 0.0

    def offer(self, key: Key) -> None:
        """The chunk has more replicas than wanted."""
        if key not in self._work and len(self._waiting) < MAX_WAITING:
            self._waiting[key] = None

    def busy(self) -> int:
        """Chunks that are being trimmed or known to wait."""
        return len(self._work) + len(self._waiting)

    # ---- reading

    def request(self, now: float) -> Request | None:
        """What to read next; None when nothing is due.  At most one request is out at a time."""
        if self._walk is None and now >= self._next_walk:
            self._walk = b""
        room = MAX_WORK - len(self._work)
        keys = [self._waiting.popitem(last=False)[0] for _ in range(min(room, len(self._waiting)))]
        after = self._walk if room >= MAX_WORK // 2 else None
        return Request(tuple(keys), after) if keys or after is not None else None

    def receive(
        self, reply: Reply, views: Mapping[int, NodeView], may_delete: Callable[[int], bool], now: float
    ) -> None:
        """The reply to the last request."""
        if reply.request.after is not None:
            self._walk = reply.after
            if reply.after is None:
                self._next_walk = now + WALK_SECONDS
            self._trimmed += reply.orphans
        for row in reply.rows:
            if row.copies is not None and row.key not in self._work:
                trim = _again(row, row.copies, views, may_delete, now) or _new(row, row.copies, views, may_delete, now)
                if trim is not None:
                    self._work[row.key] = trim

    # ---- going on

    def verifications(self) -> list[Verify]:
        """What to order first for the chunks that just came."""
        orders = []
        for trim in self._work.values():
            if trim.step is Step.VERIFYING and not trim.jobs:
                for survivor in trim.survivors:
                    trim.jobs[self._next_job] = survivor.node
                    orders.append(Verify(self._next_job, survivor.node, trim.copies))
                    self._jobs[self._next_job] = trim.key
                    self._next_job += 1
        return orders

    def verified(self, job: int, succeeded: bool) -> bool:
        """Whether the job was one of ours.  One survivor that is not whole, and the chunk is given up."""
        key = self._jobs.pop(job, None)
        trim = self._work.get(key) if key is not None else None
        if key is None or trim is None:
            return key is not None
        if not succeeded:
            self._drop(key)
            return True
        trim.read.add(trim.jobs[job])
        if trim.step is Step.VERIFYING and trim.read == {survivor.node for survivor in trim.survivors}:
            trim.step = Step.ORDERED if trim.evidence else Step.RETIRING
        return True

    def retirements(self) -> list[Trim]:
        """What to propose to strike off now; each is answered by :meth:`retired`."""
        return [trim for trim in self._work.values() if trim.step is Step.RETIRING][:MAX_MOVES]

    def retired(self, trims: list[Trim], taken: Collection[int], index: int) -> None:
        """The command was applied at ``index``; ``taken`` are the places of those that it struck off."""
        for place, trim in enumerate(trims):
            if self._work.get(trim.key) is not trim:
                continue
            if place in taken:
                trim.evidence, trim.step = index, Step.ORDERED
            else:
                self._drop(trim.key)

    def orders(self) -> list[Order]:
        """What to order now, of what was struck off."""
        found = []
        for trim in self._work.values():
            if trim.step is Step.ORDERED and not any(node == trim.goes for node in trim.jobs.values()):
                trim.jobs[self._next_job] = trim.goes
                self._jobs[self._next_job] = trim.key
                found.append(Order(self._next_job, trim))
                self._next_job += 1
        return found

    def trimmed(self, job: int, succeeded: bool) -> Trim | None:
        """The node reports on an order; what was trimmed.  One that refuses is asked again by a later walk."""
        key = self._jobs.pop(job, None)
        trim = self._work.get(key) if key is not None else None
        if key is None or trim is None or trim.step is not Step.ORDERED:
            return None
        self._drop(key)
        if not succeeded:
            return None
        self._trimmed.append(Trimmed(trim.goes, *key, trim.number))
        return trim

    def reports(self) -> tuple[Trimmed, ...]:
        """What to record as carried out; given once, a walk finds again what was not recorded."""
        found, self._trimmed = tuple(self._trimmed[:MAX_MOVES]), self._trimmed[MAX_MOVES:]
        return found

    def expire(self, now: float) -> None:
        """Drop what waits for too long."""
        for key in [key for key, trim in self._work.items() if trim.deadline <= now]:
            self._drop(key)

    def node_died(self, node: int) -> None:
        """What counted on it is given up."""
        for key, trim in list(self._work.items()):
            if node == trim.goes or any(node == survivor.node for survivor in trim.survivors):
                self._drop(key)

    def _drop(self, key: Key) -> None:
        trim = self._work.pop(key, None)
        if trim is not None:
            for job in trim.jobs:
                self._jobs.pop(job, None)


def _new(
    row: Row, copies: ChunkCopies, views: Mapping[int, NodeView], may_delete: Callable[[int], bool], now: float
) -> Trim | None:
    """A chunk with more sound replicas than wanted."""
    found = surplus(copies.nodes, copies.wanted, views)
    if found is None or not may_delete(found[0]) or found[0] not in row.numbers:
        return None
    goes, others = found
    survivors = _survivors(row, others)
    return Trim(copies, goes, row.numbers[goes], survivors, 0, now + STEP_SECONDS)


def _again(
    row: Row, copies: ChunkCopies, views: Mapping[int, NodeView], may_delete: Callable[[int], bool], now: float
) -> Trim | None:
    """A chunk of which a replica was struck off, and not reported gone."""
    others = [node for node in staying(copies.nodes, views) if views[node].state is NodeState.ALIVE]
    if len(others) < copies.wanted:
        return None  # the planner has it served again
    for node, record in row.retired.items():
        if node in views and views[node].state is not NodeState.DEAD and may_delete(node):
            survivors = _survivors(row, others)
            return Trim(copies, node, record.number, survivors, record.evidence, now + STEP_SECONDS)
    return None


def _survivors(row: Row, nodes: Collection[int]) -> tuple[DurableReplica, ...]:
    return tuple(DurableReplica(NodeNumber(node), row.numbers[node]) for node in nodes if node in row.numbers)


def retirement(trim: Trim) -> Retirement:
    """What to propose for it."""
    chunk = trim.copies
    return Retirement(chunk.file_id, chunk.index, chunk.generation, trim.goes, trim.number, trim.survivors)
