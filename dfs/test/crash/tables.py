"""The key-value stores under trial: batches, syncs, replacements (R31, R33, R37, R39).

What a store holds is the count of batches in it; that it holds just those is compared pair by pair.  A batch has
keys of its own, rewrites others, deletes some, and carries the counter, as a node's batches carry its applied index.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

from attrs import frozen

from dfs.disk.errors import DiskError
from dfs.disk.interfaces import IDisk
from dfs.kv import batchfile
from dfs.kv.errors import StoreError
from dfs.kv.folder import StoreFolder
from dfs.kv.interfaces import Batch, IKeyValueStore, scan_all
from dfs.test.crash.subjects import Mark, Opened, Refused, Wrong

COUNTER = b"counter"
KEYS = 24
CACHE = 128 << 10
MOST = 400


def numbered(index: int) -> Batch:
    """Batch ``index``: three values of different length, one key fewer, and the counter."""
    chance = Random(index)
    batch = Batch({b"k%03d" % chance.randrange(KEYS): chance.randbytes(chance.choice((0, 20, 700))) for _ in range(3)})
    batch.delete(b"k%03d" % chance.randrange(KEYS))
    batch.put(COUNTER, b"%d" % index)
    return batch


def after(count: int) -> dict[bytes, bytes]:
    """All pairs after the batches 1 to ``count``."""
    return dict(next(itertools.islice(_states(), count, None)))


def _states() -> Iterator[dict[bytes, bytes]]:
    pairs: dict[bytes, bytes] = {}
    for index in itertools.count(1):
        yield pairs
        for key, value in numbered(index).changes.items():
            if value is None:
                pairs.pop(key, None)
            else:
                pairs[key] = value


class OpenedTables:
    """A folder of tables."""

    def __init__(self, place: StoreFolder) -> None:
        self._place = place
        self._store: IKeyValueStore = place.open()
        self._count = int(self._store.get(COUNTER) or b"0")
        self._durable = self._count

    def seen(self) -> str:
        pairs = dict(scan_all(self._store, b""))
        if pairs != after(self._count):
            raise Wrong(f"what is there is not what {self._count} batches leave")
        if self._store.count() != len(pairs):
            raise Wrong(f"{len(pairs)} keys are counted as {self._store.count()}")
        return str(self._count)

    def step(self, chance: Random, mark: Mark) -> None:
        kind = chance.random()
        if kind < 0.05:
            self._replace(mark)
        elif kind < 0.35:
            self._sync(mark)
        else:
            mark(*map(str, range(self._durable, self._count + 2)))
            self._store.apply(numbered(self._count + 1))
            self._count += 1

    def close(self, mark: Mark) -> None:
        self._place.close()
        mark(str(self._count))

    def _sync(self, mark: Mark) -> None:
        self._store.sync()
        self._durable = self._count
        mark(str(self._count))

    def _replace(self, mark: Mark) -> None:
        """Install the state one batch further on, as a received snapshot does."""
        mark(*map(str, range(self._durable, self._count + 2)))
        following = self._place.begin()
        following.apply(Batch(dict(after(self._count + 1))))
        self._store = self._place.switch()
        self._count += 1
        self._durable = self._count
        mark(str(self._count))


@frozen
class Tables:
    """The stores of one engine."""

    engine: str
    traced: bool = False
    torn_pages: int = 0
    empty: str = "0"
    failures: tuple[type[Exception], ...] = (StoreError, DiskError)

    @property
    def name(self) -> str:
        return self.engine

    @contextmanager
    def small(self) -> Iterator[None]:
        changes = [(batchfile, "COMPACT_AT", 1500), (batchfile, "REWRITE_PIECE", 900)]
        if self.engine == "berkeleydb":
            from dfs.kv import berkeley

            changes += [(berkeley, "LOG_FILE", 80 << 10), (berkeley, "LOG_BUFFER", 16 << 10)]
            changes += [(berkeley, "CHECKPOINT_EVERY", 12 << 10)]
        former = [(module, name, getattr(module, name)) for module, name, _ in changes]
        try:
            for module, name, value in changes:
                setattr(module, name, value)
            yield
        finally:
            for module, name, value in former:
                setattr(module, name, value)

    def open(self, disk: IDisk, folder: str) -> Opened:
        try:
            place = StoreFolder(disk, f"{folder}/data", self.engine, CACHE)
            try:
                return OpenedTables(place)
            except BaseException:
                place.close()
                raise
        except (StoreError, DiskError) as error:
            raise Refused(str(error)) from error
