"""The death of a rack on virtual time: planner and machine are the leader's own, chunk servers are a rate each.

One turn of the planner's wheel after the other, as dfs.metaserver.repair turns it: a page read on the lane, a slice of
planning, and every 0.1 s what copies ended is recorded by AddReplicas.  The CPU that this takes passes on the virtual
clock as well, all of it as on one core, for reactor and lane share one interpreter.  A node moves its share of the
limit among the copies that it takes part in; an order waits for a beat of its source, half a second at most.
"""

from __future__ import annotations

import random
import resource
import time
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

from attrs import define, evolve, field

from bench.rackloss.load import NODES, RACKS, Author, rack_of
from dfs.metaserver import commands, queries, tables
from dfs.metaserver.answers import Changed, decode_answer
from dfs.metaserver.moves import Copy
from dfs.metaserver.pacing import Pace
from dfs.metaserver.placement import NodeView
from dfs.metaserver.planner import AHEAD, STREAMS_PER_NODE, Planner
from dfs.metaserver.repair import SLICE
from dfs.metaserver.scanning import answer
from dfs.protocol.messages import ChunkCommit, DurableReplica
from dfs.protocol.values import FileId, Generation, NodeNumber, NodeState
from dfs.runtime.garbage import settle

TURN = 0.05  # virtual seconds until the next plan where nothing was left to do, as for a cluster of this size
RECORD = 0.1  # between two entries of results
BEAT = 0.5
SPACE = 1 << 44
NODE_RATE = 100 << 20
ENTRY = 256  # results in one AddReplicas


@define
class Samples:
    """What is shown, in virtual seconds, chunks and CPU seconds."""

    at: list[float] = field(factory=list)
    single: list[int] = field(factory=list)
    short: list[int] = field(factory=list)
    longest: float = 0.0  # that the reactor thread was held up: by a page received, a slice of planning
    planning: float = 0.0  # on the reactor thread: receive, plan, result
    plans: int = 0
    read: int = 0  # chunks
    reading: float = 0.0  # on the lane
    applying: float = 0.0
    copies: int = 0
    single_safe: float = 0.0
    whole: float = 0.0
    counted: float = 0.0  # when all that is short was known
    resident_before: int = 0
    resident: int = 0


class RackLoss:
    """:param author: who has grown the tables, and writes the entries from now on."""

    def __init__(self, author: Author, seed: int = 1) -> None:
        self._author, self._draw = author, random.Random(seed)
        pace = Pace(node_rate=NODE_RATE)
        self.planner = Planner(self._draw.random, 1 << 32, streams=STREAMS_PER_NODE * AHEAD, pace=pace)
        self.samples = Samples()
        self._now, self._number = 0.0, 1 << 40
        self._ends: list[tuple[float, int, Copy]] = []
        self._ended: list[Copy] = []
        self._free_at = dict.fromkeys(range(1, NODES + 1), 0.0)
        self._views = {number: self._view(number) for number in range(1, NODES + 1)}
        self._single = self._short = 0

    def _view(self, number: int) -> NodeView:
        rack = f"rack-{rack_of(number):02d}"
        return NodeView(number, rack, NodeState.ALIVE, SPACE, SPACE - number * (1 << 30), 0)

    def run(self, limit: float = 3600.0) -> Samples:
        """Kill the first rack, heal, to the end."""
        for view in self._views.values():
            self.planner.node(view)
        dead = [number for number in self._views if rack_of(number) == 0]
        self._short, self._single = self._count(dead)
        for number in dead:
            self._author.apply([commands.NodeDied(number)])
            self._views[number] = evolve(self._views[number], state=NodeState.DEAD)
            self.planner.node(self._views[number])
        self.samples.resident_before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        settle()  # as the daemon does
        next_record = 0.0
        while self._short and self._now < limit:
            before = self._used()
            has_more = self._turn()
            if self._now >= next_record:
                self._record()
                next_record = self._now + RECORD
            self._now += max(self._used() - before, 0.0 if has_more else TURN)
        self.samples.resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return self.samples

    def _used(self) -> float:
        """CPU seconds of the leader so far."""
        return self.samples.planning + self.samples.reading + self.samples.applying

    def _count(self, dead: list[int]) -> tuple[int, int]:
        """(chunks that lack copies, those of them with one) when these nodes are dead; no part of what is measured."""
        store, short, single = self._author.machine.store, 0, 0
        for node in dead:
            after = b""
            while page := queries.replicas_page(store, node, after, 1000):
                for file_id, index, _ in page:
                    chunk = queries.chunk(store, file_id, index)
                    assert chunk is not None
                    short, single = short + 1, single + (len(chunk.nodes) == 2)
                after = tables.place(*page[-1][:2])
        return short, single

    def _turn(self) -> bool:
        """Whether the next one is to follow at once."""
        planner, samples = self.planner, self.samples
        request = planner.request()
        if request is not None:
            began = time.process_time()
            reply = answer(self._author.machine.store, request)
            samples.reading += time.process_time() - began
            samples.read += len(reply.found)
            self._on_reactor(lambda: planner.receive(reply, self._now))
        if not samples.counted and not planner.debt().scanning:
            samples.counted = self._now
        until = time.perf_counter() + SLICE
        copies = self._on_reactor(lambda: planner.plan(self._now, lambda: time.perf_counter() >= until))
        samples.plans += 1
        for copy in copies:
            self._fly(copy)
        return request is not None or planner.has_more

    def _on_reactor(self, work: Callable[[], Any]) -> Any:
        """Do it, and count how long it takes."""
        began = time.process_time()
        found = work()
        took = time.process_time() - began
        self.samples.planning += took
        self.samples.longest = max(self.samples.longest, took)
        return found

    def _fly(self, copy: Copy) -> None:
        """Its two nodes move it one after the other with what they have already."""
        seconds = copy.chunk.length / NODE_RATE
        begin = max(self._now + self._draw.random() * BEAT, self._free_at[copy.source], self._free_at[copy.target])
        self._free_at[copy.source] = max(self._free_at[copy.source], self._now) + seconds
        self._free_at[copy.target] = max(self._free_at[copy.target], self._now) + seconds
        heappush(self._ends, (begin + seconds, copy.job, copy))

    def _record(self) -> None:
        """What ended since the last time, and the samples."""
        while self._ends and self._ends[0][0] <= self._now:
            self._ended.append(heappop(self._ends)[2])
        ended, self._ended = self._ended, []
        samples = self.samples
        for first in range(0, len(ended), ENTRY):
            some = ended[first : first + ENTRY]
            is_recorded = self._add(some)
            began = time.process_time()
            for copy in some:
                self.planner.result(copy.job, True, self._now, is_recorded)
            samples.planning += time.process_time() - began
        samples.copies += len(ended)
        self._short -= len(ended)
        self._single -= sum(copy.urgency == 1 for copy in ended)
        samples.at.append(self._now)
        samples.single.append(self._single)
        samples.short.append(self._short)
        samples.single_safe = self._now if self._single else samples.single_safe
        samples.whole = self._now

    def _add(self, copies: list[Copy]) -> bool:
        """Whether all of them are on the record."""
        commits = []
        for copy in copies:
            self._number += 1
            chunk = copy.chunk
            durable = (DurableReplica(NodeNumber(copy.target), self._number),)
            commits.append(
                ChunkCommit(
                    FileId(chunk.file_id),
                    chunk.index,
                    Generation(chunk.generation),
                    chunk.length,
                    chunk.sha256,
                    durable,
                )
            )
        began = time.process_time()
        changed = decode_answer(self._author.apply([commands.AddReplicas(tuple(commits))])[0])
        self.samples.applying += time.process_time() - began
        assert isinstance(changed, Changed), changed
        return changed.count == len(copies)


def nodes_left() -> int:
    """When the rack is dead."""
    return NODES - NODES // RACKS
