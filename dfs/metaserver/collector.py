"""Garbage collection: orders to delete what ended files left behind, then the commands that forget it (S15).

Leader-local, incremental and pure; the same wheel as the planner's.  For each garbage file, a page of chunk records
at a time, each node that may hold bytes (recorded replicas, and targets of uncommitted generations) is ordered to
delete the chunk's generations up to the last one issued, with the log index that ended the file as evidence.  When it
reports that nothing is left there, CollectGarbage takes it off the record.  A dead node's part stays recorded; a slow
sweep over the garbage finds it when the node is back.  Orders in flight have deadlines; what failed is ordered again by
a later pass.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from itertools import islice

from attrs import define, field, frozen

from dfs.kv.interfaces import IKeyValueStore
from dfs.metaserver import queries
from dfs.metaserver.commands import MAX_COMMITS, CollectGarbage, Freed

PAGE = 64  # chunks of a file worked on at a time
MAX_FILES = 512  # worked on at a time
MAX_READ = 64  # pages of files read by one request
MAX_WAITING = 10_000  # files that are known to wait; more are found by the sweep
ORDERS_PER_NODE = 128
ORDER_SECONDS = 30.0
SWEEP_SECONDS = 60.0


@frozen
class Request:
    """Read garbage files above ``after`` (None: not now), and chunks of files: (file id, first index)."""

    after: int | None
    pages: tuple[tuple[int, int], ...]


@frozen
class Page:
    """Chunks of one file: (index, nodes that may hold bytes).  ``evidence`` is 0 where it is no garbage (any more)."""

    file_id: int
    evidence: int
    chunks: tuple[tuple[int, tuple[int, ...]], ...]
    bound: int  # the last generation issued by now: none of the file is above, for none is issued to it any more
    after: int | None  # the index where the next page begins, None at the end


@frozen
class Reply:
    request: Request
    files: tuple[int, ...]
    pages: tuple[Page, ...]


def answer(store: IKeyValueStore, request: Request) -> Reply:
    """Read for the collector, on the store's lane."""
    files: tuple[int, ...] = ()
    if request.after is not None:
        files = tuple(file_id for file_id, _ in queries.garbage_page(store, request.after, MAX_FILES))
    return Reply(request, files, tuple(_page(store, *page) for page in request.pages))


def _page(store: IKeyValueStore, file_id: int, first: int) -> Page:
    record = queries.garbage(store, file_id)
    if record is None:
        return Page(file_id, 0, (), 0, None)
    rows = queries.chunks_page(store, file_id, first, PAGE)
    chunks = tuple((index, chunk.nodes + chunk.tried) for index, chunk in rows)
    head = queries.head(store)
    bound = head.generation if head is not None else 0
    return Page(file_id, record.ended, chunks, bound, rows[-1][0] + 1 if len(rows) == PAGE else None)


@frozen
class Delete:
    """Order ``node`` to delete the chunk's generations up to ``bound``; that and ``evidence`` go into the grant."""

    job: int
    node: int
    file_id: int
    index: int
    bound: int
    evidence: int


@define
class _Work:
    """A file being collected: one page of it."""

    first: int = 0
    evidence: int = 0
    bound: int = 0
    is_read: bool = False
    after: int | None = None
    to_order: list[tuple[int, int]] = field(factory=list)  # (index, node)
    flying: int = 0
    freed: list[Freed] = field(factory=list)
    proposed: int = 0  # CollectGarbage commands that are out
    is_empty: bool = False  # no chunk record: one command without items ends the file


class Collector:
    """For one leadership.

    :param first_job: above every job number of former leaderships, and apart from the planner's.
    """

    def __init__(self, first_job: int) -> None:
        self._next_job = first_job
        self._waiting: OrderedDict[int, None] = OrderedDict()
        self._work: OrderedDict[int, _Work] = OrderedDict()
        self._orders: dict[int, tuple[Delete, float]] = {}
        self._busy: dict[int, int] = {}
        self._sweep: int | None = 0
        self._next_sweep = 0.0

    def ended(self, file_id: int) -> None:
        """A file ended."""
        if file_id not in self._work and len(self._waiting) < MAX_WAITING:
            self._waiting[file_id] = None

    def request(self, now: float) -> Request | None:
        """What to read next; None when nothing is due.  At most one request is out at a time."""
        if self._sweep is None and now >= self._next_sweep:
            self._sweep = 0
        while self._waiting and len(self._work) < MAX_FILES:
            file_id, _ = self._waiting.popitem(last=False)
            self._work.setdefault(file_id, _Work())
        unread = ((file_id, work.first) for file_id, work in self._work.items() if not work.is_read)
        pages = tuple(islice(unread, MAX_READ))
        after = self._sweep if len(self._waiting) < MAX_WAITING - MAX_FILES else None
        if after is None and not pages:
            return None
        return Request(after, pages)

    def receive(self, reply: Reply, now: float) -> None:
        """The reply to the last request."""
        if reply.request.after is not None:
            for file_id in reply.files:
                self.ended(file_id)
            self._sweep = reply.files[-1] if len(reply.files) == MAX_FILES else None
            if self._sweep is None:
                self._next_sweep = now + SWEEP_SECONDS
        for page in reply.pages:
            work = self._work.get(page.file_id)
            if work is None or work.is_read:
                continue
            if page.evidence == 0:
                del self._work[page.file_id]
                continue
            work.is_read, work.evidence, work.after = True, page.evidence, page.after
            work.bound = page.bound
            work.to_order = [(index, node) for index, nodes in page.chunks for node in nodes]
            work.is_empty = not page.chunks and work.first == 0

    def plan(self, now: float, reachable: Collection[int], limit: int = 1024) -> list[Delete]:
        """New orders, to nodes in ``reachable`` (those that are not dead); others keep their place on the record."""
        for order, deadline in list(self._orders.values()):
            if deadline <= now:
                self.result(order.job, False)
        orders: list[Delete] = []
        for file_id, work in list(self._work.items()):
            kept: list[tuple[int, int]] = []
            for index, node in work.to_order:
                if node not in reachable:
                    continue
                if len(orders) >= limit or self._busy.get(node, 0) >= ORDERS_PER_NODE:
                    kept.append((index, node))
                    continue
                order = Delete(self._next_job, node, file_id, index, work.bound, work.evidence)
                orders.append(self._order(work, order, now))
            work.to_order = kept
            self._advance(file_id, work)
        return orders

    def forget_gone(self, known: Collection[int]) -> None:
        """Nodes that are not ``known`` were removed: nobody is there who could be told, nor will be."""
        for work in self._work.values():
            gone = [(index, node) for index, node in work.to_order if node not in known]
            if gone:
                work.to_order = [each for each in work.to_order if each[1] in known]
                work.freed += [Freed(index, node) for index, node in gone]

    def _order(self, work: _Work, order: Delete, now: float) -> Delete:
        self._next_job += 1
        self._orders[order.job] = (order, now + ORDER_SECONDS)
        self._busy[order.node] = self._busy.get(order.node, 0) + 1
        work.flying += 1
        return order

    def result(self, job: int, succeeded: bool) -> None:
        """The node deleted, or had nothing (success as well), or failed.  Unknown jobs are of a former time."""
        order, _ = self._orders.pop(job, (None, 0.0))
        if order is None:
            return
        self._busy[order.node] -= 1
        work = self._work[order.file_id]
        work.flying -= 1
        if succeeded:
            work.freed.append(Freed(order.index, order.node))
        self._advance(order.file_id, work)

    def commands(self) -> list[CollectGarbage]:
        """What to propose now; each is answered by :meth:`collected`."""
        found = []
        for file_id, work in self._work.items():
            if work.is_read and work.is_empty:
                work.is_empty = False
                work.proposed += 1
                found.append(CollectGarbage(file_id, ()))
            while work.freed:
                found.append(CollectGarbage(file_id, tuple(work.freed[:MAX_COMMITS])))
                del work.freed[:MAX_COMMITS]
                work.proposed += 1
        return found

    def collected(self, file_id: int, finished: bool) -> None:
        """A command was answered; ``finished`` False also where it failed: a later sweep does what is left."""
        work = self._work.get(file_id)
        if work is None:
            return
        work.proposed -= 1
        if finished:
            work.after = None
        self._advance(file_id, work)

    def _advance(self, file_id: int, work: _Work) -> None:
        """The page is done: the next one, or done with the file for now."""
        if not work.is_read or work.to_order or work.flying or work.freed or work.proposed or work.is_empty:
            return
        if work.after is None:
            del self._work[file_id]
        else:
            self._work[file_id] = _Work(first=work.after)

    def busy(self) -> int:
        """Files being worked on or known to wait."""
        return len(self._work) + len(self._waiting)
