"""The garbage collector of a process that serves."""

from __future__ import annotations

import gc
from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from dfs.runtime.garbage import YOUNG, spare_garbage_collector


class Reactor:
    """Is not running yet."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], None]] = []

    def callWhenRunning(self, call: Callable[[], None]) -> None:
        self.calls.append(call)


class Node:
    """May be part of a cycle."""

    other: object = None


class GarbageTests(SynchronousTestCase):
    """What is done when the reactor runs."""

    def setUp(self) -> None:
        self.addCleanup(gc.set_threshold, *gc.get_threshold())
        self.addCleanup(gc.unfreeze)

    def test_settled(self) -> None:
        """Nothing is done before the reactor runs; then what is there is spared, and later cycles are still found."""
        reactor = Reactor()
        before = gc.get_freeze_count()
        spare_garbage_collector(reactor)
        self.assertEqual(gc.get_freeze_count(), before)
        for call in reactor.calls:
            call()
        self.assertGreater(gc.get_freeze_count(), before)
        self.assertEqual(gc.get_threshold()[0], YOUNG)
        node = Node()
        node.other = node
        del node
        self.assertGreaterEqual(gc.collect(), 1)
