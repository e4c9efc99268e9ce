"""Parts of the planner: what is ordered, what flies, what waits for a time, what is set aside."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from heapq import heappop, heappush

from attrs import define, field, frozen

from dfs.metaserver.backlog import Tally
from dfs.metaserver.queries import ChunkCopies
from dfs.metaserver.scanning import Key

BACK_OFF = (1.0, 60.0)  # the first one, doubled by each failure, and the longest
MAX_TOLD = 100_000  # chunks set aside that are remembered as told
ASIDE_SECONDS = 60.0  # what was set aside is looked at again after that without any event


@frozen
class Copy:
    """Order ``source`` to copy the chunk to ``target``; where they are the same, to serve again what was trimmed there.
    ``urgency`` is dfs.metaserver.mover's."""

    job: int
    source: int
    target: int
    chunk: ChunkCopies
    urgency: int = 0

    @property
    def is_restore(self) -> bool:
        return self.source == self.target


@frozen
class Work:
    """Chunks that wait for streams (``backlog``), are copied (``flights``), wait after failures (``waiting``), and have
    no place now (``aside``)."""

    backlog: int
    flights: int
    waiting: int
    aside: int
    aside_bytes: int
    aside_reason: str


@frozen
class Debt:
    """What the planner knows to be missing.  ``single`` chunks have one live copy, ``lost`` none."""

    chunks: int
    bytes: int
    single: int
    lost: int
    aside: int
    scanning: bool


def debt_of(tallies: Iterable[Tally], aside: int, scanning: bool) -> Debt:
    """The sums of all of them."""
    chunks = size = single = lost = 0
    for tally in tallies:
        chunks, size = chunks + tally.chunks, size + tally.bytes
        single, lost = single + tally.single, lost + tally.lost
    return Debt(chunks, size, single, lost, aside, scanning)


@define
class Waiting:
    """Keys that come back at a time, later with each failure; a key counts while the dict has that very time for it."""

    times: dict[Key, float] = field(factory=dict)
    heap: list[tuple[float, Key]] = field(factory=list)
    failures: dict[Key, int] = field(factory=dict)

    def failed(self, key: Key, now: float, most: int) -> None:
        """Let it wait; ``most`` failures are remembered."""
        failures = self.failures.get(key, 0)
        if len(self.failures) >= most:
            self.failures.clear()  # they begin with the shortest back-off again
        self.failures[key] = min(failures + 1, 16)
        self.put(key, now + min(BACK_OFF[0] * 2**failures, BACK_OFF[1]))

    def forgive(self, key: Key) -> None:
        """It succeeded, or needs nothing; idempotent."""
        self.failures.pop(key, None)

    def put(self, key: Key, when: float) -> None:
        self.times[key] = when
        heappush(self.heap, (when, key))

    def due(self, now: float) -> Iterator[Key]:
        """Those whose time has come; they wait no more."""
        while self.heap and self.heap[0][0] <= now:
            when, key = heappop(self.heap)
            if self.times.get(key) == when:
                del self.times[key]
                yield key


@define
class Aside:
    """Chunks that cannot be placed, with the reason; ``since`` is when the first of them came.  ``told`` are those that
    came before and were not whole since: whoever is tried again and again is told of once."""

    entries: OrderedDict[Key, tuple[str, ChunkCopies, int]] = field(factory=OrderedDict)
    tally: Tally = field(factory=Tally)
    since: float = 0.0
    told: set[Key] = field(factory=set)

    def put(self, key: Key, chunk: ChunkCopies, live: int, reason: str, now: float) -> bool:
        """Whether it is to be told of."""
        if not self.entries:
            self.since = now
        self.entries[key] = (reason, chunk, live)
        self.tally.count(chunk, live)
        if len(self.told) >= MAX_TOLD:
            self.told.clear()
        is_new = key not in self.told
        self.told.add(key)
        return is_new

    def forgive(self, key: Key) -> None:
        """It needs no place any more; idempotent."""
        self.told.discard(key)

    def summary(self) -> tuple[int, int, str]:
        """How many chunks there are, their bytes, and the reason of the first."""
        reason = next(iter(self.entries.values()))[0] if self.entries else ""
        return len(self.entries), self.tally.bytes, reason

    def drop(self, key: Key) -> bool:
        """Whether it was here."""
        if key not in self.entries:
            return False
        _, chunk, live = self.entries.pop(key)
        self.tally.count(chunk, live, -1)
        return True

    def drop_first(self) -> tuple[str, ChunkCopies, int]:
        """The one that has been here longest: reason, chunk, live copies."""
        key, entry = next(iter(self.entries.items()))
        self.drop(key)
        return entry

    def take_all(self) -> list[tuple[Key, tuple[str, ChunkCopies, int]]]:
        """All of them; none is left."""
        taken = list(self.entries.items())
        self.entries.clear()
        self.tally = Tally()
        return taken


SWEEP_FIRST = 600.0  # seconds from the beginning of a leadership
SWEEP_EVERY = 3600.0
SWEEP_PAUSE = 0.2  # between two pages


@define
class Sweep:
    """The slow walk over all chunks, a page at a time: it finds what no event told."""

    after: bytes = b""
    when: float | None = None
    is_hurried: bool = False

    def hurry(self) -> None:
        """Something changed for all chunks, such as a new rack: begin anew, and soon."""
        self.after, self.is_hurried = b"", True

    def due(self, now: float, is_quiet: bool) -> bytes | None:
        """Where the next page begins, None while it is not due."""
        if self.when is None:
            self.when = now + SWEEP_FIRST
        if not is_quiet or (now < self.when and not self.is_hurried):
            return None
        self.is_hurried = False
        return self.after

    def read(self, after: bytes | None, now: float) -> None:
        """A page was read; ``after`` None: the last one."""
        self.after = after if after is not None else b""
        self.when = now + (SWEEP_PAUSE if after is not None else SWEEP_EVERY)
