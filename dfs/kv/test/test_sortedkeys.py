"""Tests of the order of keys in RAM."""

from __future__ import annotations

import random

from twisted.trial.unittest import SynchronousTestCase

from dfs.kv import sortedkeys
from dfs.kv.sortedkeys import SortedKeys


class SortedKeysTests(SynchronousTestCase):
    """A sorted set like any other."""

    def test_against_a_sorted_list(self) -> None:
        """Additions, removals and walks in any order agree with a sorted list, with blocks of three."""
        self.patch(sortedkeys, "BLOCK", 3)
        chance = random.Random(7)
        model: set[bytes] = {b"%03d" % i for i in range(0, 300, 7)}
        keys = SortedKeys(model)
        for _ in range(2000):
            key = b"%03d" % chance.randrange(300)
            if key in model:
                model.remove(key)
                keys.remove(key)
            else:
                model.add(key)
                keys.add(key)
            start, end = b"%03d" % chance.randrange(300), b"%03d" % chance.randrange(300)
            inside = [k for k in sorted(model) if start <= k < end]
            self.assertEqual(list(keys.walk(start, end)), inside)
            self.assertEqual(list(keys.walk(start, end, reverse=True)), inside[::-1])
            self.assertEqual(len(keys), len(model))
        self.assertEqual(list(keys.walk(b"")), sorted(model))
        self.assertEqual(list(keys.walk(b"1", None, True)), sorted((k for k in model if k >= b"1"), reverse=True))

    def test_remove_what_is_not_there(self) -> None:
        """A key that is not there cannot be removed."""
        for keys in (SortedKeys(), SortedKeys([b"a", b"c"])):
            for key in (b"b", b"d"):
                self.assertRaises(KeyError, keys.remove, key)
