"""A consistent view of a store, read in slices while writes go on.

Problem: a follower needs the state as of one index; the tables may be gigabytes,
and applying must not wait (S32, S33).  Design: the view is a position in key
order.  What lies below it was delivered.  Before a batch changes a key at or above
it, the key's former value (or its absence) is saved once: its *before-image*.  A
slice is the live range merged with the images, which are dropped as the position
passes them.

Memory is bounded by what is overwritten, deleted or inserted ahead of the position
while the view is open, at most once a key; a reader that stalls therefore costs memory
with each new key that is changed, so the owner closes views that make no progress.

Rejected: multi-version concurrency of Berkeley DB (DB_MULTIVERSION): it holds the
versions in the page cache, fails when the cache is full, and no other engine has it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from typing import Protocol

from zope.interface import implementer

from dfs.kv.errors import SnapshotOpen
from dfs.kv.interfaces import IStoreSnapshot
from dfs.kv.sortedkeys import SortedKeys

Pair = tuple[bytes, bytes]


class Walk(Protocol):
    """Live pairs with key >= start in ascending order, read lazily."""

    def __call__(self, start: bytes) -> Generator[Pair, None, None]: ...


@implementer(IStoreSnapshot)
class StoreSnapshot:
    """See the module.  The store calls :meth:`before_change` ahead of each batch."""

    def __init__(self, walk: Walk, get: Callable[[bytes], bytes | None], check: Callable[[], None]) -> None:
        self._walk = walk
        self._get = get
        self._check = check
        self._position: bytes | None = b""
        self._images: dict[bytes, bytes | None] = {}
        self._keys = SortedKeys()

    @property
    def is_open(self) -> bool:
        """False after the close; a view that was read to its end saves nothing more but is open still."""
        return self._walk is not _closed_walk

    @property
    def image_count(self) -> int:
        """How many before-images are held now."""
        return len(self._images)

    def before_change(self, keys: Iterable[bytes]) -> None:
        """Save what the keys have now, unless it was delivered or saved already."""
        position = self._position
        if position is None:
            return
        for key in keys:
            if key >= position and key not in self._images:
                self._images[key] = self._get(key)
                self._keys.add(key)

    def read(self, limit: int) -> list[Pair]:
        self._check()
        if self._position is None:
            return []
        pairs: list[Pair] = []
        total = 0
        with closing(self._merged(self._position)) as merged:
            for key, value in merged:
                total += len(key) + len(value)
                if pairs and total > limit:
                    break
                pairs.append((key, value))
            else:
                self._finish()
                return pairs
        self._advance(pairs[-1][0] + b"\x00")
        return pairs

    def close(self) -> None:
        self._finish()
        self._walk = _closed_walk

    def _merged(self, position: bytes) -> Generator[Pair, None, None]:
        images = self._keys.walk(position)
        image = next(images, None)
        with closing(self._walk(position)) as live:
            for key, value in live:
                while image is not None and image < key:
                    yield from self._image(image)
                    image = next(images, None)
                if image == key:
                    yield from self._image(key)
                    image = next(images, None)
                else:
                    yield key, value
        while image is not None:
            yield from self._image(image)
            image = next(images, None)

    def _image(self, key: bytes) -> Iterator[Pair]:
        value = self._images[key]
        if value is not None:
            yield key, value

    def _advance(self, position: bytes) -> None:
        for key in list(self._keys.walk(b"", position)):
            del self._images[key]
            self._keys.remove(key)
        self._position = position

    def _finish(self) -> None:
        self._position = None
        self._images.clear()
        self._keys = SortedKeys()


def _closed_walk(start: bytes) -> Generator[Pair, None, None]:
    yield from ()


class SnapshotSlot:
    """The place for the one view that a store may have open."""

    def __init__(self) -> None:
        self._view: StoreSnapshot | None = None

    def open(self, walk: Walk, get: Callable[[bytes], bytes | None], check: Callable[[], None]) -> StoreSnapshot:
        """A new view; SnapshotOpen where one is open."""
        if self._view is not None and self._view.is_open:
            raise SnapshotOpen("a snapshot of this store is open already; close it first")
        self._view = StoreSnapshot(walk, get, check)
        return self._view

    def before_change(self, keys: Iterable[bytes]) -> None:
        """To be called ahead of each batch."""
        if self._view is not None:
            self._view.before_change(keys)

    def close(self) -> None:
        """End the view with its store."""
        if self._view is not None:
            self._view.close()
