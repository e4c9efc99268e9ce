"""What a node lives on in production."""

from __future__ import annotations

import time

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from dfs.runtime.interfaces import IThreads
from dfs.runtime.real import real_runtime


class RealRuntimeTests(SynchronousTestCase):
    """real_runtime"""

    def test_parts(self) -> None:
        """It holds the given reactor, threads, the kernel's entropy and wall clock, and its own randomness."""
        reactor = MemoryReactorClock()
        one, other = real_runtime(reactor), real_runtime(reactor)
        self.assertIs(one.reactor, reactor)
        verifyObject(IThreads, one.threads)
        self.assertNotEqual(one.random.random(), other.random.random())
        self.assertEqual((len(one.entropy(32)), one.entropy(32) == one.entropy(32)), (32, False))
        self.assertLess(abs(one.wall_time() - time.time()), 60)
