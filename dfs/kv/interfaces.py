"""An ordered map of bytes to bytes with atomic batches.

All calls block and come from one thread (the store's lane).  A key is 1 to
8,192 bytes, a value at most 1 MiB, a batch at most 128 MiB.  Order is that of unsigned bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from attrs import define, field
from zope.interface import Attribute, Interface

MAX_KEY = 8192
MAX_VALUE = 1 << 20
MAX_BATCH = 128 << 20  # keys and values of one batch together


@define
class Batch:
    """Changes that take effect together.  ``changes`` maps a key to its new value, None to delete it.  ``stored``
    spares the store a look: whether it holds a key now, for keys of which the caller has just seen it."""

    changes: dict[bytes, bytes | None] = field(factory=dict)
    stored: Mapping[bytes, bool] = field(factory=dict)

    def put(self, key: bytes, value: bytes) -> None:
        self.changes[key] = value

    def delete(self, key: bytes) -> None:
        self.changes[key] = None


class IStoreSnapshot(Interface):
    """The store as it was at one moment, read in slices while writes go on."""

    def read(limit: int) -> list[tuple[bytes, bytes]]:
        """The next pairs in key order, at most ``limit`` bytes of keys and values (at least one
        pair); [] at the end."""

    def close() -> None:
        """Stop saving before-images; idempotent."""


class IKeyValueStore(Interface):
    """One contract test runs against every provider (dfs.kv.test.contract)."""

    engine = Attribute("'berkeleydb', 'semidbm' or 'memory'.")

    def get(key: bytes) -> bytes | None:
        """The value, or None."""

    def scan(
        start: bytes, end: bytes | None = None, limit: int = 1000, reverse: bool = False
    ) -> list[tuple[bytes, bytes]]:
        """At most ``limit`` pairs with start <= key < end in key order (in reverse: from the end down);
        ``end`` None means no upper end."""

    def apply(batch: Batch) -> None:
        """Make all changes or none, visible at once, surviving a crash of the *process* not at all necessarily:
        durable only after :meth:`sync`.  After a crash the store is exactly some prefix of the applied batches
        that contains every synced one."""

    def sync() -> None:
        """When it returns, every batch applied so far is durable."""

    def snapshot() -> IStoreSnapshot:
        """A consistent view of now; at most one at a time is open."""

    def count() -> int:
        """How many keys there are, exactly or (berkeleydb) as the engine estimates it."""

    def close() -> None:
        """Sync and release; idempotent."""


def prefix_end(prefix: bytes) -> bytes | None:
    """The smallest key above every key that starts with ``prefix``; None if there is none."""
    trimmed = prefix.rstrip(b"\xff")
    return trimmed[:-1] + bytes([trimmed[-1] + 1]) if trimmed else None


def scan_all(store: IKeyValueStore, prefix: bytes, page: int = 1000) -> Iterator[tuple[bytes, bytes]]:
    """Every pair under a prefix, a page at a time (for tests, tools and start-up; never in an apply)."""
    start, end = prefix, prefix_end(prefix)
    while pairs := store.scan(start, end, page):
        yield from pairs
        start = pairs[-1][0] + b"\x00"
