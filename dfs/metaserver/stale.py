"""Replicas of generations that were given up: a write was placed anew, and another generation was committed.

They are found by inventories, and stay until their file is deleted unless somebody orders them away.  Pure,
leader-local.  An order is given only where

- the chunk is committed: from then on its generation never changes, so that whoever saw it committed, and when, is
  right about it for ever;
- the replica is of an *older* generation of the same history; the chunk server refuses anything else, too;
- the chunk is whole without it, for a write that was placed anew sent the same bytes: while copies are short they may
  be the last good ones.  And it goes to the quarantine, not away;
- this leader has seen the node's whole inventory, and no node is ahead of its history (S16).

Whatever fails is dropped here, and found again by a later inventory.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping

from attrs import frozen

from dfs.kv.interfaces import IKeyValueStore
from dfs.metaserver import queries
from dfs.metaserver.mover import staying
from dfs.metaserver.placement import NodeView
from dfs.metaserver.queries import ChunkCopies
from dfs.protocol.values import HISTORY_SHIFT

MAX_WAITING = 10_000
MAX_ORDERED = 256
PAGE = 64
ORDER_SECONDS = 120.0


@frozen
class Stale:
    """A replica that a node holds, under the number of its add."""

    node: int
    file_id: int
    index: int
    generation: int
    number: int
    length: int


@frozen
class StaleOrder:
    """Have its node give it up, for ``committed`` is the generation that counts."""

    job: int
    stale: Stale
    committed: int


def is_stale(generation: int, committed: int) -> bool:
    """Whether a replica is of an older generation of the same history than the committed one."""
    return generation >> HISTORY_SHIFT == committed >> HISTORY_SHIFT and generation < committed


def answer(store: IKeyValueStore, asked: Iterable[Stale]) -> list[tuple[Stale, ChunkCopies | None]]:
    """What is committed of each chunk now, None for nothing; on the store's lane."""
    return [(stale, queries.copies(store, stale.file_id, stale.index)) for stale in asked]


def may_go(stale: Stale, copies: ChunkCopies | None, views: Mapping[int, NodeView]) -> bool:
    """Whether the record allows the order."""
    if copies is None or not is_stale(stale.generation, copies.generation):
        return False
    return len(staying(copies.nodes, views)) >= copies.wanted


class StaleReplicas:
    """For one leadership.

    :param first_job: above every job number of former leaderships, and apart from all others.
    """

    def __init__(self, first_job: int) -> None:
        self._next_job = first_job
        self._waiting: dict[int, OrderedDict[Stale, None]] = {}  # by node, for they wait for their node's inventory
        self._count = 0
        self._ordered: dict[int, tuple[Stale, float]] = {}

    def offer(self, stale: Stale) -> None:
        """An inventory named it."""
        waiting = self._waiting.setdefault(stale.node, OrderedDict())
        if self._count < MAX_WAITING and stale not in waiting:
            waiting[stale] = None
            self._count += 1

    def request(self, may_delete: Callable[[int], bool]) -> tuple[Stale, ...]:
        """What to look at now: of nodes to which orders may go; the others wait, and cost one look a node."""
        room = min(PAGE, MAX_ORDERED - len(self._ordered))
        found: list[Stale] = []
        for node, waiting in list(self._waiting.items()):
            if len(found) >= room:
                break
            if may_delete(node):
                found += [waiting.popitem(last=False)[0] for _ in range(min(room - len(found), len(waiting)))]
            if not waiting:
                del self._waiting[node]
        self._count -= len(found)
        return tuple(found)

    def forget(self, node: int) -> None:
        """It is dead or removed: what waits for it takes nobody's place.  When it returns its inventory names it."""
        self._count -= len(self._waiting.pop(node, ()))

    def receive(
        self, rows: Iterable[tuple[Stale, ChunkCopies | None]], views: Mapping[int, NodeView], now: float
    ) -> list[StaleOrder]:
        """The orders to give."""
        flying = {stale for stale, _ in self._ordered.values()}
        orders = []
        for stale, copies in rows:
            if stale not in flying and copies is not None and may_go(stale, copies, views):
                self._ordered[self._next_job] = (stale, now + ORDER_SECONDS)
                orders.append(StaleOrder(self._next_job, stale, copies.generation))
                self._next_job += 1
        return orders

    def ended(self, job: int) -> Stale | None:
        """An order was carried out, refused or dropped; which replica it was for, None where the job is not ours."""
        stale, _ = self._ordered.pop(job, (None, 0.0))
        return stale

    def expire(self, now: float) -> None:
        """Orders that nobody reports on count as dropped."""
        for job in [job for job, (_, until) in self._ordered.items() if until <= now]:
            del self._ordered[job]
