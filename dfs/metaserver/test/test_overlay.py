"""Changes over a store, seen before they are in it."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from dfs.kv.interfaces import Batch
from dfs.kv.memory import MemoryStore
from dfs.metaserver.overlay import NEAR, Overlay

_PREFIXES = (b"T", b"C" + b"f" * (NEAR - 1))
_keys = some.builds(lambda prefix, end: prefix + bytes([end]), some.sampled_from(_PREFIXES), some.integers(0, 30))
_steps = some.lists(some.tuples(some.sampled_from(["put", "delete", "mark", "undo", "first"]), _keys), max_size=60)


class OverlayTests(SynchronousTestCase):
    @settings(max_examples=200, deadline=None)
    @given(some.frozensets(_keys), _steps)
    def test_first(self, stored: frozenset[bytes], steps: list[tuple[str, bytes]]) -> None:
        """Whatever is put, deleted and undone between, the first key under a prefix is what a look at all of them
        finds."""
        store = MemoryStore()
        store.apply(Batch(dict.fromkeys(stored, b"x")))
        overlay, expected, marked = Overlay(store), set(stored), set(stored)
        for step, key in steps:
            if step == "put":
                overlay.put(key, b"y")
                expected.add(key)
            elif step == "delete":
                overlay.put(key, None)
                expected.discard(key)
            elif step == "mark":
                overlay.mark()
                marked = set(expected)
            elif step == "undo":
                overlay.roll_back()
                expected = set(marked)
            prefix = next(prefix for prefix in _PREFIXES if key.startswith(prefix))
            if step in ("first", "undo"):
                under = [each for each in expected if each.startswith(prefix)]
                self.assertEqual(overlay.first(prefix), min(under, default=None))
