"""Changes on top of a store, seen by whoever reads through it, and undone a command at a time.

One overlay lives for one ``apply`` of the state machine: later commands of the batch see what earlier ones wrote, a
command that is refused leaves nothing, and at the end all of it is one Batch.
"""

from __future__ import annotations

from dfs.kv.interfaces import Batch, IKeyValueStore, prefix_end


class Overlay:
    """Reads through to ``store``; writes stay here.  ``originals`` has what the store holds for each key seen."""

    def __init__(self, store: IKeyValueStore) -> None:
        self._store = store
        self.originals: dict[bytes, bytes | None] = {}
        self.changes: dict[bytes, bytes | None] = {}
        self._undo: list[tuple[bytes, bool, bytes | None]] = []

    def get(self, key: bytes) -> bytes | None:
        if key in self.changes:
            return self.changes[key]
        if key not in self.originals:
            self.originals[key] = self._store.get(key)
        return self.originals[key]

    def put(self, key: bytes, value: bytes | None) -> None:
        """Set, or with None delete."""
        self._undo.append((key, key in self.changes, self.changes.get(key)))
        if key not in self.originals:
            self.originals[key] = self._store.get(key)
        self.changes[key] = value

    def scan(self, prefix: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """The first ``limit`` pairs under a prefix, with the changes.  The cost grows with the changes of this batch
        (which are bounded), never with the table."""
        changed = {key: value for key, value in self.changes.items() if key.startswith(prefix)}
        pairs = dict(self._store.scan(prefix, prefix_end(prefix), limit + len(changed)))
        pairs.update({key: value for key, value in changed.items() if value is not None})
        for key, value in changed.items():
            if value is None:
                pairs.pop(key, None)
        return sorted(pairs.items())[:limit]

    def mark(self) -> None:
        """From here :meth:`roll_back` undoes."""
        self._undo.clear()

    def roll_back(self) -> None:
        """Undo every put since the mark."""
        for key, was_there, value in reversed(self._undo):
            if was_there:
                self.changes[key] = value
            else:
                del self.changes[key]
        self._undo.clear()

    def batch(self) -> Batch:
        """The net changes (a key set back to what the store holds is none), in key order: the same batch whatever
        the order of the puts was."""
        originals = self.originals
        return Batch({key: value for key, value in sorted(self.changes.items()) if value != originals[key]})
