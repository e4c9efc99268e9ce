"""Changes on top of a store, seen by whoever reads through it, and undone a command at a time.

One overlay lives for one ``apply`` of the state machine: later commands of the batch see what earlier ones wrote, a
command that is refused leaves nothing, and at the end all of it is one Batch.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from heapq import heapify, heappop, heappush
from typing import Any

from dfs.kv.interfaces import Batch, IKeyValueStore, prefix_end

NEAR = 9  # bytes of a key by which changed keys are kept together: a table's letter and a file id
PAGE = 64  # keys that a walk reads from the store at once
_ABSENT = object()


class _Walk:
    """Finds the first key under a prefix again and again, though keys are deleted and come: each key of the store is
    passed once, each change is looked at once, whatever the size of the batch.

    ``_position``: every key of the store before it is among the changes.  ``_fresh``: changed keys, a heap; those that
    are gone meanwhile are dropped when they come up.
    """

    def __init__(
        self, store: IKeyValueStore, changes: dict[bytes, bytes | None], prefix: bytes, fresh: list[bytes]
    ) -> None:
        self._store, self._changes, self._prefix, self._fresh = store, changes, prefix, fresh
        heapify(self._fresh)
        self._position = prefix
        self._page: list[bytes] = []

    def changed(self, key: bytes) -> None:
        """It was put (also by undoing a delete)."""
        heappush(self._fresh, key)

    def forgotten(self, key: bytes) -> None:
        """The change was undone: the store speaks for the key again."""
        if key < self._position:
            self._position, self._page = key, []

    def first(self) -> bytes | None:
        while self._fresh and self._changes.get(self._fresh[0]) is None:
            heappop(self._fresh)
        stored = self._stored()
        if not self._fresh or (stored is not None and stored < self._fresh[0]):
            return stored
        return self._fresh[0]

    def _stored(self) -> bytes | None:
        while True:
            for key in self._page[bisect_left(self._page, self._position) :]:
                self._position = key
                if key not in self._changes:
                    return key
            start = self._page[-1] + b"\x00" if self._page else self._position
            self._page = [key for key, _ in self._store.scan(start, prefix_end(self._prefix), PAGE)]
            self._position = start
            if not self._page:
                return None


class Overlay:
    """Reads through to ``store``; writes stay here.  ``originals`` has what the store holds for each key seen."""

    def __init__(self, store: IKeyValueStore) -> None:
        self._store = store
        self.originals: dict[bytes, bytes | None] = {}
        self.changes: dict[bytes, bytes | None] = {}
        self._undo: list[tuple[bytes, Any]] = []  # what each put replaced, _ABSENT for nothing
        self._walks: dict[bytes, _Walk] = {}  # by prefix
        self._lengths: dict[int, None] = {}  # of those prefixes
        self._near: dict[bytes, dict[bytes, None]] | None = None  # once wanted: changed keys by their first bytes

    def get(self, key: bytes) -> bytes | None:
        if key in self.changes:
            return self.changes[key]
        if key not in self.originals:
            self.originals[key] = self._store.get(key)
        return self.originals[key]

    def put(self, key: bytes, value: bytes | None) -> None:
        """Set, or with None delete."""
        changes = self.changes
        self._undo.append((key, changes.get(key, _ABSENT)))
        if key not in self.originals:
            self.originals[key] = self._store.get(key)
        changes[key] = value
        if self._near is not None:
            self._near.setdefault(key[:NEAR], {})[key] = None
        if value is not None and self._walks:
            for walk in self._walks_at(key):
                walk.changed(key)

    def _walks_at(self, key: bytes) -> list[_Walk]:
        found = (self._walks.get(key[:length]) for length in self._lengths)
        return [walk for walk in found if walk is not None]

    def first(self, prefix: bytes) -> bytes | None:
        """The first key under a prefix, with the changes.  Asked again and again it passes each key once, so its cost
        grows neither with the table nor with the batch."""
        walk = self._walks.get(prefix)
        if walk is None:
            near = self._changed_near(prefix) if len(prefix) == NEAR else self.changes
            fresh = [key for key in near if key.startswith(prefix)]
            walk = self._walks[prefix] = _Walk(self._store, self.changes, prefix, fresh)
            self._lengths[len(prefix)] = None
        return walk.first()

    def _changed_near(self, prefix: bytes) -> Iterable[bytes]:
        """All keys changed so far that begin so: found once, kept from then on."""
        if self._near is None:
            self._near = {}
            for key in self.changes:
                self._near.setdefault(key[:NEAR], {})[key] = None
        return self._near.get(prefix, {})

    def mark(self) -> None:
        """From here :meth:`roll_back` undoes."""
        self._undo.clear()

    def roll_back(self) -> None:
        """Undo every put since the mark."""
        for key, value in reversed(self._undo):
            if value is _ABSENT:
                del self.changes[key]
            else:
                self.changes[key] = value
            for walk in self._walks_at(key):
                if value is _ABSENT:
                    walk.forgotten(key)
                elif value is not None:
                    walk.changed(key)
        self._undo.clear()

    def batch(self) -> Batch:
        """The net changes (a key set back to what the store holds is none), in key order: the same batch whatever
        the order of the puts was."""
        originals = self.originals
        changes = {key: value for key, value in sorted(self.changes.items()) if value != originals[key]}
        return Batch(changes, {key: originals[key] is not None for key in changes})
